"""A repository in, its chains brought up to HEAD out: for the commands that need the whole history."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from codewm.cli import config, console

if TYPE_CHECKING:
    from collections.abc import Callable

    from codewm.corpus.git import Repository
    from codewm.corpus.header import Header
    from codewm.corpus.table import EditTable


def up_to_date(repository: Repository, quiet: bool) -> tuple[EditTable, Header]:
    """Harvest what is new, with the options of the store that is there, and read all of it."""
    from codewm.corpus.harvest import Options, harvest, like_stored
    from codewm.corpus.store import read

    chosen = config.for_repository(repository, {}).harvest
    asked = Options(window=chosen.window, action=chosen.action, merges=chosen.merges, jobs=chosen.jobs)
    with ExitStack() as stack:

        def bar(total: int) -> Callable[[int], object] | None:
            return None if quiet else stack.enter_context(console.progress("harvesting", total)).advance

        result = harvest(repository, like_stored(repository, asked), None, bar)
    table = result.store.table if result.store is not None else read(result.path)
    return table, result.header
