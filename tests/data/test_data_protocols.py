from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from data_samples import columns

from limbeck.data.pairs import Pairs
from limbeck.data.protocols import list_protocols, load_protocol
from limbeck.data.resolved_splits import ResolvedSplit, resolve_splits
from limbeck.errors import LimbeckError
from raising import raises_code


@pytest.fixture
def pairs(tmp_path) -> Pairs:
    Pairs.write(
        tmp_path / "pairs",
        columns(30) | {"image": [None] * 30},
        {"name": "p", "label_names": ["sky", "tree"]},
    )
    return Pairs.open(tmp_path / "pairs")


def write(place: Path, lists: dict[str, list[str]] | None = None, **changes: object) -> Path:
    """A hashing protocol with id lists beside it."""
    lists = lists or {
        "query": ["p3", "p1"],
        "database": [f"p{i}" for i in range(5, 30)],
        "train": [f"p{i}" for i in range(5, 25)],
    }
    splits = {}
    for name, ids in lists.items():
        text = "".join(f"{item}\n" for item in ids)
        (place / f"{name}.txt").write_text(text)
        splits[name] = {"file": f"{name}.txt", "sha256": hashlib.sha256(text.encode()).hexdigest()}
    content = {
        "name": "t",
        "task": "hashing",
        "text": {"column": "tags", "join": ", "},
        "splits": splits,
        "relevance": "shared_label",
        "metric": {"k": None},
        "validation": {"size": 1000, "seed": 3},
    }
    (place / "t.yaml").write_text(yaml.safe_dump(content | changes))
    return place / "t.yaml"


def refused(file: Path | str) -> str:
    with pytest.raises(LimbeckError) as caught:
        load_protocol(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_splits_follow_the_lists(pairs, tmp_path):
    protocol = load_protocol(write(tmp_path))
    splits = resolve_splits(protocol, pairs)
    assert splits.query.rows.tolist() == [3, 1]
    assert len(splits.database) == 25 and len(splits.train) == 20
    assert splits.query.texts == [["tag, t3"], ["tag, t1"]]
    assert protocol.directions == ["i2t", "t2i"] and protocol.metric.ties == "expected"


def test_hash_covers_every_key_and_the_ids_but_not_the_note(tmp_path):
    base = load_protocol(write(tmp_path)).hash
    assert load_protocol(write(tmp_path)).hash == base
    assert load_protocol(write(tmp_path, note="for readers")).hash == base
    hashes = [base]
    for changes in (
        {"name": "u"},
        {"metric": {"k": 50}},
        {"text": {"column": "tags", "join": " "}},
        {"directions": ["i2t"]},
        {"validation": {"size": 1000, "seed": 4}},
    ):
        hashes.append(load_protocol(write(tmp_path, **changes)).hash)
    other = {"query": ["p3", "p2"], "database": ["p5"], "train": ["p6"]}
    hashes.append(load_protocol(write(tmp_path, other)).hash)
    assert len(set(hashes)) == len(hashes)


def test_queries_may_not_be_in_database_or_train(pairs, tmp_path):
    protocol = load_protocol(
        write(tmp_path, {"query": ["p1", "p2"], "database": ["p2", "p3"], "train": ["p3"]})
    )
    with raises_code("E-PROTOCOL-SPLIT", "1 ids", "query and database", "p2"):
        resolve_splits(protocol, pairs)
    protocol = load_protocol(write(tmp_path, {"query": ["p1"], "database": ["p2"], "train": ["p1", "p3"]}))
    with raises_code("E-PROTOCOL-SPLIT", "1 ids", "query and train", "p1"):
        resolve_splits(protocol, pairs)


def test_ids_that_the_pairs_lack_are_counted_and_named(pairs, tmp_path):
    protocol = load_protocol(
        write(tmp_path, {"query": ["p1", "q1", "q2", "q3", "q4"], "database": ["p2"], "train": ["p2"]})
    )
    with raises_code("E-PROTOCOL-DATA", "4 of 5", "q1"):
        resolve_splits(protocol, pairs)


def test_validation_is_cut_from_train_whatever_the_order_of_the_table(pairs, tmp_path):
    protocol = load_protocol(write(tmp_path, validation={"size": 3, "seed": 3}))
    splits = resolve_splits(protocol, pairs)
    rest, validation = splits.held_out
    assert len(validation) == 3 and sorted([*rest.rows, *validation.rows]) == splits.train.rows.tolist()
    order = np.arange(30)[::-1]
    turned = {
        key: [values[i] for i in order] for key, values in (columns(30) | {"image": [None] * 30}).items()
    }
    Pairs.write(tmp_path / "turned", turned, {"name": "p", "label_names": ["sky", "tree"]})
    _, again = resolve_splits(protocol, Pairs.open(tmp_path / "turned")).held_out
    assert set(again.ids) == set(validation.ids)


def test_validation_is_at_most_a_fifth_of_train(pairs, tmp_path):
    assert [len(part) for part in resolve_splits(load_protocol(write(tmp_path)), pairs).held_out] == [16, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": {}}, "key 'metrics' is unknown; did you mean 'metric'?"),
        ({"text": {"colum": "tags"}}, "key 'text.colum' is unknown; did you mean 'column'?"),
        ({"task": "hash"}, "task: "),
        ({"metric": {"k": "50"}}, "metric.k: "),
        ({"relevance": "paired"}, "a hashing protocol needs"),
        ({"validation": {"seed": 1}}, "give either size"),
        ({"splits": {"query": {"column_value": "a"}}}, "splits: give query and train, or draw"),
        ({"splits": {"query": {"file": "x"}, "train": {"column_value": "a"}}}, "sha256 together"),
    ],
)
def test_faults_of_a_protocol_file_are_one_line(tmp_path, changes, message):
    assert message in refused(write(tmp_path, **changes))


def test_faults_of_id_lists(tmp_path):
    file = write(tmp_path)
    (tmp_path / "query.txt").write_text("p9\n")
    assert "query.txt: SHA-256 is" in refused(file)
    (tmp_path / "query.txt").unlink()
    assert "no such id list" in refused(file)
    assert "an id occurs twice" in refused(
        write(tmp_path, {"query": ["a", "a"], "database": [], "train": []})
    )
    file.write_text("- a list")
    assert "a protocol is a mapping" in refused(file)
    file.write_text("{")
    assert "not valid YAML" in refused(file)


def test_names_of_protocols():
    assert {"mirflickr15k/dcmh", "scenes/hashing", "scenes/retrieval", "folder/retrieval"} <= set(
        list_protocols()
    )
    for name in list_protocols():
        protocol = load_protocol(name)
        assert protocol.name == name and protocol.note and len(protocol.hash) == 64
    assert "did you mean 'mirflickr15k/dcmh'?" in refused("mirflickr15k/dmch")
    assert "no such protocol file" in refused("nowhere.yaml")


def test_the_shipped_mirflickr_lists_follow_their_rule():
    import random

    lists = load_protocol("mirflickr15k/dcmh").context.lists
    ids = sorted([*lists["query"], *lists["database"]], key=lambda item: int(item[2:]))
    assert [len(lists[name]) for name in ("query", "database", "train")] == [2000, 13_677, 10_000]
    draw = random.Random(20015)
    query = set(draw.sample(ids, 2000))
    assert query == set(lists["query"])
    assert set(lists["train"]) == set(draw.sample([item for item in ids if item not in query], 10_000))


def test_a_retrieval_protocol_without_database_searches_the_queries(pairs):
    with raises_code("E-SPLIT-UNKNOWN", "'test'", "query, train"):
        resolve_splits(load_protocol("scenes/retrieval"), pairs)
    splits = resolve_splits(load_protocol("folder/retrieval"), pairs)  # query where there is no test
    assert splits.database.rows.tolist() == splits.query.rows.tolist() == [0, 1]
    assert splits.query.texts[1] == ["caption 1", "more of 1"]


def test_texts_that_must_be_unique_are(tmp_path):
    rows = {
        "id": ["a", "b", "c"],
        "captions": [["same"], [" same "], ["x"]],
        "split": ["test", "test", "train"],
    }
    Pairs.write(tmp_path / "pairs", rows, {"name": "p"})
    with raises_code("E-PROTOCOL-DATA", "'same'"):
        resolve_splits(load_protocol("scenes/retrieval"), Pairs.open(tmp_path / "pairs"))


def test_labels_are_texts_in_plain_words(tmp_path):
    labels = [["plant_life", "sky"], ["transport"], []] * 10
    names = {"name": "p", "label_names": ["plant_life", "sky", "transport"]}
    Pairs.write(tmp_path / "pairs", {"id": [f"p{i}" for i in range(30)], "labels": labels}, names)
    pairs, protocol = Pairs.open(tmp_path / "pairs"), load_protocol("folder/labels")
    splits = resolve_splits(protocol, pairs)
    assert (len(splits.query), len(splits.train)) == (2, 18)  # rows without a label are in no part
    assert ResolvedSplit(pairs, protocol.text, np.arange(3)).texts == [["plant life, sky"], ["vehicle"], [""]]


def test_a_collection_too_small_to_ask_itself(tmp_path):
    Pairs.write(
        tmp_path / "pairs", {"id": list("abc"), "labels": [["x"]] * 3}, {"name": "p", "label_names": ["x"]}
    )
    with raises_code("E-PROTOCOL-DATA", "3 rows", "10 parts"):
        resolve_splits(load_protocol("folder/labels"), Pairs.open(tmp_path / "pairs"))
