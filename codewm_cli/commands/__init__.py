"""One verb, one file: arguments in, an exit status out.

How a verb is registered (nothing here imports a command):

1. Add one row to `VERBS` below: the verb, its one-line help (shown by `codewm --help`) and its module.
2. The module defines ONE public function `run`, written as a typer command: options and arguments are
   `Annotated[T, typer.Option(...)]` / `typer.Argument(...)`, its docstring is the long help, and it returns
   the exit status (`int`; None counts as 0). No `typer.Typer()` and no decorator are needed.
   A verb with sub-verbs (`hook`) defines `app: typer.Typer` instead.
3. The module is imported only when its verb is invoked (or completed), so `codewm --help` stays fast; still,
   import torch, h5py, rich and numpy inside `run` or the functions it calls, not at the top.
4. Raise `codewm.corpus.errors.UserError(message, hint)` for what the user can mend; never call `sys.exit`.
"""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """Where a verb lives and what it says about itself in one line."""

    module: str
    help: str


VERBS: dict[str, Verb] = {
    "score": Verb("codewm.cli.commands.score", "Say which commits landed somewhere unexpected, and why."),
    "impact": Verb("codewm.cli.commands.impact", "Say what else a change is likely to need, and why."),
    "explain": Verb("codewm.cli.commands.explain", "Say why one commit is, or is not, unusual here."),
    "backtest": Verb(
        "codewm.cli.commands.backtest",
        "Replay this repository's history: would the alerts have been worth it?",
    ),
    "harvest": Verb("codewm.cli.commands.harvest", "Turn the Git history into chains of edits."),
    "train": Verb("codewm.cli.commands.train", "Fit the world model to this repository (needs torch)."),
    "collect": Verb(
        "codewm.cli.commands.collect", "Build the training corpus from clones of the pinned repositories."
    ),
    "eval": Verb("codewm.cli.commands.eval", "Test a model on held-out edits, beside its nulls."),
    "similar": Verb("codewm.cli.commands.similar", "Find past edits that moved their unit alike."),
    "hook": Verb("codewm.cli.commands.hook", "Install, remove, inspect or run the pre-commit hook."),
    "export": Verb(
        "codewm.cli.commands.export", "Write a trained checkpoint as an engine model (needs torch)."
    ),
    "info": Verb("codewm.cli.commands.info", "Show chains, model and settings, and where each came from."),
    "doctor": Verb(
        "codewm.cli.commands.doctor", "Check that all is well here, and say how to mend what is not."
    ),
}
