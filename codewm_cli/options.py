"""Options that several commands take: each is said once, and checked once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from codewm.corpus.errors import UserError

if TYPE_CHECKING:
    from codewm.model.scoring.score import Target

ModelChoice = Annotated[
    str | None,
    typer.Option("--model", help="A model file, or 'base' for the shipped one. Default: local, else base."),
]


def known_format(form: str, formats: Sequence[str]) -> None:
    """Raise `UserError` for another format."""
    if form not in formats:
        raise UserError(f"there is no format '{form}'", f"write one of {', '.join(formats)}")


def one_change(revision: str | None, staged: bool, worktree: bool) -> Target:
    """The commit, HEAD without a name, or the change at hand. Raises `UserError` for two of them."""
    if sum((revision is not None, staged, worktree)) > 1:
        raise UserError("a commit, --staged and --worktree exclude each other", "name one of them")
    from codewm.model.scoring.score import Target

    if staged or worktree:
        return Target("staged" if staged else "worktree")
    return Target(revisions=revision or "HEAD")
