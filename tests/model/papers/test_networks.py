"""Claims: the networks have the published sizes, and padding is read or not as the config says.

1. Parameters of each part equal the published counts, of the code's and of the text's encoder.
2. With a mask a latent does not depend on the width that it was padded to; without, it does.
3. Sinusoids are those of Vaswani et al. by their formula.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from codewm.model.papers.config import resolve
from codewm.model.papers.networks import Networks, sinusoids
from tests.model.papers.made import networks, recipe


def count(module: nn.Module) -> int:
    """Its parameters."""
    return sum(p.numel() for p in module.parameters())


def test_published_parameter_counts() -> None:
    code = Networks(resolve("encoder-collapse", "published", 662, {"window": 512}).network)
    assert count(code.online) == 349_568
    assert count(code.action) == 17_536
    assert count(code.predictor) == 396_800
    assert [count(p) for p in code.projectors] == [66_432, 66_432]
    assert count(code) == 1_246_336
    text = Networks(resolve("encoder-collapse", "text", 662, {"window": 512}).network)
    # The text's learned positions take 513 x 128 more than its own count of the encoder, which has none.
    assert count(text.online) == 349_568 - 66_176 + 513 * 128
    repair = Networks(resolve("readout-repair", "published", 700, {"window": 512}).network)
    assert (count(repair.online), count(repair.action)) == (354_432, 18_560)


@pytest.mark.parametrize("readout", ["cls", "attention"])
@pytest.mark.parametrize("mask", [True, False])
def test_padding_is_read_only_without_a_mask(readout: str, mask: bool) -> None:
    chosen = recipe(readout=readout, mask_padding=mask)
    encoder = networks(chosen).online.eval()
    tokens = torch.randint(20, 200, (3, 8))
    lengths = torch.tensor([8, 8, 8])
    padded = torch.cat([tokens, torch.zeros(3, 8, dtype=torch.long)], 1)
    same = torch.allclose(encoder(tokens, lengths), encoder(padded, lengths), atol=1e-5)
    assert same is mask


def test_sinusoids() -> None:
    table = sinusoids(5, 8)
    for at in range(5):
        for i in range(4):
            angle = at / 10_000 ** (2 * i / 8)
            assert float(table[at, 2 * i]) == pytest.approx(math.sin(angle), abs=1e-5)
            assert float(table[at, 2 * i + 1]) == pytest.approx(math.cos(angle), abs=1e-5)
