from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_samples import picture

from limbeck.data.importers.base import FeatureSource
from limbeck.data.importers.mirflickr import LABELS, MirflickrOptions, import_mirflickr
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.errors import LimbeckError
from raising import raises_code


def run(src: Path, out: Path, **options):  # type: ignore[no-untyped-def]
    report = import_mirflickr(src, out, MirflickrOptions(**options))
    return Pairs.open(out), report


def official(place: Path) -> Path:
    """The unpacked official download with three pictures."""
    tags = place / "mirflickr" / "meta" / "tags"
    notes = place / "mirflickr25k_annotations_v080"
    tags.mkdir(parents=True)
    notes.mkdir()
    for number in (1, 2, 10):
        picture(number).save(place / "mirflickr" / f"im{number}.jpg")
        (tags / f"tags{number}.txt").write_text(f"word{number}\r\nnikon\r\n")
    for label in LABELS:
        (notes / f"{label}.txt").write_text("")
    (notes / "sky.txt").write_text("1\r\n10\r\n")
    (notes / "sky_r1.txt").write_text("2\r\n")
    (notes / "plant_life.txt").write_text("10\n999\n")
    return place


def aligned(place: Path) -> Path:
    """The aligned lists with three rows, the second without its picture."""
    (place / "mirflickr").mkdir(parents=True)
    for number in (3, 5):
        picture(number).save(place / "mirflickr" / f"im{number}.jpg")
    (place / "all_imgs.txt").write_text("mirflickr/im3.jpg\nmirflickr/im4.jpg\nmirflickr/im5.jpg\n")
    (place / "all_tags.txt").write_text("a,b\nc\nbelgi\u00eb\n")
    rows = [[name in have for name in LABELS] for have in (("sky", "sea"), ("dog",), ())]
    (place / "all_labels.txt").write_text(
        "\n".join(" ".join(str(int(v)) for v in row) for row in rows) + "\n"
    )
    (place / "labels_annotation.txt").write_text("sea,sky\ndog\n\n")
    (place / "TagList.txt").write_bytes(b"a\r\nb\r\nc\r\n")
    return place


def test_official_layout(tmp_path):
    pairs, report = run(official(tmp_path / "src"), tmp_path / "out")
    assert pairs.ids == ["im1", "im2", "im10"] and pairs.label_names == LABELS and len(LABELS) == 24
    dropped = "1 rows without picture dropped (--keep-missing keeps them): im999"
    assert report.notes == ["official layout", dropped]
    assert pairs.labels_text == [["sky"], [], ["plant_life", "sky"]]
    assert pairs.tags[2] == ["word10", "nikon"]
    assert pairs.open_image(2).size == (40, 30)


def test_official_annotations_from_another_place(tmp_path):
    src = official(tmp_path / "src")
    notes = (src / "mirflickr25k_annotations_v080").rename(tmp_path / "notes")
    with raises_code("E-IMPORT-MISSING", "24 of 24", "animals.txt", "baby.txt"):
        run(src, tmp_path / "out")
    pairs, _ = run(src / "mirflickr", tmp_path / "out", annotations=notes)
    assert pairs.labels_text[0] == ["sky"] and pairs.image_path(0) == "im1.jpg"
    for name in ("dog", "tree"):
        (notes / f"{name}.txt").unlink()
    with raises_code("E-IMPORT-MISSING", "2 of 24", "dog.txt", "tree.txt"):
        run(src, tmp_path / "o2", annotations=notes)
    for name in ("dog", "tree"):
        (notes / f"{name}.txt").write_text("")
    (notes / "sky.txt").write_text("one\n")
    with raises_code("E-IMPORT-LAYOUT", "sky.txt", "'one'"):
        run(src, tmp_path / "o2", annotations=notes)


def clear(src: Path, *names: str) -> None:
    """Remove pictures, tags or annotation files."""
    folders = {"pictures": "mirflickr/im*.jpg", "tags": "mirflickr/meta/tags/*", "annotations": "*_v080/*"}
    for name in names:
        for file in src.glob(folders[name]):
            file.unlink()


PICTURES, TAGS = (
    r"3 of 3 im\*\.jpg \(im1\.jpg, im2\.jpg, im10\.jpg\)",
    r"3 of 3 meta/tags/tags\*\.txt \(tags1\.txt, ",
)
NOTES = r"24 of 24 annotation files \(animals\.txt, baby\.txt, bird\.txt, .*, water\.txt\)"


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        (("pictures", "annotations"), f"missing: {PICTURES}; {NOTES}; unpack mirflickr25k.zip and"),
        (("tags", "annotations"), f"missing: {TAGS}.*; {NOTES}; unpack"),
        (
            ("pictures",),
            r"missing: 4 of 4 im\*\.jpg .*; 1 of 4 meta/tags/tags\*\.txt \(tags999\.txt\); unpack",
        ),
        (("tags",), r"missing: 1 of 4 im\*\.jpg \(im999\.jpg\); 4 of 4 meta/tags/tags\*\.txt .*; unpack"),
        (("pictures", "tags"), r"missing: 3 of 3 im\*\.jpg .*; 3 of 3 meta/tags/tags"),
        (
            ("pictures", "tags", "annotations"),
            rf"missing: 25,000 of 25,000 im\*\.jpg .*; 25,000 of 25,000 meta/tags/tags.*; {NOTES}",
        ),
    ],
)
@pytest.mark.parametrize("keep_missing", [False, True])
def test_official_names_all_that_is_missing_at_once(tmp_path, gone, message, keep_missing):
    src = official(tmp_path / "src")
    clear(src, *gone)
    with pytest.raises(LimbeckError, match=message) as caught:
        run(src, tmp_path / "out", keep_missing=keep_missing)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_official_download_in_part(tmp_path):
    src = official(tmp_path / "src")
    (src / "mirflickr/im2.jpg").unlink()
    (src / "mirflickr/meta/tags/tags10.txt").unlink()
    pairs, report = run(src, tmp_path / "out")
    assert pairs.ids == ["im1", "im10"] and pairs.tags == [["word1", "nikon"], []]
    notes = " ".join(report.notes)
    assert "2 rows without picture dropped (--keep-missing keeps them): im2, im999" in notes
    assert "1 pictures without a tags file: no tags10.txt" in notes
    kept, report = run(src, tmp_path / "kept", keep_missing=True)
    assert kept.ids == ["im1", "im2", "im10", "im999"] and kept.image_path(1) is None
    assert kept.tags[1] == ["word2", "nikon"] and kept.labels_text[3] == ["plant_life"]
    assert "2 rows kept without picture: im2, im999" in report.notes
    (src / "mirflickr25k_annotations_v080/sky.txt").unlink()
    with raises_code(
        "E-IMPORT-MISSING",
        "2 of 4",
        "im*.jpg",
        "im2.jpg",
        "im999.jpg",
        "meta/tags/tags*.txt",
        "tags10.txt",
        "tags999.txt",
        "1 of 24",
        "sky.txt",
    ):
        run(src, tmp_path / "o2")


@pytest.mark.parametrize("zipped", [False, True])
def test_aligned_lists_drop_or_keep_rows_without_picture(tmp_path, zipped):
    src = aligned(tmp_path / "src")
    if zipped:
        with zipfile.ZipFile(tmp_path / "src.zip", "w") as archive:
            for file in src.rglob("*.*"):
                archive.write(file, file.relative_to(src))
        src = tmp_path / "src.zip"
    pairs, report = run(src, tmp_path / "out")
    assert pairs.ids == ["im3", "im5"] and pairs.labels_text == [["sea", "sky"], []]
    assert pairs.tags == [["a", "b"], ["belgi\u00eb"]] and pairs.open_image(1).size == (40, 30)
    assert any("1 rows without picture dropped" in note for note in report.notes)
    assert any("1 tags are not in TagList.txt" in note for note in report.notes)
    kept, _ = run(src, tmp_path / "kept", keep_missing=True)
    assert kept.ids == ["im3", "im4", "im5"] and kept.image_path(1) is None


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("all_tags.txt", "a\n", ("E-IMPORT-CONFLICT", "all_tags.txt", "1 lines", "all_imgs.txt")),
        ("all_labels.txt", "0 1\n" * 3, ("E-IMPORT-LAYOUT", "line 1", "24")),
        ("labels_annotation.txt", "sky\ndog\n\n", ("E-IMPORT-CONFLICT", "line 1")),
    ],
)
def test_lists_that_do_not_agree(tmp_path, file, text, message):
    src = aligned(tmp_path / "src")
    (src / file).write_text(text)
    with raises_code(*message):
        run(src, tmp_path / "out")
    (src / file).unlink()
    if file != "labels_annotation.txt":
        with raises_code("E-IMPORT-MISSING", file):
            run(src, tmp_path / "out")
        (src / "all_imgs.txt").unlink()
        with raises_code("E-IMPORT-MISSING", "all_imgs.txt", file):
            run(src, tmp_path / "out")


def test_neither_layout(tmp_path):
    (tmp_path / "src").mkdir()
    with raises_code("E-IMPORT-MISSING", "all_imgs.txt", "MIRFlickr-25K"):
        run(tmp_path / "src", tmp_path / "out")
    src = aligned(tmp_path / "lists")
    for file in (src / "mirflickr").iterdir():
        file.unlink()
    with raises_code("E-PICTURE-MISSING", "lists:"):
        run(src, tmp_path / "out")


def test_the_real_lists_give_the_known_numbers(shared_data, tmp_path):
    features = shared_data / "mobilenetv2_features"
    source = FeatureSource(
        "mobilenetv2", features / "mirflickr_u8.npy", features / "mirflickr_names.txt", 6 / 255
    )
    pairs, _ = run(shared_data / "mirflickr_96.zip", tmp_path / "out", features=(source,))
    assert len(pairs) == 15_677
    assert round(sum(map(len, pairs.tags)) / len(pairs), 2) == 4.46
    assert round(float(pairs.labels().sum(axis=1).mean()), 2) == 3.78
    row = int(pairs.rows(["im17"])[0])
    raw = np.load(features / "mirflickr_u8.npy", mmap_mode="r")
    at = (features / "mirflickr_names.txt").read_text().split().index("im17.jpg")
    assert np.allclose(pairs.features("mobilenetv2", [row])[0], raw[at].astype(np.float32) * 6 / 255)
    protocol = load_protocol("mirflickr15k/dcmh")
    splits = resolve_splits(protocol, pairs)
    assert [len(part) for part in splits.parts.values()] == [2000, 13_677, 10_000]
    assert [len(part) for part in splits.held_out] == [9000, 1000]
