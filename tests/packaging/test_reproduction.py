"""Claims:

1. Every table and figure of both papers has a row in docs/reproduction.md, and no row is left without our side.
2. `reproduce.sh` trains both recipes in both modes and their variants of single tables over three seeds, and two
   runs of single tables, calls every suite of the papers, and what is finished is not done again; bad arguments are
   refused with the usage. No suite is asked of a run that is not there yet.
3. A run that was stopped is resumed, one that was killed before it kept anything begins again, and a folder with
   figures of one size takes none of another. What each part took is written down. A suite that fails does not keep the
   others from being run, is named at the end, and is asked again; an interrupt ends everything.
4. Every command of it is one that codewm takes, and leaves rows behind (`smoke`, on made repositories).
5. `reproduction.py` shows the mean over seeds with its nulls, or the only seed, leaves what is not there empty, and no
   quantity of it is unknown to the suites.
"""

from __future__ import annotations

import json
import re
import shlex
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from benches.reproduction import QUANTITIES
from codewm.cli.main import main
from tests.model.evaluation.repository import build

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benches" / "reproduce.sh"
# Quantities that need two repositories never trained on, or 128 edits in one gallery.
WANT_MORE = {
    "s1 over unseen repositories", "the same, one space", "MRR@10, joint, other repositories, predicted",
    "MRR@10, joint, other repositories, target", "MRR of 10, K = 9, others' distractors, predicted",
    "KNN@5, galleries of 128",
}  # fmt: skip
SUITES = {"collapse", "rollout", "geometry", "audit", "retrieval", "probe", "quantisation", "latency"}


@pytest.mark.parametrize(("paper", "tables", "figures"), [("CodeWM-1", 20, 4), ("CodeWM-2", 11, 1)])
def test_every_table_and_figure_has_a_row(paper: str, tables: int, figures: int) -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    section = text.split(f"## {paper}")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| where")]
    where = " ".join(row.split("|")[1] for row in rows)
    for kind, count in (("Table", tables), ("Figure", figures)):
        missing = [i for i in range(1, count + 1) if not re.search(rf"\b{kind} {i}\b", where)]
        assert not missing, f"{paper}: no row for {kind} {missing}"
    for row in rows:
        cells = [cell.strip() for cell in row.replace("\\|", "").strip("| ").split("|")]
        assert len(cells) == 5, row
        assert all(cells), row


@pytest.fixture
def codewm(tmp_path: Path) -> Path:
    """Something that writes down what it was asked for, and leaves the files that the real one would."""
    fake = tmp_path / "codewm"
    fake.write_text(
        "#!/usr/bin/env bash\n"
        f"printf '%q ' \"$@\" >> {tmp_path}/said; echo >> {tmp_path}/said\n"
        'said="$*"\n'
        "while [ $# -gt 0 ]; do case $1 in\n"
        '--out) touch "$2";;\n'
        '--output) mkdir -p "$2"; touch "$2/weights.safetensors";;\n'
        "esac; shift; done\n"
    )
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    return fake


def asked(tmp_path: Path, codewm: Path, scale: str) -> tuple[list[list[str]], str]:
    """Arguments of every command of a run of the script since the last time, and what it said."""
    for folder in ("clones/a", "unseen/b c"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / "said").unlink(missing_ok=True)
    places = [str(tmp_path / name) for name in ("clones", "unseen", "out")]
    done = subprocess.run(
        ["bash", str(SCRIPT), str(codewm), scale, *places], check=True, capture_output=True, text=True
    )
    said = tmp_path / "said"
    return [shlex.split(line) for line in said.read_text().splitlines()] if said.exists() else [], done.stderr


def trained(commands: list[list[str]]) -> list[list[str]]:
    return [c for c in commands if c[0] == "train"]


def test_everything_is_run_once(tmp_path: Path, codewm: Path) -> None:
    commands, _ = asked(tmp_path, codewm, "small")
    runs = trained(commands)
    assert len({tuple(c) for c in runs}) == len(runs) == (2 * 2 + 3) * 3 + 2
    there: set[str] = set()
    for c in commands:
        named = {value for name, value in pairwise(c) if name == "--model"}
        assert named <= there | {"base"}
        there |= {c[c.index("--output") + 1]} if c[0] == "train" else set()
    assert {Path(run).name for run in there} >= {"width-192-s0", "curve-s0", "readout-repair-text-s2"}
    assert {c[1] for c in commands if c[0] == "eval"} == SUITES
    assert any(
        c[:2] == ["eval", "rollout"] and str(tmp_path / "unseen/b c") in c and c.count("--model") == 3
        for c in commands
    )
    parts = [line.split("\t") for line in (tmp_path / "out/times.tsv").read_text().splitlines()]
    assert len(parts) == len(commands)
    assert all(float(wall) >= 0 and float(spent) >= 0 for _, wall, spent in parts)
    again, said = asked(tmp_path, codewm, "small")
    assert again == []
    assert "done before" in said


def test_what_was_stopped_goes_on(tmp_path: Path, codewm: Path) -> None:
    asked(tmp_path, codewm, "small")
    stopped, killed = (tmp_path / "out/runs" / f"readout-repair-text-s{i}" for i in (0, 1))
    for run in (stopped, killed):
        (run / "weights.safetensors").unlink()
        (run / "metrics.jsonl").touch()
    (stopped / "state.safetensors").touch()
    first, second = asked(tmp_path, codewm, "small")[0]
    assert str(stopped) in first
    assert "--resume" in first
    assert str(killed) in second
    assert "--resume" not in second
    assert not (killed / "metrics.jsonl").exists()  # `train` refuses a folder with a run in it


@pytest.mark.parametrize(("status", "ended"), [(2, 1), (130, 130)])
def test_a_suite_fails(tmp_path: Path, codewm: Path, status: int, ended: int) -> None:
    working = codewm.read_text()
    codewm.write_text(f'{working}case $said in "eval geometry "*) exit {status};; esac\n')
    with pytest.raises(subprocess.CalledProcessError) as failed:
        asked(tmp_path, codewm, "smoke")
    assert failed.value.returncode == ended
    done = {path.stem for path in (tmp_path / "out").glob("*.done")}
    assert ("latency-base" in done) == (ended == 1)
    assert not any(name.startswith("geometry") for name in done)
    if ended == 1:
        assert "not done: geometry-base geometry-encoder-collapse-published " in failed.value.stderr
        codewm.write_text(working)
        again, _ = asked(tmp_path, codewm, "smoke")
        assert {c[1] for c in again} == {"geometry"}


def test_sizes_do_not_mix(tmp_path: Path, codewm: Path) -> None:
    asked(tmp_path, codewm, "smoke")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        asked(tmp_path, codewm, "small")
    assert refused.value.returncode == 2
    assert "smoke" in refused.value.stderr


@pytest.mark.long
def test_every_command_works(tmp_path: Path, codewm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The script's own commands, here and not in forty processes that each import torch."""
    for place, count, modules in (
        ("clones/a", 40, "ab"), ("clones/b", 40, "ab"), ("unseen/b c", 60, "abcdefghijklmnopqrst"),
    ):  # fmt: skip
        made = build(tmp_path / "made" / Path(place).name, count, modules)
        (tmp_path / place).parent.mkdir(exist_ok=True)
        made.path.rename(tmp_path / place)  # beside it lies a home, which is no clone
    commands, _ = asked(tmp_path, codewm, "smoke")
    out = tmp_path / "out"
    for left in (out / "corpus.h5", *(out / "runs").glob("*/weights.safetensors")):
        left.unlink()
    for command in commands:
        status = main(command)
        assert status == 0, (command, capsys.readouterr().err[-2000:])
        if command[0] == "eval":
            read = json.loads(Path(command[command.index("--json") + 1]).read_text(encoding="utf-8"))
            assert read["finished"]
            assert read["rows"], command
    shown = table(out, "encoder-collapse-published")
    assert all(cell for _, _, cell in shown)
    assert {q.title for q in QUANTITIES} - {title for _, title, _ in shown} == WANT_MORE


def table(out: Path, *names: str) -> list[list[str]]:
    """Cells of the table of a folder, without its two first lines."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benches" / "reproduction.py"), str(out), *names],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]


def test_the_table_has_the_mean_and_its_nulls(tmp_path: Path) -> None:
    row = {"metric": "copy_cosine", "subset": "modified, states", "interval": [0.5, 0.7], "data": ""}
    seed = {**row, "value": 0.9, "nulls": {}, "model": "s0"}
    mean = {**row, "value": 0.6, "nulls": {"unrelated_states": 0.25, "other": 0.1}}
    for name, rows in (("a", [{**seed, "data": "click"}, seed, mean]), ("b", [seed]), ("unseen-a", [])):
        (tmp_path / f"rollout-{name}.json").write_text(json.dumps({"rows": rows}))
    found = {"metric": "reciprocal_rank_at_10", "subset": "same joint", "interval": None, "data": ""}
    encoders = [("s0 target", 0.2), ("s1 target", 0.4), ("s0 online", 0.9)]
    rows = [{**found, "encoder": e, "value": v, "nulls": {"copy": 2 * v}} for e, v in encoders]
    (tmp_path / "retrieval-b.json").write_text(json.dumps({"rows": rows}))
    copied, retrieved = table(tmp_path)
    assert copied[1:] == [
        "copy cosine",
        "0.600 [0.500, 0.700]; unrelated states 0.250",
        "0.900 [0.500, 0.700]",
    ]
    assert retrieved[1:] == ["MRR@10, joint label, target", "", "0.300 (0.200 to 0.400); copy 0.600"]
    assert table(tmp_path, "b", "c")[0][2:] == ["0.900 [0.500, 0.700]", ""]


@pytest.mark.parametrize("arguments", [[], ["codewm", "huge", "a", "b", "c"]])
def test_bad_arguments_are_refused(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(["bash", str(SCRIPT), *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr or "smoke, small or full" in done.stderr
