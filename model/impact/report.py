"""What `codewm impact` found: plain data, that any output format can be written from."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Evidence:
    """One reason to look at a file or unit."""

    kind: str
    """together, uses, defines, imports, named, alike, words, active (nothing but that it is changed often), changed."""
    of: str = ""
    """The file or unit of the change that it is about."""
    together: int = 0
    changes: int = 0
    """Of the latest so many changes of `of`, so many also changed this."""
    names: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    """Examples, newest first."""


@dataclass(frozen=True)
class Suggestion:
    """A file or unit that the change may need, too."""

    path: str
    unit: str
    """'' for a whole file."""
    chance: float
    """That it is among what is missing, if anything is; 0 where no such chance is known."""
    missing: bool
    """It usually changes with the change, by counts."""
    test: bool
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Curve:
    """How many of the test files that changed with code are found by running the first k of a selection."""

    commits: int
    """Past commits it is measured on."""
    recall: tuple[tuple[int, float], ...]
    """k and the mean share found."""
    every: float
    """Test files that there are, on average."""


@dataclass(frozen=True)
class Missed:
    """A past commit of which a selection would have missed a test file that it changed."""

    oid: str
    missed: tuple[str, ...]


@dataclass(frozen=True)
class Observed:
    """What the suggestions would have been worth over the latest commits."""

    commits: int
    questions: int
    """One file of a commit shown, the others to be found."""
    answered: int
    hits: tuple[tuple[int, float], ...]
    """k, and in how many of the questions answered one of the first k was right."""
    finished: int
    """Whole commits."""
    needless: int
    """Of which a file would have been called missing."""
    curve: Curve
    missed: tuple[Missed, ...]
    """Newest first, at `selection` test files."""
    selection: int


@dataclass(frozen=True)
class Report:
    """The answer for one change."""

    target: str
    """staged, worktree or commit."""
    oid: str
    subject: str
    changed: tuple[str, ...]
    """Python files of the change."""
    units: int
    state: str
    """answered, unsure (nothing is named), sweep, no Python."""
    sentence: str
    """Why nothing is named, or what the answer rests on."""
    commits: int
    """Of the past."""
    source: str
    files: tuple[Suggestion, ...] = ()
    near: tuple[Suggestion, ...] = ()
    """Units."""
    tests: tuple[Suggestion, ...] = ()
    others: tuple[Suggestion, ...] = field(default=())
    """Files that are not Python."""
    curve: Curve | None = None
