"""Tiny pretrained dual encoders on disk, each as its own library saves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

WORDS = ["a", "cat", "dog", "red", "long", "tail", "very", "two", "of", "the"]
TEXTS = ["a red cat", "two dogs", "The DOG of a cat, with a very long tail!", "zebra"]


def write_word_pieces(folder: Path, *, lower: bool = False, **told: Any) -> Tokenizer:
    """A unigram tokenizer with SigLIP's special tokens: texts end with </s>, which also pads them."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS]
    pieces += [(letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!'"]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "</s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | told))
    return tokenizer


def write_siglip(folder: Path, *, seed: int = 0, image_size: int = 16, **told: Any) -> Path:
    """A SiglipModel of `transformers` with its tokenizer and preprocessor; ``told`` goes to the tokenizer."""
    from transformers import SiglipConfig, SiglipModel

    sizes = {"hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokenizer = write_word_pieces(folder, **told)
    text = sizes | {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 12}
    text |= {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1}
    vision = sizes | {"image_size": image_size, "patch_size": 8}
    torch.manual_seed(seed)
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too
            parameter.add_(0.05 * torch.randn_like(parameter))
        model.logit_scale.fill_(2.5)
        model.logit_bias.fill_(-3.0)
    model.save_pretrained(folder)
    size = {"height": image_size, "width": image_size}
    preprocessor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": size, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder
