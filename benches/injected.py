"""Clones in, catch rates of injected edits out: how channels and their weights were chosen (docs/lab-log.md).

    python benches/injected.py CLONE [CLONE ...] [--model FILE] [--count 60]

Each clone's history up to HEAD is the past. One function of HEAD's tree at a time is corrupted; the edit is
scored as a one-file commit. Printed per kind: mean size-matched percentile of each channel (50 is chance),
and the share of commits that alert at 2 in 100. Do not tune on the repositories of the hook bar (click).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import codewm_core as core
from codewm.corpus.git import CommitRecord, FileChange, Repository
from codewm.corpus.history import Replay, harvest_live, name_hash
from codewm.model.evaluation.injection import PAYLOADS
from codewm.model.scoring import channels
from codewm.model.scoring.channels import CHANNELS, measure
from codewm.model.scoring.engine_model import ScoringModel, load_model
from codewm.model.scoring.gather import build
from codewm.model.scoring.past import Past
from codewm.model.scoring.score import judge
from codewm.model.scoring.settings import ScoreSettings

Body = list[str]


class Function:
    """One function of a file: its signature stays, its body is played with."""

    def __init__(self, path: bytes, oid: str, source: bytes, unit: core.Unit) -> None:
        self.path, self.oid = path, oid
        self.lines = source.decode("utf-8").split("\n")
        self.start, self.end = unit.start_line - 1, unit.end_line
        head = next(
            (i for i in range(self.start, self.end) if self.lines[i].rstrip().endswith(":")), self.start
        )
        self.body_start = head + 1
        body = self.lines[self.body_start : self.end]
        first = next((line for line in body if line.strip()), "")
        self.indent = len(first) - len(first.lstrip())

    @property
    def body(self) -> Body:
        """Lines after the signature, without the indent."""
        return [line[self.indent :] for line in self.lines[self.body_start : self.end]]

    def with_body(self, body: Body) -> bytes:
        """Return the whole file with another body in this function."""
        inside = [" " * self.indent + line if line.strip() else line for line in body]
        return "\n".join(self.lines[: self.body_start] + inside + self.lines[self.end :]).encode()


def functions(repo: Repository, revision: str) -> Iterator[Function]:
    """Yield the non-test functions and methods of 4 to 60 lines."""
    files = [
        f
        for f in repo.tree_python_blobs(revision)
        if not channels.is_test_path(f[0].decode("utf-8", "replace"))
    ]
    for (path, oid, _), (_, source) in zip(files, repo.read_blobs([f[1] for f in files]), strict=True):
        if source is None or b"\r" in source:
            continue
        for unit in core.units(source):
            if unit.kind in {"function", "method"} and 4 <= unit.end_line - unit.start_line < 60:
                try:
                    function = Function(path, oid, source, unit)
                except UnicodeDecodeError:
                    break
                if function.indent and len(function.body) > 1:
                    yield function


def swap(victim: Function, others: list[Function], rng: random.Random) -> Body:
    """The body of a function of another module."""
    return rng.choice([o for o in others if o.path != victim.path]).body


def foreign(victim: Function, others: list[Function], rng: random.Random) -> Body:
    """Two to five lines of a function of another module, put before the last line."""
    donor = rng.choice([o for o in others if o.path != victim.path]).body
    n = rng.randint(2, 5)
    at = rng.randrange(max(1, len(donor) - n))
    return [*victim.body[:-1], *donor[at : at + n], victim.body[-1]]


def payload(victim: Function, others: list[Function], rng: random.Random) -> Body:
    """Code that decodes, runs or sends something, put first or before the last line."""
    lines = rng.choice(PAYLOADS).split("\n")
    at = rng.choice([0, len(victim.body) - 1])
    return [*victim.body[:at], *lines, *victim.body[at:]]


def dropped(victim: Function, others: list[Function], rng: random.Random) -> Body:
    """One line gone (only the displacement can see that)."""
    at = rng.randrange(len(victim.body))
    return victim.body[:at] + victim.body[at + 1 :]


def flipped(victim: Function, others: list[Function], rng: random.Random) -> Body:
    """One comparison, constant or boolean turned around."""
    turns = {
        " == ": " != ",
        " is not None": " is None",
        " and ": " or ",
        "True": "False",
        " < ": " > ",
        "0": "1",
    }
    text = "\n".join(victim.body)
    possible = [t for t in turns if t in text]
    if not possible:
        return victim.body
    turn = rng.choice(possible)
    return text.replace(turn, turns[turn], 1).split("\n")


Corrupt = Callable[[Function, list[Function], random.Random], Body]
KINDS: dict[str, Corrupt] = {
    "swap": swap,
    "payload": payload,
    "foreign": foreign,
    "dropped": dropped,
    "flipped": flipped,
}


def corrupted(victim: Function, corrupt: Corrupt, others: list[Function], rng: random.Random) -> bytes | None:
    """Return a corrupted file that still parses, or None where ten tries gave none."""
    for _ in range(10):
        content = victim.with_body(corrupt(victim, others, rng))
        with contextlib.suppress(SyntaxError, ValueError):
            ast.parse(content)
            return content
    return None


def check(repo: Repository, past: Past, model: ScoringModel, settings: ScoreSettings, count: int) -> None:
    """Print one row per kind."""
    victims = list(functions(repo, repo.head()))
    sys.stdout.write(f"{repo.git_dir.parent.name}: {len(past.edits)} past edits, {len(victims)} functions\n")
    for kind, corrupt in KINDS.items():
        rng = random.Random(kind)
        records = []
        for victim in rng.sample(victims, min(count, len(victims))):
            content = corrupted(victim, corrupt, victims, rng)
            if content is None:
                continue
            change = FileChange("M", victim.path, victim.path, victim.oid, None, "100644", "100644", content)
            records.append(CommitRecord("", (), "", "", 0, 0, "", (change,)))
        table = harvest_live(repo, records, window=model.window, action=model.action)
        edits, _ = measure(model.engine, table, past.names, settings.names, 0)
        # `measure` lets commits learn from each other; each corruption here stands alone.
        before = past.names.look_up(name_hash(table.names))[table.name_ids]
        alone = Replay(before, past.gained[:0], past.gained_in[:0])
        edits.channels[:, CHANNELS.index("new_identifiers")] = channels.new_identifiers(
            table, alone, settings.names
        )[edits.row]
        judged = judge(edits, table.commits.lines_added, past, None, settings)
        shown = defaultdict(list)
        for name in CHANNELS:
            shown[name] = [float(np.nanmean(judged.channels[name].percentile_matched))]
        p = judged.commits.p_value[~np.isnan(judged.commits.p_value)]
        parts = "  ".join(f"{name} {v[0]:5.1f}" for name, v in shown.items())
        unit = float(np.nanmean(judged.units.percentile_matched))
        sys.stdout.write(
            f"  {kind:8} {parts}  unit {unit:5.1f}  commit p<=.02: {np.mean(p <= 0.02):.2f}  p<=.05: "
            f"{np.mean(p <= 0.05):.2f}  median p {np.median(p):.3f}  n={len(p)}\n"
        )


def main() -> None:
    """Run the check on each clone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clones", nargs="+", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=60)
    options = parser.parse_args()
    settings = ScoreSettings()
    for clone in options.clones:
        with Repository.open(clone) as repo:
            model = load_model(repo.data_dir, options.model)
            past = build(repo, repo.head(), model, settings)
            check(repo, past, model, settings, options.count)


if __name__ == "__main__":
    main()
