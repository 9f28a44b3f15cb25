"""`folder/*` on data sets with any usual split column, and with none: the same rows each time, and said."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.check import check_pairs
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import fitting_protocols, load_protocol
from limbeck.data.resolved_splits import SplitName, resolve_splits
from limbeck.errors import LimbeckError
from limbeck.training import train
from limbeck.training.recipe import list_recipes, load_recipe
from raising import raises_code
from tiny import write_pairs

FOLDER = ("folder/retrieval", "folder/hashing", "folder/hashing-tags")


def put(
    folder: Path, rows: int = 40, split: list[str | None] | None = None, order: list[int] | None = None
) -> Pairs:
    """Rows with a caption, a tag and a label each, but for the last three (no label, no caption, no tag)."""
    columns: dict[str, list[Any]] = {
        "id": [f"p{n}" for n in range(rows)],
        "captions": [[] if n == rows - 2 else [f"caption {n}"] for n in range(rows)],
        "tags": [[] if n == rows - 1 else [f"tag{n}"] for n in range(rows)],
        "labels": [[] if n == rows - 3 else ["a" if n % 2 else "b"] for n in range(rows)],
    }
    if split is not None:
        columns["split"] = split
    if order is not None:
        columns = {name: [values[n] for n in order] for name, values in columns.items()}
    Pairs.write(folder, columns, {"name": "own", "label_names": ["a", "b"]}, replace=True)
    return Pairs.open(folder)


def ids(pairs: Pairs, protocol: Protocol, part: SplitName) -> list[str]:
    return resolve_splits(protocol, pairs).parts[part].ids


def test_without_a_split_column_a_tenth_asks(tmp_path: Path) -> None:
    pairs = put(tmp_path / "own")
    whole = [f"p{n}" for n in range(40)]
    for name, out in (
        ("folder/retrieval", {"p38"}),
        ("folder/hashing", {"p37", "p38"}),
        ("folder/hashing-tags", {"p37", "p39"}),
    ):
        protocol = load_protocol(name).on(pairs)
        able = [item for item in whole if item not in out]  # in the order of their numbers
        query = random.Random(0).sample(able, len(able))[: len(able) // 10]
        rest = [item for item in able if item not in query]
        assert ids(pairs, protocol, "query") == query
        assert sorted(ids(pairs, protocol, "train")) == sorted(rest)
        database = query if name == "folder/retrieval" else rest
        assert sorted(ids(pairs, protocol, "database")) == sorted(database)
        assert ids(pairs, load_protocol(name), "query") == ids(pairs, protocol, "query")


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(24)))
def test_the_order_of_the_table_does_not_count(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("order")
    one, other = put(folder / "one", 24), put(folder / "other", 24, order=order)
    for name in FOLDER:
        rules = load_protocol(name)
        assert ids(one, rules, "query") == ids(other, rules, "query")
        assert sorted(ids(one, rules, "train")) == sorted(ids(other, rules, "train"))


def test_the_hash_tells_drawn_from_given_and_is_that_of_before_with_a_column(tmp_path: Path) -> None:
    """The hashes of version 0.1: results and runs on data with a split column go on as they were."""
    before = {
        "folder/retrieval": "c0ba65e305cd",
        "folder/hashing": "5adbe48c91f8",
        "folder/hashing-tags": "c4d753852d87",
    }
    bare = put(tmp_path / "bare")
    own = {
        "folder/retrieval": ["test", "train"],
        "folder/hashing": ["query", "train"],
        "folder/hashing-tags": ["query", "train"],
    }
    for name in FOLDER:
        rules = load_protocol(name)
        given = put(tmp_path / "given", split=[own[name][n % 4 > 0] for n in range(40)])
        assert rules.hash[:12] == before[name] == rules.on(given).hash[:12]
        drawn = rules.on(bare)
        assert drawn.hash != rules.hash == drawn.general_hash
        assert drawn.on(bare) is drawn
        assert resolve_splits(rules, given).note is None
        assert drawn.hash == rules.on(bare).hash


def test_both_tasks_from_one_split_column(tmp_path: Path) -> None:
    """What retrieval calls test, hashing calls query."""
    for values in (("test", "train"), ("query", "train")):
        pairs = put(tmp_path / values[0], split=[values[n % 4 > 0] for n in range(40)])
        found = {name: ids(pairs, load_protocol(name), "query") for name in FOLDER}
        assert set(map(tuple, found.values())) == {tuple(f"p{n}" for n in range(0, 40, 4))}
    both = put(tmp_path / "both", split=[("query", "test", "train", "database")[n % 4] for n in range(40)])
    assert ids(both, load_protocol("folder/hashing"), "query") == [f"p{n}" for n in range(0, 40, 4)]
    assert ids(both, load_protocol("folder/retrieval"), "query") == [f"p{n}" for n in range(1, 40, 4)]


def test_it_is_said(tmp_path: Path, limbeck: Callable[..., tuple[int, str, str]]) -> None:
    pairs = put(tmp_path / "own")
    said = resolve_splits(load_protocol("folder/retrieval"), pairs).note
    assert said == (
        f"{tmp_path / 'own'}: has no split column; of the rows with a text, part 1 of 10 drawn by seed 0 are "
        "the queries, the rest is train"
    )
    report = check_pairs(pairs, load_protocol("folder/retrieval"))
    assert next(f.items for f in report.findings if f.kind == "drawn") == [said]
    assert report.number("error") == 0


def test_draws_of_a_rule_are_a_family(tmp_path: Path) -> None:
    pairs = put(tmp_path / "own")
    fixed = load_protocol("folder/retrieval").on(pairs)
    folds = [load_protocol(f"folder/retrieval@fold{n}of5") for n in range(1, 6)]
    assert sorted(item for fold in folds for item in ids(pairs, fold, "query")) == sorted(
        set(pairs.ids) - {"p38"}
    )
    assert load_protocol("folder/retrieval@1").family == fixed.family
    assert len({fixed.hash, *(fold.hash for fold in folds)}) == 6


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (
            {"otherwise": {"seed": 0, "query": 2}, "query": {"file": "a", "sha256": "0" * 64}},
            "give every split by column_value",
        ),
        (
            {"otherwise": {"seed": 0, "query": 2}, "query": {"column_value": "q"}},
            "its database must be true where",
        ),
        (
            {"query": {"or_value": "q", "file": "a", "sha256": "0" * 64}},
            "or_value needs column_value",
        ),
    ],
)
def test_mistakes_in_the_rule(splits: dict[str, Any], said: str) -> None:
    tree = {
        "name": "x", "task": "retrieval", "text": {"column": "captions"}, "relevance": "paired",
        "metric": {"ks": [1]}, "validation": {"size": 1}, "splits": {"train": {"column_value": "t"}} | splits,
    }  # fmt: skip
    with pytest.raises(ValueError, match=re.escape(said)):
        Protocol.model_validate(tree)


# ------------------------------------------------------------------------------ the cure
def test_which_protocols_fit(tmp_path: Path) -> None:
    assert fitting_protocols(put(tmp_path / "bare")) == [
        "folder/hashing",
        "folder/hashing-tags",
        "folder/labels",
        "folder/retrieval",
        "folder/retrieval-chains",
    ]
    odd = put(tmp_path / "odd", split=["valid"] * 40)
    assert fitting_protocols(odd) == ["folder/labels"]


def test_a_recipe_on_other_data_names_the_cure(tmp_path: Path) -> None:
    put(tmp_path / "own")
    said = r"1000 of 1000 query ids are not in .*; this data set fits data\.protocol=folder/retrieval \(or "
    with pytest.raises(LimbeckError, match=said):
        train("flickr8k/student-clip", pairs=tmp_path / "own", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_evaluate_names_the_cure_too(tmp_path: Path) -> None:
    from limbeck.evaluation import evaluate_codes

    pairs = put(tmp_path / "own")
    codes = tmp_path / "codes.npz"
    np.savez(codes, query_image=np.zeros((1, 1), np.uint8))
    with raises_code("E-PROTOCOL-DATA", "--protocol"):
        evaluate_codes("random-8", pairs, "mirflickr15k/dcmh")


@pytest.mark.parametrize("recipe", ["folder/clip", "folder/meru", "folder/hmid-net"])
def test_own_pictures_and_captions_need_no_features(tmp_path: Path, recipe: str) -> None:
    assert recipe in list_recipes()
    assert load_recipe(recipe).data.protocol == "folder/retrieval"
    source = Pairs.open(write_pairs(tmp_path, pictures=16))
    columns = {name: source.table.column(name).to_pylist() for name in ("id", "image", "captions")}
    Pairs.write(tmp_path / "own", columns, {"name": "own", "media": source.meta["media"]})
    small = {
        "towers.image.backbone.image_size": 16,
        "towers.text.backbone.context": 8,
        "schedule": {"steps": 1, "batch_size": 8},
        "compute.accelerator": "cpu",
    }
    run = train(recipe, pairs=tmp_path / "own", out=tmp_path / "run", overrides=small, quiet=True)
    assert (run / "model/model.safetensors").is_file()


def test_a_split_column_without_train_trains_on_the_database(tmp_path: Path) -> None:
    pairs = put(tmp_path / "own", split=[("query", "database", "database", None)[n % 4] for n in range(40)])
    for name in ("folder/hashing", "folder/hashing-tags"):
        rules = load_protocol(name)
        own = rules.on(pairs)
        assert ids(pairs, own, "query") == [f"p{n}" for n in range(0, 40, 4)]
        database = [f"p{n}" for n in range(40) if n % 4 in (1, 2)]
        assert (
            ids(pairs, own, "train") == ids(pairs, rules, "train") == ids(pairs, own, "database") == database
        )
        assert own.hash != rules.hash == own.general_hash
        said = f"{pairs.path}: its split column has no part for train; train is the whole database"
        assert resolve_splits(own, pairs).note == resolve_splits(rules, pairs).note == said
        report = check_pairs(pairs, rules)
        assert [f.items for f in report.findings if f.kind == "drawn"] == [[said]]
        assert report.number("error") == 0
    with raises_code("E-SPLIT-UNKNOWN", "'train'"):  # no database that train could join
        resolve_splits(load_protocol("folder/retrieval"), pairs)


def test_too_few_rows_say_what_is_missing(tmp_path: Path) -> None:
    columns = {"id": list("abcdefghijkl"), "captions": [[]] * 12, "labels": [["a"]] * 12}
    Pairs.write(tmp_path / "o", columns, {"name": "own", "label_names": ["a"]})
    pairs = Pairs.open(tmp_path / "o")
    with pytest.raises(LimbeckError) as caught:
        resolve_splits(load_protocol("folder/hashing"), pairs)
    assert str(caught.value) == (
        f"protocol folder/hashing: 0 rows of {pairs.path} have a label and captions (12 have a label, 0 have "
        "captions), too few to cut into 10 parts, one of which is the queries: at least 10 are needed; "
        "add captions or choose another protocol"
    )
