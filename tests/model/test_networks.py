"""Claims:

1. A padded state has the latent it has alone, in both encoders.
2. An untrained world model predicts the copy exactly.
3. The prediction loss has a gradient at the online encoder, and none at the target.
4. Whitening gives training states mean 0 and identity covariance, and its floor bounds the gain.
5. Parameter names are those of the engine's format.
6. t(EMPTY) is moved towards the mean state, and nothing else is.
"""

from __future__ import annotations

import pytest
import torch

import codewm_core
from codewm.model import losses
from codewm.model.encoder import whitening
from codewm.model.jepa import JEPA
from codewm.model.teacher import place_empty
from tests.model.synthetic import tiny_model


def batch(lengths: list[int], width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(8, codewm_core.VOCAB_SIZE, (len(lengths), width), generator=generator)
    real = torch.tensor(lengths)
    return tokens.masked_fill(torch.arange(width) >= real[:, None], codewm_core.PAD), real


@pytest.mark.parametrize("name", ["online", "target"])
def test_padding_does_not_change_a_latent(name: str) -> None:
    torch.manual_seed(0)
    encoder = getattr(JEPA(tiny_model()), name)
    tokens, lengths = batch([1, 3, 17, 40], 64)
    together = encoder(tokens, lengths)
    for i, n in enumerate(lengths.tolist()):
        alone = encoder(tokens[i : i + 1, :n], lengths[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=2e-6, rtol=1e-5)


def test_an_untrained_model_predicts_the_copy() -> None:
    model = JEPA(tiny_model())
    tokens, lengths = batch([5, 9], 9)
    assert torch.equal(model(tokens, lengths, torch.randn(2, 15)), torch.zeros(2, 16))


def test_the_prediction_trains_the_online_encoder_and_never_the_target() -> None:
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    model.freeze_target()
    torch.nn.init.normal_(model.predictor.out.weight, std=0.1)
    before, after = batch([5, 9], 9), batch([7, 8], 8, seed=1)
    d_hat = model(*before, torch.randn(2, 15))
    d = model.displacement(before, after)
    losses.displacement_error(d_hat, d, torch.ones(2)).backward()
    online = [p.grad for p in model.online.parameters()]
    assert all(g is not None for g in online)
    assert sum(float(g.norm()) for g in online if g is not None) > 1e-3
    assert all(p.grad is None for p in model.target.parameters())
    assert not d.requires_grad


def test_the_read_out_learns_from_the_copy() -> None:
    model = JEPA(tiny_model())
    model.freeze_target()
    tokens, lengths = batch([5, 9], 9)
    losses.displacement_error(
        model(tokens, lengths, torch.randn(2, 15)), torch.randn(2, 16), torch.ones(2)
    ).backward()
    gradient = model.predictor.out.weight.grad
    assert gradient is not None
    assert float(gradient.norm()) > 0


def test_whitening_of_states() -> None:
    torch.manual_seed(0)
    z = torch.randn(4000, 6) @ torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5, 1e-4])) + 5
    weight, bias = whitening(z, 1e-2)
    white = z @ weight.T + bias
    torch.testing.assert_close(white.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
    covariance = torch.cov(white.T)
    torch.testing.assert_close(covariance[:5, :5], torch.eye(5), atol=1e-2, rtol=0)
    assert float(covariance[5, 5]) < 1e-3
    # The largest eigenvalue is about 9, so no direction is amplified more than 1 / sqrt(0.09).
    assert float(torch.linalg.eigvalsh(weight).max()) < 1.1 / 0.09**0.5


def test_names_are_those_of_the_file_format() -> None:
    names = set(JEPA(tiny_model()).state_dict())
    block = {f"{ln}.{x}" for ln in ("ln1", "ln2") for x in ("weight", "bias")} | {
        f"{m}.{x}" for m in ("attn.qkv", "attn.out", "mlp.up", "mlp.down") for x in ("weight", "bias")
    }
    expected = {"predictor.type"}
    for encoder in ("target", "online"):
        expected |= {
            f"{encoder}.{n}" for n in ("embedding.weight", "position.weight", "norm.weight", "norm.bias")
        }
        expected |= {f"{encoder}.block.{n}" for n in block}
    expected |= {"target.whiten.weight", "target.whiten.bias"}
    expected |= {f"action.{m}.{x}" for m in ("up", "down") for x in ("weight", "bias")}
    expected |= {f"predictor.blocks.{i}.{n}" for i in (0, 1) for n in block}
    expected |= {f"predictor.{m}.{x}" for m in ("norm", "out") for x in ("weight", "bias")}
    assert names == expected


def test_the_empty_state_is_placed_near_the_mean() -> None:
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    empty = torch.tensor([[codewm_core.EMPTY]]), torch.ones(1)
    far = float(model.target(*empty).detach().norm())
    model.target.whiten.bias.data.fill_(0.2)
    model.target.whiten.weight.data.mul_(torch.linspace(0.2, 2, 16))
    far = float(model.target(*empty).detach().norm())
    place_empty(model)
    assert float(model.target(*empty).detach().norm()) < 0.8 * far
    now = model.state_dict()
    changed = now["target.embedding.weight"] != before["target.embedding.weight"]
    assert changed.any(1).nonzero().flatten().tolist() == [codewm_core.EMPTY]
