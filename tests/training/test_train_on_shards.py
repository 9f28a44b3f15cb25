"""Training on shards: the weights are those of the same pictures in a folder, and a stop changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from limbeck.cli.app import app
from limbeck.data.importers import FolderOptions, ShardOptions, import_folder, import_shards
from limbeck.files import sha256_file
from limbeck.training import train
from shards_made import jpeg, write_shards
from tiny import pixel_recipe, write_recipe

COUNT = 40


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures and captions as ``folder`` and as ``shards``, both imported."""
    place = tmp_path_factory.mktemp("sources")
    write_shards(place / "web", shards=4, each=COUNT // 4)
    (place / "files").mkdir()
    for number in range(COUNT):
        (place / "files" / f"{number:09d}.jpg").write_bytes(jpeg(number))
        (place / "files" / f"{number:09d}.txt").write_text(f"picture number {number}")
    import_shards(place / "web", place / "shards", ShardOptions(name="one"))
    import_folder(place / "files", place / "folder", FolderOptions(name="one"))
    return place


def run(sources: Path, kind: str, out: Path, **changes: object) -> str:
    method, lift = {"name": "clip"}, {"kind": "sphere", "dim": 8}
    recipe = pixel_recipe(
        sources / kind, Path("folder/retrieval"), method, lift, augment={"flip": True}, remainder="carry"
    )
    recipe["stages"]["student"]["schedule"] = {"batch_size": 8}
    return sha256_file(train(recipe, out=out, quiet=True, overrides=changes) / "model/model.safetensors")


@pytest.mark.slow
def test_shards_train_the_weights_of_the_folder_with_any_threads(sources: Path, tmp_path: Path) -> None:
    expected = run(sources, "folder", tmp_path / "a", **{"compute.workers": 1})
    assert run(sources, "shards", tmp_path / "b", **{"compute.workers": 3}) == expected
    windowed = run(sources, "shards", tmp_path / "c", **{"data.window": 8})
    assert windowed != expected


@pytest.mark.slow
def test_encode_and_search_open_pictures_inside_shards(sources: Path, tmp_path: Path) -> None:
    run(sources, "shards", tmp_path / "run")
    pairs, run_dir, index = str(sources / "shards"), str(tmp_path / "run"), str(tmp_path / "index")
    for words in (
        ["encode", run_dir, pairs, "--out", str(tmp_path / "encoded")],
        ["index", "build", str(tmp_path / "encoded"), "--model", run_dir, "--out", index],
    ):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
    import limbeck

    opened = limbeck.Index.open(index)
    hit = opened.item("000000012")
    assert opened.picture(hit).size == (40, 30)
    assert ".tar/" in hit.metadata["path"]


def test_the_cache_of_a_recipe_has_its_own_folder(sources: Path, tmp_path: Path) -> None:
    method, lift = {"name": "clip"}, {"kind": "sphere", "dim": 8}
    recipe = pixel_recipe(sources / "shards", Path("folder/retrieval"), method, lift)
    recipe["stages"]["student"]["freeze"] = ["image"]
    file = write_recipe(tmp_path / "frozen.yaml", recipe | {"cache": str(tmp_path / "teachers")})
    train(file, out=tmp_path / "run", quiet=True)
    assert len(list((tmp_path / "teachers").glob("*.npy"))) >= 1
