"""What decodes is listed whatever its ending; the rest is named, by reason."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limbeck.data.importers import FolderOptions, import_folder
from limbeck.data.pairs import Pairs
from limbeck.encoding import PictureFolder
from limbeck.errors import LimbeckError
from limbeck.pictures import (
    Kind,
    Reason,
    SkippedFiles,
    formats,
    is_hidden,
    list_folder,
    list_zip,
    open_picture,
)

SAVED = {
    "a.jfif": "JPEG", "b.JPG": "JPEG", "c.tga": "TGA", "c.pcx": "PCX", "d.jp2": "JPEG2000", "e.dat": "PNG",
    "noending": "WEBP", "f.png.bak": "GIF", "g.psd.tif": "TIFF", "h.ico": "ICO", "i.pnm": "PPM",
    "sub/j.jpe": "JPEG", "k.txt": "BMP", "l.sgi": "SGI", "m.dds": "DDS",
}  # fmt: skip
FOREIGN = {
    "notes.txt": b"P6 is no picture", "t.csv": b"image,caption\n", "x.bin": bytes(range(256)), "empty": b"",
    "m.json": b'{"BM": 1}', "bm": b"BM25 ranks texts", "v.mpg": b"\0\0\1\xb3" + bytes(60),
    "d.h5": b"\x89HDF\r\n\x1a\n",
    "e.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}  # fmt: skip


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of many endings, other files, links, hidden and special ones."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    for number, (name, kind) in enumerate(SAVED.items()):
        picture(number, (32, 32)).save(root / name, kind)
    for name, content in FOREIGN.items():
        (root / name).write_bytes(content)
    (root / ".DS_Store").touch()
    (root / "._b.jpg").write_bytes(b"x")
    (root / ".thumbs").mkdir()
    picture(1).save(root / ".thumbs/b.jpg")
    (tmp_path / "other").mkdir()
    picture(9).save(tmp_path / "other/z.png")
    (root / "linked").symlink_to(tmp_path / "other")
    (root / "loop").symlink_to(root)
    (root / "link.png").symlink_to(tmp_path / "other/z.png")
    (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(root / "pipe.png")
    Path(os.fsdecode(bytes(root / "caf") + b"\xe9.png")).write_bytes((tmp_path / "other/z.png").read_bytes())
    return root


def test_a_folder_is_listed_by_content_and_the_rest_by_reason(folder):
    listing = list_folder(folder)
    assert listing.pictures == sorted([*SAVED, "link.png"])
    assert all(open_picture(folder / name).size in ((32, 32), (40, 30)) for name in listing.pictures)
    assert listing.skipped.names == {
        Kind.NOT_PICTURE: sorted(FOREIGN),
        Kind.HIDDEN: [".DS_Store", "._b.jpg", ".thumbs"],
        Kind.LINKED_FOLDER: ["linked", "loop"],
        Kind.BROKEN_LINK: ["gone.png"],
        Kind.NOT_REGULAR: ["pipe.png"],
        Kind.NOT_UTF8: ["caf\\udce9.png"],
    }
    assert listing.others == sorted([".DS_Store", "._b.jpg", *FOREIGN])


def test_a_zip_is_listed_alike(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in [*SAVED, *FOREIGN]:
            archive.write(folder / name, name)
        archive.writestr("__MACOSX/._b.jpg", b"x")
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "a.jfif")
    listing = list_zip(tmp_path / "a.zip")
    assert listing.pictures == sorted(SAVED)
    assert listing.skipped.names == {
        Kind.NOT_PICTURE: [*FOREIGN],
        Kind.HIDDEN: ["__MACOSX/._b.jpg"],
        Kind.BROKEN_LINK: ["link.png"],
    }


def test_an_unreadable_folder_is_named(folder, monkeypatch):
    real = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "sub":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list_folder(folder).skipped.names[Kind.UNREADABLE] == ["sub/"]


def test_a_known_ending_is_not_looked_into(folder, monkeypatch):
    looked: list[str] = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args: (looked.append(path.name), real(path, *args))[1])
    list_folder(folder)
    assert sorted(looked) == sorted(
        [*FOREIGN, "e.dat", "noending", "f.png.bak", "h.ico", "k.txt", "l.sgi", "m.dds"]
    )


def test_hidden_is_any_part_of_a_relative_path():
    names = ["a/b.png", "./a.png", "../a.png", ".a/b.png", "a/.b.png", "__MACOSX/a"]
    assert list(map(is_hidden, names)) == [False, False, False, True, True, True]


def test_heic_without_its_extra_is_a_picture_that_names_the_extra(tmp_path, monkeypatch):
    without = tuple(name for name in formats.formats() if name != "HEIF")
    monkeypatch.setattr(formats, "formats", lambda: without)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
    (tmp_path / "a.heic").write_bytes(heic)
    (tmp_path / "b").write_bytes(heic)
    assert list_folder(tmp_path).pictures == ["a.heic", "b"]
    monkeypatch.setattr("limbeck.pictures.open.formats", lambda: without)
    with pytest.raises(LimbeckError, match=r"a.heic: HEIC needs pip install 'limbeck\[heic\]'") as caught:
        open_picture(tmp_path / "a.heic")
    assert Reason.of(caught.value).kind is Kind.NEEDS_EXTRA


def test_the_line_counts_and_names(folder):
    skipped = SkippedFiles()
    assert skipped.line() == ""
    for number in range(1200):
        skipped.add(Kind.NOT_PICTURE, f"{number}.txt")
    skipped.add(Kind.BROKEN_LINK, "a.png")
    assert skipped.line() == ("skipped: 1,200 not a picture (0.txt, 1.txt, 2.txt, …), 1 broken link (a.png)")
    assert skipped.without(Kind.NOT_PICTURE).line() == "skipped: 1 broken link (a.png)"
    assert skipped.without(names=frozenset({"a.png"})).counts() == {Kind.NOT_PICTURE: 1200}


def test_a_source_below_another_folder_keeps_its_listing(folder):
    source = PictureFolder(folder)
    moved = source.below(folder.resolve().parent)
    assert moved.ids([0]) == ["photos/" + source.names[0]] and source.ids([0]) == [source.names[0]]
    assert moved.media_root == str(folder.resolve().parent) and moved.skipped is source.skipped
    (folder.parent / "none").mkdir()
    (folder.parent / "none/.a.png").touch()
    with pytest.raises(LimbeckError, match=r"holds no pictures .*\(skipped: 1 hidden \(.a.png\)\)"):
        PictureFolder(folder.parent / "none")


def test_import_folder_takes_what_decodes_and_notes_the_rest(folder, tmp_path):
    (folder / "t.csv").write_text("image,caption\nnoending,one\ne.dat,two\n")
    report = import_folder(folder, tmp_path / "pairs", FolderOptions())
    assert report.rows == 2 and Pairs.open(tmp_path / "pairs").open_image(0).size == (32, 32)
    note = next(note for note in report.notes if note.startswith("skipped"))
    assert "8 not a picture (bm, d.h5, e.eps, …)" in note and "2 linked folder (linked, loop)" in note
    with pytest.raises(LimbeckError, match="is a device, not a regular file"):
        import_folder(Path("/dev/zero"), tmp_path / "more", FolderOptions())


def test_the_notes_are_printed_by_data_import(folder, tmp_path, run):
    (folder / "t.csv").write_text("image,caption\nnoending,one\n")
    status, out, _ = run("data", "import", "folder", folder, tmp_path / "pairs")
    assert status == 0 and "note: skipped: 8 not a picture (bm, d.h5, e.eps, …), 3 hidden" in out
