"""Claims:

1. A padded state has the latent it has alone; a latent is the mean of what goes into the loops and of what comes out.
2. An untrained world model predicts the copy exactly, and its read-out learns from there.
3. Principal components have variance 1, largest first; whitening gives training states mean 0 and the identity as
   covariance; the floor bounds the gain of both.
4. A frozen ruler is the encoder and its three maps, and nothing else.
5. Parameter names and shapes are those of the engine's format.
6. t(EMPTY) is moved towards the mean state, and nothing else is.
7. What stands in a range of tokens is the mean of their embeddings and of their features, whatever the padding, and 0
   if it is empty; the predictor reads each range, and a reading of 0 is one it can do without.
"""

from __future__ import annotations

import pytest
import torch

import codewm_core
from codewm.corpus.errors import UserError
from codewm.model import losses
from codewm.model.encoder import principal, whitening
from codewm.model.jepa import JEPA, RULER
from codewm.model.space import place_empty
from tests.engine import oracle
from tests.model.synthetic import tiny_model


def batch(lengths: list[int], width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(8, codewm_core.VOCAB_SIZE, (len(lengths), width), generator=generator)
    real = torch.tensor(lengths)
    return tokens.masked_fill(torch.arange(width) >= real[:, None], codewm_core.PAD), real


def test_padding_does_not_change_a_latent() -> None:
    torch.manual_seed(0)
    encoder = JEPA(tiny_model()).encoder
    tokens, lengths = batch([1, 3, 17, 40], 64)
    together = encoder(tokens, lengths)
    assert together.shape == (4, 32)
    for i, n in enumerate(lengths.tolist()):
        alone = encoder(tokens[i : i + 1, :n], lengths[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, atol=2e-6, rtol=1e-5)


def test_a_latent_is_two_means() -> None:
    torch.manual_seed(0)
    encoder = JEPA(tiny_model()).encoder
    tokens, lengths = batch([4, 9], 9)
    latent = encoder(tokens, lengths)
    for i, n in enumerate(lengths.tolist()):
        placed = encoder.embedding(tokens[i, :n]) + encoder.position.weight[:n]
        torch.testing.assert_close(latent[i, :16], placed.mean(0))
        features = encoder.hidden(tokens, lengths)[i, :n]
        torch.testing.assert_close(latent[i, 16:], features.mean(0))
    torch.testing.assert_close(encoder.embedded(encoder.embedding(tokens), lengths), latent)


def test_what_stands_in_a_range() -> None:
    torch.manual_seed(0)
    encoder = JEPA(tiny_model()).encoder
    tokens, lengths = batch([4, 9, 1], 12)
    ranges = torch.tensor([[[0, 4], [3, 4], [2, 2]], [[0, 9], [5, 8], [0, 1]], [[0, 0], [0, 1], [0, 1]]])
    at = encoder.at(tokens, lengths, ranges)
    assert at.shape == (3, 3, 32)
    features = encoder.hidden(tokens, lengths)
    for i, unit in enumerate(ranges.tolist()):
        for k, (start, end) in enumerate(unit):
            if start == end:
                assert not at[i, k].any()
                continue
            torch.testing.assert_close(at[i, k, :16], encoder.embedding(tokens[i, start:end]).mean(0))
            torch.testing.assert_close(at[i, k, 16:], features[i, start:end].mean(0))
    alone = encoder.at(tokens[:1, :4], lengths[:1], ranges[:1])
    torch.testing.assert_close(alone, at[:1], atol=2e-6, rtol=1e-5)


def test_each_range_is_read_by_the_same_map_and_by_the_predictor() -> None:
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    torch.nn.init.normal_(model.predictor.out.weight)
    at = torch.randn(4, 5, 32)
    read = model.read(at)
    torch.testing.assert_close(read.view(4, 5, 6)[:, 3], model.reading(at[:, 3]))
    latent, action = torch.randn(4, 32), torch.randn(4, 15)
    d_hat = model(latent, read, action)
    for k in range(5):
        other = read.clone()
        other[:, 6 * k : 6 * k + 6] = 0
        assert not torch.allclose(model(latent, other, action), d_hat)


def test_an_untrained_model_predicts_the_copy() -> None:
    model = JEPA(tiny_model())
    latent = model.encoder(*batch([5, 9], 9))
    assert torch.equal(model(latent, torch.randn(2, 30), torch.randn(2, 15)), torch.zeros(2, 8))


def test_the_read_out_learns_from_the_copy() -> None:
    model = JEPA(tiny_model())
    latent = model.encoder(*batch([5, 9], 9))
    losses.displacement_error(
        model(latent, torch.randn(2, 30), torch.randn(2, 15)), torch.randn(2, 8), torch.ones(2), 2
    ).backward()
    gradient = model.predictor.out.weight.grad
    assert gradient is not None
    assert float(gradient.norm()) > 0


def test_the_doubt_knows_all_it_is_told() -> None:
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    told = [torch.randn(6, n) for n in (32, 32, 8, 15)]
    doubt = model.doubt(*told)
    assert doubt.shape == (6,)
    for i in range(4):
        other = [x.roll(1, 0) if k == i else x for k, x in enumerate(told)]
        assert not torch.allclose(model.doubt(*other), doubt)


def latents() -> torch.Tensor:
    torch.manual_seed(0)
    spread = torch.diag(torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5, 1e-4]))
    return torch.randn(4000, 6) @ spread @ torch.linalg.qr(torch.randn(6, 6)).Q + 5


def test_whitening_of_states() -> None:
    z = latents()
    weight, bias = whitening(z, 1e-2)
    white = z @ weight.T + bias
    torch.testing.assert_close(white.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
    values = torch.linalg.eigvalsh(torch.cov(white.T))
    torch.testing.assert_close(values[1:], torch.ones(5), atol=1e-2, rtol=0)
    assert float(values[0]) < 1e-3
    # The largest eigenvalue is about 9, so no direction is amplified more than 1 / sqrt(0.09).
    assert float(torch.linalg.eigvalsh(weight).max()) < 1.1 / 0.09**0.5
    torch.testing.assert_close(weight, weight.T)


def test_principal_components() -> None:
    z = latents()
    weight, bias = principal(z, 4, 1e-2)
    found = z @ weight.T + bias
    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(found.T), torch.eye(4), atol=1e-2, rtol=0)
    # A component's gain is one over the deviation it had: they come largest first.
    deviations = 1 / weight.norm(dim=1)
    assert (deviations.diff() <= 1e-4).all()
    torch.testing.assert_close(deviations[:2], torch.tensor([3.0, 2.0]), atol=0.1, rtol=0)
    weakest = principal(z, 6, 1e-2)[0][5]
    assert float(weakest.norm()) == pytest.approx(1 / (0.1 * float(deviations[0])), rel=1e-3)


def test_a_frozen_ruler() -> None:
    model = JEPA(tiny_model())
    model.freeze_ruler()
    still = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert {n.split(".")[0] for n in still} == {"encoder", "state", "target", "reading"}
    assert still == {n for n, _ in model.named_parameters() if n.startswith(RULER)}


def test_names_and_shapes_are_those_of_the_file_format() -> None:
    config = tiny_model()
    expected = oracle.names_and_shapes(oracle.Shape(**vars(config)))
    assert {n: tuple(v.shape) for n, v in JEPA(config).state_dict().items()} == expected


def test_no_map_has_more_dimensions_than_a_latent() -> None:
    assert tiny_model(latent=32, reading=32).width == 32
    assert tiny_model(reading=7).read == 5 * 7
    for name in ("latent", "reading"):
        with pytest.raises(UserError, match=f"{name} 33"):
            tiny_model(**{name: 33})
        with pytest.raises(UserError, match=f"{name} must be"):
            tiny_model(**{name: 0})


def test_the_empty_state_is_placed_near_the_mean() -> None:
    torch.manual_seed(0)
    model = JEPA(tiny_model())
    model.target.bias.data.fill_(0.2)
    model.target.weight.data.mul_(torch.linspace(0.2, 2, 32))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    empty = torch.tensor([[codewm_core.EMPTY]]), torch.ones(1)

    def far() -> float:
        return float(model.target(model.encoder(*empty)).detach().norm())

    at_first = far()
    place_empty(model)
    assert far() < 0.3 * at_first
    now = model.state_dict()
    assert [n for n, v in now.items() if not torch.equal(v, before[n])] == ["encoder.embedding.weight"]
    changed = now["encoder.embedding.weight"] != before["encoder.embedding.weight"]
    assert changed.any(1).nonzero().flatten().tolist() == [codewm_core.EMPTY]
    assert model.encoder.embedding.weight.grad is None
