"""Labels and splits of the anomaly benchmark in, files out that others can score against; and their scores back.

    labels.csv    repository, commit, unit, kind, label, fold
    cases.jsonl   the same key, and the text of each function before and after: what is labelled in no repository
    a score file  repository, commit, unit, kind, score

Commits as they are have no unit, and the kind is the label set (`szz`, `revert`), a row for each commit and set. A case
names its unit (`path::unit`) and what was done to it (`drop, on top`; `ordinary`). `fold` is the number of the
repository: what is fitted is fitted on other folds. Scores of commits need no kind: one row serves both sets.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codewm.corpus.atomic import replacing, write_file
from codewm.corpus.errors import UserError
from codewm.model.evaluation.cases import Case
from codewm.model.evaluation.replay import Scored

F64 = NDArray[np.float64]
COLUMNS = ("repository", "commit", "unit", "kind", "label", "fold")
KEY = COLUMNS[:4]
LABELS, CASES = "labels.csv", "cases.jsonl"


class Label(NamedTuple):
    """One row of `labels.csv`."""

    repository: str
    commit: str
    unit: str
    kind: str
    label: int
    fold: int


def unit_of(case: Case) -> str:
    """Which function, within the commit."""
    return f"{case.path}::{case.unit}"


def kind_of(case: Case) -> str:
    """What was done to it, and to what."""
    return f"{case.kind}, {case.form}" if case.form else case.kind


def write(folder: Path, labels: Iterable[Label], cases: Sequence[Scored]) -> None:
    """Write both files. Raises `UserError` where that is not possible."""
    try:
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        rows.writerows(labels)
        write_file(folder / LABELS, text.getvalue().encode("utf-8", "surrogateescape"))
        with replacing(folder / CASES) as file:
            for made in cases:
                for oid, case in zip(made.oid, made.case, strict=True):
                    key = {
                        "repository": made.repository,
                        "commit": oid,
                        "unit": unit_of(case),
                        "kind": kind_of(case),
                    }
                    line = json.dumps({**key, "before": case.before, "after": case.after}) + "\n"
                    file.write(line.encode("ascii"))
    except OSError as e:
        raise UserError(f"cannot write labels to '{folder}': {e.strerror or e}", "name another folder") from e


def read_scores(path: Path) -> dict[tuple[str, str, str, str], float]:
    """Read another tool's scores by (repository, commit, unit, kind). Raises `UserError` for any other file."""
    wanted = ("repository", "commit", "score")
    found: dict[tuple[str, str, str, str], float] = {}
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = csv.DictReader(file)
            missing = [name for name in wanted if name not in (rows.fieldnames or ())]
            if missing:
                raise UserError(
                    f"'{path}' has no column {missing[0]}", f"columns: {', '.join((*KEY, 'score'))}"
                )
            for row in rows:
                unit = row.get("unit") or ""
                kind = (row.get("kind") or "") if unit else ""
                score = float(row["score"])
                if not np.isfinite(score):
                    raise ValueError("a score is not finite")
                found[row["repository"], row["commit"], unit, kind] = score
    except OSError as e:
        raise UserError(f"cannot read '{path}': {e.strerror or e}", "name a CSV file") from e
    except (ValueError, TypeError, csv.Error) as e:
        raise UserError(
            f"'{path}' is not a file of scores: {e}", f"columns: {', '.join((*KEY, 'score'))}"
        ) from e
    return found


def with_scores(
    scored: Sequence[Scored], name: str, scores: dict[tuple[str, str, str, str], float]
) -> list[Scored]:
    """Add a column of read scores. Raises `UserError` where one is missing: gaps could flatter."""
    out = []
    for part in scored:
        keys = [(part.repository, oid, "", "") for oid in part.oid]
        if part.case:
            keys = [
                (part.repository, oid, unit_of(case), kind_of(case))
                for oid, case in zip(part.oid, part.case, strict=True)
            ]
        missing = [key for key in keys if key not in scores]
        if missing:
            repository, commit, unit, kind = missing[0]
            raise UserError(
                f"{name}: no score for {repository} {commit[:12]} {unit} {kind}".rstrip()
                + f", and {len(missing) - 1} more",
                f"score every row of {LABELS}",
            )
        column = np.array([scores[key] for key in keys], np.float64)
        out.append(replace(part, values={**part.values, name: column}))
    return out
