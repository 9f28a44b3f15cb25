"""Words in any script, right by hand; a saved vocabulary keeps the rule that it was made by."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.encoders.config import BagConfig, TokenizerConfig
from limbeck.encoders.features import BagBackbone
from limbeck.encoders.tokenizer import train_tokenizer
from limbeck.files import read_json, write_json
from limbeck.preprocess.words import words
from raising import raises_code

RIGHT = {
    "किताब और कुताब": ["किताब", "और", "कुताब"],  # Hindi: vowel signs are part of a word
    "كِتَابٌ جَمِيل": ["كِتَابٌ", "جَمِيل"],  # Arabic with its vowel marks
    "می\u200cخواهم": ["می\u200cخواهم"],  # Persian: a joiner within a word
    "İstanbul'da istanbul": ["istanbul", "da", "istanbul"],  # Turkish: the dotted capital
    "红色的猫": ["红", "色", "的", "猫"],  # Chinese: no blanks between words
    "猫がコーヒーを2杯": ["猫", "が", "コ", "ー", "ヒ", "ー", "を", "2", "杯"],  # Japanese
    "แมวสีน้ำ": ["แ", "ม", "ว", "สี", "น้", "ำ"],  # Thai: a mark stays with its letter
    "한국어 문장": ["한국어", "문장"],  # Korean has blanks
    "தமிழ் ਪੰਜਾਬੀ": ["தமிழ்", "ਪੰਜਾਬੀ"],  # Tamil, Gurmukhi
    "a red 猫 in Tōkyō2020年": ["a", "red", "猫", "in", "tōkyō2020", "年"],
    "Don't STOP_it, 3.5 m²": ["don", "t", "stop_it", "3", "5", "m²"],
    "cafe\u0301 Straße": ["café", "strasse"],
    "q\u0303uz": ["q\u0303uz"],  # a letter that has no composed form
    " \u0301, . \U0001f408": [],
}


@pytest.mark.parametrize("text", RIGHT)
def test_words_by_hand(text: str) -> None:
    for form in ("NFC", "NFD"):
        assert words(unicodedata.normalize(form, text)) == RIGHT[text]


# Python and the tokenizers library may know different releases of Unicode; both know this old one.
OLD = st.characters(codec="utf-8").filter(lambda c: unicodedata.ucd_3_2_0.category(c) != "Cn")


@given(st.text(OLD, max_size=40))
def test_no_letter_and_no_digit_is_lost(text: str) -> None:
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    folded = folded.replace("i\u0307", "i")
    wanted = [c for c in folded if unicodedata.category(c)[0] in "LN" and unicodedata.category(c) != "Cn"]
    kept = [c for c in "".join(words(text)) if unicodedata.category(c)[0] in "LN"]
    assert kept == wanted


@given(st.text("abcXYZéüñßçøÅ çŞ 019_-.,'αβΓжЩё", max_size=40))
def test_european_letters_give_the_words_of_the_first_rule(text: str) -> None:
    assert words(text, 1) == words(text, 2)


def test_the_bag_tells_hindi_words_apart() -> None:
    texts = ["लाल किताब", "नीली कुताब", "红色的猫", "蓝色的狗"]
    bag = BagBackbone(BagConfig())
    bag.fit(texts, seed=0)
    assert "किताब" in bag.preprocessor.index
    counts = bag.collate(["किताब", "कुताब", "红猫", "红色的猫"])["counts"]
    assert not torch.equal(counts[0], counts[1])
    assert float(counts[2] @ counts[3]) == pytest.approx(2 / (2**0.5 * 4**0.5))


def test_a_saved_vocabulary_keeps_its_rule(tmp_path: Path) -> None:
    """What limbeck 0.1 wrote is a plain list, and reads texts as it did."""
    before = BagBackbone(BagConfig())
    write_json(tmp_path / "vocabulary.json", ["क", "त", "ब", "red"])
    before.load_assets(tmp_path)
    found = before.collate(["किताब red"])["counts"]
    torch.testing.assert_close(found, torch.full((1, 4), 0.5))
    before.save_assets(tmp_path)
    assert read_json(tmp_path / "vocabulary.json") == ["क", "त", "ब", "red"]
    bag = BagBackbone(BagConfig())
    bag.fit(["किताब red"], seed=0)
    bag.save_assets(tmp_path)
    again = BagBackbone(BagConfig())
    again.load_assets(tmp_path)
    assert (again.rule, again.vocabulary) == (2, ["red", "किताब"])
    write_json(tmp_path / "vocabulary.json", {"rule": 9, "words": ["a"]})
    with raises_code("E-FILE-VERSION", "vocabulary.json:"):
        again.load_assets(tmp_path)


def test_the_word_tokenizer_knows_chinese_characters() -> None:
    texts = ["红色的猫坐着", "蓝色的狗", "İstanbul'da किताब", "แมวสีแดง"]
    tokenizer = train_tokenizer(texts, TokenizerConfig(kind="word"))
    assert tokenizer.encode("蓝猫").tokens == ["[SOS]", "蓝", "猫", "[EOS]"]
    assert tokenizer.encode("ISTANBUL किताब कुताब").tokens == ["[SOS]", "istanbul", "किताब", "[UNK]", "[EOS]"]
    assert tokenizer.encode("สีแดง").tokens == ["[SOS]", "สี", "แ", "ด", "ง", "[EOS]"]
    again = type(tokenizer).from_str(tokenizer.to_str())
    assert again.encode("蓝猫").ids == tokenizer.encode("蓝猫").ids
