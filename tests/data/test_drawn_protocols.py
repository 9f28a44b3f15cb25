"""Splits by rule and seed, and the protocols of the hashing field that use them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from limbeck.data.pairs import Pairs
from limbeck.data.protocols import FOLDER, load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.data.split_rules import Draw, ids_sha256
from limbeck.errors import LimbeckError
from raising import raises_code

FIELD = {
    "mirflickr25k/dcmh": (2000, 10000, 20015),
    "mirflickr25k/dchmt": (5000, 10000, None),
    "mirflickr25k/unsupervised": (2000, None, 20015),
    "nuswide/tc21": (2100, 10500, 190421),
    "nuswide/tc10": (2100, 5000, None),
    "coco/dchmt": (5000, 10000, 122218),
    "iaprtc12/dcmh": (2000, 10000, None),
    "features/nuswide-tc21": (2100, 10500, None),
    "features/nuswide-tc10": (2100, 5000, None),
    "features/iaprtc12": (2000, 10000, None),
    "features/coco": (5000, 10000, None),
}


def table(place: Path, n: int = 40) -> Pairs:
    """Every tenth row has no label, row 7 no tag."""
    columns = {
        "id": [f"im{i}" for i in range(n)],
        "tags": [[] if i == 7 else [f"t{i}"] for i in range(n)],
        "labels": [[] if i % 10 == 0 else ["sky"] for i in range(n)],
    }
    Pairs.write(place / "pairs", columns, {"name": "p", "label_names": ["sky"]})
    return Pairs.open(place / "pairs")


def protocol(place: Path, draw: dict[str, object], **changes: object) -> Path:
    content = {
        "name": "t",
        "task": "hashing",
        "text": {"column": "tags", "join": ", "},
        "splits": {"draw": {"seed": 1, "query": 5, "train": 20} | draw},
        "relevance": "shared_label",
        "metric": {},
        "validation": {"size": 4},
    }
    (place / "t.yaml").write_text(yaml.safe_dump(content | changes))
    return place / "t.yaml"


def test_draw_is_the_rule_of_the_id_lists_that_ship(tmp_path: Path) -> None:
    """Seed 20015 over the 15,677 ids gives the three lists of mirflickr15k/dcmh, SHA-256 and all."""
    folder = FOLDER / "mirflickr15k"
    lists = {n: (folder / f"dcmh.{n}.txt").read_text().split() for n in ("query", "database", "train")}
    ids = sorted(lists["query"] + lists["database"])
    columns = {"id": ids, "tags": [["t"]] * len(ids), "labels": [["sky"]] * len(ids)}
    Pairs.write(tmp_path / "pairs", columns, {"name": "p", "label_names": ["sky"]})
    sha256 = {
        name: split["sha256"]
        for name, split in yaml.safe_load((folder / "dcmh.yaml").read_text())["splits"].items()
    }
    draw = Draw(seed=20015, query=2000, train=10000, rows=15677, sha256=sha256)
    drawn = draw.ids(Pairs.open(tmp_path / "pairs"), "tags", "t")
    assert {n: set(drawn[n]) for n in lists} == {n: set(own) for n, own in lists.items()}
    assert ids_sha256(drawn["train"]) == sha256["train"]


def test_only_rows_that_count_are_drawn(tmp_path: Path) -> None:
    pairs = table(tmp_path)
    drawn = load_protocol(protocol(tmp_path, {}))
    resolved = resolve_splits(drawn, pairs)
    splits = {name: set(part.ids) for name, part in resolved.parts.items()}
    assert {n: len(own) for n, own in splits.items()} == {"query": 5, "database": 30, "train": 20}
    assert splits["train"] <= splits["database"] and not splits["query"] & splits["database"]
    assert not (splits["query"] | splits["database"]) & {"im0", "im7", "im10"}
    loose = resolve_splits(load_protocol(protocol(tmp_path, {"need": ["labels"], "train": None})), pairs)
    assert "im7" in {*loose.query.ids, *loose.database.ids}
    assert set(loose.train.ids) == set(loose.database.ids)
    assert [len(part) for part in resolved.held_out] == [16, 4]


def test_table_order_does_not_matter(tmp_path: Path) -> None:
    pairs = table(tmp_path)
    order = list(range(len(pairs)))[::-1]
    columns = {
        "id": [pairs.ids[i] for i in order],
        "tags": [pairs.tags[i] for i in order],
        "labels": [pairs.labels_text[i] for i in order],
    }
    Pairs.write(tmp_path / "turned", columns, {"name": "p", "label_names": ["sky"]})
    turned, drawn = Pairs.open(tmp_path / "turned"), load_protocol(protocol(tmp_path, {}))
    first, second = resolve_splits(drawn, pairs), resolve_splits(drawn, turned)
    assert first.query.ids == second.query.ids and first.train.ids == second.train.ids


def test_the_hash_knows_the_rule(tmp_path: Path) -> None:
    hashes = [load_protocol(protocol(tmp_path, draw)).hash for draw in ({}, {"seed": 2}, {"query": 6}, {})]
    assert hashes[0] == hashes[3] and len(set(hashes)) == 3


@pytest.mark.parametrize(
    ("draw", "changes", "message"),
    [
        (
            {"rows": 50},
            {},
            ("E-PROTOCOL-DATA", "35 rows", "50"),
        ),
        ({"train": 31}, {}, ("E-PROTOCOL-DATA", "5 queries", "31", "at least 36")),
        ({"query": 35}, {}, ("E-PROTOCOL-DATA", "too few")),
        (
            {"sha256": {"query": "0" * 64}},
            {},
            ("E-PROTOCOL-DATA", "the ids drawn for query are not those of its data set"),
        ),
        ({}, {"label_names": ["sky", "sea"]}, ("E-PROTOCOL-DATA", "2 labels")),
        ({}, {"label_names": ["sea"]}, ("E-PROTOCOL-DATA", "sea")),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, draw: dict[str, object], changes: dict[str, object], message: tuple[str, ...]
) -> None:
    pairs, drawn = table(tmp_path), load_protocol(protocol(tmp_path, draw, **changes))
    with raises_code(*message) as found:
        resolve_splits(drawn, pairs)
    assert "\n" not in str(found.value)


def test_rule_and_lists_exclude_each_other(tmp_path: Path) -> None:
    both = {"draw": {"seed": 1, "query": 5, "train": 9}, "query": {"column_value": "q"}}
    for splits, message in (
        (both, "either draw or query"),
        ({"query": both["query"]}, "give query and train"),
    ):
        with pytest.raises(LimbeckError, match=message):
            load_protocol(protocol(tmp_path, {}, splits=splits))


@pytest.mark.parametrize("name", FIELD)
def test_protocols_of_the_field(name: str) -> None:
    loaded = load_protocol(name)
    draw = loaded.splits.draw
    assert draw is not None and loaded.name == name
    assert (draw.query, draw.train, draw.rows) == FIELD[name]
    assert (loaded.task, loaded.relevance, loaded.metric.k, loaded.metric.ties) == (
        "hashing",
        "shared_label",
        None,
        "expected",
    )
    hashes = {load_protocol(other).hash for other in FIELD}
    assert len(hashes) == len(FIELD)


def test_concepts_of_the_importer_are_those_of_the_protocols() -> None:
    from limbeck.data.importers.nuswide import CONCEPTS

    for key, concepts in CONCEPTS.items():
        assert load_protocol(f"nuswide/{key}").label_names == concepts
        assert len(concepts) == int(key[2:])
