"""Tokenizers: trained from captions with the `tokenizers` library, or loaded from a directory or the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from limbeck.encoders.config import TokenizerConfig
from limbeck.encoders.sources import check_code, hub_closed, incomplete, local_folder, transformer_folder
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.preprocess.text import UNKNOWN
from limbeck.preprocess.words import isolate_characters, single_dot

PAD, START, END = "[PAD]", "[SOS]", "[EOS]"
_FILES = (
    {"tokenizer.json"},
    {"vocab.json", "merges.txt"},
    {"vocab.txt"},
    {"spiece.model"},
    {"tokenizer.model"},
)
_ENDS = (END, "<|endoftext|>", "[SEP]", "</s>", "<eos>")


def train_tokenizer(texts: Sequence[str], config: TokenizerConfig) -> tokenizers.Tokenizer:
    """Fit a lower-casing, NFC word or BPE tokenizer; ids depend on the texts only, not on their order.

    Words are those of `limbeck.preprocess.words`, and each run of punctuation is another word. A BPE
    tokenizer finds the parts of unspaced scripts itself.
    """
    model = models.WordLevel(unk_token=UNKNOWN) if config.kind == "word" else models.BPE(unk_token=UNKNOWN)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase(), single_dot()])
    split = [isolate_characters()] if config.kind == "word" else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, pre_tokenizers.Whitespace()])
    kind = trainers.WordLevelTrainer if config.kind == "word" else trainers.BpeTrainer
    trainer = kind(
        vocab_size=config.vocabulary_size, special_tokens=[PAD, UNKNOWN, START, END], show_progress=False
    )
    tokenizer.train_from_iterator(sorted(texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(t, tokenizer.token_to_id(t)) for t in (START, END)]
    )
    return tokenizer


def load_tokenizer(source: str) -> tokenizers.Tokenizer:
    """Load the fast tokenizer of a directory or hub id (see `tokenizer_of`)."""
    return tokenizer_of(local_folder(source), source)


def tokenizer_of(folder: Path, source: str) -> tokenizers.Tokenizer:
    """Load the fast tokenizer of a folder: ``tokenizer.json``, or CLIP's vocabulary and merges.

    Raises:
        LimbeckError: the folder has no usable tokenizer, or has its own code; the error names ``source``.
    """
    folder = transformer_folder(folder)
    check_code(folder, source)
    names = {file.name for file in folder.iterdir()}
    if not any(own <= names for own in _FILES):
        raise incomplete(source, "its tokenizer (tokenizer.json, or vocab.json with merges.txt)")
    at_fault = "tokenizer"
    try:
        if (folder / "tokenizer.json").is_file():
            return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        from transformers import AutoConfig, AutoTokenizer

        at_fault = "config.json"  # is read on the way to the tokenizer
        with hub_closed():
            if at_fault in names and "model_type" in read_json(folder / at_fault):
                AutoConfig.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
            at_fault = "tokenizer"
            fast = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
        inner = fast._tokenizer
        if inner is None or len(fast) <= len(fast.all_special_tokens):
            raise ValueError("its tokenizer has no vocabulary")
        return tokenizers.Tokenizer.from_str(inner.to_str())
    except Exception as error:  # the Rust side raises bare Exception
        reason = " ".join(str(error).split()) or type(error).__name__
        raise LimbeckError(
            f"{source}: its {at_fault} cannot be loaded ({reason[:160]}); restore its files",
            code="E-MODEL-DAMAGED",
        ) from error


def special_ids(tokenizer: tokenizers.Tokenizer) -> tuple[int, int]:
    """Return (padding id, end id); CLIP pads with its end token.

    Raises:
        LimbeckError: the tokenizer has no end-of-text token.
    """
    end = next((i for t in _ENDS if (i := tokenizer.token_to_id(t)) is not None), None)
    if end is None:
        raise LimbeckError(
            f"tokenizer: has no end-of-text token among {', '.join(_ENDS)}", code="E-MODEL-UNSUPPORTED"
        )
    pad = next((i for t in (PAD, "<pad>") if (i := tokenizer.token_to_id(t)) is not None), end)
    return pad, end


def padding_id(folder: Path, tokenizer: tokenizers.Tokenizer) -> int:
    """Return the id with which a source pads, by its ``tokenizer_config.json``, else by `special_ids`."""
    file = folder / "tokenizer_config.json"
    told = read_json(file).get("pad_token") if file.is_file() else None
    token = told.get("content") if isinstance(told, dict) else told
    found = tokenizer.token_to_id(token) if isinstance(token, str) else None
    return special_ids(tokenizer)[0] if found is None else found
