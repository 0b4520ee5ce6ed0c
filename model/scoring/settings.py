"""Every number that scoring depends on, once, with the reason it is what it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from codewm.corpus.history import HistoryLimit


@dataclass(frozen=True)
class NameSettings:
    """Weights of the new-identifiers channel (`channels.new_identifiers`), chosen by benches/injected.py."""

    in_module: float = 0.15
    """A name the unit lacked but its module has: ordinary work, nearly no evidence."""
    in_repository: float = 0.6
    """A name the module lacked but the whole repository uses; rarer ones approach 1, as an unknown one.
    Lower values see pasted code of the same repository less well.
    """
    bound: float = 0.2
    """Factor for names that the commit itself defines: inventing those is what edits do."""
    unresolved_call: float = 4.0
    """A call of a bare name that nothing defines: 0% of ordinary edits, a third of swapped function bodies.
    """
    unresolved_use: float = 3.0
    """Any other bare name that nothing defines: 1-3% of ordinary edits, half of swapped bodies and more."""
    sink: float = 2.0
    """Factor for the weights of `sinks.SINKS`."""
    pseudo_names: float = 2.0
    """Added to the number of names, so that one new name out of one is not the maximum."""


@dataclass(frozen=True)
class TokenSettings:
    """The n-gram cache of the channels of bits (`ngrams`), chosen by benches/injected.py."""

    order: int = 3
    """Longest n-gram."""
    own: int = 1
    """Occurrences of an n-gram not counted when it is removed: it was there to be removed."""
    dearest: int = 3
    """An edit costs the mean of its so many dearest tokens: a sum is its size, a mean drowns them."""
    tree_bytes: int = 20_000_000
    """Python source read of the starting tree, in path order."""


@dataclass(frozen=True)
class CalibrationSettings:
    """How a raw value becomes a percentile and a p-value (`calibrate`)."""

    neighbours: int = 200
    """Past edits, nearest in log size, that an edit is compared with."""
    commit_neighbours: int = 150
    """Past commits, nearest in log lines added, that a commit is compared with."""
    stratum_minimum: int = 100
    """A stratum (edit type, kind, test or not) with fewer members is merged with its neighbours."""
    tail_share: float = 0.1
    """Share of a neighbourhood from which the tail beyond its largest value is extrapolated."""
    little_edits: int = 100
    """With fewer past edits, the base model's reference sample joins in."""
    little_commits: int = 50


@dataclass(frozen=True)
class CombineSettings:
    """The noisy-or of channels (`combine.noisy_or`)."""

    prior: float = 0.05
    """Share of edits believed unusual before looking."""
    alternative: float = 0.25
    """`a` of the Beta(a, 1) that p-values of unusual edits are taken to follow; ordinary ones are uniform."""


@dataclass(frozen=True)
class ScoreSettings:
    """What `score` does."""

    history: HistoryLimit = field(default_factory=HistoryLimit)
    names: NameSettings = field(default_factory=NameSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    combine: CombineSettings = field(default_factory=CombineSettings)
    alert_budget: tuple[int, int] = (2, 100)
    """At most so many alerts per so many ordinary commits."""
    speaks: float = 0.1
    """A channel whose p-value is at most this gives a reason."""
    neighbours_shown: int = 3
    """Past edits shown with each unit."""
    reasons_shown: int = 3
    """Reasons shown with each commit."""
    units_explained: int = 50
    """Units of one commit that get neighbours and reasons, most surprising first; the rest are still
    scored.
    """
    extend_commits: int = 100
    """A cached calibration this many first-parent commits behind is extended rather than rebuilt."""
    threads: int = 0
    """Threads of the engine and the parser; 0 is one per core."""
