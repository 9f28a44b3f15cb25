"""NUS-WIDE and IAPR TC-12 from small trees in the layout of their downloads."""

from __future__ import annotations

from pathlib import Path

import pytest
from caption_trees import run
from data_samples import picture

from limbeck.data.importers.nuswide import CONCEPTS
from limbeck.errors import LimbeckError


def refused(name: str, src: Path, out: Path, **options: object) -> str:
    with pytest.raises(LimbeckError) as found:
        run(name, src, out, **options)
    assert "\n" not in str(found.value)
    assert not out.exists()
    return str(found.value)


def nuswide(place: Path) -> Path:
    """Four rows: sky and water; window; a concept of neither set; sky. One picture of the first."""
    for folder in ("ImageList", "Groundtruth/AllLabels", "NUS_WID_Tags", "Flickr/actor"):
        (place / folder).mkdir(parents=True)
    names = [f"actor\\000{i}_{900 + i}.jpg" for i in range(4)]
    (place / "ImageList/Imagelist.txt").write_text("".join(f"{name}\r\n" for name in names))
    flags = {"sky": "1001", "water": "1000", "window": "0100"}
    for concept in {*CONCEPTS["tc21"], *CONCEPTS["tc10"], "zebra"}:
        rows = flags.get(concept, "0010" if concept == "zebra" else "0000")
        (place / f"Groundtruth/AllLabels/Labels_{concept}.txt").write_text("\n".join(rows) + "\n")
    (place / "NUS_WID_Tags/TagList1k.txt").write_text("nature\nblue\nNight\n")
    (place / "NUS_WID_Tags/AllTags1k.txt").write_text("1\t1\t0\n0\t0\t0\n1\t0\t0\n0\t0\t1\n")
    (place / "NUS_WID_Tags/All_Tags.txt").write_text("900 nature blue extra\n903\n901  sun\n")
    picture(0).save(place / "Flickr/actor/0000_900.jpg")
    return place


def test_nuswide(tmp_path: Path) -> None:
    src = nuswide(tmp_path / "src")
    pairs, report = run("nuswide", src, tmp_path / "out")
    assert pairs.ids == ["900", "901", "903"] and pairs.label_names == CONCEPTS["tc21"]
    assert pairs.labels_text == [["sky", "water"], ["window"], ["sky"]]
    assert pairs.tags == [["nature", "blue"], [], ["Night"]] or pairs.tags[2] == ["night"]
    assert pairs.image_path(0) == "Flickr/actor/0000_900.jpg" and pairs.image_path(1) is None
    assert "1 of 4 rows have none of the 21 concepts" in " ".join(report.notes)
    assert "2 rows without picture kept" in " ".join(report.notes)
    few, _ = run("nuswide", src, tmp_path / "few", concepts="tc10")
    assert few.label_names == CONCEPTS["tc10"]


def test_nuswide_takes_all_tags_where_the_thousand_are_missing(tmp_path: Path) -> None:
    src = nuswide(tmp_path / "src")
    (src / "NUS_WID_Tags/TagList1k.txt").unlink()
    pairs, _ = run("nuswide", src, tmp_path / "out")
    assert pairs.tags == [["nature", "blue", "extra"], ["sun"], []]


def test_nuswide_names_all_that_is_missing_at_once(tmp_path: Path) -> None:
    src = nuswide(tmp_path / "src")
    (src / "ImageList/Imagelist.txt").unlink()
    (src / "Groundtruth/AllLabels/Labels_sky.txt").unlink()
    for name in ("All_Tags.txt", "AllTags1k.txt"):
        (src / "NUS_WID_Tags" / name).unlink()
    message = refused("nuswide", src, tmp_path / "out")
    assert "3 files of NUS-WIDE are missing: Imagelist.txt, Labels_sky.txt, TagList1k.txt with" in message


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("Groundtruth/AllLabels/Labels_sky.txt", "1\n0\n", "Labels_sky.txt must have 4 lines of 0 or 1"),
        ("Groundtruth/AllLabels/Labels_sky.txt", "1\n0\n2\n0\n", "must have 4 lines of 0 or 1"),
        ("NUS_WID_Tags/AllTags1k.txt", "1\t1\t0\n", "AllTags1k.txt has 1 rows, Imagelist.txt 4"),
        ("NUS_WID_Tags/AllTags1k.txt", "1 1 0\n1 0\n1 0 0\n1 0 0\n", "line 2 is not 3 zeros and ones"),
    ],
)
def test_nuswide_refuses_what_does_not_align(tmp_path: Path, file: str, text: str, message: str) -> None:
    src = nuswide(tmp_path / "src")
    (src / file).write_text(text)
    assert message in refused("nuswide", src, tmp_path / "out")
    assert "choose tc21 or tc10" in refused("nuswide", src, tmp_path / "out", concepts="tc81")


def iaprtc12(place: Path) -> Path:
    """Three pictures, one without a text, one without a description."""
    for number, text in ((25, "<DESCRIPTION>a lake; mountains behind;</DESCRIPTION>"), (112, "")):
        folder = f"{number // 1000:02}"
        (place / "annotations_complete_eng" / folder).mkdir(parents=True, exist_ok=True)
        content = f"<DOC>\n<TITLE>Caf\u00e9 {number}</TITLE>\n{text}\n</DOC>\n"
        (place / f"annotations_complete_eng/{folder}/{number}.eng").write_bytes(content.encode("latin-1"))
    (place / "images/00").mkdir(parents=True)
    for number in (25, 112, 113):
        picture(number).save(place / f"images/00/{number}.jpg")
    (place / "saiapr_tc-12/00").mkdir(parents=True)
    (place / "saiapr_tc-12/00/labels.txt").write_text("25 1 7\n25 2 7\n25 3 2\n113 1 3\n\n")
    (place / "wlist.txt").write_text("2\tlake\n3\tdog\n7\tmountain snow\n9\tunused\n")
    return place


def test_iaprtc12(tmp_path: Path) -> None:
    pairs, report = run("iaprtc12", iaprtc12(tmp_path / "src"), tmp_path / "out")
    assert pairs.ids == ["25", "112"] and pairs.label_names == ["lake", "mountain snow"]
    assert pairs.captions == [["a lake", "mountains behind"], ["Caf\u00e9 112"]]
    assert pairs.labels_text == [["lake", "mountain snow"], []]
    assert pairs.image_path(1) == "images/00/112.jpg"
    notes = " ".join(report.notes)
    assert "1 pictures without a text were skipped" in notes and "1 rows without a label" in notes


def test_iaprtc12_counts_what_is_not_there_and_takes_no_drawn_over_picture(tmp_path: Path) -> None:
    src = iaprtc12(tmp_path / "src")
    drawn = src / "images/00/segmented_images"
    drawn.mkdir()
    for name in ("25.jpg", "112.jpg"):
        picture(0).save(drawn / name)
    picture(0).save(src / "images/00/about.jpg")
    (src / "annotations_complete_eng/00/about.eng").write_text("no number")
    (src / "images/00/112.jpg").unlink()
    pairs, report = run("iaprtc12", src, tmp_path / "out")
    assert pairs.ids == ["25"] and pairs.image_path(0) == "images/00/25.jpg"
    assert "1 rows without a picture dropped (--keep-missing keeps them): 112" in " ".join(report.notes)
    (src / "images").rename(tmp_path / "photos")
    kept, _ = run("iaprtc12", src, tmp_path / "kept", keep_missing=True, images=tmp_path / "photos")
    assert kept.ids == ["25", "112"] and kept.image_path(0) == "00/25.jpg" and kept.image_path(1) is None


def test_iaprtc12_refusals(tmp_path: Path) -> None:
    src = iaprtc12(tmp_path / "src")
    (src / "saiapr_tc-12/00/labels.txt").write_text("25 1 7\n25 2 99\n")
    assert "labels.txt line 2 is not picture, region and label" in refused("iaprtc12", src, tmp_path / "out")
    (src / "wlist.txt").write_text("2\tlake\n3\tlake\n")
    assert "names a label twice" in refused("iaprtc12", src, tmp_path / "out")
    (src / "wlist.txt").unlink()
    (src / "saiapr_tc-12/00/labels.txt").unlink()
    message = refused("iaprtc12", src, tmp_path / "out")
    assert "missing: saiapr_tc-12/*/labels.txt, wlist.txt; unpack both" in message
