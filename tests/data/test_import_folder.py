from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from data_samples import picture

from limbeck.data.importers import FolderOptions, import_folder
from limbeck.data.importers.base import FeatureSource
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError


@pytest.fixture
def src(tmp_path):
    place = tmp_path / "src"
    (place / "sub").mkdir(parents=True)
    for i, name in enumerate(("a.jpg", "b.png", "sub/c.jpg")):
        picture(i).save(place / name)
    return place


def run(src, out, **options):  # type: ignore[no-untyped-def]
    report = import_folder(src, out, FolderOptions(**options))
    return Pairs.open(out), report


def refused(src, out, **options) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(LimbeckError) as caught:
        run(src, out, **options)
    assert "\n" not in str(caught.value) and not out.exists()
    return str(caught.value)


def test_csv_with_several_captions_a_picture(src, tmp_path):
    (src / "captions.csv").write_text(
        "image,caption,tags,labels,split\n"
        'a.jpg,"one,  two","x,y",sky,train\n'
        "b.png,three,,tree,test\n"
        'a.jpg,four,"y,z","sky,tree",train\n'
        "c.jpg,five,,,train\n"
    )
    pairs, report = run(src, tmp_path / "out")
    assert pairs.ids == ["a", "b", "sub/c"]
    assert pairs.captions == [["one, two", "four"], ["three"], ["five"]]
    assert pairs.tags[0] == ["x", "y", "z"] and pairs.label_names == ["sky", "tree"]
    assert pairs.labels().tolist() == [[True, True], [False, True], [False, False]]
    assert [pairs.ids[row] for row in pairs.split_rows("train")] == ["a", "sub/c"]
    assert pairs.open_image(2).size == (40, 30) and report.rows == 3


def test_jsonl_with_other_column_names_and_lists(src, tmp_path):
    rows = [
        {"key": 7, "file": "a.jpg", "said": ["one", "two"], "words": ["p, q", "r"], "class": "x|y"},
        {"key": 8, "file": "sub/c.jpg", "said": "three", "words": None, "class": "y"},
    ]
    (src / "m.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    names = {"id": "key", "image": "file", "caption": "said", "tags": "words", "labels": "class"}
    pairs, report = run(
        src, tmp_path / "out", separator="|", **{f"{part}_column": name for part, name in names.items()}
    )
    assert pairs.ids == ["7", "8"] and pairs.captions == [["one", "two"], ["three"]]
    assert pairs.tags == [["p, q", "r"], []] and pairs.labels_text == [["x", "y"], ["y"]]
    assert "1 pictures without a row were skipped: b.png" in report.notes


def test_semicolons_tabs_and_byte_order_marks(src, tmp_path):
    (src / "t.csv").write_bytes("\ufeffimage;caption\na.jpg;caf\u00e9, au lait\n".encode())
    assert run(src, tmp_path / "o1")[0].captions == [["café, au lait"]]
    (src / "t.csv").unlink()
    (src / "t.tsv").write_bytes(b"image\tcaption\na.jpg\tcaf\xe9\n")  # Latin-1
    assert run(src, tmp_path / "o2")[0].captions == [["café"]]


def test_pictures_without_any_table(src, tmp_path):
    (src / ".hidden.jpg").touch()
    pairs, report = run(src, tmp_path / "out")
    assert pairs.ids == ["a", "b", "sub/c"] and pairs.captions == [[]] * 3
    assert "no table found: pictures only" in report.notes


def test_a_zip_and_a_table_from_elsewhere(src, tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("a.jpg", "sub/c.jpg"):
            archive.write(src / name, f"top/{name}")
    (tmp_path / "t.csv").write_text("image,caption\na.jpg,one\nc.jpg,two\n")
    pairs, _ = run(tmp_path / "p.zip", tmp_path / "out", table=tmp_path / "t.csv")
    assert pairs.ids == ["top/a", "top/sub/c"] and pairs.open_image(1).size == (40, 30)


def test_equal_stems_keep_their_suffix_in_the_id(src, tmp_path):
    picture(5).save(src / "a.png")
    assert run(src, tmp_path / "out")[0].ids == ["a.jpg", "a.png", "b", "sub/c"]


def test_missing_pictures(src, tmp_path):
    (src / "captions.csv").write_text("image,caption\na.jpg,one\nno/z.jpg,two\n")
    assert "1 of 2 pictures are missing (first: no/z.jpg)" in refused(src, tmp_path / "out")
    pairs, _ = run(src, tmp_path / "out", keep_missing=True)
    assert pairs.ids == ["a", "no/z"] and pairs.image_path(1) is None


@pytest.mark.parametrize(
    ("table", "text", "options", "message"),
    [
        ("t.csv", "image,said\na.jpg,x\n", {}, "caption column not found; there are image, said"),
        (
            "t.csv",
            "image,caption\na.jpg,x\n",
            {"caption_column": "capt"},
            "no caption column 'capt'; there are",
        ),
        ("t.csv", "pic,caption\na.jpg,x\n", {}, "image column not found; there are pic, caption"),
        ("t.csv", "image,caption\n", {}, "nothing to import"),
        ("t.csv", "image,caption\na.jpg,x,y\n", {}, "line 2 has more fields than the header"),
        ("t.jsonl", '{"image": "a.jpg"\n', {}, "line 1 is not JSON"),
        ("t.jsonl", "[1]\n", {}, "line 1 is a list, not an object"),
        ("t.csv", "image,caption\na.jpg,x\n", {"table": "no.csv"}, "no such table"),
    ],
)
def test_faults_of_tables_are_one_line(src, tmp_path, table, text, options, message):
    (src / table).write_text(text)
    if "table" in options:
        options = {"table": tmp_path / options["table"]}
    assert message in refused(src, tmp_path / "out", **options)


def test_several_tables_nothing_at_all_and_no_source(src, tmp_path):
    for name in ("x.csv", "y.csv"):
        (src / name).write_text("image,caption\na.jpg,x\n")
    assert "several tables (x.csv, y.csv)" in refused(src, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "it has no pictures; name a table with --table" in refused(tmp_path / "empty", tmp_path / "out")
    assert "no such file or folder" in refused(tmp_path / "nowhere", tmp_path / "out")
    assert "needs a table" in refused_without_table(src, tmp_path)


def refused_without_table(src, tmp_path) -> str:  # type: ignore[no-untyped-def]
    for file in src.glob("*.csv"):
        file.unlink()
    return refused(src, tmp_path / "out", caption_column="caption")


def test_features_by_name_or_by_row(src, tmp_path):
    np.save(tmp_path / "f.npy", np.array([[1, 1], [2, 2], [3, 3], [4, 4]], np.uint8))
    names = tmp_path / "names.txt"
    names.write_text("c.jpg\nother.jpg\nb\na.jpg\n")
    source = FeatureSource("f", tmp_path / "f.npy", names, 0.5)
    pairs, report = run(src, tmp_path / "out", features=(source,))
    assert pairs.features("f").tolist() == [[2.0, 2.0], [1.5, 1.5], [0.5, 0.5]]
    assert report.counts["with features"] == 3
    names.write_text("a.jpg\n")
    message = refused(src, tmp_path / "o2", features=(source,))
    assert "f.npy: has 4 rows" in message and "names.txt has 1" in message
    names.write_text("q\nr\ns\nt\n")
    assert "no name matches" in refused(src, tmp_path / "o2", features=(source,))
    plain = FeatureSource("f", tmp_path / "f.npy")
    assert "have 4 rows" in refused(src, tmp_path / "o2", features=(plain,))
