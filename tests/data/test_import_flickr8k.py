from __future__ import annotations

import shutil

import numpy as np
import pytest
from caption_trees import BARRED, CSV, NAMES, SAID, TOKEN, draw, flickr8k, run, zipped

from limbeck.data.check import check_pairs
from limbeck.data.importers.base import FeatureSource
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from raising import raises_code

STEMS = [name.removesuffix(".jpg") for name in NAMES]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("folder", ["images", "Images", "Flicker8k_Dataset", ".", "deep/er"])
def test_pictures_in_any_folder_or_zip(tmp_path, folder, packed):
    src = flickr8k(tmp_path / "src", folder=folder)
    pairs, report = run("flickr8k", zipped(src) if packed else src, tmp_path / "out")
    assert pairs.name == "flickr8k" and pairs.ids == STEMS
    assert pairs.captions == [SAID[name] for name in NAMES]
    assert pairs.table.column("split").to_pylist() == ["train", "train", "val", "test"]
    assert pairs.open_image(3).size == (40, 30)
    assert report.counts["captions"] == 20 and report.counts["train"] == 2
    below = [f"pictures found: 4 by file name alone (first: 11_a.jpg → {folder}/11_a.jpg)"]
    assert report.notes == ["captions from captions.txt", *(below if folder != "." else [])]


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("captions.txt", CSV, "flickr8k"),
        ("text/captions.csv", CSV, "flickr8k"),
        ("captions.txt", CSV.replace("\n", "\r\n"), "flickr8k"),
        ("captions.txt", "\ufeff" + CSV, "flickr8k"),
        ("captions.txt", CSV.replace('"a dog , running"', "a dog , running"), "flickr8k"),
        ("captions.txt", CSV.replace("image,caption", '"image", "caption"') + "\n\n", "flickr8k"),
        ("Flickr8k.token.txt", TOKEN, "flickr8k"),
        ("Flickr8k_text/Flickr8k.token.txt", "\ufeff" + TOKEN.replace("\n", "\r\n") + "\r\n", "flickr8k"),
        ("results_20130124.token", TOKEN, "flickr30k"),
        ("results.csv", BARRED, "flickr30k"),
        ("results.csv", BARRED.replace("| 4| ", "| 4   "), "flickr30k"),
    ],
)
def test_every_layout_reads_the_same(tmp_path, file, text, name):
    pairs, _ = run("flickr8k", flickr8k(tmp_path / "src", text, file=file), tmp_path / "out")
    assert pairs.name == name and pairs.ids == STEMS
    assert pairs.captions == [SAID[name] for name in NAMES]


def test_the_better_caption_file_is_taken_and_named(tmp_path):
    src = flickr8k(tmp_path / "src")
    (src / "Flickr8k.lemma.token.txt").write_text(TOKEN.replace("twice", "lemma"))
    (src / "Flickr8k.token.txt").write_text(TOKEN.replace("twice", "token"))
    _, report = run("flickr8k", src, tmp_path / "out")
    assert report.notes[0] == "captions from captions.txt"
    (src / "captions.txt").unlink()
    pairs, report = run("flickr8k", src, tmp_path / "out2")
    assert report.notes[0] == "captions from Flickr8k.token.txt" and pairs.captions[0][4] == "token"


def test_what_does_not_fit_together_is_counted(tmp_path):
    text = TOKEN + "".join(f"22_b.jpg.1#{at}\tno such picture\n" for at in range(5)) + "11_a.jpg#5\t  \n"
    src = flickr8k(tmp_path / "src", text, file="Flickr8k.token.txt")
    draw(src / "Images", ["88_x.jpg", "99_y.jpg"])
    (src / "Images" / "33_c.jpg").unlink()
    (src / "__MACOSX").mkdir()
    (src / "__MACOSX" / "._11_a.jpg").write_bytes(b"fork")
    (src / "Flickr_8k.devImages.txt").write_text("\n99_y.jpg\r\n")
    pairs, report = run("flickr8k", src, tmp_path / "out")
    assert pairs.ids == ["11_a", "22_b", "44_d"] and len(pairs.captions[0]) == 5
    assert "1 names of the split lists have no captions: 99_y.jpg" in report.notes
    assert "2 pictures without a row were skipped: Images/88_x.jpg, Images/99_y.jpg" in report.notes
    dropped = "2 rows without a picture dropped (--keep-missing keeps them): 33_c.jpg, 22_b.jpg.1"
    assert dropped in report.notes and "1 empty captions were dropped" in report.notes
    kept, report = run("flickr8k", src, tmp_path / "kept", keep_missing=True)
    assert kept.ids == ["11_a", "22_b", "33_c", "44_d", "22_b.jpg"] and kept.image_path(2) is None
    assert "2 rows are in no split: 33_c, 22_b.jpg" in report.notes
    assert kept.table.column("split").to_pylist() == ["train", "train", None, "test", None]


def test_split_lists_of_other_names_or_none(tmp_path):
    src = flickr8k(tmp_path / "src")
    (src / "Flickr_8k.devImages.txt").rename(src / "Flickr_8k.valImages.txt")
    (src / "Flickr_8k.testImages.txt").rename(src / "Flickr_8k.extraImages.txt")
    pairs, _ = run("flickr8k", src, tmp_path / "out")
    assert pairs.split_names == ["extra", "train", "val"]
    (src / "Flickr_8k.extraImages.txt").write_text("11_a.jpg\n")
    with raises_code("E-IMPORT-CONFLICT", "11_a.jpg"):
        run("flickr8k", src, tmp_path / "o2")
    for file in src.glob("Flickr_8k.*"):
        file.unlink()
    pairs, report = run("flickr8k", src, tmp_path / "o3")
    assert pairs.split_names == [] and "no split column" in report.notes[1]


def test_pictures_apart_and_equal_names(tmp_path):
    src = flickr8k(tmp_path / "src")
    shutil.move(src / "Images", tmp_path / "pictures")
    with raises_code("E-PICTURE-MISSING", "4 pictures", "--images"):
        run("flickr8k", src, tmp_path / "out")
    pairs, _ = run("flickr8k", src, tmp_path / "out", images=zipped(tmp_path / "pictures"))
    assert pairs.open_image(0).size == (40, 30) and pairs.meta["media"]["kind"] == "zip"
    shutil.copytree(tmp_path / "pictures", tmp_path / "pictures" / "again")
    pairs, report = run("flickr8k", src, tmp_path / "o2", images=tmp_path / "pictures")
    assert pairs.image_path(0) == "11_a.jpg" and any("4 pictures without a row" in n for n in report.notes)
    bare, _ = run("flickr8k", src, tmp_path / "o3", keep_missing=True)
    assert bare.media is None and len(bare) == 4


def test_ids_keep_the_suffix_where_stems_collide(tmp_path):
    src = flickr8k(tmp_path / "src", CSV + "11_a.png,the other\n")
    draw(src, ["11_a.png"])
    pairs, _ = run("flickr8k", src, tmp_path / "out")
    assert pairs.ids == ["11_a.jpg", *STEMS[1:], "11_a.png"]


def test_unreadable_picture_is_for_the_check(tmp_path):
    src = flickr8k(tmp_path / "src")
    (src / "Images" / "22_b.jpg").write_bytes(b"no jpeg")
    pairs, _ = run("flickr8k", src, tmp_path / "out")
    found = {finding.kind: finding.items for finding in check_pairs(pairs).findings}
    assert [case["id"] for case in found["unreadable_pictures"]] == ["22_b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "11_a.jpg,a dog\n",
            ("E-IMPORT-LAYOUT", "captions.txt", "line 1", "'11_a.jpg,a dog'", "'image,caption'"),
        ),
        ("image\tcaption\n11_a.jpg\ta dog\n", ("E-IMPORT-LAYOUT", "line 1", "'image\\tcaption'")),
        (
            "image,caption,split\n11_a.jpg,a dog,train\n",
            ("E-IMPORT-LAYOUT", "line 1", "'image,caption,split'"),
        ),
        ("id,text\n1,a\n", ("E-IMPORT-LAYOUT", "line 1", "'id,text'")),
        ('{"images": []}', ("E-IMPORT-LAYOUT", "line 1")),
        ("\n" + CSV, ("E-IMPORT-LAYOUT", "line 1")),
        ("", ("E-IMPORT-LAYOUT", "line 1")),
        ("image,caption\n", ("E-FILE-EMPTY", "contains no captions; restore it")),
        ("image,caption\n11_a.jpg,a dog\nalone\n", ("E-IMPORT-LAYOUT", "line 3", "'alone'")),
        ('image,caption\n11_a.jpg,"open\n22_b.jpg,x\n', ("E-TABLE-QUOTES", "line 2")),
        ("11_a.jpg#0\ta dog\n11_a.jpg a cat\n", ("E-IMPORT-LAYOUT", "line 2", "'11_a.jpg a cat'")),
        (
            "image_name| comment_number| comment\nx.jpg, 0, y\n",
            ("E-IMPORT-LAYOUT", "line 2", "'x.jpg, 0, y'"),
        ),
    ],
)
def test_caption_file_of_another_layout(tmp_path, text, message):
    src = flickr8k(tmp_path / "src", text)
    with raises_code(*message) as caught:
        run("flickr8k", src, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_no_caption_file_and_foreign_options(tmp_path):
    draw(tmp_path / "src", NAMES)
    with raises_code("E-IMPORT-MISSING", "captions.txt"):
        run("flickr8k", tmp_path / "src", tmp_path / "out")
    with raises_code("E-PATH-MISSING", "nowhere:"):
        run("flickr8k", tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "captions.txt").write_text(CSV)
    with raises_code("E-PATH-KIND", "captions.txt"):
        run("flickr8k", tmp_path / "captions.txt", tmp_path / "out")


def test_the_real_set_and_its_protocol(shared_data, tmp_path):
    features = shared_data / "mobilenetv2_features"
    source = FeatureSource(
        "mobilenetv2", features / "flickr8k_u8.npy", features / "flickr8k_names.txt", 6 / 255
    )
    pairs, report = run("flickr8k", shared_data / "flickr8k_128.zip", tmp_path / "out", features=(source,))
    assert len(pairs) == 8091 and report.counts["captions"] == 40_455
    assert [note.split(":")[0] for note in report.notes] == [
        "captions from captions.txt",
        "pictures found",
        "features found",
    ]
    assert all(len(said) == 5 for said in pairs.captions)
    raw = np.load(features / "flickr8k_u8.npy", mmap_mode="r")
    assert np.allclose(pairs.features("mobilenetv2", [17])[0], raw[17].astype(np.float32) * 6 / 255)
    splits = resolve_splits(load_protocol("flickr8k/official"), pairs)
    query, (rest, validation) = splits.query, splits.held_out
    assert (len(splits.train), len(query), len(rest), len(validation)) == (6000, 1000, 6000, 1091)
    assert set(query.rows) == set(pairs.split_rows("test"))
    assert set(validation.rows) == set(pairs.split_rows("val"))
    assert sum(map(len, query.texts)) == 5000
