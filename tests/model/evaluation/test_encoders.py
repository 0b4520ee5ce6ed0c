"""Claims:

1. An encoder from a local folder gives the mean of its last hidden states over every token of the text, however long;
   nobody's padding changes it.
2. Weights that are a pickle, code of the model's own, and a folder without a model are refused.
3. Counts are counts; an edit's displacement is turned around by undoing it; TF-IDF is scikit-learn's.
4. An untrained encoder has the model's shape and other weights; its seed decides which.
5. A model that reads other tokens than stores hold is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import codewm_core as core
from codewm.corpus.errors import UserError
from codewm.model.evaluation import encoders, world
from codewm.model.evaluation.encoders import Features, States
from codewm.model.evaluation.pretrained import Pretrained, load
from tests.model.evaluation import tiny_encoder
from tests.scoring.random_model import write_random_model

SHORT = "def f(x): return x"
LONG = "def long_name(items): " + "total = total + items.size " * 20


def quiet(text: str) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder.write(tmp_path_factory.mktemp("hf") / "tiny")


@pytest.fixture(scope="module")
def tiny(folder: Path) -> Pretrained:
    return load(folder, quiet)


def alone(tiny: Pretrained, ids: list[int]) -> np.ndarray:
    with torch.inference_mode():
        hidden = tiny.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    out: np.ndarray = hidden.sum(0).numpy()
    return out


def test_mean_over_every_token(tiny: Pretrained) -> None:
    assert tiny.longest == tiny_encoder.LONGEST
    said = tiny.encode([SHORT, LONG, SHORT, ""])
    assert said.shape == (4, 16)
    first, last = tiny.tokenizer.cls_token_id, tiny.tokenizer.sep_token_id
    for text, row in ((SHORT, said[0]), (LONG, said[1])):
        ids = tiny.tokenizer(text, add_special_tokens=False)["input_ids"]
        room = tiny_encoder.LONGEST - 2
        pieces = [[first, *ids[i : i + room], last] for i in range(0, len(ids), room)]
        expected = sum(alone(tiny, p) for p in pieces) / sum(map(len, pieces))
        assert np.allclose(row, expected, atol=1e-5)
    assert len(LONG) > 100
    assert (said[0] == said[2]).all()
    changed = tiny.encode([LONG + "z"])[0]
    assert not np.allclose(changed, said[1], atol=1e-6), "the end of a long text counts"
    assert np.allclose(tiny.encode([SHORT])[0], said[0], atol=1e-5)


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="safetensors"):
        load(tiny_encoder.write(tmp_path / "pickle", safe=False), quiet)
    with pytest.raises(UserError, match="no folder with a model"):
        load(tmp_path, quiet)
    own = tiny_encoder.write(tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    config |= {"model_type": "magic", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}}
    (own / "config.json").write_text(json.dumps(config))
    ran = tmp_path / "ran"
    (own / "code.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(UserError, match="cannot load"):
        load(own, quiet)
    assert not ran.exists()
    other = tiny_encoder.write(tmp_path / "more" / "tiny")
    with pytest.raises(UserError, match="called alike"):
        encoders.pretrained([folder, other], quiet)


def states(*sources: str) -> States:
    return States(*core.tokenize([s.encode() for s in sources]), sources)


def test_counts_and_weighted_counts() -> None:
    held = states("x = 1\n", "x = 1\nx = 1\n", "y = f(2)\n")
    counts = encoders.counts(held)
    assert counts.shape == (3, core.VOCAB_SIZE)
    assert counts.sum(1).tolist() == np.diff(held.offsets).tolist()
    for i in range(3):
        mine = held.tokens[held.offsets[i] : held.offsets[i + 1]]
        assert (counts[i] == np.bincount(mine, minlength=core.VOCAB_SIZE)).all()
    idf = np.log(4 / (1 + (counts > 0).sum(0))) + 1
    assert np.allclose(encoders.tf_idf(held).encode(held), counts * idf, rtol=1e-5)


def test_undoing_turns_a_displacement_around() -> None:
    x = np.random.default_rng(0).standard_normal((5, 7)).astype(np.float32)
    rows = np.arange(5)
    turned, still = (
        Features("d", np.concatenate([x, -x])),
        Features("z", np.concatenate([x, -x]), turns=False),
    )
    assert turned.similarity(rows, rows + 5, sign=-1).argmax(1).tolist() == rows.tolist()
    assert turned.similarity(rows, rows).argmax(1).tolist() == rows.tolist()
    assert (still.similarity(rows, rows, sign=-1) == still.similarity(rows, rows)).all()
    sizes = Features("size", np.array([[1.0], [2.0], [5.0]], np.float32), by_difference=True)
    assert sizes.similarity(np.array([0]), np.arange(3))[0].tolist() == [0, -1, -4]


def test_an_untrained_encoder() -> None:
    base = world.load("base", threads=1)
    held = states("def f(x):\n    return x + 1\n", "class A:\n    y = 2\n")
    a, b = (encoders.untrained(base, seed=s) for s in (0, 1))
    again = encoders.untrained(base, seed=0)
    assert a is not None
    assert b is not None
    assert again is not None
    own = base.online(held.tokens, held.offsets)
    assert a.encode(held).shape == own.shape
    assert not np.allclose(a.encode(held), own)
    assert not np.allclose(a.encode(held), b.encode(held))
    assert (a.encode(held) == again.encode(held)).all()


def test_other_tokens_are_refused(tmp_path: Path) -> None:
    ours = world.load(str(write_random_model(tmp_path / "m.safetensors")))
    encoders.require([ours])
    with pytest.raises(UserError, match="other tokens"):
        encoders.require([ours, SimpleNamespace(name="theirs", tokenizer="paper")])  # type: ignore[list-item]
