"""Chains of texts: the rule on real captions, the order of captions, class paths, HierarCaps' file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from caption_trees import draw, run
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data.caption_chains import caption_chain, find_chains, read_chains
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from raising import raises_code


@pytest.mark.parametrize(
    ("caption", "chain"),
    [
        (
            "A child in a pink dress is climbing up a set of stairs in an entry way .",
            ["A child", "A child in a pink dress",
             "A child in a pink dress is climbing up a set of stairs in an entry way"],
        ),
        (
            "Two dogs playing in the snow, near a fence. They bark.",
            ["Two dogs playing", "Two dogs playing in the snow", "Two dogs playing in the snow, near a fence",
             "Two dogs playing in the snow, near a fence. They bark."],
        ),
        ("a red ball", ["a red ball"]),
        ("", []),
        ("dog", ["dog"]),
    ],
)  # fmt: skip
def test_chain_of_a_caption(caption: str, chain: list[str]) -> None:
    found = caption_chain(caption)
    assert [level.rstrip(" .") for level in found] == [level.rstrip(" .") for level in chain]


@given(st.text(st.sampled_from("ab ,.;:()!?") | st.characters(), max_size=80))
def test_each_level_is_longer_than_the_coarser_one(caption: str) -> None:
    chain = caption_chain(caption)
    lengths = [len(level) for level in chain]
    assert lengths == sorted(set(lengths))
    assert len(chain) <= 4


def chained(folder: Path) -> Pairs:
    columns = {
        "id": ["a", "b", "c"],
        "captions": [["a dog on the beach", "a dog", "an animal"], ["  "], ["boat", "boat."]],
        "path": [["animal", "dog"], [], ["vehicle"]],
    }
    Pairs.write(folder, columns, {"name": "p"})
    return Pairs.open(folder)


def test_sources_of_chains(tmp_path: Path) -> None:
    pairs, rows = chained(tmp_path / "p"), np.arange(3)
    by_order = read_chains(pairs, rows, "order")
    assert by_order.texts == [["an animal", "a dog", "a dog on the beach"]]
    assert (by_order.rows.tolist(), by_order.without) == ([0], 2)
    assert read_chains(pairs, rows, "path").texts == [["animal", "dog"]]
    assert read_chains(pairs, rows, "rule").texts == [["a dog", "a dog on the beach"]]
    assert find_chains(pairs, rows[1:], "rule").texts == []
    with raises_code("E-DATA-TEXT", "captions"):
        read_chains(pairs, rows[1:], "rule")


def test_the_rule_is_part_of_the_hash() -> None:
    plain = load_protocol("flickr8k/official")
    named = plain.model_copy(update={"chains": "rule"}).within(plain.context)
    assert plain.chain_source == named.chain_source == "rule"
    assert plain.hash != named.hash
    assert load_protocol("folder/retrieval-chains").chain_source == "order"


CSV = "id,captions,image_url\n" + "".join(
    f'{at},"animal => a dog => a dog, on sand => dog {at} on sand",http://x.org/val2014/p%20{at}.jpg\n'
    for at in range(2)
)


def test_hierarcaps(tmp_path: Path) -> None:
    draw(tmp_path / "src/pictures", ["p 0.jpg", "p 1.jpg"])
    (tmp_path / "src/hierarcaps.csv").write_text(CSV)
    pairs, report = run("hierarcaps", tmp_path / "src", tmp_path / "out")
    assert pairs.captions[1] == ["dog 1 on sand", "a dog, on sand", "a dog", "animal"]
    assert pairs.ids == ["p 0", "p 1"] and report.counts["with picture"] == 2


@pytest.mark.parametrize(
    ("content", "code", "fact"),
    [
        (CSV.replace("animal => a dog => a dog, on sand => ", ""), "E-HIERARCHY-TREE", "line 2"),
        (CSV.replace("animal", "a dog"), "E-HIERARCHY-TREE", "'a dog'"),
        (CSV.replace("animal", "A dog."), "E-HIERARCHY-TREE", "'A dog.'"),
        (CSV.replace("captions", "text"), "E-TABLE-COLUMN", "captions"),
        (CSV.replace("http://x.org/val2014/p%200.jpg", "http://x.org/"), "E-IMPORT-LAYOUT", "image_url"),
        ("id,captions,image_url\n", "E-FILE-EMPTY", "hierarcaps.csv"),
    ],
)  # fmt: skip
def test_a_hierarchy_file_of_another_layout(tmp_path: Path, content: str, code: str, fact: str) -> None:
    draw(tmp_path / "src", ["p 0.jpg", "p 1.jpg"])
    (tmp_path / "src/hierarcaps.csv").write_text(content)
    with raises_code(code, fact):
        run("hierarcaps", tmp_path / "src", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_hierarchy_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "chains.json").write_text("[]")
    with raises_code("E-IMPORT-LAYOUT", "give the CSV file"):
        run("hierarcaps", tmp_path / "chains.json", tmp_path / "out")
