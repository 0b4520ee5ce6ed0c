"""A folder in, a Hugging Face encoder of 16 dimensions with random weights in it out."""

from __future__ import annotations

from pathlib import Path

import torch

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 30
"""Tokens that it reads at once."""


def write(folder: Path, *, safe: bool = True) -> Path:
    """Write it as the library does; without `safe`, its weights as a pickle."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *"0123456789_()[]{}=:+-*/.,<>'\"#@"]
    words += [f"##{c}" for c in f"{LETTERS}0123456789_"]
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=LONGEST)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=LONGEST + 2,
        )  # fmt: skip
        model = BertModel(config)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder
