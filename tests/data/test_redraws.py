"""Protocols drawn anew: ``NAME@n`` and ``NAME@fold1of5``."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import FOLDER, load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.errors import LimbeckError
from raising import raises_code

NAMES = ("query", "database", "train")


def number(item: str) -> int:
    return int(re.sub(r"\D", "", item))


def table(place: Path, ids: list[str]) -> Pairs:
    columns = {"id": ids, "tags": [["t"]] * len(ids), "labels": [["sky"]] * len(ids)}
    Pairs.write(place / "pairs", columns, {"name": "p", "label_names": ["sky"]})
    return Pairs.open(place / "pairs")


def protocol(place: Path, splits: dict[str, Any], **changes: Any) -> Path:
    for name, part in splits.items():
        if isinstance(part, list):
            content = "".join(f"{item}\n" for item in part).encode()
            (place / f"{name}.txt").write_bytes(content)
            splits[name] = {"file": f"{name}.txt", "sha256": hashlib.sha256(content).hexdigest()}
    content = {
        "name": "t",
        "task": "hashing",
        "text": {"column": "tags", "join": ", "},
        "splits": splits,
        "relevance": "shared_label",
        "metric": {},
        "validation": {"size": 4},
    }
    (place / "t.yaml").write_text(yaml.safe_dump(content | changes))
    return place / "t.yaml"


def drawn(rules: Protocol, pairs: Pairs) -> dict[str, list[str]]:
    return {name: part.ids for name, part in resolve_splits(rules, pairs).parts.items()}


def test_number_is_the_same_rule_with_that_seed(tmp_path: Path) -> None:
    """mirflickr15k/dcmh@3, from id lists: oracle written out, rows beside the lists are left out."""
    lists = {n: (FOLDER / f"mirflickr15k/dcmh.{n}.txt").read_text().split() for n in ("query", "database")}
    ids = sorted(lists["query"] + lists["database"], key=number)
    pairs = table(tmp_path, [*reversed(ids), "im0"])
    found = drawn(load_protocol("mirflickr15k/dcmh@3"), pairs)
    rng = random.Random(3)
    query = rng.sample(ids, 2000)
    database = [item for item in ids if item not in set(query)]
    assert found["query"] == query and set(found["database"]) == set(database)
    assert found["train"] == rng.sample(database, 10000)


def test_draws_have_a_hash_each_and_one_family() -> None:
    fixed, one, two = (load_protocol(f"mirflickr15k/dcmh{tail}") for tail in ("", "@1", "@2"))
    folds = [load_protocol(f"mirflickr15k/dcmh@fold{i}of5") for i in (1, 2)]
    other = load_protocol("mirflickr15k/dcmh@fold1of4")
    every = [fixed, one, two, *folds, other]
    assert len({rules.hash for rules in every}) == len(every)
    assert fixed.family == one.family == two.family == fixed.hash
    assert folds[0].family == folds[1].family
    assert len({fixed.family, folds[0].family, other.family}) == 3
    # As it was before there were draws: rows that lie in docs/results stay comparable.
    assert fixed.hash.startswith("6d89a7b77f72eda5")
    assert load_protocol("coco/dchmt").hash.startswith("e0ccb54287ecea74")


def test_folds_cut_the_rows_once_each(tmp_path: Path) -> None:
    ids = [f"im{i}" for i in range(43)]
    pairs = table(tmp_path, ids)
    file = protocol(tmp_path, {"draw": {"seed": 9, "query": 5, "train": 20}})
    folds = [drawn(load_protocol(f"{file}@fold{i}of5"), pairs) for i in range(1, 6)]
    assert sorted(item for fold in folds for item in fold["query"]) == sorted(ids)
    assert {len(fold["query"]) for fold in folds} == {8, 9}
    for fold in folds:
        assert not set(fold["query"]) & set(fold["database"])
        assert set(fold["query"]) | set(fold["database"]) == set(ids)
        assert set(fold["train"]) <= set(fold["database"]) and len(fold["train"]) == 20


def test_rule_keeps_what_counts_and_drops_the_checks_of_the_fixed_draw(tmp_path: Path) -> None:
    pairs = table(tmp_path, [f"im{i}" for i in range(30)])
    draw = {"seed": 9, "query": 5, "train": None, "rows": 30, "sha256": {"query": "a" * 64}}
    file = protocol(tmp_path, {"draw": draw})
    again = load_protocol(f"{file}@2")
    assert again.name == "t@2" and again.splits.draw is not None
    assert (again.splits.draw.seed, again.splits.draw.rows, again.splits.draw.sha256) == (2, 30, {})
    assert len(resolve_splits(again, pairs).query.rows) == 5


def test_lists_without_a_database_and_a_validation_list(tmp_path: Path) -> None:
    ids = [f"im{i}" for i in range(30)]
    pairs = table(tmp_path, [*ids, "im99"])
    (tmp_path / "val.txt").write_text("".join(f"{item}\n" for item in ids[:6]))
    validation = {
        "file": "val.txt",
        "sha256": hashlib.sha256((tmp_path / "val.txt").read_bytes()).hexdigest(),
    }
    changes: dict[str, Any] = {"task": "retrieval", "relevance": "paired", "metric": {"ks": [1]}}
    splits = {"query": ids[6:11], "train": ids[11:]}
    again = load_protocol(f"{protocol(tmp_path, splits, validation=validation, **changes)}@1")
    found = drawn(again, pairs)
    assert len(found["query"]) == 5 and sorted(found["query"] + found["train"]) == sorted(ids)
    # The list's rows come out of train again, but never more than a fifth of it.
    assert [len(part) for part in resolve_splits(again, pairs).held_out] == [20, 5]


def test_refusals(tmp_path: Path) -> None:
    pairs = table(tmp_path, [f"im{i}" for i in range(30)])
    file = protocol(tmp_path, {"draw": {"seed": 9, "query": 5, "train": 20}})
    for tail, told in {
        "@0": "draws count from 1; the fixed split is t",
        "@fold6of5": "write t@fold1of5",
        "@fold0of5": "write t@fold1of5",
        "@fold1of1": "K at least 2",
    }.items():
        with pytest.raises(LimbeckError, match=re.escape(told)):
            load_protocol(f"{file}{tail}")
    with raises_code("E-PROTOCOL-DATA", "15 queries", "20"):
        resolve_splits(load_protocol(f"{file}@fold1of2"), pairs)
    with raises_code("E-PROTOCOL-DATA", "99 parts", "at least 99"):
        resolve_splits(load_protocol(f"{file}@fold1of99"), pairs)
    with raises_code("E-PROTOCOL-UNKNOWN", "'mirflickr15k/dcmh@next'"):
        load_protocol("mirflickr15k/dcmh@next")
    with raises_code("E-PROTOCOL-UNKNOWN", "'mirflickr15k/dcmh'"):
        load_protocol("mirflickr15k/dcm@1")
    with pytest.raises(LimbeckError, match="splits from a column"):
        load_protocol("scenes/hashing@1")
    outside = {"query": ["im1"], "train": ["im2", "im3"], "database": ["im3", "im4"]}
    with pytest.raises(LimbeckError, match="trains on ids outside its database"):
        load_protocol(f"{protocol(tmp_path, outside)}@1")
    with raises_code("E-CONFIG-VALUE", "t.yaml:"):
        load_protocol(protocol(tmp_path, {"draw": {"seed": 1, "query": 5, "fold": [1, 5]}}))
    with pytest.raises(LimbeckError, match=re.escape("not [i, k] with 1 <= i <= k")):
        load_protocol(protocol(tmp_path, {"draw": {"seed": 1, "fold": [3, 2]}}))
    (tmp_path / "few").mkdir()
    with raises_code("E-PROTOCOL-DATA", "15677 of 15677"):
        resolve_splits(load_protocol("mirflickr15k/dcmh@1"), table(tmp_path / "few", ["a1", "a2"]))
