"""The protocol's section on classes, its place in the hash, and what data sets make of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from data_samples import columns

from limbeck.data.check import check_pairs
from limbeck.data.classes import Classes, read_classes
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.errors import LimbeckError

PATHS = [["figure", "round shape", "circle"], ["figure", "star"], [], ["figure", "round shape", "ring"]]
SECTION = {"classes": "path", "prompts": ["a {}", "the {} here"]}


def write_pairs(folder: Path, **changes: Any) -> Pairs:
    content = columns(12) | {"image": [None] * 12, "path": [PATHS[i % 4] for i in range(12)]} | changes
    Pairs.write(folder / "pairs", content, {"name": "p", "label_names": ["sky", "tree"]}, replace=True)
    return Pairs.open(folder / "pairs")


def protocol(folder: Path, section: dict[str, Any] | None = None, **more: Any) -> Protocol:
    content = {
        "name": "t", "task": "retrieval", "text": {"column": "captions"}, "relevance": "paired",
        "splits": {"query": {"column_value": "query"}, "train": {"column_value": "train"}},
        "metric": {"ks": [1]}, "validation": {"size": 2},
    } | more  # fmt: skip
    content |= {} if section is None else {"classification": section}
    (folder / "t.yaml").write_text(yaml.safe_dump(content))
    return load_protocol(folder / "t.yaml")


def classes(rules: Protocol, pairs: Pairs, rows: Iterable[int]) -> Classes:
    assert rules.classification is not None
    return read_classes(pairs, np.array(list(rows)), rules.classification, rules.context.tree, rules.name)


def refused(call, *arguments) -> str:
    with pytest.raises(LimbeckError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_protocol_without_the_section_keeps_its_hash():
    # as written in docs/results/chain.md, before there were classes
    assert load_protocol("mirflickr15k/dcmh").hash == (
        "6d89a7b77f72eda52cb195362bdf2645d957197dea5fab26d329d0f7f78ac04d"
    )


def test_hash_covers_the_section_and_the_tree_but_not_its_file(tmp_path):
    pairs = write_pairs(tmp_path)
    (tmp_path / "one.txt").write_text("figure circle\nfigure ring\nfigure star\n")
    (tmp_path / "two.txt").write_text("# the same\nfigure star\nfigure circle\nfigure ring\n")
    (tmp_path / "three.txt").write_text("figure star\nstar circle\nfigure ring\n")
    sections = [
        None,
        SECTION,
        SECTION | {"prompts": ["a {}"]},
        SECTION | {"names": {"ring": "hoop"}},
        SECTION | {"hierarchy": "path"},
        SECTION | {"hierarchy": "one.txt"},
        SECTION | {"hierarchy": "three.txt"},
    ]
    hashes = [protocol(tmp_path, section).hash for section in sections]
    hashes.append(protocol(tmp_path, detail="order").hash)
    assert len(set(hashes)) == len(hashes)
    assert protocol(tmp_path, SECTION | {"hierarchy": "two.txt"}).hash == hashes[5]
    assert protocol(tmp_path, detail="words").hash == hashes[0]
    items = [resolve_splits(protocol(tmp_path, section), pairs).items_hash for section in (None, SECTION)]
    assert len(set(items)) == 2


def test_classes_are_the_ends_of_paths(tmp_path):
    pairs = write_pairs(tmp_path)
    found = classes(
        protocol(tmp_path, SECTION | {"hierarchy": "path", "names": {"ring": "hoop"}}), pairs, [3, 2, 1, 0]
    )
    assert found.names == ["circle", "ring", "star"]
    assert found.numbers.tolist() == [1, -1, 2, 0]
    assert found.prompts[:2] == [["a circle", "the circle here"], ["a hoop", "the hoop here"]]
    assert [found.tree.nodes[node] for node in found.nodes] == found.names
    assert len(found.tree) == 5


def test_equal_names_in_two_branches_are_two_classes(tmp_path):
    pairs = write_pairs(tmp_path, path=[["r", "A", "bat"], ["r", "tool", "bat"], ["r", "A", "A"], []] * 3)
    found = classes(protocol(tmp_path, SECTION | {"hierarchy": "path"}), pairs, range(4))
    assert found.names == ["r > A > A", "r > A > bat", "r > tool > bat"]
    assert found.numbers.tolist() == [1, 2, 0, -1] and found.words == ["A", "bat", "bat"]
    assert [found.tree.nodes[node] for node in found.nodes] == found.names


def test_classes_are_single_labels(tmp_path):
    pairs = write_pairs(tmp_path)
    found = classes(protocol(tmp_path, SECTION | {"classes": "label"}), pairs, [0, 1])
    assert found.names == ["sky", "tree"]  # also "tree", which no row has alone
    assert found.numbers.tolist() == [-1, 0]  # row 0 has both
    assert found.tree is None and not found.nodes.size


def test_no_section_no_classes(tmp_path):
    assert resolve_splits(protocol(tmp_path), write_pairs(tmp_path)).classes is None


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (SECTION | {"prompts": []}, "classification.prompts"),
        (SECTION | {"prompts": ["a photo"]}, "prompt 'a photo' needs {} exactly once"),
        (SECTION | {"prompts": ["{} and {}"]}, "needs {} exactly once"),
        (SECTION | {"prompts": ["a {}", "a {}"]}, "repeats a prompt"),
        (SECTION | {"classes": "tags"}, "classification.classes"),
        (SECTION | {"promts": ["a {}"]}, "key 'classification.promts' is unknown; did you mean 'prompts'?"),
        ({"classes": "path"}, "'classification.prompts' is missing"),
        (SECTION | {"hierarchy": "none.txt"}, "none.txt: there is no such file"),
        (SECTION | {"hierarchy": "cycle.txt"}, "cycle.txt, line 2: 'circle' is its own ancestor"),
        (SECTION | {"hierarchy": "roots.txt"}, "roots.txt: has two roots, 'figure' and 'other'"),
    ],
)
def test_bad_sections_are_named(tmp_path, section, words):
    (tmp_path / "cycle.txt").write_text("figure circle\ncircle ring\nring circle\n")
    (tmp_path / "roots.txt").write_text("figure circle\nother ring\n")
    assert words in refused(protocol, tmp_path, section)


def test_data_that_lack_classes_are_named(tmp_path):
    rows = [0, 1]
    plain = protocol(tmp_path, SECTION)
    bare = write_pairs(tmp_path, path=[[] for _ in range(12)])
    assert "none of 2 query rows" in refused(classes, plain, bare, rows)
    one = write_pairs(tmp_path, path=[["figure", "ring"]] * 12)
    assert "one class, 'ring'; two are needed" in refused(classes, plain, one, rows)
    pairs = write_pairs(tmp_path)
    wrong = protocol(tmp_path, SECTION | {"names": {"rong": "x"}})
    assert "classification.names: 'rong' is not a class" in refused(classes, wrong, pairs, rows)
    (tmp_path / "small.txt").write_text("figure circles\nfigure ring\n")
    small = protocol(tmp_path, SECTION | {"hierarchy": "small.txt"})
    assert "class 'circle' is not in the tree; did you mean 'circles'?" in refused(
        classes, small, pairs, rows
    )
    tangled = write_pairs(tmp_path, path=[["a", "b"], ["c", "d"]] * 6)
    with_tree = protocol(tmp_path, SECTION | {"hierarchy": "path"})
    assert "class paths: has two roots, 'a' and 'c'" in refused(classes, with_tree, tangled, rows)
    unread = Protocol.model_validate(small.model_dump())
    assert "load_protocol" in refused(classes, unread, pairs, rows)


def test_data_check_says_that_classes_do_not_fit(tmp_path):
    bare = write_pairs(tmp_path, path=[[] for _ in range(12)])
    found = {f.kind: f for f in check_pairs(bare, protocol(tmp_path, SECTION)).findings}
    assert found["classes"].level == "error" and "classification" in found["classes"].items[0]
    assert "classes" not in {f.kind for f in check_pairs(bare, protocol(tmp_path)).findings}
