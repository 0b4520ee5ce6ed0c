"""A commit's channels, action and history in, the probability that it will be fixed or reverted out, term by term.

The head is a logistic regression, so that what each feature contributes is exact: the log-odds of a commit are
those of the average commit of the training part plus one term for each feature. It is fitted to one repository
(`risk_fit`) and kept in `<data_dir>/risk.json`, as numbers and names. Nothing here needs scikit-learn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.atomic import write_file
from codewm.corpus.divide import of_tests
from codewm.corpus.errors import UserError
from codewm.corpus.experience import FEATURES as HISTORY, experience
from codewm.model.scoring.channels import CHANNELS
from codewm.model.scoring.reasons import TITLES

if TYPE_CHECKING:
    from codewm.corpus.table import EditTable
    from codewm.model.scoring.engine_model import ScoringModel

F64 = NDArray[np.float64]
SCHEMA = "codewm.risk/1"
FILE_NAME = "risk.json"
AGAIN = "run 'codewm train --risk' again"
_LIMIT = 4.0
"""Standard deviations beyond which a feature says no more: one wild value must not decide alone."""
SIZE: dict[str, str] = {
    "lines_added": "lines added",
    "lines_deleted": "lines deleted",
    "files": "files changed",
    "units": "functions and classes changed",
    "tests": "share of tests in the change",
}


_ACTIONS: dict[str, str] = {
    "type_add": "share of new functions and classes",
    "type_delete": "share of deleted functions and classes",
    "type_modify": "share of modified functions and classes",
    "scope_function": "share of functions",
    "scope_class": "share of classes",
    "scope_module": "share of module statements",
    "location": "how far down in the code",
    "size_delta": "growth",
    "control_flow_delta": "branches and loops added",
    "class_decorator_delta": "classes and decorators added",
    "length_ratio": "length after over length before",
}


def names(model: ScoringModel) -> tuple[str, ...]:
    """Every feature, in the order of the columns of `features`: `<group>.<name>`."""
    return (
        *(f"channel.{c}" for c in CHANNELS),
        *(f"action.{a}" for a in model.action_names),
        *(f"size.{s}" for s in SIZE),
        *(f"history.{h}" for h in HISTORY),
    )


def title(name: str) -> str:
    """A feature for people."""
    group, _, rest = name.partition(".")
    if group == "channel":
        return f"surprise: {TITLES.get(rest, rest.replace('_', ' '))}"
    said = {"size": SIZE, "history": HISTORY, "action": _ACTIONS}.get(group, {})
    return said.get(rest, rest.replace("_", " "))


def code_added(table: EditTable) -> NDArray[np.int32]:
    """[C] code added outside tests, in lines of eight tokens: the size that labels of fixes know of."""
    added = table.tokens_added * ~of_tests(table)
    return np.round(np.bincount(table.commit, weights=added, minlength=len(table.commits)) / 8).astype(
        np.int32
    )


def features(table: EditTable, rows: NDArray[np.int64], channels: Mapping[str, F64]) -> F64:
    """[n, F] features of the commits `rows` [n] of a table, of which the channels' strengths [n] are known.

    What a commit has nothing of is 0. A commit without edits has a row of zeros, but for its channels.
    """
    commits, every = table.commits, len(table.commits)
    edited = np.bincount(table.commit, minlength=every)
    tests = of_tests(table)
    actions = np.zeros((every, table.action.shape[1]))
    np.add.at(actions, table.commit, table.action.astype(np.float64))
    each = np.maximum(edited, 1)
    size = np.column_stack(
        [
            np.log2(1.0 + commits.lines_added),
            np.log2(1.0 + commits.lines_deleted),
            np.log2(1.0 + commits.file_changes),
            np.log2(1.0 + edited),
            np.bincount(table.commit, weights=tests, minlength=every) / each,
        ]
    )
    strengths = np.column_stack([channels[c] for c in CHANNELS])
    whole = [strengths, (actions / each[:, None])[rows], size[rows], experience(table)[rows]]
    return np.asarray(np.nan_to_num(np.hstack(whole), nan=0.0), np.float64)


@dataclass(frozen=True)
class Term:
    """What one feature adds to a commit's risk."""

    name: str
    value: float
    """Of the feature."""
    log_odds: float
    """Added to the log-odds of the average commit."""

    @property
    def factor(self) -> float:
        """By which the odds are multiplied."""
        return float(np.exp(self.log_odds))


@dataclass(frozen=True)
class Risk:
    """The risk of one commit."""

    probability: float
    """Of being fixed or reverted within the horizon."""
    usual: float
    """Share of such commits in the training part."""
    horizon: float
    """Days."""
    terms: tuple[Term, ...]
    """Largest first, by size; they add up to the log-odds."""


@dataclass(frozen=True)
class Head:
    """A fitted head. `weights` are of standardised features, calibration included."""

    names: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    usual: float
    horizon: float
    model: str
    """Digest of the model that the channels were measured with."""
    tokenizer_id: str
    tip: str
    """Newest commit that it knew."""
    commits: int
    """It was fitted to, and of these:"""
    bad: int
    figures: dict[str, Any] = field(default_factory=dict)
    """How it did on the later part, when fitted to the earlier one."""

    def terms(self, x: F64) -> F64:
        """[n, F] features -> [n, F] terms of the log-odds."""
        z = (x - np.array(self.centre)) / np.array(self.scale)
        return np.asarray(np.clip(z, -_LIMIT, _LIMIT) * np.array(self.weights), np.float64)

    def probabilities(self, x: F64) -> F64:
        """[n, F] features -> [n] probabilities."""
        return np.asarray(1.0 / (1.0 + np.exp(-(self.terms(x).sum(1) + self.intercept))), np.float64)

    def risks(self, x: F64) -> list[Risk]:
        """[n, F] features -> n risks, with what each feature adds."""
        found = []
        for values, terms, p in zip(x, self.terms(x), self.probabilities(x), strict=True):
            order = np.argsort(-np.abs(terms), kind="stable")
            said = tuple(Term(self.names[i], float(values[i]), float(terms[i])) for i in order)
            found.append(Risk(float(p), self.usual, self.horizon, said))
        return found


def standardised(x: F64) -> tuple[F64, F64]:
    """Centre and scale [F] of features [n, F]; what does not vary has scale 1."""
    spread = x.std(0)
    return x.mean(0), np.where(spread > 1e-9, spread, 1.0)


def clipped(x: F64, centre: F64, scale: F64) -> F64:
    """Standardise features as `Head.terms` does."""
    return np.asarray(np.clip((x - centre) / scale, -_LIMIT, _LIMIT), np.float64)


def save(place: Path, head: Head) -> None:
    """Write the head in place of what is there. Raises `UserError` if the disk refuses."""
    text = json.dumps({"schema": SCHEMA, **asdict(head)}, indent=1) + "\n"
    try:
        write_file(place, text.encode("ascii"))
    except OSError as e:
        raise UserError(f"cannot write '{place}': {e.strerror or e}", "make room, then try again") from e


def load(place: Path, model: ScoringModel) -> Head:
    """Read the head that goes with the model. Raises `UserError` where there is none, or it is of another model."""
    try:
        stored = json.loads(place.read_text(encoding="ascii"))
        if stored.pop("schema") != SCHEMA:
            raise UserError(f"'{place}' was made by another version of codewm", AGAIN)
        columns_of: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
        head = Head(**columns_of)
        columns: Sequence[Sequence[float]] = (head.centre, head.scale, head.weights)
        fits = all(len(c) == len(head.names) and np.isfinite(np.array(c, np.float64)).all() for c in columns)
        fits = fits and all(s > 0 for s in head.scale) and np.isfinite(float(head.intercept))
    except FileNotFoundError:
        raise UserError(
            "there is no risk head for this repository", "'codewm train --risk' makes one"
        ) from None
    except OSError as e:
        raise UserError(f"cannot read '{place}': {e.strerror or e}", AGAIN) from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise UserError(f"'{place}' is damaged", AGAIN) from e
    if not fits:
        raise UserError(f"'{place}' is damaged", AGAIN)
    if head.model != model.digest or head.tokenizer_id != core.TOKENIZER_ID or head.names != names(model):
        raise UserError("the risk head was made with another model", AGAIN)
    return head
