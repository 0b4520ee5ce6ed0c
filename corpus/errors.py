"""The one error that a person can mend: what is wrong, and what to do next.

Lives in the lowest Python layer so that corpus, model and hooks can raise it; the command line prints it.
"""

from __future__ import annotations


class UserError(Exception):
    """Bad input or a bad state of the world; shown as one line and a hint, exit code 2."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
