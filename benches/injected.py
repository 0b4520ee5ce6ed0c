"""Clones in, how well each channel and their combination tell injected edits from real ones out (docs/lab-log.md).

    python benches/injected.py CLONE [CLONE ...] [--model FILE] [--count 40] [--save FILE]

Of each clone, the latest fifth of the history that scoring reads is held out: its real edits of single functions, and
the same with one thing wrong in them (`codewm.model.evaluation.injection`), each measured by what was known at its
date. Printed per kind and form: the AUROC of each channel and of the combined surprise, in pairs of one repository and
one number of added lines; then the means over kinds, with 95% intervals over commits, and Spearman's correlation of
surprise with lines added. Weights are fitted on repositories of training only; the held-out list is for reading.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import codewm_core as core
from codewm.corpus.builder import TableBuilder
from codewm.corpus.commits import CommitRows
from codewm.corpus.git import CommitRecord, FileChange, Repository
from codewm.corpus.history import history
from codewm.corpus.table import EditTable
from codewm.model.evaluation.held_out import Source
from codewm.model.evaluation.injected import FORMS, ORDINARY, Victim, corruptions, find_victims
from codewm.model.evaluation.injection import KINDS
from codewm.model.evaluation.matched import auroc, pairs, strata
from codewm.model.evaluation.metrics import Bootstrap, interval
from codewm.model.scoring.alone import measure_alone
from codewm.model.scoring.channels import CHANNELS, Edits, Seen
from codewm.model.scoring.engine_model import ScoringModel, load_model
from codewm.model.scoring.gather import build
from codewm.model.scoring.past import Past
from codewm.model.scoring.score import judge
from codewm.model.scoring.settings import ScoreSettings

RESAMPLES = 200


@dataclass
class Measured:
    """The edits of one clone: real ones and corrupted ones, each a commit of its own."""

    name: str
    table: EditTable
    kind: NDArray[np.int64]
    """[N] index into `KINDS`, -1 for a real edit."""
    form: NDArray[np.int64]
    """[N] index into `FORMS`."""
    origin: NDArray[np.int64]
    """[N] commit that the edit was taken from."""
    edits: Edits
    seen: Seen
    whole: Past
    """What they were measured by."""
    history: EditTable
    """What that was made from."""
    past: Past
    """What they are compared with: the commits before the first of them."""


def table_of(
    whole: Sequence[tuple[Victim, bytes, bytes, str]], window: int, action: str
) -> tuple[EditTable, NDArray[np.int64]]:
    """A table with one commit per edit, and which of the edits have one row, that of their function alone."""
    rows = CommitRows()
    builder = TableBuilder(tokenizer_id=core.TOKENIZER_ID, action_id=action, window=window)
    blobs: dict[int, tuple[str, bytes]] = {}
    changes = []
    for victim, before, after, subject in whole:
        rows.add_commit(CommitRecord("", ("-",), "", "", 0, 0, subject, ()), 1)
        path = victim.path.encode("utf-8", "surrogateescape")
        place = rows.add_change(FileChange("M", path, path, None, None, "100644", "100644"))
        keys = [blobs.setdefault(id(side), (str(len(blobs)), side))[0] for side in (before, after)]
        changes.append((*place, keys[0], keys[1]))
    builder.add_commits(rows.take())
    builder.add_edits(list(blobs.values()), changes)
    table = builder.table()
    counts = np.bincount(table.commit, minlength=len(whole))
    units = np.array([table.units.index(v.unit) if v.unit in table.units else -1 for v, *_ in whole])
    good = (counts[table.commit] == 1) & (table.before != table.after) & (table.unit == table.unit_before)
    good &= (table.unit == units[table.commit]) & ((table.flags & core.FLAG_NOOP) == 0)
    return table.select(good), table.commit[good].astype(np.int64)


def measure_clone(path: Path, model: ScoringModel, settings: ScoreSettings, count: int) -> Measured | None:
    """Corrupt at most `count` held-out edits of a clone, and measure them beside the real ones."""
    name = path.parent.name if path.name in {"repo", ".git"} else path.name
    with Repository.open(path) as repo:
        found = history(repo, repo.head(), settings.history, window=model.window, action=model.action)
        name = next((o.name for o in found.table.repositories), name)  # chains know what they are of
        victims = find_victims(Source(name, found.table, {name: path}), name, None, (0, 0), count * ORDINARY)
        if len(victims) < 20:
            return None
        past = build(repo, repo.head(), model, settings)
    whole = [(v, -1, 0, v.before, v.after) for v in victims]
    whole += [(v, k, f, *sides) for v, k, f, sides in corruptions(victims, count)]
    subjects = found.table.commits.subject
    table, kept = table_of(
        [(v, b, a, subjects[v.commit]) for v, _, _, b, a in whole], model.window, model.action
    )
    # The past may begin later than the history that it was made from.
    oids = found.table.commits.oid
    known = np.array([past.position.get(oids[v.commit], -1) for v, *_ in whole], np.int64)
    edits, seen = measure_alone(table, past, np.maximum(known, 0), model, settings)
    first = int(known[known > 0].min())
    return Measured(
        name,
        table,
        np.array([whole[i][1] for i in kept], np.int64),
        np.array([whole[i][2] for i in kept], np.int64),
        known[kept],
        edits,
        seen,
        past,
        found.table,
        past.until(first - 1),
    )


def scores(measured: Measured, settings: ScoreSettings) -> dict[str, NDArray[np.float64]]:
    """[N] of each channel and of what is made of them; undefined is below everything."""
    edits, table = measured.edits, measured.table
    lines = table.commits.lines_added
    judged = judge(edits, lines, measured.past, None, settings)
    out = {name: edits.channels[:, i] for i, name in enumerate(CHANNELS)}
    out |= {f"{name} p": -np.log(judged.channels[name].p_tail) for name in CHANNELS}
    out["surprise"] = judged.surprise
    out["unit"] = -np.log(judged.units.p_tail)
    out["commit"] = -np.log(judged.commits.p_tail[edits.commit])
    out["lines added"] = lines[edits.commit].astype(np.float64)
    out["tokens changed"] = edits.size.astype(np.float64)
    return {name: np.where(np.isnan(v), -1e9, v) for name, v in out.items()}


def report(all_measured: Sequence[Measured], settings: ScoreSettings) -> None:
    """Print the table: kinds, means, size."""
    columns: dict[str, list[NDArray[np.float64]]] = {}
    for measured in all_measured:
        for name, values in scores(measured, settings).items():
            columns.setdefault(name, []).append(values)
    names = list(columns)
    values = np.column_stack([np.concatenate(c) for c in columns.values()])
    kind = np.concatenate([m.kind for m in all_measured])
    form = np.concatenate([m.form for m in all_measured])
    repository = np.repeat(np.arange(len(all_measured)), [len(m.kind) for m in all_measured])
    origin = np.concatenate([m.origin + 100_000 * i for i, m in enumerate(all_measured)])
    lines = values[:, names.index("lines added")].astype(np.int64)
    stratum = strata(lines, repository, kind < 0)
    bootstrap = Bootstrap(origin, RESAMPLES)
    ordinary = np.flatnonzero(kind < 0)
    out = sys.stdout.write
    out(" " * 18 + " ".join(f"{n[:9]:>9}" for n in names) + "      n\n")
    found, drawn, keys = [], [], []
    for k, name in enumerate(KINDS):
        for f, shown in enumerate(FORMS):
            suspects = np.flatnonzero((kind == k) & (form == f))
            compared = pairs(suspects, ordinary, stratum, origin)
            if not len(compared):
                continue
            value, resampled = auroc(values, compared, bootstrap, slice(0, RESAMPLES))
            found.append(value)
            drawn.append(resampled)
            keys.append(KINDS[name].trained)
            cells = " ".join(f"{v:9.3f}" for v in value)
            out(f"{name:9}{shown:9}{cells} {len(np.unique(compared.suspect)):6}\n")
    trained = np.array(keys)
    every = np.stack(drawn)
    for label, chosen in (("mean", trained | True), ("unseen kinds", ~trained)):
        mean = np.mean([f for f, c in zip(found, chosen, strict=True) if c], 0)
        out(f"{label:18}" + " ".join(f"{v:9.3f}" for v in mean) + "\n")
        at = names.index("surprise")
        low, high = interval(np.nanmean(every[chosen], 0)[:, at])
        out(f"  surprise {mean[at]:.3f} ({low:.3f} to {high:.3f})\n")
    worst = np.min(np.stack(found), 0)
    out(f"{'worst kind':18}" + " ".join(f"{v:9.3f}" for v in worst) + "\n")
    ranks = np.stack([np.argsort(np.argsort(v[ordinary])) for v in values.T])
    rho = np.corrcoef(ranks)[names.index("lines added")]
    out(f"{'rank corr. lines':18}" + " ".join(f"{v:9.3f}" for v in rho) + "\n")


def main() -> None:
    """Measure each clone, print one table over all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clones", nargs="+", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--save", type=Path, help="keep what was measured, for trying combinations")
    options = parser.parse_args()
    settings = ScoreSettings()
    model = load_model(Path(), options.model)
    done = []
    for clone in options.clones:
        measured = measure_clone(clone, model, settings, options.count)
        if measured is None:
            sys.stderr.write(f"{clone}: too few edits of functions\n")
            continue
        done.append(measured)
        sys.stderr.write(
            f"{measured.name}: {len(measured.kind)} edits, {len(measured.past.edits)} past ones\n"
        )
    if options.save:
        options.save.write_bytes(pickle.dumps(done))
    report(done, settings)


if __name__ == "__main__":
    main()
