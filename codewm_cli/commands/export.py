"""`codewm export`: a training run's best checkpoint in, one engine model file out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from codewm.cli import console
from codewm.corpus.errors import UserError


def run(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="The file to write.")],
    repo: Annotated[Path, typer.Option("--repo", help="A folder inside the repository.")] = Path(),
    checkpoint: Annotated[
        Path | None, typer.Option("--run", help="A run's folder. Default: the newest one of the repository.")
    ] = None,
    quant: Annotated[
        str, typer.Option("--quant", metavar="f32|int8", help="How weights are stored.")
    ] = "int8",
) -> None:
    """Write the best checkpoint of a training run as an engine model.

    Metrics and provenance are taken over from the repository's model when it came from the same weights.
    """
    if find_spec("torch") is None:
        raise UserError("exporting needs torch, which is not installed", "pip install 'codewm[train]'")
    from codewm.corpus.git import Repository
    from codewm.model.export import export_copy

    about: Path | None = None
    if checkpoint is None:
        with Repository.open(repo) as repository:
            runs = sorted(
                (repository.data_dir / "runs").glob("*/weights.safetensors"), key=lambda p: p.stat().st_mtime
            )
            about = repository.data_dir / "model.safetensors"
        if not runs:
            raise UserError("this repository has no trained model", "'codewm train' makes one")
        checkpoint = runs[-1].parent
    weights = checkpoint / "weights.safetensors"
    if not weights.is_file():
        raise UserError(f"'{checkpoint}' holds no weights.safetensors", "name the folder of a training run")
    export_copy(weights, about if about is not None and about.is_file() else None, output, quant)
    console.say(f"{output.stat().st_size / 1e6:.2f} MB ({quant}) written to {output}")
