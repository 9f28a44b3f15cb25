"""`data import folder`: tables of every form, further columns, class paths, files beside pictures."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_samples import picture

from limbeck.data.hierarchy import Tree
from limbeck.data.importers import FolderOptions, PictureOptions, import_folder, import_karpathy
from limbeck.data.pairs import Pairs
from limbeck.encoding import open_source
from limbeck.errors import InputNote, LimbeckError


@pytest.fixture
def src(tmp_path):
    (tmp_path / "src").mkdir()
    for at in range(6):
        picture(at).save(tmp_path / f"src/{at}.png")
    return tmp_path / "src"


def run(src, **options):  # type: ignore[no-untyped-def]
    report = import_folder(src, src.parent / "out", FolderOptions(replace=True, **options))
    return Pairs.open(src.parent / "out"), report


def refused(src, **options) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(LimbeckError) as caught:
        run(src, **options)
    assert "\n" not in str(caught.value) and not (src.parent / "out").exists()
    return str(caught.value)


# ------------------------------------------------------------------------------ cells and lines
def test_lists_in_cells(src):
    cells = ['["cat", "dog"]', "['cat']", "['cat' 'dog']", "[]", "nan", "None"]
    lines = ["image\tcaption\tlabels", *(f"{at}.png\tx\t{cell}" for at, cell in enumerate(cells))]
    (src / "t.tsv").write_text("\n".join(lines))
    pairs, report = run(src)
    assert pairs.labels_text == [["cat", "dog"], ["cat"], ["cat", "dog"], [], [], []]
    assert pairs.label_names == ["cat", "dog"]
    assert any("2 cells contain 'None', 'nan' and count as empty" in note for note in report.notes)
    (src / "t.tsv").write_text('image\tcaption\n0.png\t["one, two", "three"]\n1.png\tone, two\n')
    assert run(src)[0].captions == [["one, two", "three"], ["one, two"]]


def test_a_quote_swallows_no_rows(src):
    rows = [f"{at}.png\t{quote}caption {at}" for at, quote in enumerate(["", '"', "", "", '"', ""])]
    (src / "t.tsv").write_text("\n".join(["image\tcaption", *rows]))
    pairs, _ = run(src)
    assert pairs.captions == [["caption 0"], ['"caption 1'], *([f"caption {at}"] for at in (2, 3)),
                              ['"caption 4'], ["caption 5"]]  # fmt: skip
    (src / "t.tsv").rename(src / "t.csv")
    (src / "t.csv").write_text("\n".join(["image,caption", *rows]).replace("\t", ","))
    (src.parent / "out").rename(src.parent / "old")
    assert "t.csv: line 3: a quote" in refused(src)
    (src / "t.csv").write_text('image,caption\n0.png,"a\nb"\n')
    assert run(src, multiline=True)[0].captions == [["a b"]]


def test_repeated_headers_are_refused(src):
    (src / "t.csv").write_text("image,caption,caption\n0.png,a,b\n")
    assert "t.csv: line 1: column 'caption' is repeated" in refused(src)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(src, encoding):
    (src / "t.csv").write_bytes("image,caption\n0.png,“café” – 5 €\n".encode(encoding))
    pairs, report = run(src)
    assert pairs.captions == [["“café” – 5 €"]]
    assert any("cp1252" in note for note in report.notes) == (encoding == "cp1252")


def test_ids_are_text_and_half_surrogates_are_counted(src):
    ids = ["NA", "null", "nan", "007", "1e5", "None"]
    lines = ["id,image,caption", *(f"{own},{at}.png,x" for at, own in enumerate(ids))]
    (src / "t.csv").write_text("\n".join(lines))
    assert run(src)[0].ids == ids
    (src / "t.csv").unlink()
    (src / "t.jsonl").write_text('{"image": "0.png", "caption": "a\\ud800", "id": 1.10}\n')
    pairs, report = run(src)
    assert pairs.captions == [["a\ufffd"]] and pairs.ids == ["1.10"]
    assert any("half a surrogate pair" in note for note in report.notes)


def test_cells_that_look_cut_by_another_separator(src):
    lines = ["image,labels", *(f"{at}.png,a;b{at}" for at in range(4)), "4.png,c"]
    (src / "t.csv").write_text("\n".join(lines))
    pairs, report = run(src)
    assert pairs.labels_text[0] == ["a;b0"]
    assert any("4 of 5 cells contain ';' and were not split; if it" in note for note in report.notes)
    pairs, report = run(src, separator=";")
    assert pairs.labels_text[0] == ["a", "b0"] and not any("not split" in note for note in report.notes)


def test_parquet_of_every_string_form(src):
    words = pa.array(["0.png", "1.png"])
    labels = pa.array([["a", "b"], []])
    for kind in (words.dictionary_encode(), words.cast(pa.string_view()), words.cast(pa.large_string())):
        table = pa.table({"image": kind, "caption": kind, "labels": labels})
        pq.write_table(table, src.parent / "t.parquet")
        pairs, _ = run(src, table=src.parent / "t.parquet")
        assert pairs.captions == [["0.png"], ["1.png"]] and pairs.labels_text == [["a", "b"], []]
    pictures = pa.array([{"bytes": None, "path": "0.png"}, {"bytes": None, "path": "1.png"}])
    pq.write_table(pa.table({"image": pictures, "caption": words}), src.parent / "t.parquet")
    assert run(src, table=src.parent / "t.parquet")[0].ids == ["0", "1"]


# ------------------------------------------------------------------------------ further columns
def test_further_columns_reach_the_index(src):
    lines = ["image,caption,date,album,rating,path,embedding"]
    lines += [f"{at}.png,x,2020-01-0{at + 1},{at:03},{at}.5,/mnt/{at}.png,e" for at in range(6)]
    (src / "t.csv").write_text("\n".join(lines))
    pairs, report = run(src)
    kinds = {name: str(pairs.table.schema.field(name).type) for name in ("date", "album", "rating")}
    assert kinds == {"date": "date32[day]", "album": "string", "rating": "double"}
    items = open_source(src.parent / "out").items([3]).to_pylist()[0]
    assert items["album"] == "003" and items["rating"] == 3.5 and str(items["date"]) == "2020-01-04"
    assert items["given_path"] == "/mnt/3.png" and items["given_embedding"] == "e"
    assert any("further columns kept: date, album, rating" in note for note in report.notes)
    assert any("path as given_path, embedding as given_embedding" in note for note in report.notes)
    assert run(src, types="rating=text")[0].table.column("rating")[0].as_py() == "0.5"


def test_rows_of_one_picture_that_differ(src):
    (src / "t.csv").write_text("image,caption,album\n0.png,a,x\n1.png,b,x\n0.png,c,y\n0.png,a,y\n")
    pairs, report = run(src)
    assert pairs.captions == [["a", "c"], ["b"]] and pairs.table.column("album").to_pylist() == ["x", "x"]
    assert "rows of one picture differ in album (1); the first row is used" in report.notes


def test_columns_no_filter_reads_are_named(src):
    (src / "t.jsonl").write_text(json.dumps({"image": "0.png", "caption": "x", "box": {"a": 1}, "ok": True}))
    pairs, report = run(src)
    assert pairs.table.column("ok").to_pylist() == [True] and "box" not in pairs.table.column_names
    assert any("columns skipped" in note and "box" in note for note in report.notes)


# ------------------------------------------------------------------------------ class paths
@pytest.mark.parametrize(
    "cells", [["A > A", "A > b", ""], ["A/A", "A/b", ""], ['["A", "A"]', '["A", "b"]', "[]"]]
)
def test_a_column_path_beside_the_picture_is_the_class_path(src, cells):
    lines = ["image\tcaption\tpath", *(f"{at}.png\tx\t{cell}" for at, cell in enumerate(cells))]
    (src / "t.tsv").write_text("\n".join(lines))
    pairs, _ = run(src)
    assert pairs.class_paths == [["A", "A"], ["A", "b"], []]
    assert len(Tree.from_paths(pairs.class_paths)) == 3


def test_the_column_of_class_paths_is_named(src):
    (src / "t.csv").write_text("id,tree,caption\n0,A > b,x\n1,A > c,x\n")
    pairs, report = run(src, path_column="tree")
    assert pairs.class_paths == [["A", "b"], ["A", "c"]] and pairs.image_path(1) == "1.png"
    assert "class paths of column 'tree' are split at '>'" in report.notes
    (src / "t.csv").write_text("id,path,caption\n0,A > b,x\n1,A > c,x\n")
    assert run(src)[0].class_paths == [["A", "b"], ["A", "c"]]  # no file is called so
    (src / "t.csv").write_text("path,caption\n0.png,x\n1.png,x\n")
    assert run(src)[0].ids == ["0", "1"]


# ------------------------------------------------------------------------------ without a table
def test_texts_and_json_beside_pictures(src):
    (src / "0.txt").write_text("a  dog\n")
    (src / "0.json").write_text(
        json.dumps({"caption": "not this", "url": "u0", "width": 5, "exif": {"a": 1}})
    )
    (src / "1.json").write_text(json.dumps({"caption": "a cat", "url": "u1", "width": 7}))
    pairs, report = run(src)
    assert pairs.captions[:3] == [["a dog"], ["a cat"], []]
    assert pairs.table.column("width").to_pylist()[:3] == [5, 7, None]
    assert pairs.table.column("url").to_pylist()[:2] == ["u0", "u1"]
    assert "no table found: texts of 1 and JSON of 2 of 6 pictures were read" in report.notes
    assert any("fields skipped, because they are nested or long: exif" in note for note in report.notes)
    (src / "2.json").write_text("[1]")
    (src.parent / "out").rename(src.parent / "old")
    assert "2.json: contains no object" in refused(src)


def test_a_picture_that_ends_like_a_text_is_no_text(src):
    (src / "0.png").rename(src / "0.txt")
    pairs, report = run(src)
    assert len(pairs) == 6 and pairs.captions[0] == [] and "no table found: pictures only" in report.notes


def test_a_table_that_is_not_looked_into_is_named(src):
    pq.write_table(pa.table({"image": ["0.png"], "caption": ["x"]}), src / "mine.parquet")
    pairs, report = run(src)
    assert len(pairs) == 6 and "mine.parquet was not looked into; --table takes such a file" in report.notes
    assert len(run(src, table=src / "mine.parquet")[0]) == 1


def test_names_of_pictures_without_endings(src):
    (src / "t.csv").write_text("image,caption\n0,x\n1,y\n")
    pairs, report = run(src)
    assert [pairs.image_path(row).split("/")[-1] for row in range(2)] == ["0.png", "1.png"]
    assert any("2 by their name without suffix" in note for note in report.notes)
    (src / "t.csv").write_text("image,caption\n0.png,x\n1,y\n")  # elsewhere endings are part of names
    (src.parent / "out").rename(src.parent / "old")
    assert "1 of 2 pictures are missing (first: 1)" in refused(src)
    (src / "t.csv").write_text("image,caption\n0.jpg,x\n")
    assert "1 of 1 pictures are missing (first: 0.jpg)" in refused(src)


def moved(src, places):  # type: ignore[no-untyped-def]
    for at, place in enumerate(places):
        (src / place).mkdir(parents=True, exist_ok=True)
        (src / f"{at}.png").rename(src / place / f"{at}.png")


def test_folders_are_labels_where_asked(src):
    moved(src, ["cat", "cat", "dog", "dog", "dog", "cat"])
    pairs, report = run(src)
    assert pairs.label_names == []
    assert "all pictures are in 2 folders; --folder-labels makes these their labels" in report.notes
    pairs, report = run(src, folder_labels=True)
    assert pairs.label_names == ["cat", "dog"] and pairs.labels_text[0] == ["cat"]
    assert "labels are the folders of the pictures: 2 classes" in report.notes
    (src / "t.csv").write_text("image,caption\ncat/0.png,x\n")
    (src.parent / "out").rename(src.parent / "old")
    assert "remove --folder-labels" in refused(src, folder_labels=True)


def test_folders_of_splits_and_classes(src):
    moved(src, ["train/cat", "train/dog", "val/cat", "val/dog", "train/cat", "train/cat"])
    pairs, report = run(src)
    assert pairs.label_names == ["cat", "dog"] and pairs.split_names == ["train", "val"]
    assert [pairs.ids[row] for row in pairs.split_rows("val")] == ["val/cat/2", "val/dog/3"]
    assert "splits are the folders above: train, val" in report.notes


def test_no_folder_no_labels(src):
    assert "no picture is in a folder" in refused(src, folder_labels=True)
    assert "--path-column needs a table" in refused(src, path_column="x")
    assert "--multiline needs a table" in refused(src, multiline=True)


def test_half_surrogates_in_json_of_caption_sets(src):
    rows = [{"filename": f"{at}.png", "split": "train", "sentences": [{"raw": "a dog"}]} for at in range(2)]
    text = json.dumps({"dataset": "d", "images": rows}).replace("a dog", "a\\ud800 \\ud83d\\ude00", 1)
    (src / "dataset_d.json").write_text(text)
    with pytest.warns(InputNote, match="1 texts contain half a surrogate pair"):
        import_karpathy(src, src.parent / "out", PictureOptions())
    assert Pairs.open(src.parent / "out").captions == [["a\ufffd 😀"], ["a dog"]]
