"""Units per second of the Rust engine beside torch: same machine, same weights, same real units.

Usage: python -m benches.engine [--units N] [--rounds N] [--json PATH], from the repository's root. Encodes
with the encoder (3 loops) units of at most 128 tokens, as they come from this interpreter's own Python
files. Torch runs the project's own modules, in the better of two forms (attention written out, or its fused
kernel), with batches of 32 sorted by length so that padding costs it little. Rounds alternate between all
contenders, and the best of each is shown: noise only ever slows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import codewm_core
from codewm.model.config import ModelConfig
from codewm.model.encoder import Attention
from codewm.model.jepa import JEPA
from tests.engine import oracle
from tests.engine.real_units import Unit, natural_units, ragged

LONGEST = 128
SHAPE = oracle.Shape()


class FusedAttention(torch.nn.Module):
    """The same attention by torch's fused kernel."""

    def __init__(self, plain: Attention) -> None:
        super().__init__()
        self.qkv, self.out, self.heads = plain.qkv, plain.out, plain.heads

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """x [B, S, D], bias [B, 1, 1, S] -> [B, S, D]."""
        B, S, D = x.shape
        q, k, v = self.qkv(x).view(B, S, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(B, S, D))
        return out


def batches(units: list[Unit], size: int) -> list[tuple[Tensor, Tensor]]:
    """Padded tokens [B, S] and lengths [B], sorted by length."""
    ordered = sorted(units, key=len)
    out = []
    for first in range(0, len(ordered), size):
        group = ordered[first : first + size]
        tokens = torch.zeros(len(group), len(group[-1]), dtype=torch.long)
        for row, unit in zip(tokens, group, strict=True):
            row[: len(unit)] = torch.from_numpy(unit.astype(np.int64))
        out.append((tokens, torch.tensor([len(u) for u in group])))
    return out


def best_seconds(contenders: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Shortest time of each contender over rounds that alternate between them, after one warm-up."""
    best = dict.fromkeys(contenders, float("inf"))
    for done in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if done:
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def flops(units: list[Unit]) -> float:
    """Multiplications and additions of all products of the encoder."""
    D, M = SHAPE.dim, SHAPE.mlp
    return sum(SHAPE.loops * 2.0 * len(u) * (4 * D * D + 2 * D * M + 2 * len(u) * D) for u in units)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    units = natural_units(options.units, seed=11, longest=LONGEST)
    tokens, offsets = ragged(units)
    weights = oracle.random_weights(SHAPE, seed=1)
    rounded, _ = oracle.rounded(weights)
    engines = {
        "engine f32": codewm_core.Engine.from_bytes(oracle.model_file(weights, SHAPE)),
        "engine int8": codewm_core.Engine.from_bytes(oracle.model_file(rounded, SHAPE, quant="int8")),
    }
    model = JEPA(ModelConfig(**vars(SHAPE))).eval()
    model.load_state_dict(weights)
    written_out: torch.nn.Module = model.encoder.block.attn
    fused = FusedAttention(model.encoder.block.attn)
    padded = {size: batches(units, size) for size in (1, 32)}

    def torch_run(size: int, attention: torch.nn.Module) -> Callable[[], None]:
        def run() -> None:
            model.encoder.block.attn = attention  # type: ignore[assignment]
            with torch.inference_mode():
                for batch in padded[size]:
                    model.encoder(*batch)

        return run

    def engine_run(engine: codewm_core.Engine, threads: int) -> Callable[[], None]:
        def run() -> None:
            engine.encode(tokens, offsets, threads=threads)

        return run

    average = np.mean([len(u) for u in units])
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}; {len(units)} units of {average:.0f} tokens on average"
    )
    rows = []
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        contenders = {name: engine_run(engine, threads) for name, engine in engines.items()}
        for size in (1, 32):
            contenders[f"torch batch {size}, written out"] = torch_run(size, written_out)
            contenders[f"torch batch {size}, fused"] = torch_run(size, fused)
        taken = best_seconds(contenders, options.rounds)
        ours = taken["engine f32"]
        print(f"\n{threads} core{'s' if threads > 1 else ''}: {flops(units) / ours / 1e9:.0f} GFLOP/s in f32")
        for name, seconds in taken.items():
            print(f"  {name:32s} {len(units) / seconds:9.0f} units/s   engine f32 is {seconds / ours:5.2f}x")
        for size in (1, 32):
            peer = min(taken[f"torch batch {size}, {form}"] for form in ("written out", "fused"))
            rows.append(row(f"f32_vs_torch_batch{size}", peer / ours, len(units), threads))
        rows.append(row("int8_vs_f32", ours / taken["engine int8"], len(units), threads))
    exact, approximate = (e.encode(tokens, offsets).astype(np.float64) for e in engines.values())
    cosine = (
        (exact * approximate).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(approximate, axis=1)
    )
    rows.append(row("int8_min_cosine", float(cosine.min()), len(units), 0))
    print(f"\nint8: lowest cosine to f32 {cosine.min():.5f}")
    if options.json:
        body = {
            "schema": "codewm.eval/1",
            "suite": "engine",
            "model": "random",
            "data": "own files",
            "rows": rows,
        }
        options.json.write_text(json.dumps(body, indent=2) + "\n")


def row(metric: str, value: float, n: int, threads: int) -> dict[str, object]:
    """One row of the eval schema; 0 threads where they do not matter."""
    return {"metric": metric, "value": value, "interval": None, "n": n, "nulls": {}, "threads": threads}


if __name__ == "__main__":
    main()
