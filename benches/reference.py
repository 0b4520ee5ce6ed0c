"""A model and clones in, the same model with a reference sample of their ordinary edits out.

    python benches/reference.py MODEL CLONE [CLONE ...]

Repositories with little history are compared with this sample (`codewm.model.scoring.reference`). The clones must
be ones that the model was trained on, never those of the evaluation list. Rewrites MODEL; weights are untouched.
"""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from codewm.corpus.git import Repository
from codewm.model.scoring.engine_model import load_model
from codewm.model.scoring.gather import build
from codewm.model.scoring.reference import dump_reference, parse_reference
from codewm.model.scoring.settings import ScoreSettings


def main() -> None:
    """Measure, embed and say what was embedded."""
    path, clones = Path(sys.argv[1]), sys.argv[2:]
    pasts = []
    for clone in clones:
        with Repository.open(clone) as repo:
            model = load_model(repo.data_dir, str(path))
            pasts.append(build(repo, repo.head(), model, ScoreSettings()))
    text = dump_reference(pasts)
    reference = parse_reference(text)
    assert reference is not None, "what was written cannot be read back"
    with safe_open(path, framework="numpy") as stored:
        metadata = stored.metadata()
    temporary = path.with_suffix(".tmp")
    save_file(load_file(path), temporary, metadata={**metadata, "calibration": text})
    temporary.replace(path)
    sys.stdout.write(
        f"{len(reference.edits)} edits of {len(reference.lines_added)} commits, {len(text)} bytes\n"
    )


if __name__ == "__main__":
    main()
