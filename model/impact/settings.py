"""Every number that `codewm impact` depends on, once, with the reason it is what it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImpactSettings:
    """How much is read, and when something is said."""

    most_commits: int = 30_000
    """First-parent commits looked at for what changed together."""
    live_files: int = 6_000
    """Python file changes read for units and names where nothing was harvested: some seconds."""
    sweep: int = 300
    """A past commit that touches more Python files (a reformat, a vendored tree) is not read for units and names."""
    most_new: int = 300
    """Commits after the stored past that are added to it; more, and it is read again."""
    window: int = 256
    action: str = "v15"
    """As a harvest is made; what is read on the fly is never stored, and neither matters here."""
    most_files: int = 30
    """A change of more Python files is a sweep, about which nothing is said."""
    most_units: int = 200
    """Units of a change more than which no other units are named."""
    shown: int = 5
    """Files and units that are named each."""
    tests: int = 10
    """Test files that `--tests` names, and that `--observe` takes for a selection."""
    abstain_below: float = 0.25
    """No file is named unless the best one has this chance of being what is missing, if anything is."""
    name_above: float = 0.10
    """Nor is any single one without this chance."""
    missing_support: int = 3
    missing_confidence: float = 0.6
    """Of the last `lately` changes of a file, so many and this share also changed the other."""
    missing_chance: float = 0.4
    """Without this chance, too, nothing is called missing. By counts alone, a third of all finished commits would have
    something missing (training repositories); by both, 15 in 100 (held-out ones; lab log)."""
    others_confidence: float = 0.7
    """The same for files that are not Python, which have no chance, only counts."""
    lately: int = 10
    replay: int = 200
    """Past commits that `--tests` and `--observe` are measured on."""
