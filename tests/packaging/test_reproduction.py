"""Claims:

1. Every table and figure of both papers has a row in docs/reproduction.md, and no row is left without our side.
2. `reproduce.sh` trains both recipes in both modes over three seeds, calls every suite of the papers, and what is
   finished is not done again; bad arguments are refused with the usage.
"""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benches" / "reproduce.sh"
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
        f'echo "$*" >> {tmp_path}/said\n'
        "while [ $# -gt 0 ]; do case $1 in\n"
        '--out) touch "$2";;\n'
        '--output) mkdir -p "$2"; touch "$2/weights.safetensors";;\n'
        "esac; shift; done\n"
    )
    fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
    return fake


def test_everything_is_run_once(tmp_path: Path, codewm: Path) -> None:
    for folder in ("clones/a", "unseen/b c"):
        (tmp_path / folder).mkdir(parents=True)
    command = ["bash", str(SCRIPT), str(codewm), "small", str(tmp_path / "clones"), str(tmp_path / "unseen")]
    command.append(str(tmp_path / "out"))
    subprocess.run(command, check=True, capture_output=True)
    said = (tmp_path / "said").read_text().splitlines()
    trained = [line for line in said if line.startswith("train ")]
    assert len(trained) == 2 * 2 * 3
    assert len({re.sub(r"--output \S+", "", line) for line in trained}) == len(trained)
    asked = [line.split()[1] for line in said if line.startswith("eval ")]
    assert set(asked) == SUITES
    assert any(
        "eval rollout" in line and "unseen/b c" in line and line.count("--model") == 3 for line in said
    )
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert (tmp_path / "said").read_text().splitlines() == said
    assert "done before" in again.stderr


@pytest.mark.parametrize("arguments", [[], ["codewm", "huge", "a", "b", "c"]])
def test_bad_arguments_are_refused(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(["bash", str(SCRIPT), *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage" in done.stderr or "small or full" in done.stderr
