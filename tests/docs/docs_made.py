"""What a page takes for granted, generated: photos, data sets in their download's form, trained runs."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from docs_markdown import ROOT, blocks
from PIL import Image

from limbeck.cli.app import app
from limbeck.data.importers.mirflickr import LABELS
from limbeck.data.pairs import Pairs
from limbeck.data.synthetic.generate import generate_scenes
from pretrained_models import write_all
from shards_made import write_shards

PROTOCOLS = ROOT / "src/limbeck/protocols"
TOWERS = {
    "image": {
        "backbone": {
            "kind": "clip_image",
            "image_size": 32,
            "patch_size": 8,
            "width": 16,
            "layers": 1,
            "heads": 2,
        }
    },
    "text": {"backbone": {"kind": "clip_text", "width": 16, "layers": 1, "heads": 2, "context": 24}},
}


def call(*words: object) -> None:
    """The command line, in this process."""
    app([str(word) for word in words], standalone_mode=False)


class Made:
    """Folders and files that pages take for granted, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._makers: dict[str, Callable[[Path], object]] = {
            "photos": self._photos,
            "Pictures": self._pictures,
            "models": write_all,
            "codes.npy": lambda place: _codes(place.parent),
            "things": lambda place: self._page("docs/zero-pair.md", 2),
            "photos.zip": self._photo_zip,
            "shards": write_shards,
            "data/scenes": lambda place: generate_scenes(place, n=60, seed=1),
            "data/photos": lambda place: call("data", "import", "folder", self["photos"], place),
            "runs/photos": self._run_of_photos,
            "data/pictures": self._album,
            "runs/big": lambda place: self._small_run(
                place, "clip", {"kind": "sphere", "dim": 8}, on="data/pictures"
            ),
            "index/pictures": self._album_index,
            "index/things": self._album_index,
            "runs/lorentz": self._run_with_cones,
            "mirflickr.zip": lambda place: _mirflickr(place.parent),
            "flickr8k.zip": lambda place: _flickr8k(place.parent),
            "coco": lambda place: _coco(place),
            "data/mirflickr": lambda place: self._import("mirflickr", place),
            "data/flickr8k": lambda place: self._import("flickr8k", place),
            "index/mirflickr": lambda place: call(
                "index", "build", self["data/mirflickr"], "--model", self["runs/soda-64-s0"], "--protocol",
                "mirflickr15k/dcmh", "--split", "database", "--out", place,
            ),
        }  # fmt: skip

    def __getitem__(self, name: str) -> Path:
        place = self.folder / name
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            if name in self._makers:
                self._makers[name](place)
            elif name.startswith("runs/soda"):
                call(
                    "train",
                    "soda/mirflickr",
                    f"name={place.name}",
                    "--data",
                    self["data/mirflickr"],
                    "--out",
                    place,
                )
            else:
                method, _, seed = place.name.partition("-s")
                lift = {"kind": "sphere" if method == "clip" else "polar", "dim": 8}
                self._small_run(place, method, lift, seed=seed)
                call("evaluate", place)
        return place

    def copy(self, names: Sequence[str], target: Path) -> None:
        """Copy what is named into a page's folder; what belongs to a file comes with it."""
        for name in names:
            place = self[name]
            beside = COMPANIONS.get(name, [])
            for file in [place, *(self.folder / other for other in beside)]:
                goal = target / file.relative_to(self.folder)
                goal.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if file.is_dir() else shutil.copy)(file, goal)

    def _photos(self, place: Path) -> None:
        """Pictures and the table that names them."""
        generate_scenes(self.folder / "drawn", n=60, seed=3)
        pairs = Pairs.open(self.folder / "drawn")
        place.mkdir()
        with (place / "captions.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(["image", "caption", "labels", "split"])
            for row, (captions, labels) in enumerate(zip(pairs.captions, pairs.labels_text, strict=True)):
                name, split = f"{row:04d}.jpg", "test" if row % 5 == 0 else "train"
                pairs.open_image(row).save(place / name)
                table.writerows([name, caption, ",".join(labels), split] for caption in captions)

    def _pictures(self, place: Path) -> None:
        place.mkdir()
        for file in sorted(self["photos"].glob("*.jpg")):
            shutil.copy(file, place)
        shutil.copy(file, place.parent / "query.jpg")

    def _photo_zip(self, place: Path) -> None:
        with zipfile.ZipFile(place, "w") as archive:
            for file in sorted(self["photos"].glob("*.jpg")):
                archive.write(file, file.name)
            rows = "".join(f"{n:04d}.jpg,{'car' if n % 2 else 'dog'}\n" for n in range(60))
            archive.writestr("keywords.csv", f"image,keywords\n{rows}")
        lines = [f"{number:04d}.jpg;picture {number}" for number in range(60)]
        (place.parent / "list.tsv").write_text("\n".join(["file;title", *lines]) + "\n")

    def _run_of_photos(self, place: Path) -> None:
        recipe = next(block for block in blocks(ROOT / "README.md") if block.file == "photos.yaml")
        (self.folder / "photos.yaml").write_text(recipe.body)
        call("train", self.folder / "photos.yaml", "--data", self["data/photos"], "--out", place)

    def _run_with_cones(self, place: Path) -> None:
        self._small_run(place, "meru", {"kind": "polar", "dim": 8}, on="data/photos")
        (self.folder / "words.txt").write_text("a circle\na red circle\na star\n")

    def _small_run(
        self, place: Path, method: str, lift: dict[str, Any], *, on: str = "data/scenes", seed: str = ""
    ) -> None:
        recipe = {
            "name": method,
            "data": {"protocol": "scenes/retrieval" if on == "data/scenes" else "folder/retrieval"},
            "seed": int(seed or 0),
            "towers": TOWERS,
            "lift": lift,
            "schedule": {"steps": 2},
            "stages": {"only": {"method": {"name": method}}},
        }
        file = self.folder / f"{place.name}.yaml"
        file.write_text(yaml.safe_dump(recipe))
        call("train", file, "--data", self[on], "--out", place)

    def _album(self, place: Path) -> None:
        """Pictures with ids, captions and labels as people have them."""
        names = sorted(file.name for file in self["photos"].glob("*.jpg"))
        ids = ["2018/sea.jpg", *names[1:]]
        said = ["a dog in the snow", "a beach with people", "a red ring at night", "two dogs"]
        columns = {
            "id": ids,
            "image": names,
            "captions": [[said[at % 4]] for at in range(len(ids))],
            "labels": [["sea", "sky"] if at % 2 else ["dog"] for at in range(len(ids))],
        }
        media = {"kind": "folder", "root": str(self["photos"])}
        Pairs.write(place, columns, {"name": "album", "label_names": ["dog", "sea", "sky"], "media": media})
        (self.folder / "texts.txt").write_text("".join(f"{text}\n" for text in said))

    def _album_index(self, place: Path) -> None:
        call("index", "build", self["data/pictures"], "--model", self["runs/big"], "--out", place)

    def _import(self, kind: str, place: Path) -> None:
        archive = self[f"{kind}.zip"]
        features = ["--features", f"mobilenetv2={archive.parent / 'features.npy'}"]
        names = ["--feature-names", archive.parent / "names.txt", "--feature-scale", "6/255"]
        call("data", "import", kind, archive, place, *features, *names)

    def _page(self, name: str, count: int) -> None:
        """The first blocks of a page, in the folder of what is made."""
        from docs_shell import Page

        with Page(self.folder) as page:
            for block in blocks(ROOT / name)[:count]:
                page.run(block)


# What is written beside a file that a page names.
COMPANIONS = {
    "Pictures": ["query.jpg"],
    "codes.npy": [
        "ids.txt",
        "queries.npy",
        "floats.npy",
        "query_codes.npy",
        "query_floats.npy",
        "queries.jsonl",
        "codes.npz",
    ],
    "mirflickr.zip": ["features.npy", "names.txt"],
    "photos.zip": ["list.tsv"],
    "runs/big": ["texts.txt"],
    "runs/lorentz": ["words.txt"],
    "coco": ["dataset_coco.json"],
    "things": ["things.npy", "data/things"],
}


def _codes(folder: Path) -> None:
    """Codes of 64 bits with their floats, queries, and a file of texts."""
    floats = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
    floats /= np.linalg.norm(floats, axis=1, keepdims=True)
    codes = np.packbits(floats > 0, axis=1)
    for name, rows in (("", slice(None)), ("query_", slice(0, 4))):
        np.save(folder / f"{name}codes.npy", codes[rows])
        np.save(folder / f"{name}floats.npy", floats[rows])
    np.save(folder / "queries.npy", codes[:4])
    sizes = {"query": 2000, "database": 13677}  # of mirflickr15k/dcmh
    held = {
        f"{part}_{kind}": np.resize(codes, (n, 8)) for part, n in sizes.items() for kind in ("image", "text")
    }
    np.savez(folder / "codes.npz", **held)
    (folder / "ids.txt").write_text("".join(f"item{number}\n" for number in range(len(codes))))
    (folder / "queries.jsonl").write_text('{"text": "a sunset over the sea"}\n{"text": "a dog"}\n')


def _jpeg(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (number * 37 % 256, number * 11 % 256, 90)).save(stream, "JPEG")
    return stream.getvalue()


PICTURES = [_jpeg(number) for number in range(50)]


def _features(folder: Path) -> None:
    """Features of the pictures of both data sets, with one direction per picture of `PICTURES`."""
    names = [
        f"{name}.jpg"
        for name in [*_mirflickr_ids(), *(name for ids in _flickr8k_lists().values() for name in ids)]
    ]
    rng = np.random.default_rng(0)
    kinds = rng.random((len(PICTURES), 288))
    rows = kinds[np.arange(len(names)) % len(PICTURES)] + 0.1 * rng.random((len(names), 288))
    np.save(folder / "features.npy", (rows * 40).astype(np.uint8))
    (folder / "names.txt").write_text("".join(f"{name}\n" for name in names))


def _mirflickr_ids() -> list[str]:
    parts = [
        (PROTOCOLS / f"mirflickr15k/dcmh.{part}.txt").read_text().split() for part in ("query", "database")
    ]
    return sorted(parts[0] + parts[1], key=lambda name: int(name.removeprefix("im")))


def _flickr8k_lists() -> dict[str, list[str]]:
    parts = {"train": "train", "dev": "val", "test": "query"}
    return {
        own: (PROTOCOLS / f"flickr8k/official.{part}.txt").read_text().split() for own, part in parts.items()
    }


def _mirflickr(folder: Path) -> None:
    """The rows of the packaged protocol as aligned lists with pictures, in one zip."""
    lists = [
        (PROTOCOLS / f"mirflickr15k/dcmh.{part}.txt").read_text().split() for part in ("query", "database")
    ]
    ids = sorted(lists[0] + lists[1], key=lambda name: int(name.removeprefix("im")))
    kinds = [number % 24 for number in range(len(ids))]
    labels = [" ".join("1" if at in (kind, (kind + 7) % 24) else "0" for at in range(24)) for kind in kinds]
    with zipfile.ZipFile(folder / "mirflickr.zip", "w") as archive:
        archive.writestr("all_imgs.txt", "".join(f"mirflickr/{name}.jpg\n" for name in ids))
        archive.writestr("all_tags.txt", "".join(f"{LABELS[kind]},evening\n" for kind in kinds))
        archive.writestr("all_labels.txt", "".join(f"{row}\n" for row in labels))
        for number, name in enumerate(ids):
            archive.writestr(f"mirflickr/{name}.jpg", PICTURES[number % len(PICTURES)])
    _features(folder)


def _flickr8k(folder: Path) -> None:
    """The pictures of the official lists with five captions each, in one zip."""
    lists = _flickr8k_lists()
    ids = [name for names in lists.values() for name in names]
    said = ["a red thing", "a thing on grass", "one thing", "two things", "a small thing at night"]
    with zipfile.ZipFile(folder / "flickr8k.zip", "w") as archive:
        rows = "".join(f"{name}.jpg,{words} {at % 9}\n" for at, name in enumerate(ids) for words in said)
        archive.writestr("captions.txt", f"image,caption\n{rows}")
        for part, names in lists.items():
            archive.writestr(f"Flickr_8k.{part}Images.txt", "".join(f"{name}.jpg\n" for name in names))
        for number, name in enumerate(ids):
            archive.writestr(f"Images/{name}.jpg", PICTURES[number % len(PICTURES)])
    _features(folder)


def _coco(place: Path) -> None:
    """COCO 2017 with four pictures, and Karpathy's file of them."""
    splits = {"train": [1, 2], "val": [3, 4]}
    (place / "annotations").mkdir(parents=True)
    table = []
    for split, numbers in splits.items():
        (place / f"{split}2017").mkdir()
        images = [{"id": n, "file_name": f"{n:012d}.jpg", "height": 32, "width": 32} for n in numbers]
        notes = [
            {"id": 10 * n + at, "image_id": n, "caption": f"{n} has {at}"} for n in numbers for at in range(5)
        ]
        outline = {"segmentation": [[1, 2, 3, 4]], "iscrowd": 0, "category_id": 18}
        found = [{"id": n, "image_id": n} | outline for n in numbers]
        categories = [{"id": 18, "name": "dog", "supercategory": "animal"}]
        for kind, entries in (("captions", notes), ("instances", found)):
            content = {"images": images, "annotations": entries, "categories": categories}
            (place / f"annotations/{kind}_{split}2017.json").write_text(json.dumps(content))
        for n in numbers:
            (place / f"{split}2017/{n:012d}.jpg").write_bytes(PICTURES[n])
            sentences = [{"raw": f"{n} has {at}", "tokens": [str(n)], "sentid": at} for at in range(5)]
            own = {
                "filepath": f"{split}2017",
                "filename": f"{n:012d}.jpg",
                "split": split,
                "sentences": sentences,
            }
            table.append(own | {"imgid": n, "cocoid": n, "sentids": list(range(5))})
    (place.parent / "dataset_coco.json").write_text(json.dumps({"images": table, "dataset": "coco"}))
