"""Every importer finds pictures by the one resolver: a row has its own picture, or is named."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caption_trees import coco, import_as, karpathy, run, sentences, zipped

from limbeck.data.importers.base import FeatureSource, Source
from limbeck.data.importers.locate import unique_ids
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from raising import raises_code

NARROW, HARD = "a\u202f1.png", "a\u00a01.png"
NFD = "cafe\u0301.png"


def folder(place: Path, *names: str) -> Path:
    """Files whose bytes are their names: what a row opens says whose picture it is."""
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(name.encode())
    return place


def table(place: Path, *rows: str, header: str = "image,caption") -> Path:
    (place / "captions.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return place


def opened(pairs: Pairs) -> list[str | None]:
    """Name of the picture that each row opens."""
    return [
        None if pairs.image_path(row) is None else pairs.image_bytes(row).decode()
        for row in range(len(pairs))
    ]


def refused(kind: str, src: Path, out: Path, **options: Any) -> str:
    with pytest.raises(LimbeckError) as caught:
        import_as(kind, src, out, **options)
    assert "\n" not in str(caught.value) and not out.exists()
    return str(caught.value)


def test_a_missing_picture_never_takes_that_of_another_folder(tmp_path):
    src = table(folder(tmp_path / "src", "train/1.jpg", "train/2.jpg"), "train/2.jpg,two", "val/1.jpg,one")
    message = refused("folder", src, tmp_path / "out")
    assert "1 of 2 pictures are missing (first: val/1.jpg; another folder has train/1.jpg)" in message
    pairs, _ = run("folder", src, tmp_path / "out", keep_missing=True)
    assert (pairs.ids, opened(pairs)) == (["train/2", "val/1"], ["train/2.jpg", None])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["{}", "./{}", "photos/{}", "/elsewhere/photos/{}", "C:\\x\\{}", "{src}/{}"])
def test_paths_of_any_spelling_where_two_folders_share_names(tmp_path, form, packed):
    names = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg"]
    src = folder(tmp_path / "src", *names)
    asked = [form.format(name, src=src) for name in names]
    asked = [name.replace("/", "\\") if "\\" in name else name for name in asked]
    place = zipped(src) if packed and "src" not in form else src
    table(tmp_path, *(f"{one},says {name}" for one, name in zip(asked, names, strict=True)))
    pairs, report = run("folder", place, tmp_path / "out", table=tmp_path / "captions.csv")
    assert opened(pairs) == names and pairs.captions == [[f"says {name}"] for name in names]
    assert any(note.startswith("pictures found: 4 ") for note in report.notes) == (form != "{}")


def test_blanks_and_unicode_forms_belong_to_a_name(tmp_path):
    names = ["IMG 2.png", "IMG  2.png", NARROW, HARD, NFD]
    src = table(folder(tmp_path / "src", *names), *(f"{name},{at}" for at, name in enumerate(names)))
    pairs, _ = run("folder", src, tmp_path / "out")
    assert opened(pairs) == names and pairs.captions == [[str(at)] for at in range(5)]
    assert len(set(pairs.ids)) == 5
    table(src, "caf\u00e9.png,one")
    pairs, report = run("folder", src, tmp_path / "nfc")
    assert opened(pairs) == [NFD] and any("1 by another Unicode form" in note for note in report.notes)


def test_a_file_name_alone_that_two_folders_have_is_refused(tmp_path):
    src = table(folder(tmp_path / "src", "a/1.jpg", "b/1.jpg"), "1.jpg,one")
    message = refused("folder", src, tmp_path / "out")
    assert "1 names fit several pictures" in message and "(a/1.jpg, b/1.jpg); write its path" in message
    pairs, report = run("folder", src, tmp_path / "out", keep_missing=True)
    assert opened(pairs) == [None] and any("1 names fit several" in note for note in report.notes)


def test_rows_of_one_path_are_one_picture_and_other_names_are_not(tmp_path):
    src = folder(tmp_path / "src", "c/1.jpg")
    table(src, "c/1.jpg,one", "./c/1.jpg,two", "c\\1.jpg,one")
    assert run("folder", src, tmp_path / "out")[0].captions == [["one", "two"]]
    table(src, "c/1.jpg,one", "z.jpg,two", "z.png,three")
    pairs, _ = run("folder", src, tmp_path / "kept", keep_missing=True)
    assert pairs.ids == ["c/1", "z.jpg", "z.png"] and pairs.captions == [["one"], ["two"], ["three"]]


def test_ids_find_pictures_where_no_column_names_them(tmp_path):
    src = folder(tmp_path / "src", "images/001.jpg", "images/002.png")
    table(src, "002,two", "001,one", header="id,caption")
    pairs, report = run("folder", src, tmp_path / "out")
    assert (pairs.ids, opened(pairs)) == (["002", "001"], ["images/002.png", "images/001.jpg"])
    assert any("2 by their name without suffix (first: 002 → images/002.png)" in n for n in report.notes)
    table(src, "x,two", "y,one", header="id,caption")
    message = refused("folder", src, tmp_path / "no")
    assert "2 of 2 pictures are missing (first: x); ids of column 'id' were used as" in message
    np.save(tmp_path / "f.npy", np.eye(2))
    features = (FeatureSource("clip", tmp_path / "f.npy"),)
    pairs, report = run("folder", src, tmp_path / "features", features=features)
    assert opened(pairs) == [None, None] and "no pictures: features only" in report.notes


def test_a_picture_in_two_splits_is_refused_and_several_ids_are_said(tmp_path):
    src = folder(tmp_path / "src", "1.jpg")
    table(src, "1.jpg,a,train", "1.jpg,b,test", header="image,caption,split")
    assert "1.jpg is in the splits train and test; keep it in one" in refused("folder", src, tmp_path / "out")
    table(src, "x,1.jpg,a", "y,1.jpg,b", header="id,image,caption")
    pairs, report = run("folder", src, tmp_path / "out")
    assert pairs.ids == ["x"] and "1 pictures have several ids; the first one is used: 1.jpg" in report.notes


def test_names_in_a_zip_without_the_flag_and_with_backslashes(tmp_path):
    file = tmp_path / "p.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("F\u00e4hre\\1.jpg", "Hund\\1.jpg"):
            archive.writestr(name, name.replace("\\", "/"))
    data = bytearray(file.read_bytes())
    for mark, at in ((b"PK\x03\x04", 7), (b"PK\x01\x02", 9)):
        start = data.find(mark)
        while start >= 0:
            data[start + at] &= ~0x08
            start = data.find(mark, start + 4)
    file.write_bytes(data)
    table(tmp_path, "F\u00e4hre/1.jpg,one", "Hund/1.jpg,two")
    pairs, _ = run("folder", file, tmp_path / "out", table=tmp_path / "captions.csv")
    assert opened(pairs) == ["F\u00e4hre/1.jpg", "Hund/1.jpg"]


def coco_of(place: Path, files: dict[str, list[str]], **content: Any) -> Path:
    """Annotations of train and val that list some files."""
    (place / "annotations").mkdir(parents=True, exist_ok=True)
    for at, (split, names) in enumerate(files.items()):
        images = [{"id": 100 * at + n, "file_name": name} for n, name in enumerate(names)]
        said = [{"image_id": one["id"], "caption": f"{split} {one['file_name']}"} for one in images]
        whole = {"images": images, "annotations": said} | content
        for kind in ("captions", "instances") if content else ("captions",):
            (place / f"annotations/{kind}_{split}2017.json").write_text(json.dumps(whole))
    return place


def test_coco_splits_of_equal_file_names_keep_their_own_pictures_and_ids(tmp_path):
    src = folder(tmp_path / "src", "train2017/0001.jpg", "train2017/0002.jpg", "val2017/0001.jpg")
    coco_of(src, {"train": ["0001.jpg", "0002.jpg"], "val": ["0001.jpg"]})
    pairs, _ = run("coco", src, tmp_path / "out", only="captions")
    assert pairs.ids == ["train2017/0001", "0002", "val2017/0001"]
    assert opened(pairs) == ["train2017/0001.jpg", "train2017/0002.jpg", "val2017/0001.jpg"]


def test_a_val_row_of_coco_never_gets_the_picture_of_train(tmp_path):
    src = folder(tmp_path / "src", "train2017/0001.jpg")
    coco_of(src, {"train": ["0001.jpg"], "val": ["0001.jpg"]})
    pairs, report = run("coco", src, tmp_path / "out", only="captions", keep_missing=True)
    assert opened(pairs) == ["train2017/0001.jpg", None]
    assert "1 rows without a picture kept: val2017/0001.jpg" in report.notes
    flat = folder(tmp_path / "flat", "images/0001.jpg")
    coco_of(flat, {"train": ["0001.jpg"], "val": ["0001.jpg"]})
    assert "fit several pictures, or one with another" in refused(
        "coco", flat, tmp_path / "no", only="captions"
    )


def test_coco_names_doubtful_categories_and_counts_stray_instances(tmp_path):
    src = folder(tmp_path / "src", "train2017/1.jpg")
    kinds = [{"id": 1, "name": "cat"}, {"id": 90, "name": "cat"}]
    found = [{"image_id": 0, "category_id": 1}, {"image_id": 7, "category_id": 1}]
    for one in found:
        one["caption"] = "x"  # type: ignore[assignment]
    coco_of(src, {"train": ["1.jpg"]}, annotations=found, categories=kinds)
    assert "categories 1 and 90 are both named 'cat'; rename one" in refused(
        "coco", src, tmp_path / "no", only="instances"
    )
    root = [{"id": 0, "name": "pets", "supercategory": "none"}]
    kinds = [*root, {"id": 1, "name": "cat", "supercategory": "pets"}, {"id": 2, "name": "ox"}]
    coco_of(src, {"train": ["1.jpg"]}, annotations=found, categories=kinds)
    pairs, report = run("coco", src, tmp_path / "out", only="instances")
    assert pairs.label_names == ["cat", "ox"] and pairs.labels_text == [["cat"]]
    assert "1 categories only group others and are not classes: pets" in report.notes
    assert any("1 instances of annotations/instances_train2017.json belong to no" in n for n in report.notes)


def test_official_coco_keeps_a_class_that_bears_the_name_of_its_own_group(tmp_path):
    src = coco(tmp_path / "src")
    for file in src.glob("annotations/instances_*"):
        content = json.loads(file.read_text())
        content["annotations"] = [one for one in content["annotations"] if one["category_id"] != 1]
        file.write_text(json.dumps(content))
    pairs, _ = run("coco", src, tmp_path / "out")
    assert pairs.label_names == ["person", "dog", "cat"]


def test_a_karpathy_file_whose_folders_differ(tmp_path):
    images = [
        {"filename": "1.jpg", "filepath": "val2014", "split": "test", "sentences": sentences("a")},
        {"filename": "1.jpg", "filepath": "train2014", "split": "train", "sentences": sentences("b")},
    ]
    file = karpathy(tmp_path / "dataset_coco.json", images, "coco")
    photos = folder(tmp_path / "photos", "train2014/1.jpg", "val2014/1.jpg")
    pairs, _ = run("karpathy", file, tmp_path / "out", images=photos)
    assert opened(pairs) == ["val2014/1.jpg", "train2014/1.jpg"]
    assert pairs.ids == ["val2014/1", "train2014/1"]
    (photos / "val2014/1.jpg").unlink()
    pairs, _ = run("karpathy", file, tmp_path / "gone", images=photos)
    assert opened(pairs) == ["train2014/1.jpg"] and pairs.captions == [["b"]]
    karpathy(file, [images[0], {**images[0], "split": "train"}], "coco")
    message = refused("karpathy", file, tmp_path / "twice", images=photos)
    assert "val2014/1.jpg is listed twice (splits test and train); remove one" in message


def test_lists_that_two_folders_hold_are_refused(tmp_path):
    folder(tmp_path, "a/x.txt", "b/x.txt", "c/d/y.txt", "e/y.txt")
    source = Source(tmp_path)
    assert source.find("y.txt") == "e/y.txt" and source.find("z.txt") is None
    with raises_code("E-IMPORT-CHOICE", "a/x.txt", "b/x.txt"):
        source.find("x.txt")


def test_unique_ids_are_as_short_as_they_can_be():
    assert unique_ids(["a/1.jpg", "b/2.jpg"]) == ["1", "2"]
    assert unique_ids(["a/1.jpg", "a/1.png", "b/2.jpg"]) == ["1.jpg", "1.png", "2"]
    assert unique_ids(["a/1.jpg", "b/1.jpg", "2.jpg"]) == ["a/1", "b/1", "2"]
    assert unique_ids(["1.jpg.png", "1.jpg", "1.png", "a/1.jpg"], folders=True)[3] == "a/1"
    odd = ["1.jpg.png", "1.jpg", "1.png", "x/1.jpg", "x/1.png"]
    assert len(set(unique_ids(odd))) == len(odd)


def test_a_text_beside_two_pictures_of_its_name_is_that_of_none(tmp_path):
    src = folder(tmp_path / "src", "1.jpg", "1.png", "2.jpg", "1.txt", "2.txt")
    pairs, report = run("folder", src, tmp_path / "out")
    assert pairs.ids == ["1.jpg", "1.png", "2"] and pairs.captions == [[], [], ["2.txt"]]
    said = "texts of 1 names belong to several pictures and were skipped: 1"
    assert said in report.notes and not any("pictures only" in note for note in report.notes)


def test_a_name_that_stands_twice_in_a_zip_is_said(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("1.jpg", "old")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("1.jpg", "new")
    pairs, report = run("folder", tmp_path / "p.zip", tmp_path / "out")
    assert opened(pairs) == ["new"]
    assert "1 names occur several times in the zip; the last of each counts (first: 1.jpg)" in report.notes
