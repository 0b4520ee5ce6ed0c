"""Several processes started by torchrun learn what one learns from the same batches."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from codewm.model.batches import prepare
from codewm.model.checkpoint import RunFolder
from codewm.model.distributed import Group
from codewm.model.dynamics import cache_targets, terms
from codewm.model.jepa import JEPA
from codewm.model.session import Pace, Session
from codewm.model.space import cache_latents, choose_reading, choose_space
from tests.model.synthetic import edit_table, tiny_config, tiny_model

TRAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.model.synthetic import TINY_SHAPE, edit_table, tiny_config
from codewm.model import teacher
from codewm.model.batches import prepare
from codewm.model.checkpoint import RunFolder
from codewm.model.train import train

teacher.STEP_EVERY = 1
config = tiny_config(steps=24, edits_per_step=65)
outcome = train(prepare([edit_table(400)], config), config, RunFolder(Path(sys.argv[1])), shape=TINY_SHAPE)
threads = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
print(len(outcome.rows), outcome.best_validation_r2, *sorted(t for t in threads if "gloo" in t))
"""
ROOT = Path(__file__).parents[2]


def trained(folder: Path, *launcher: str) -> list[list[str]]:
    """The words that each process prints."""
    script = folder.with_suffix(".py")
    script.write_text(TRAIN)
    command = [*launcher, str(script), str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return [line.split() for line in done.stdout.splitlines()]


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    assert trained(alone, sys.executable)[0][0] != "0"
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    said = trained(together, *launcher)
    assert sorted(rows != "0" for rows, *_ in said) == [False, True], "one process has the table"
    # A thread of the group that lives on when the interpreter ends aborts its process, now and then.
    assert [threads for _, _, *threads in said] == [[], []]

    def norms(folder: Path) -> list[float]:
        events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [e["gradient_norm"] for e in events if e["event"] == "step" and e["stage"] == 1]

    assert len(norms(alone)) == 10
    assert norms(together) == pytest.approx(norms(alone), rel=1e-4)
    assert (together / "weights.safetensors").is_file()


def test_the_gradients_of_the_processes_add_up_to_that_of_the_batch(tmp_path: Path) -> None:
    config = tiny_config(dropout=0.0)
    data = prepare([edit_table(400)], config)
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    session = Session(config, model.config, data, RunFolder(tmp_path), lambda event: None)
    choose_reading(session, model)
    cache = cache_latents(session, model)
    choose_space(session, model, cache, Pace(5, None))
    torch.nn.init.normal_(model.predictor.out.weight, std=0.1)
    targets = cache_targets(session, model, cache)
    batch = np.random.default_rng(0).permutation(len(data.fit))[:37]

    def gradients(group: Group) -> dict[str, torch.Tensor]:
        model.zero_grad()
        error, contrast, _, doubt = terms(
            replace(session, group=group), model, targets, batch, np.random.default_rng(1)
        )
        (error + contrast + doubt).backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    whole = gradients(Group())
    parts = [gradients(Group(rank, 3)) for rank in range(3)]
    assert {n.split(".")[0] for n in whole} == {"predictor", "critic"}
    for name, gradient in whole.items():
        total = sum((part[name] for part in parts), torch.zeros_like(gradient))
        assert torch.allclose(total, gradient, rtol=1e-3, atol=1e-5 * float(gradient.abs().max())), name
        assert not torch.allclose(parts[0][name], gradient, rtol=1e-2), name
