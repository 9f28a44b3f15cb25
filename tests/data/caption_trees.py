"""Small Flickr8k, Karpathy and COCO trees as they are downloaded, for the tests of their importers."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from data_samples import picture

from limbeck.data import importers
from limbeck.data.importers import ImportReport, PictureOptions
from limbeck.data.pairs import Pairs

NAMES = ["11_a.jpg", "22_b.jpg", "33_c.jpg", "44_d.jpg"]
# Commas, quotes and a caption that occurs twice; five a picture in the end.
SAID = {name: [f"first of {name[0]}", "a dog , running", 'a "big" dog', "twice", "twice"] for name in NAMES}
CSV = "image,caption\n" + "".join(
    f"{name},first of {name[0]}\n"
    + f'{name},"a dog , running"\n{name},"a ""big"" dog"\n'
    + f"{name},twice\n" * 2
    for name in NAMES
)
TOKEN = "".join(f"{name}#{at}\t{said}\n" for name in NAMES for at, said in enumerate(SAID[name]))
BARRED = "image_name| comment_number| comment\n" + "".join(
    f"{name}| {at}| {said}\n" for name in NAMES for at, said in enumerate(SAID[name])
)


def import_as(importer: str, src: Path, out: Path, **options: Any) -> ImportReport:
    """Import with the importer and the options of a format by its name."""
    kind = getattr(importers, f"{importer.capitalize()}Options", PictureOptions)
    report: ImportReport = getattr(importers, f"import_{importer}")(src, out, kind(**options))
    return report


def run(importer: str, src: Path, out: Path, **options: Any) -> tuple[Pairs, ImportReport]:
    """Import ``src`` and open what came of it."""
    report = import_as(importer, src, out, **options)
    return Pairs.open(out), report


def draw(folder: Path, names: list[str]) -> None:
    """A picture of each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for at, name in enumerate(names):
        picture(at).save(folder / name)


def flickr8k(
    place: Path, captions: bytes | str = CSV, *, file: str = "captions.txt", folder: str = "Images"
) -> Path:
    """Four pictures, a caption file, and the lists: two train, one val, one test."""
    draw(place / folder, NAMES)
    (place / file).parent.mkdir(parents=True, exist_ok=True)
    (place / file).write_bytes(captions if isinstance(captions, bytes) else captions.encode())
    for word, names in (("train", NAMES[:2]), ("dev", NAMES[2:3]), ("test", NAMES[3:])):
        (place / f"Flickr_8k.{word}Images.txt").write_text("".join(f"{name}\n" for name in names))
    return place


def karpathy(file: Path, images: list[dict[str, Any]], dataset: str = "flickr8k") -> Path:
    """A split file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "dataset": dataset}))
    return file


def sentences(*texts: str) -> list[dict[str, Any]]:
    """Karpathy's form of some captions."""
    return [{"raw": text, "tokens": text.split(), "sentid": at} for at, text in enumerate(texts)]


CATEGORIES = [
    {"supercategory": "person", "id": 1, "name": "person"},
    {"supercategory": "animal", "id": 18, "name": "dog"},
    {"supercategory": "animal", "id": 17, "name": "cat"},
]


def coco(place: Path, *, year: str = "2017", instances: bool = True) -> Path:
    """Two train and one val pictures with rows, one val picture without, one row without picture."""
    draw(place / f"train{year}", ["000000000001.jpg", "000000000002.jpg"])
    draw(place / f"val{year}", ["000000000004.jpg", "000000000009.jpg"])
    (place / "annotations").mkdir()
    for split, numbers in (("train", (2, 1)), ("val", (4, 5))):
        images = [{"id": n, "file_name": f"{n:012d}.jpg", "height": 30, "width": 40} for n in numbers]
        said = [{"id": at, "image_id": n, "caption": f"{n} says {at}\n"} for at in range(5) for n in numbers]
        content: dict[str, Any] = {"info": {}, "licenses": [], "images": images, "annotations": said}
        (place / f"annotations/captions_{split}{year}.json").write_text(json.dumps(content))
        if instances:
            # The second picture has no instance; one outline of the first is run-length coded, as of crowds.
            outlines: list[Any] = [[[1.0, 2.0, 3.0, 4.0]], {"counts": [1, 2], "size": [30, 40]}, [[0.0]]]
            found = [
                {"id": at, "image_id": numbers[0], "category_id": kind, "segmentation": outline, "iscrowd": 0}
                for at, (kind, outline) in enumerate(zip((17, 1, 17), outlines, strict=True))
            ]
            content = content | {"annotations": found, "categories": CATEGORIES}
            (place / f"annotations/instances_{split}{year}.json").write_text(json.dumps(content))
    return place


def zipped(folder: Path) -> Path:
    """The folder as a zip file beside it."""
    target = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return target
