from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from call_count import counted
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.files import sha256_file
from raising import raises_code


def rewrite(directory: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Change the table and keep the checksum right, so that the fault itself is met."""
    table = change(pq.read_table(directory / "pairs.parquet"))
    pq.write_table(table, directory / "pairs.parquet")
    set_meta(directory, sha256=sha256_file(directory / "pairs.parquet"))


def set_meta(directory: Path, **values: object) -> None:
    meta = json.loads((directory / "pairs.json").read_text()) | values
    (directory / "pairs.json").write_text(json.dumps(meta))


def refused(directory: Path) -> str:
    with pytest.raises(LimbeckError) as caught:
        Pairs.open(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_table_reads_back_as_it_was_written(pairs_dir):
    pairs = Pairs.open(pairs_dir)
    assert len(pairs) == 6 and pairs.name == "small" and pairs.label_names == ["tree", "sky"]
    assert pairs.ids[:2] == ["p0", "p1"]
    assert pairs.rows(["p4", "p0"]).tolist() == [4, 0] and pairs.rows(["p4"]).dtype == np.int64
    assert pairs.captions[3] == ["caption 3", "more of 3"]
    assert pairs.texts("tags", [5, 1]) == [["tag", "t5"], ["tag", "t1"]]
    assert pairs.labels_text[0] == ["sky", "tree"]
    assert [pairs.ids[row] for row in pairs.split_rows("query")] == ["p0", "p1"] and pairs.split_names == [
        "query",
        "train",
    ]
    assert pairs.class_paths == [[]] * 6
    assert pairs.image_path(2) == "p2.png" and pairs.open_image(2).size == (40, 30)


def test_labels_are_multi_hot_in_the_order_of_label_names(pairs_dir):
    pairs = Pairs.open(pairs_dir)
    assert pairs.labels().dtype == bool
    assert pairs.labels().tolist() == [[True, True], [False, True]] * 3
    assert pairs.labels([3, 0, 3]).tolist() == [[False, True], [True, True], [False, True]]
    assert pairs.labels([]).shape == (0, 2)


def test_features_follow_feature_row_and_scale_without_overflow(pairs_dir):
    features = Pairs.open(pairs_dir).features("f", [0, 5])
    assert features.dtype == np.float32
    assert features.tolist() == [[105.0, 105.5], [100.0, 100.5]]


def test_without_feature_rows_the_file_must_have_a_row_a_pair(tmp_path):
    np.save(tmp_path / "f.npy", np.ones((5, 3), np.float32))
    meta = {"name": "x", "features": {"f": {"file": str(tmp_path / "f.npy")}}}
    with raises_code("E-ARRAY-ROWS", "f.npy", "5 rows"):
        Pairs.write(tmp_path / "out", {"id": list("abcd")}, meta)
    assert not (tmp_path / "out").exists()
    Pairs.write(tmp_path / "out", {"id": list("abcde")}, meta)
    assert Pairs.open(tmp_path / "out").features("f").shape == (5, 3)


def test_not_a_pairs_directory(tmp_path):
    assert "not a pairs directory" in refused(tmp_path)
    assert "no such directory" in refused(tmp_path / "nowhere")


def test_damaged_tables(pairs_dir):
    file = pairs_dir / "pairs.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert "truncated or not Parquet" in refused(pairs_dir)
    file.write_bytes(whole)
    set_meta(pairs_dir, sha256="0" * 64)
    assert "checksum differs" in refused(pairs_dir)
    set_meta(pairs_dir, format="other/9")
    assert "format is 'other/9'" in refused(pairs_dir)
    (pairs_dir / "pairs.json").write_text("{")
    assert "not valid JSON" in refused(pairs_dir)
    file.unlink()
    set_up = {"format": "limbeck.pairs/1", "name": "x", "label_names": []}
    (pairs_dir / "pairs.json").write_text(json.dumps(set_up))
    assert "no such file" in refused(pairs_dir)


def test_ids_are_unique_and_present(pairs_dir):
    rewrite(pairs_dir, lambda t: t.set_column(0, "id", pa.array(["a", "b", "a", "c", "c", "d"])))
    assert "2 ids are repeated (first: 'a')" in refused(pairs_dir)
    with raises_code("E-ID-FORM", "pairs:"):
        Pairs.write(pairs_dir.parent / "x", {"id": ["a", ""]}, {"name": "x"})


def test_unknown_ids_splits_rows_and_features_are_named(pairs_dir):
    pairs = Pairs.open(pairs_dir)
    with raises_code("E-ID-UNKNOWN", "2 of 3", "'zz'"):
        pairs.rows(["p1", "zz", "yy"])
    with raises_code("E-SPLIT-UNKNOWN", "'val'", "query, train"):
        pairs.split_rows("val")
    with raises_code("E-ROW-RANGE", "6 rows", "row 6"):
        pairs.labels([6])
    with raises_code("E-FEATURES-MISSING", "'g'"):
        pairs.features("g")


def test_unknown_labels_are_refused_but_can_be_opened_to_look_at(pairs_dir):
    set_meta(pairs_dir, label_names=["sky"])
    assert "label_names lacks tree" in refused(pairs_dir)
    loose = Pairs.open(pairs_dir, strict=False)
    assert loose.unknown_labels == ["tree"]
    assert loose.labels().tolist() == [[True]] * 6


def test_feature_files_that_do_not_fit(pairs_dir):
    file = pairs_dir.parent / "f.npy"
    np.save(file, np.zeros((4, 2), np.uint8))
    message = refused(pairs_dir)
    assert "f.npy" in message and "4 rows" in message and "has 6" in message
    set_meta(pairs_dir, features={"f": {"file": str(file), "scale": 1.0}})
    assert "feature_row 5 is out of range; the file has 4 rows" in refused(pairs_dir)
    file.write_bytes(file.read_bytes()[:50])
    assert "f.npy: is not readable as a plain array" in refused(pairs_dir)
    file.unlink()
    assert "no such feature file" in refused(pairs_dir)


def test_rows_without_features_and_nan_are_named(tmp_path):
    np.save(tmp_path / "f.npy", np.array([[1.0], [np.nan]], np.float32))
    meta = {"name": "x", "features": {"f": {"file": str(tmp_path / "f.npy")}}}
    Pairs.write(tmp_path / "out", {"id": ["a", "b", "c"], "feature_row": [0, 1, None]}, meta)
    pairs = Pairs.open(tmp_path / "out")
    assert pairs.features("f", [0]).tolist() == [[1.0]]
    with raises_code("E-ARRAY-VALUES", "row 1", "NaN"):
        pairs.features("f", [1])
    with raises_code("E-FEATURES-MISSING", "1 rows", "'f'", "'c'"):
        pairs.features("f")


def test_supervision_and_texts_that_are_not_there(tmp_path):
    Pairs.write(tmp_path / "out", {"id": ["a", "b"]}, {"name": "x", "label_names": ["sky"]})
    pairs = Pairs.open(tmp_path / "out")
    with raises_code("E-DATA-LABELS", "2 rows"):
        pairs.require_labels()
    with raises_code("E-DATA-TEXT", "'tags'", "1 rows"):
        pairs.require_texts("tags", [0])
    with raises_code("E-PICTURE-MISSING", "out:"):
        pairs.open_image(0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": ["a"]}, ("E-TABLE-COLUMN", "'id'")),
        ({"id": ["a"], "capton": [["x"]]}, ("E-TABLE-COLUMN", "'capton'")),
        ({"id": ["a"], "tags": [["x"], ["y"]]}, ("E-ARRAY-ROWS", "'tags'", "2 rows", "'id'")),
        ({"id": ["a"], "feature_row": ["x"]}, ("E-TABLE-TYPE", "'feature_row'", "int64")),
        ({"id": ["a"], "labels": [["x"]]}, ("E-LABEL-UNKNOWN", "label_names")),
    ],
)
def test_bad_columns_write_nothing(tmp_path, columns, message):
    with raises_code(*message):
        Pairs.write(tmp_path / "out", columns, {"name": "x"})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_directory_is_replaced_only_on_request(pairs_dir):
    with raises_code("E-PATH-EXISTS", "pairs:"):
        Pairs.write(pairs_dir, {"id": ["a"]}, {"name": "x"})
    Pairs.write(pairs_dir, {"id": ["a"]}, {"name": "x"}, replace=True)
    assert Pairs.open(pairs_dir).ids == ["a"]


def test_fingerprint_changes_with_table_and_features(pairs_dir):
    before = Pairs.open(pairs_dir).fingerprint
    assert before == Pairs.open(pairs_dir).fingerprint
    entry = json.loads((pairs_dir / "pairs.json").read_text())["features"]["f"]
    set_meta(pairs_dir, features={"f": entry | {"scale": 0.25}})
    assert Pairs.open(pairs_dir).fingerprint != before


def test_a_quarter_of_a_million_rows_open_without_a_loop_over_rows(tmp_path):
    n = 250_000
    columns = {"id": [f"i{k}" for k in range(n)], "labels": [["a", "b"]] * n, "tags": [["x"]] * n}
    Pairs.write(tmp_path / "big", columns, {"name": "big", "label_names": ["b", "a", "c"]})
    with counted() as work:
        pairs = Pairs.open(tmp_path / "big")
        assert pairs.labels().sum() == 2 * n and pairs.rows(["i249999"]).tolist() == [n - 1]
    assert work.calls < n / 100
