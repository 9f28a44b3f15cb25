"""Tiny pretrained models on disk, as `transformers` saves them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,"
MERGES = ["c a", "ca t</w>", "d o", "do g</w>", "r e", "re d</w>"]
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]


def write_clip(folder: Path, *, seed: int = 0, image_size: int = 16) -> Path:
    """A CLIPModel with weights, CLIP's vocabulary and merges, and a preprocessor with a mean of its own."""
    from transformers import CLIPConfig, CLIPModel

    size = write_clip_vocabulary(folder)
    start, end = size - 2, size - 1
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = sizes | {"vocab_size": size, "max_position_embeddings": 12}
    text |= {"projection_dim": 10, "bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    vision = sizes | {"hidden_size": 24, "image_size": image_size, "patch_size": 8, "projection_dim": 10}
    torch.manual_seed(seed)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=10)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder


def write_clip_vocabulary(folder: Path) -> int:
    """CLIP's tokenizer over a small vocabulary; returns its size, whose last two ids start and end texts."""
    tokens = [*LETTERS, *(f"{c}</w>" for c in LETTERS), *("".join(m.split()) for m in MERGES)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return len(tokens)


def write_bert(folder: Path, *, seed: int = 0) -> Path:
    """A BertModel with weights and a word-piece tokenizer."""
    from transformers import BertConfig, BertModel

    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"abcdefgh",
        "cat",
        "dog",
        "red",
        "##s",
        "##ish",
        ".",
    ]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    sizes = {"hidden_size": 12, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(seed)
    BertModel(BertConfig(vocab_size=len(tokens), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
