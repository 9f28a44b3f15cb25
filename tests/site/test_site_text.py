"""The page splits every text exactly as Python does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hard_texts import hard_texts
from javascript import needs_node, run_js
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from limbeck.encoders.config import TokenizerConfig
from limbeck.encoders.tokenizer import train_tokenizer
from limbeck.errors import LimbeckError
from limbeck.preprocess import Preprocessor
from limbeck.preprocess.text import BagPreprocessor, ConcatPreprocessor, TokenPreprocessor
from limbeck.preprocess.words import words
from limbeck.site.text_tower import Unsupported, preprocess_settings

TEXTS = hard_texts(150)
CODE = """
return value.map(({ told, texts }) => {
  const read = site.text.preprocessor(told);
  return texts.map((text) => {
    const arrays = Object.entries(read.arrays(text)).map(([name, one]) => [name, Array.from(one.d), one.s]);
    return [arrays, read.knows(text)];
  });
});
"""


def word_pieces() -> Tokenizer:
    """BERT's way: parts of words, without accents and case, between two frame tokens."""
    pieces = sorted(
        {piece for text in TEXTS for word in text.lower().split() for piece in (word[:3], "##" + word[3:6])}
    )
    vocabulary = {
        word: number
        for number, word in enumerate(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *pieces]))
    }
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def preprocessors() -> dict[str, Preprocessor]:
    word = train_tokenizer(TEXTS[:150], TokenizerConfig(kind="word"))
    pairs = train_tokenizer(TEXTS[:150], TokenizerConfig(kind="bpe", vocabulary_size=300))
    bags = {
        rule: BagPreprocessor(sorted({w for text in TEXTS[:99] for w in words(text, rule)}), rule)
        for rule in (1, 2)
    }
    return {
        "word": TokenPreprocessor(word, 0, 24, known="token"),
        "lower": TokenPreprocessor(word, 0, 20, known="word", lower=True),
        "pairs": TokenPreprocessor(pairs, 0, 40, known="token", canonical=True),
        "pieces": TokenPreprocessor(word_pieces(), 0, 64, known="word"),
        "prefix": TokenPreprocessor(
            word_pieces(), 0, 16, known="word", prefix="query: ", canonical=True, whole=True
        ),
        "bag 1": bags[1],
        "bag 2": bags[2],
        "concat": ConcatPreprocessor([bags[2], TokenPreprocessor(word, 0, 24, known="token")]),
    }


def known(read: Preprocessor, text: str) -> bool:
    try:
        read.check_query(text)
    except LimbeckError:
        return False
    return True


@needs_node
def test_texts_become_the_same_arrays() -> None:
    readers = preprocessors()
    asked = [{"told": preprocess_settings(read), "texts": TEXTS} for read in readers.values()]
    for (name, read), answers in zip(readers.items(), run_js(CODE, asked), strict=True):
        assert len({bool(knows) for _, knows in answers}) == 2, f"{name}: no text is unknown, or all are"
        for text, (arrays, knows) in zip(TEXTS, answers, strict=True):
            expected = read([text])
            got = {key: np.array(numbers).reshape(shape) for key, numbers, shape in arrays}
            assert got.keys() == expected.keys(), name
            for key, array in expected.items():
                padded = np.full_like(array, 0)
                if key.endswith("input_ids"):
                    padded += read.pad if isinstance(read, TokenPreprocessor) else 0
                padded[:, : got[key].shape[1]] = got[key]  # the page leaves out the padding at the end
                assert np.array_equal(padded, array), (name, text)
                if key.endswith("attention_mask") and name != "prefix":  # the tower of which sees it
                    assert got[key].all(), (name, text)
            assert knows == known(read, text), (name, text)


@needs_node
def test_a_text_is_refused_as_in_python() -> None:
    told = {
        "preprocess": preprocess_settings(preprocessors()["bag 2"]),
        "program": {"tensors": [], "nodes": []},
    }
    code = """
    const tower = new site.text.TextTower(value.told, new ArrayBuffer(0));
    return value.texts.map((text) => { try { tower.encode(text); } catch (error) { return error.code; } });
    """
    assert run_js(code, {"told": told, "texts": ["x" * 20_001, "qqqqq", "half \ud800"]}) == [
        "E-QUERY-FORM",
        "E-QUERY-WORDS",
        "E-QUERY-FORM",
    ]


def changed(**parts: Any) -> TokenPreprocessor:
    stored = json.loads(train_tokenizer(["a dog"], TokenizerConfig()).to_str()) | parts
    return TokenPreprocessor(Tokenizer.from_str(json.dumps(stored)), 0, 16, known="token")


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        (
            {"normalizer": json.loads(normalizers.Replace(Regex("a+"), "b").__getstate__())},
            "normalizer Replace",
        ),
        ({"pre_tokenizer": json.loads(pre_tokenizers.ByteLevel().__getstate__())}, "pre-tokenizer ByteLevel"),
        ({"pre_tokenizer": json.loads(pre_tokenizers.Split(Regex("a"), "isolated").__getstate__())}, "Split"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "tokenizer BPE"),
    ],
)
def test_a_tokenizer_that_the_page_lacks_is_named(parts: dict[str, Any], named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        preprocess_settings(changed(**parts))
