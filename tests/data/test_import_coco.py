from __future__ import annotations

import json
import shutil

import pytest
from caption_trees import coco, draw, karpathy, run, sentences, zipped

from limbeck.errors import LimbeckError
from raising import raises_code


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("year", ["2014", "2017"])
def test_official_layout(tmp_path, packed, year):
    src = coco(tmp_path / "src", year=year)
    pairs, report = run("coco", zipped(src) if packed else src, tmp_path / "out")
    assert pairs.name == "coco" and pairs.ids == ["000000000002", "000000000001", "000000000004"]
    assert pairs.captions[0] == [f"2 says {at}" for at in range(5)]
    assert pairs.label_names == ["person", "dog", "cat"]
    assert pairs.labels_text == [["person", "cat"], [], ["person", "cat"]]
    assert pairs.table.column("split").to_pylist() == ["train", "train", "val"]
    assert pairs.image_path(2) == f"val{year}/000000000004.jpg" and pairs.open_image(2).size == (40, 30)
    assert f"1 pictures without a row were skipped: val{year}/000000000009.jpg" in report.notes
    dropped = f"1 rows without a picture dropped (--keep-missing keeps them): val{year}/000000000005.jpg"
    assert dropped in report.notes
    kept, _ = run("coco", src, tmp_path / "kept", keep_missing=True)
    assert kept.ids[3] == "000000000005" and kept.image_path(3) is None and len(kept.captions[3]) == 5


def test_captions_alone_and_labels_alone_when_asked(tmp_path):
    src = coco(tmp_path / "src", instances=False)
    pairs, report = run("coco", src, tmp_path / "out", only="captions")
    assert (
        pairs.label_names == []
        and "read captions_train2017, captions_val2017; only captions (--only)" in (report.notes)
    )
    other = coco(tmp_path / "other")
    pairs, _ = run("coco", other, tmp_path / "o1", only="captions")
    assert pairs.label_names == [] and len(pairs.captions[0]) == 5
    for file in other.glob("annotations/captions_*"):
        file.unlink()
    pairs, _ = run("coco", other, tmp_path / "o2", only="instances")
    assert pairs.captions == [[]] * 3 and pairs.labels_text[0] == ["person", "cat"]
    with raises_code("E-IMPORT-MISSING", "captions_*.json", "COCO"):
        run("coco", other, tmp_path / "o3", only="captions")
    with raises_code("E-OPTION-CHOICE", "--only pictures", "captions or instances"):
        run("coco", other, tmp_path / "o3", only="pictures")


def test_one_split_alone(tmp_path):
    src = coco(tmp_path / "src")
    for file in src.glob("annotations/*train*"):
        file.unlink()
    missing = r"are missing: captions_train2017\.json, instances_train2017\.json; restore them"
    with pytest.raises(LimbeckError, match=missing):
        run("coco", src, tmp_path / "out")
    pairs, _ = run("coco", src, tmp_path / "o1", images=src / "val2017")
    assert pairs.split_names == ["val"] and pairs.image_path(0) == "000000000004.jpg"
    shutil.rmtree(src / "train2017")
    pairs, _ = run("coco", src, tmp_path / "o2")
    assert pairs.split_names == ["val"] and pairs.labels_text == [["person", "cat"]]


@pytest.mark.parametrize("packed", [False, True])
def test_all_missing_files_are_named_at_once(tmp_path, packed):
    src = coco(tmp_path / "src")
    for name in ("instances_val2017", "captions_train2017"):
        (src / f"annotations/{name}.json").unlink()
    given = zipped(src) if packed else src
    with raises_code("E-IMPORT-MISSING", "captions_train2017.json", "instances_val2017.json") as caught:
        run("coco", given, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
    with raises_code("E-IMPORT-MISSING", "captions_train2017.json"):
        run("coco", given, tmp_path / "out", only="captions")
    bare = coco(tmp_path / "bare", instances=False)
    for split in ("train", "val"):
        shutil.rmtree(bare / f"{split}2017")
    message = (
        r"instances_train2017\.json, instances_val2017\.json, train2017/\*\.jpg, val2017/\*\.jpg; restore"
    )
    with pytest.raises(LimbeckError, match=message):
        run("coco", zipped(bare) if packed else bare, tmp_path / "out")


def test_two_years_need_a_choice(tmp_path):
    src = coco(tmp_path / "src")
    more = coco(tmp_path / "more", year="2014")
    for file in more.glob("annotations/*"):
        shutil.move(file, src / "annotations" / file.name)
    with raises_code("E-IMPORT-CHOICE", "2014", "2017", "--year"):
        run("coco", src, tmp_path / "out")
    with raises_code("E-IMPORT-MISSING", "2015", "2014", "2017"):
        run("coco", src, tmp_path / "out", year="2015")
    pairs, _ = run("coco", src, tmp_path / "out", year="2017")
    assert len(pairs) == 3


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("captions_val", "{", ("E-JSON-SYNTAX", "captions_val2017.json", "line 1")),
        ("captions_val", "[1]", ("E-IMPORT-LAYOUT", "contains a list, not an object")),
        ("captions_val", {"images": None}, ("E-IMPORT-LAYOUT", "'images'", "'info'", "COCO")),
        (
            "captions_val",
            {"images": [{"id": 1}]},
            ("E-IMPORT-LAYOUT", "'file_name'", "COCO"),
        ),
        ("captions_val", {"images": [7]}, ("E-IMPORT-LAYOUT", "'id'")),
        (
            "captions_val",
            {"images": [{"id": "1", "file_name": "a"}]},
            ("E-IMPORT-LAYOUT", "'1'"),
        ),
        (
            "captions_val",
            {"annotations": [{"image_id": 4, "text": "x"}]},
            ("E-IMPORT-LAYOUT", "'caption'"),
        ),
        (
            "captions_val",
            {"annotations": [{"image_id": 4, "caption": 3}]},
            ("E-IMPORT-LAYOUT", "'3'"),
        ),
        ("instances_val", {"categories": []}, ("E-IMPORT-CONFLICT", "category_id", "17")),
        (
            "instances_val",
            {"categories": [{"id": 17, "name": "x"}, {"id": 1, "name": "y"}]},
            ("E-IMPORT-CONFLICT", "categories differ"),
        ),
    ],
)
def test_files_of_another_layout(tmp_path, file, change, message):
    src = coco(tmp_path / "src")
    path = src / "annotations" / f"{file}2017.json"
    changed = change if isinstance(change, str) else json.dumps(json.loads(path.read_text()) | change)
    path.write_text(changed)
    with raises_code(*message) as caught:
        run("coco", src, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_stray_captions_and_nothing_to_import(tmp_path):
    src = coco(tmp_path / "src", instances=False)
    path = src / "annotations/captions_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"].append({"image_id": 77, "caption": "whose?"})
    path.write_text(json.dumps(content))
    _, report = run("coco", src, tmp_path / "out", only="captions")
    assert any("1 captions of annotations/captions_val2017.json belong to no" in n for n in report.notes)
    for split in ("train", "val"):
        shutil.rmtree(src / f"{split}2017")
    with raises_code("E-PICTURE-MISSING", "4 pictures", "train2017/0"):
        run("coco", src, tmp_path / "o2", only="captions")
    empty = json.dumps({"images": [], "annotations": []})
    for split in ("train", "val"):
        (src / f"annotations/captions_{split}2017.json").write_text(empty)
    with raises_code("E-IMPORT-MISSING", "2017"):
        run("coco", src, tmp_path / "o2", only="captions")
    shutil.rmtree(src / "annotations")
    with raises_code("E-IMPORT-MISSING", "captions_*.json", "instances_*.json", "COCO"):
        run("coco", src, tmp_path / "o2")


def test_coco_mini_names_the_80_pictures_without_rows(shared_data, tmp_path):
    pairs, report = run("coco", shared_data / "coco_mini_224.zip", tmp_path / "out")
    assert len(pairs) == 159 and len(pairs.label_names) == 80 and pairs.label_names[79] == "toothbrush"
    assert report.counts["captions"] == 795 and (report.counts["train"], report.counts["val"]) == (80, 79)
    assert any(n.startswith("80 pictures without a row were skipped: val2017/") for n in report.notes)


# ------------------------------------------------------------------------------ Karpathy's split files
def images() -> list[dict[str, object]]:
    return [
        {
            "filepath": "train2014",
            "filename": "a.jpg",
            "split": "train",
            "sentences": sentences("one", "two ,"),
        },
        {"filepath": "val2014", "filename": "b.jpg", "split": "restval", "sentences": sentences("three\n")},
        {"filepath": "val2014", "filename": "c.jpg", "split": "val", "sentences": sentences("four")},
        {"filename": "d.jpg", "split": "test", "sentences": sentences("five", "five")},
        {"filepath": "val2014", "filename": "gone.jpg", "split": "test", "sentences": sentences("six")},
    ]


@pytest.mark.parametrize("place", ["apart", "zip", "inside", "packed", "beside"])
def test_karpathy(tmp_path, place):
    pictures = tmp_path / "pictures"
    draw(pictures / "train2014", ["a.jpg"])
    draw(pictures / "val2014", ["b.jpg", "c.jpg", "x.jpg"])
    draw(pictures, ["d.jpg"])
    inside = place in ("inside", "packed", "beside")
    file = karpathy((pictures if inside else tmp_path / "k") / "dataset_coco.json", images(), "coco")
    src, options = {
        "apart": (file, {"images": pictures}),
        "zip": (file, {"images": None}),
        "inside": (pictures, {}),
        "packed": (zipped(pictures), {}),
        "beside": (file, {}),
    }[place]
    if place == "zip":
        options = {"images": zipped(pictures)}
    pairs, report = run("karpathy", src, tmp_path / "out", **options)
    assert pairs.name == "coco" and pairs.ids == ["a", "b", "c", "d"]
    assert pairs.captions == [["one", "two ,"], ["three"], ["four"], ["five", "five"]]
    assert pairs.table.column("split").to_pylist() == ["train", "train", "val", "test"]
    assert pairs.image_path(1) == "val2014/b.jpg" and pairs.open_image(3).size == (40, 30)
    assert "1 rows of split restval count as train" in report.notes
    assert any(
        "1 rows without a picture dropped" in note and "val2014/gone.jpg" in note for note in report.notes
    )
    assert "1 pictures without a row were skipped: val2014/x.jpg" in report.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,caption\n", ("E-JSON-SYNTAX", "dataset_x.json", "line 1")),
        ('["a"]', ("E-IMPORT-LAYOUT", "contains a list")),
        ('{"annotations": []}', ("E-IMPORT-LAYOUT", "'images'", "'annotations'")),
        ('{"images": []}', ("E-FILE-EMPTY", "'images'")),
        (
            '{"images": [{"file_name": "a.jpg", "id": 1}]}',
            ("E-IMPORT-LAYOUT", "'filename'"),
        ),
        (
            '{"images": [{"filename": 1, "split": "test", "sentences": []}]}',
            ("E-IMPORT-LAYOUT", "'1'"),
        ),
        (
            '{"images": [{"filename": "a", "split": null, "sentences": []}]}',
            ("E-IMPORT-LAYOUT", "'None'"),
        ),
        (
            '{"images": [{"filename": "a", "split": "test", "sentences": ["x"]}]}',
            ("E-IMPORT-LAYOUT", "'raw'"),
        ),
    ],
)
def test_split_file_of_another_layout(tmp_path, content, message):
    file = tmp_path / "dataset_x.json"
    file.write_text(content)
    with raises_code(*message) as caught:
        run("karpathy", file, tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_which_split_file(tmp_path):
    (tmp_path / "src").mkdir()
    with raises_code("E-IMPORT-MISSING", "dataset_*.json"):
        run("karpathy", tmp_path / "src", tmp_path / "out")
    for name in ("coco", "flickr8k"):
        karpathy(tmp_path / "src" / f"dataset_{name}.json", images())
    with raises_code("E-IMPORT-CHOICE", "dataset_coco.json", "dataset_flickr"):
        run("karpathy", tmp_path / "src", tmp_path / "out")
    with raises_code("E-PICTURE-MISSING", "5 pictures"):
        run("karpathy", tmp_path / "src" / "dataset_coco.json", tmp_path / "out")
