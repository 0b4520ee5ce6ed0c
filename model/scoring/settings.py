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
class GramSettings:
    """An n-gram cache (`ngrams`), chosen by benches/injected.py."""

    order: int
    """Longest n-gram."""
    syntax: bool = False
    """Identifiers are one token, strings another, numbers a third: only what the code does counts."""
    beyond: int = 0
    """Tokens after each change that count as added: what is now behind it, or where something was."""
    own: int = 1
    """Occurrences of an n-gram not counted when it is removed: it was there to be removed."""
    least: int = 1_000
    """With fewer tokens known nothing is said: to a young repository everything is new."""


@dataclass(frozen=True)
class TokenSettings:
    """The channels of bits."""

    words: GramSettings = GramSettings(order=3)
    syntax: GramSettings = GramSettings(order=6, syntax=True, beyond=3)
    tree_bytes: int = 20_000_000
    """Python source read of the starting tree, in path order."""


@dataclass(frozen=True)
class NoveltySettings:
    """Which earlier edits are near (`novelty`)."""

    nearest: int = 1
    """Earlier edits that the distance in structure is the mean of."""
    nearest_shapes: int = 10
    """Likewise in shape, where hardly anything is far from all others."""
    memory: int = 1_000
    """Latest edits looked at, so that a long past does not make everything near."""
    least: int = 100
    """With fewer earlier edits nothing is said."""


@dataclass(frozen=True)
class MessageSettings:
    """When a message is about something else (`message`), chosen on foreign messages in repositories of training."""

    literal: float = 0.3
    """Probability of a word that is part of what was touched; with 0.03 to 0.6 it makes little difference."""
    pseudo: float = 2.0
    """Commits' worth of belief that a piece says nothing of a word."""
    words: int = 2
    """With fewer words that say something nothing is said."""
    least: int = 30
    """With fewer earlier commits nothing is said."""


@dataclass(frozen=True)
class CalibrationSettings:
    """How a raw value becomes a percentile and a p-value (`calibrate`)."""

    neighbours: int = 200
    """Past edits, nearest in log size, that an edit is compared with."""
    commit_neighbours: int = 150
    """Past commits, nearest in log lines added, that a commit is compared with."""
    recent_commits: int = 200
    """Latest scored commits of the past that are compared with. Repositories drift: with all 500, ten of them had 1.5
    alerts in 100 at a budget of 2, with these 1.9.
    """
    stratum_minimum: int = 100
    """A stratum (edit type, kind, test or not) with fewer members is merged with its neighbours."""
    tail_share: float = 0.1
    """Share of a neighbourhood from which the tail beyond its largest value is extrapolated."""
    little_edits: int = 100
    """With fewer past edits, the base model's reference sample joins in."""
    little_commits: int = 50


@dataclass(frozen=True)
class DriftSettings:
    """When the past is said to have changed its ways (`drift`)."""

    least: int = 10
    """Commits on either side of a change."""
    step: float = 3.0
    """Standard errors that a mean must step up by for a second look; the largest of hundreds of steps is taken."""
    margin: int = 5
    """Commits before the step that are not compared with, because it may be off by as many."""
    level: float = 0.005
    """Chance of so many alerts without drift, at which it is said."""


@dataclass(frozen=True)
class CombineSettings:
    """How channels become surprise (`combine`)."""

    prior: float = 0.05
    """Share of edits believed unusual before looking."""
    alternative: float = 0.25
    """`a` of the Beta(a, 1) that p-values of unusual commits are taken to follow; ordinary ones are uniform."""
    weights: tuple[tuple[str, float], ...] = (
        ("displacement", 0.02),
        ("new_identifiers", 0.42),
        ("doubt", 0.38),
        ("bits_added", 0.02),
        ("bits_removed", 0.37),
        ("syntax", 0.19),
        ("novelty", 0.39),
        ("shape", 0.15),
        ("repetition", 0.4),
        ("substitution", 0.4),
        ("loose_ends", 0.37),
        ("message", 0.15),
        ("transposition", 0.33),
    )
    """1 - a of the Beta(a, 1) of each channel's p-values on unusual edits. Fitted on injected edits of ten repositories
    of training, kinds that training knows, by `benches/weights.py` with a ridge of 0.1 (docs/lab-log.md). By hand:
    `repetition` and `message`, of which no such kind knows anything, `substitution`, of which one of them does (fitted
    0.29), and the floors of `displacement` and `bits_added`, whose fitted weights are 0.
    """
    floor: float = 1e-6
    """Smaller p-values count as this one: a tail is only continued so far before it is a guess."""


@dataclass(frozen=True)
class ScoreSettings:
    """What `score` does."""

    history: HistoryLimit = field(default_factory=HistoryLimit)
    names: NameSettings = field(default_factory=NameSettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    novelty: NoveltySettings = field(default_factory=NoveltySettings)
    messages: MessageSettings = field(default_factory=MessageSettings)
    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    combine: CombineSettings = field(default_factory=CombineSettings)
    drift: DriftSettings = field(default_factory=DriftSettings)
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

    @classmethod
    def of(cls, history: int | None) -> ScoreSettings:
        """Compare with so many past commits, None for as many as usual. All that score share what that keeps."""
        return cls() if history is None else cls(history=HistoryLimit(history))
