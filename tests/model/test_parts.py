"""Claims:

1. Configs survive a JSON round trip; an unknown key anywhere is an error, as are impossible values.
2. Length batches cover every position once, keep to the token and row budgets, have few shapes, and follow from
   the seed; masked positions are real ones, and their number follows from the shape.
3. Encoding many states at once equals encoding each alone.
4. Merging tables keeps every edit's tokens and shares equal states; states by their ids are those tokens.
5. A draw takes as many edits of each repository as of any other that has them, and never more than asked for.
6. Corrupted states differ from the true ones, fit the window, and each family does what it says.
7. An export loads back: exactly in f32, within half a step per row in int8; foreign and damaged files are refused.
8. `codewm train` end to end writes a model, and its words for bad input.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import codewm_core
from codewm.cli.main import main
from codewm.corpus.errors import UserError
from codewm.model import corrupt, export
from codewm.model.batches import WIDTHS, _draw, length_batches, pad, prepare, width
from codewm.model.checkpoint import RunFolder
from codewm.model.config import TrainConfig, from_json, from_mapping, to_json
from codewm.model.jepa import JEPA
from codewm.model.latents import Latents
from codewm.model.session import Session
from codewm.model.teacher import mask_tokens
from tests.helpers import GitRepo
from tests.model.synthetic import edit_table, tiny_config, tiny_model


def test_config_round_trip() -> None:
    model, train = tiny_model(), tiny_config(seed=3)
    assert from_json(to_json(model, train)) == (model, train)


@pytest.mark.parametrize("part", ["", "model", "train"])
def test_unknown_keys_are_errors(part: str) -> None:
    body = json.loads(to_json(tiny_model(), tiny_config()))
    (body[part] if part else body)["lerning_rate"] = 1
    with pytest.raises(UserError, match="lerning_rate"):
        from_json(json.dumps(body))


@pytest.mark.parametrize(
    "values",
    [
        {"minutes": 1, "steps": 1},
        {"minutes": 0},
        {"precision": "f16"},
        {"holdout": 1.0},
        {"patience": 0},
        {"teacher_share": 0.5, "space_share": 0.5},
        {"space_floor": 0},
        {"whiten_floor": 2},
        {"steps": 2},
        {"space": "forseen"},
        {"dropout": 1.0},
        {"unread": 1.0},
        {"untold": 1.0},
        {"unread": -0.1},
    ],
)
def test_impossible_values(values: dict[str, object]) -> None:
    with pytest.raises(UserError):
        from_mapping(TrainConfig, values)


def test_length_batches() -> None:
    lengths = np.random.default_rng(0).integers(1, 257, 2_000)
    for rng in (None, np.random.default_rng(1)):
        batches = length_batches(lengths, 2_048, 64, rng)
        assert sorted(np.concatenate(batches).tolist()) == list(range(2_000))
        shapes = {(len(b), width(int(lengths[b].max()))) for b in batches}
        assert all(b <= 64 and b * s <= 2_048 for b, s in shapes)
        assert len(shapes) <= 2 * len(WIDTHS)
    first, again = (length_batches(lengths, 2_048, 64, np.random.default_rng(1)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other = length_batches(lengths, 2_048, 64, np.random.default_rng(2))
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    padded = sum(width(int(lengths[b].max())) * len(b) for b in first)
    assert padded < 1.15 * lengths.sum()


def test_masked_positions_are_real_and_as_many_as_the_shape_says() -> None:
    table = edit_table(40)
    for ids in (np.arange(30), np.array([0])):
        tokens, lengths = pad(table.tokens, table.offsets, ids)
        spoilt, chosen = mask_tokens(tokens, lengths, 0.2, np.random.default_rng(0))
        assert len(chosen) == max(1, int(0.15 * tokens.numel())) == len(set(chosen.tolist()))
        assert (tokens.flatten()[chosen] != codewm_core.PAD).all()
        changed = (spoilt != tokens).flatten().nonzero().flatten()
        assert set(changed.tolist()) <= set(chosen.tolist())
    assert 0.6 < float((spoilt.flatten()[chosen] == codewm_core.MASK).float().mean()) <= 1


@pytest.mark.parametrize("by_engine", [True, False])
def test_encoding_together_equals_alone(tmp_path: Path, by_engine: bool) -> None:
    data = prepare([edit_table(200)], tiny_config())
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    session = Session(tiny_config(), model.config, data, RunFolder(tmp_path), lambda event: None)
    latents = Latents(session, model)
    if not by_engine:
        object.__setattr__(latents, "_engine", None)
    ids = np.arange(40)[::-1].copy()
    together = latents.encode(data.states(ids))
    for row, i in enumerate(ids):
        tokens, lengths = pad(data.tokens, data.offsets, np.array([i]))
        alone = model.encoder(tokens, lengths)[0].detach().numpy()
        np.testing.assert_allclose(together[row], alone, atol=2e-5 if by_engine else 2e-6)


def test_merging_keeps_the_tokens() -> None:
    tables = [edit_table(200), edit_table(200, seed=1), edit_table(200)]
    data = prepare(tables, tiny_config())
    base = 0
    for table in tables:
        for i in (0, 50, 199):
            for old, new in ((table.before, data.before), (table.after, data.after)):
                a, b = int(old[i]), int(new[base + i])
                np.testing.assert_array_equal(
                    table.tokens[table.offsets[a] : table.offsets[a + 1]],
                    data.tokens[data.offsets[b] : data.offsets[b + 1]],
                )
        base += len(table)
    assert len(data.offsets) - 1 == len({h for t in tables for h in t.state_hash.tolist()})
    assert np.array_equal(data.before[:200], data.before[400:])


def test_states_by_their_ids() -> None:
    data = prepare([edit_table(200)], tiny_config())
    ids = np.array([7, 0, 7, 31])
    tokens, offsets = data.states(ids)
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [0, *np.cumsum(data.lengths[ids])]
    for i, state in enumerate(ids.tolist()):
        whole = data.tokens[data.offsets[state] : data.offsets[state + 1]]
        assert np.array_equal(tokens[offsets[i] : offsets[i + 1]], whole)
    tokens, offsets = data.states(ids[:0])
    assert (len(tokens), offsets.tolist()) == (0, [0])


@pytest.mark.parametrize("most", [4, 10, 37, 100, 160, 161, 300])
def test_a_draw_is_of_all_repositories_alike(most: int) -> None:
    sizes = np.array([3, 0, 90, 8, 60])
    home = np.random.default_rng(0).permutation(np.repeat(np.arange(5), sizes))
    ids = 1_000 + 2 * np.arange(161)
    drawn = _draw(ids, home, most, np.random.default_rng(1))
    assert len(drawn) <= most
    assert len(drawn) > most - 4 or len(drawn) == 161  # what cannot be shared out alike is left over
    assert (np.diff(drawn) > 0).all()
    assert set(drawn) <= set(ids)
    taken = np.bincount(home[np.searchsorted(ids, drawn)], minlength=5)
    share = taken.max()
    assert np.array_equal(taken, np.minimum(sizes, share))
    again = _draw(ids, home, most, np.random.default_rng(1))
    assert np.array_equal(drawn, again)


def test_prepare_draws_of_all_repositories_alike() -> None:
    tables = [edit_table(900), edit_table(200, seed=5)]
    data = prepare(tables, tiny_config(max_edits=160, max_validation=12))
    for drawn, most in ((data.fit, 160), (data.validation, 12)):
        first = int((data.commit[drawn] < 300).sum())
        assert (first, len(drawn) - first) == (most // 2, most // 2)


SOURCE = b"""def f(a, b):
    if a > 1:
        b = g(a, 2)
        a += b
    return [a, b]
"""
DONOR = b"""def other(x):
    while x:
        x = x.next
        print(x, 'y')
"""


def unit(source: bytes) -> np.ndarray:
    return codewm_core.units(source)[0].tokens


def test_statements_nest() -> None:
    rows = corrupt.statements(unit(SOURCE))
    assert len(rows) == 5  # def, if, two assignments, return
    assert rows[0].tolist()[:2] == [0, len(unit(SOURCE))]
    inner = rows[(rows[:, 0] > rows[1, 0]) & (rows[:, 1] <= rows[1, 1])]
    assert len(inner) == 2
    assert (inner[:, 2] == rows[1, 2] + 1).all()


@pytest.mark.parametrize("family", list(corrupt.FAMILIES))
def test_families(family: str) -> None:
    tokens, donor = unit(SOURCE), unit(DONOR)
    for seed in range(30):
        out = corrupt.FAMILIES[family](tokens, donor, np.random.default_rng(seed))
        assert out is not None
        if family == "drop":
            assert len(out) < len(tokens)
        elif family == "paste":
            assert len(out) > len(tokens)
        elif family == "mutate":
            assert len(out) == len(tokens)
            assert (out != tokens).sum() == 1
        elif family == "argument":
            assert sorted(out.tolist()) == sorted(tokens.tolist())
            assert (out != tokens).sum() == 2
        assert out[0] == tokens[0]


def test_corrupted_states_are_wrong_and_fit() -> None:
    table = edit_table(100)
    after = table.after.astype(np.int64)
    flat, offsets = corrupt.corrupt_many(table.tokens, table.offsets, after, after, window=32, seed=0)
    assert len(offsets) == 101
    assert offsets[-1] == len(flat)
    for i, _a in enumerate(after):
        out = flat[offsets[i] : offsets[i + 1]]
        assert 0 < len(out) <= 32
    again, _ = corrupt.corrupt_many(table.tokens, table.offsets, after, after, window=32, seed=0)
    assert np.array_equal(flat, again)


@pytest.mark.parametrize("quant", ["f32", "int8"])
def test_export_round_trip(tmp_path: Path, quant: str) -> None:
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    torch.nn.init.normal_(model.predictor.out.weight)
    path = tmp_path / "m.safetensors"
    export.export(
        path, model.state_dict(), model.config, quant=quant, metrics={"rows": []}, provenance={"seed": 1}
    )
    weights, config, metadata = export.load(path)
    assert config == model.config
    assert json.loads(metadata["provenance"]) == {"seed": 1}
    assert json.loads(metadata["action_names"]) == list(codewm_core.ACTIONS["v15"])
    assert json.loads(metadata["config"]) == asdict(model.config)
    assert set(weights) == set(model.state_dict())
    for name, tensor in model.state_dict().items():
        dtype = export.quantised(name, tensor) if quant == "int8" else torch.float32
        # Half a step of the row's largest value, which is 127 steps of int8 and at most 2^10 of f16.
        step = {torch.float32: 0.0, torch.int8: 1 / 127, torch.float16: 2**-10}[dtype]
        largest = tensor.abs().amax(-1, keepdim=True)
        assert ((weights[name] - tensor).abs() <= 0.5001 * step * largest).all(), name
    if quant == "int8":
        kinds = {dtype: n for n, t in model.state_dict().items() if (dtype := export.quantised(n, t))}
        assert set(kinds) == {torch.float32, torch.int8, torch.float16}
    JEPA(config).load_state_dict(weights)


def test_the_engine_reads_an_export(tmp_path: Path) -> None:
    """The engine and torch agree on f, r, t, g and the critic of an f32 export."""
    torch.manual_seed(0)
    model = JEPA(tiny_model(dim=32, heads=4, mlp=64))
    torch.nn.init.normal_(model.predictor.out.weight, std=0.1)
    export.export(tmp_path / "m.safetensors", model.state_dict(), model.config, quant="f32")
    engine = codewm_core.Engine.from_file(str(tmp_path / "m.safetensors"))
    table = edit_table(40)
    ids = np.arange(20)
    a = table.action[:20]
    tokens, lengths = pad(table.tokens, table.offsets, ids)
    ranges = torch.from_numpy(codewm_core.places(np.diff(table.offsets)[ids], a, "v15", 64))
    action = torch.from_numpy(a)
    with torch.no_grad():
        latent, read = model.encoder(tokens, lengths), model.read(model.encoder.at(tokens, lengths, ranges))
        t, d_hat = model.target(latent), model(latent, read, action)
        doubt = model.doubt(latent, latent.roll(1, 0), t - d_hat, action)
    f, r = engine.read(*table.states(ids), ids, a)
    np.testing.assert_allclose(latent, f, atol=5e-5)
    np.testing.assert_allclose(read, r, atol=5e-5)
    np.testing.assert_allclose(t, engine.target(f), atol=5e-5)
    np.testing.assert_allclose(d_hat, engine.predict(f, r, a), atol=5e-5)
    told = engine.doubt(f, np.roll(f, 1, 0), (t - d_hat).numpy(), a)
    np.testing.assert_allclose(doubt, told, atol=5e-5)


def test_foreign_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(UserError, match="cannot read model"):
        export.load(tmp_path / "junk")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(UserError, match="not a codewm"):
        export.load(tmp_path / "other.safetensors")


def test_the_command_on_a_real_history(git_repo: GitRepo, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    names = ["alpha", "beta", "gamma", "delta"]
    bodies = [["pass"] for _ in range(8)]
    for _ in range(60):
        for i in rng.choice(8, 3, replace=False):
            bodies[i].append(f"{names[rng.integers(4)]} = {names[rng.integers(4)]}({rng.integers(9)})")
        text = "\n".join(f"def f{i}(a):\n" + "".join(f"    {s}\n" for s in b) for i, b in enumerate(bodies))
        git_repo.write("m.py", text)
        git_repo.commit("change")
    where = str(git_repo.path)
    settings = [
        "--set",
        "bootstrap=20",
        "--set",
        "evaluations=1",
        "--from",
        "scratch",
        "--steps",
        "3",
        "--quiet",
        "--set",
        "threads=1",
    ]
    assert main(["train", where, "--json", *settings]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["schema"] == "codewm.eval/1"
    assert {"metric", "value", "interval", "n", "nulls"} <= set(body["rows"][0])
    model = git_repo.path / ".git" / "codewm" / "model.safetensors"
    assert codewm_core.Engine.from_file(str(model)).metadata["format"] == "codewm.model/4"
    assert main(["export", str(git_repo.path / "out.safetensors"), "--repo", where, "--quant", "f32"]) == 0
    assert (git_repo.path / "out.safetensors").stat().st_size > 2 * model.stat().st_size


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "nonsense=1"], "unknown TrainConfig key: nonsense"),
        (["--minutes", "1", "--steps", "5"], "either minutes or steps"),
        (["--from", "nowhere.safetensors"], "no such model file"),
        (["--resume"], "no unfinished run"),
    ],
)
def test_bad_input(
    git_repo: GitRepo, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    for i in range(80):
        git_repo.write("m.py", "\n".join(f"def f{j}():\n    return {i + j}\n" for j in range(3)))
        git_repo.commit("change")
    assert main(["train", str(git_repo.path), *words]) == 2
    assert said in capsys.readouterr().err
