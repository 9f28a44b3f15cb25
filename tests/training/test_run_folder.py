"""A run's directory: what was there before a refused command is there after it; one writer at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.index.lock import writer_lock
from limbeck.training import train
from limbeck.training.fit import Interrupted
from raising import raises_code
from tiny import pixel_recipe, soda_recipe, write_pairs, write_protocol, write_recipe

DRIVER = Path(__file__).with_name("signal_driver.py")
STEP = "limbeck.training.fit.forward_backward"


def tree_of(folder: Path) -> dict[str, bytes]:
    files = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    return files | {str(f.relative_to(folder)) + "/": b"" for f in folder.rglob("*") if f.is_dir()}


def stop_at(step: int, run: Path, recipe: dict[str, Any]) -> Path:
    from limbeck.training import fit

    original, calls = fit.forward_backward, []

    def stopping(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return original(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "forward_backward", stopping)
        with pytest.raises(Interrupted):
            train(recipe, out=run, quiet=True)
    return run


@pytest.fixture
def quiet_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """Logs nothing before its end, as large runs do for their first steps."""
    recipe["schedule"] |= {"log_every": 1000, "validate_every": 1000}
    return recipe


@pytest.mark.parametrize("mistake", ["data", "protocol", "teacher"])
def test_a_refused_resume_leaves_the_run_as_it_was(
    tmp_path: Path, quiet_recipe: dict[str, Any], mistake: str
) -> None:
    run = stop_at(5, tmp_path / "run", quiet_recipe)
    assert not (run / "stages/teacher/metrics.jsonl").read_text()
    before = tree_of(run)
    changes: dict[str, Any] = {"pairs": None}
    if mistake == "data":
        changes["pairs"] = write_pairs(tmp_path / "other", seed=1)
    elif mistake == "protocol":
        quiet_recipe["data"]["protocol"] = "scenes/hashing"
    else:
        (run / "stages/teacher/state-00000005/state.json").write_text("{")
        (run / "stages/teacher/state-00000004/state.json").write_text("{")
        before = tree_of(run)
    with pytest.raises(LimbeckError):
        train(quiet_recipe, out=run, resume=True, quiet=True, **changes)
    assert tree_of(run) == before


def test_a_refused_resume_on_data_elsewhere_keeps_the_recipe(
    tmp_path: Path, quiet_recipe: dict[str, Any]
) -> None:
    """The same data in another place are taken, and noted; not by a command that is refused later."""
    run = stop_at(5, tmp_path / "run", quiet_recipe)
    for state in run.glob("stages/teacher/state-*"):
        (state / "state.safetensors").write_bytes(b"")
    before = tree_of(run)
    with raises_code("E-RUN-DAMAGED", "state.safetensors:"):
        train(quiet_recipe, pairs=write_pairs(tmp_path / "moved"), out=run, resume=True, quiet=True)
    assert tree_of(run) == before


def test_a_folder_with_a_recipe_of_ones_own_is_no_run(
    tmp_path: Path, recipe: dict[str, Any], run: Callable[..., tuple[int, str, str]]
) -> None:
    folder = tmp_path / "exp"
    folder.mkdir()
    file = write_recipe(folder / "recipe.yaml", recipe)
    (folder / "notes.txt").write_text("mine")
    before = tree_of(folder)
    for more in (["--resume"], [], ["--resume", "data.pairs=/nowhere"], ["--resume", "optim.lr=0.02"]):
        status, out, err = run("train", file, "--out", folder, *more)
        assert (status, out) == (1, "")
        assert err == f"limbeck: {folder}: exists and is not a run; choose another --out [E-PATH-EXISTS]\n"
        assert tree_of(folder) == before


@pytest.mark.parametrize("there", ["nothing", "empty", "parents"])
def test_a_run_that_fails_before_its_first_logged_step_leaves_nothing(
    tmp_path: Path, recipe: dict[str, Any], there: str
) -> None:
    out = tmp_path / "some/where/run" if there == "parents" else tmp_path / "run"
    if there == "empty":
        out.mkdir()
    before = tree_of(tmp_path)
    recipe["stages"]["student"]["init"] = {"image": "teacher"}
    recipe["stages"]["teacher"]["init"] = {"text": str(tmp_path)}  # a directory, but no model
    with raises_code("E-MODEL-MISSING", "stages.teacher:"):
        train(recipe, out=out, quiet=True)
    assert tree_of(tmp_path) == before


def test_what_else_lies_in_the_folder_stays(tmp_path: Path, recipe: dict[str, Any]) -> None:
    """Files put there while a run that fails is set up are not its own."""
    from limbeck.training import run as module

    def fails(*_: Any, **__: Any) -> None:
        (tmp_path / "run/mine.txt").write_text("mine")
        raise LimbeckError("no", code="E-BUG")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_stage", fails)
        with raises_code("E-BUG", "no"):
            train(recipe, out=tmp_path / "run", quiet=True)
    left = {name for name in tree_of(tmp_path / "run") if not name.startswith("writer.")}
    assert left == {"mine.txt"}


def test_killed_before_its_recipe_stood_it_begins_anew(tmp_path: Path, recipe: dict[str, Any]) -> None:
    (tmp_path / "run/stages").mkdir(parents=True)
    (tmp_path / "run/writer.lock").write_text("")
    recipe["schedule"] |= {"steps": 1, "validate_every": 1}
    assert train(recipe, out=tmp_path / "run", quiet=True) == tmp_path / "run"


def test_a_second_training_is_refused_and_names_the_first(tmp_path: Path, recipe: dict[str, Any]) -> None:
    run = tmp_path / "run"
    with writer_lock(run):
        before = tree_of(run)
        with raises_code("E-INDEX-LOCKED", os.getpid()) as failure:
            train(recipe, out=run, quiet=True)
        assert tree_of(run) == before
    assert "\n" not in str(failure.value)
    stop_at(5, tmp_path / "begun", recipe)
    with writer_lock(tmp_path / "begun"):
        before = tree_of(tmp_path / "begun")
        with raises_code("E-INDEX-LOCKED", "begun:"):
            train(recipe, out=tmp_path / "begun", resume=True, quiet=True)
        assert tree_of(tmp_path / "begun") == before


def test_the_lock_of_a_killed_training_is_free(tmp_path: Path, recipe: dict[str, Any]) -> None:
    file, run = write_recipe(tmp_path / "recipe.yaml", recipe), tmp_path / "run"
    command = [
        sys.executable,
        str(DRIVER),
        "SIGSTOP",
        STEP,
        "6",
        "train",
        str(file),
        "--out",
        str(run),
        "--quiet",
    ]
    first = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        while not (run / "stages/teacher/state-00000004").is_dir():
            assert first.poll() is None
            time.sleep(0.05)
        with raises_code("E-INDEX-LOCKED", first.pid):
            train(recipe, out=run, resume=True, quiet=True)
    finally:
        first.kill()
        first.wait()
    train(recipe, out=run, resume=True, quiet=True)
    assert (run / "run.json").is_file()


# ------------------------------------------------------------------------------ changed data
@pytest.fixture
def own_pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "own", pictures=16)


def test_changed_features_are_refused_by_name_and_accepted_on_request(
    tmp_path: Path, own_pairs: Path, hashing: Path, capsys: Any
) -> None:
    recipe = soda_recipe(own_pairs, hashing)
    run = stop_at(5, tmp_path / "run", recipe)
    file = tmp_path / "own/cnn.npy"
    times = file.stat()
    features = np.load(file)
    features[3, 2] += 1
    np.save(file, features)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    before = tree_of(run)
    with raises_code("E-RUN-OTHER-DATA", "cnn.npy", "--changed-data"):
        train(recipe, out=run, resume=True, quiet=True)
    assert tree_of(run) == before
    train(recipe, out=run, resume=True, quiet=True, changed_data=True)
    assert "cnn.npy); continuing, since --changed-data is given" in capsys.readouterr().err
    assert (run / "run.json").is_file()


def test_changed_pictures_are_refused_by_name(tmp_path: Path, own_pairs: Path, retrieval: Path) -> None:
    recipe = pixel_recipe(own_pairs, retrieval, {"name": "clip"}, {"kind": "sphere", "dim": 8})
    run = stop_at(3, tmp_path / "run", recipe)
    before = tree_of(run)
    root = tmp_path / "own/media"
    pairs = Pairs.open(own_pairs)
    name = pairs.image_path(int(pairs.split_rows("train")[4]))
    assert name is not None
    Image.new("RGB", (16, 16), "red").save(root / name)
    with raises_code("E-RUN-OTHER-DATA", name):
        train(recipe, out=run, resume=True, quiet=True)
    assert tree_of(run) == before


def test_touched_and_copied_pictures_are_the_same_data(
    tmp_path: Path, own_pairs: Path, retrieval: Path
) -> None:
    recipe = pixel_recipe(own_pairs, retrieval, {"name": "clip"}, {"kind": "sphere", "dim": 8})
    run = stop_at(3, tmp_path / "run", recipe)
    for picture in (tmp_path / "own/media").iterdir():
        os.utime(picture)
    train(recipe, out=run, resume=True, quiet=True)
    assert (run / "run.json").is_file()


def test_another_table_is_no_change_to_accept(tmp_path: Path, recipe: dict[str, Any]) -> None:
    run = stop_at(5, tmp_path / "run", recipe)
    other = write_pairs(tmp_path / "other", seed=1)
    with raises_code("E-RUN-OTHER-DATA", "pairs.parquet"):
        train(recipe, pairs=other, out=run, resume=True, changed_data=True, quiet=True)


# ------------------------------------------------------------------------------ protocols in files
def test_a_protocol_counts_by_its_content(tmp_path: Path, recipe: dict[str, Any], whole_run: Path) -> None:
    write_protocol(tmp_path)
    moved = recipe | {"data": recipe["data"] | {"protocol": str(tmp_path / "hashing.yaml")}}
    assert train(moved, out=whole_run, resume=True) == whole_run
    (tmp_path / "hashing.yaml").write_text(
        (tmp_path / "hashing.yaml").read_text().replace("size: 8", "size: 9")
    )
    with raises_code("E-RUN-OTHER-SETTINGS", "data.protocol"):
        train(moved, out=whole_run, resume=True)
