"""Odd data: training ends with finite numbers or in one line that names the mend; full disks."""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_readers_and_writers import in_child

import limbeck
from limbeck.errors import LimbeckError
from tiny import pixel_recipe, soda_recipe, write_pairs, write_protocol
from tiny_encoder import pixel_encoder, write_pictures

posix = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def damaged(pairs: Path, what: str) -> None:
    """Features of the tiny data made odd."""
    file = pairs.parent / "cnn.npy"
    x = np.load(file)
    if what == "infinity":
        x[3, 2] = np.inf
    elif what == "nan":
        x[3, 2] = np.nan
    elif what == "zeros":
        x[:] = 0
    elif what == "huge":
        x *= 1e30
    elif what == "equal":
        x[:] = x[0]
    elif what == "tiny":
        x *= 1e-30
    np.save(file, x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        ("infinity", "cnn.npy: row 3 contains NaN or infinity; compute the features again"),
        ("nan", "cnn.npy: row 3 contains NaN or infinity"),
        ("zeros", "trained"),
        ("huge", "trained"),
        ("equal", "trained"),
        ("tiny", "trained"),
        ("8 bits", "trained"),
        ("4096 bits", "trained"),
        ("large batch", "trained"),
        ("one class", "all 40 training rows have the label 'cat'"),
        ("few rows", "all 2 training rows have the label"),
    ],
)
def test_hashing_on_odd_features(tmp_path, what, outcome):
    pairs = write_pairs(tmp_path, rows=4 if what == "few rows" else 80)
    damaged(pairs, what)
    recipe = soda_recipe(pairs, write_protocol(tmp_path), steps=4, validate_every=2, checkpoint_every=2)
    if what.endswith("bits"):
        recipe["lift"]["bits"] = int(what.split()[0])
    if what == "large batch":
        recipe["schedule"]["batch_size"] = 1000
    if what == "one class":
        recipe["data"]["pairs"] = str(_of_one_class(tmp_path, pairs))
    assert outcome in ended(tmp_path, recipe)


def _of_one_class(folder: Path, pairs: Path) -> Path:
    from limbeck.data.pairs import Pairs

    old = Pairs.open(pairs)
    columns = {name: old.table.column(name).to_pylist() for name in ("id", "captions", "tags", "split")}
    meta = {
        "name": "one",
        "label_names": ["cat"],
        "features": {"cnn": {"file": str(folder / "cnn.npy"), "scale": 1.0}},
    }
    Pairs.write(folder / "one", columns | {"labels": [["cat"]] * len(old)}, meta)
    return folder / "one"


def ended(folder: Path, recipe: dict) -> str:
    """Trains to finite numbers everywhere, or is refused in one line and leaves no finished run."""
    file = folder / "r.yaml"
    file.write_text(yaml.safe_dump(recipe, sort_keys=False))
    try:
        limbeck.train(file, out=folder / "run")
    except LimbeckError as error:
        assert "\n" not in str(error), error
        assert not (folder / "run" / "run.json").exists()
        return str(error)
    for log in (folder / "run").rglob("metrics.jsonl"):
        for line in log.read_text().splitlines():
            values = [v for v in json.loads(line).values() if isinstance(v, float)]
            assert np.isfinite(values).all(), line
    from limbeck.encoders.tensors import load_tensors

    for weights in (folder / "run" / "model").rglob("*.safetensors"):
        assert all(bool(t.isfinite().all()) for t in load_tensors(weights).values() if t.is_floating_point())
    return "trained"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "lift", "changes", "outcome"),
    [
        ("clip", {"kind": "sphere", "dim": 1}, {}, "dim: Input should be greater than or equal to 2"),
        ("meru", {"kind": "tangent", "dim": 2}, {}, "trained"),
        ("meru", {"kind": "tangent", "dim": 8, "curv": 0.1}, {}, "trained"),
        ("meru", {"kind": "tangent", "dim": 8, "curv": 10.0}, {}, "trained"),
        ("meru", {"kind": "tangent", "dim": 8, "max_radius": 11.1}, {"lr": 10.0}, "trained"),
        ("meru", {"kind": "polar", "dim": 8, "max_radius": 11.1}, {"lr": 10.0}, "trained"),
        ("clip", {"kind": "sphere", "dim": 8}, {"batch_size": 500}, "trained"),
        ("clip", {"kind": "sphere", "dim": 8}, {"batch_size": 1}, "trained"),
        ("clip", {"kind": "sphere", "dim": 8}, {"lr": 1e9}, ""),
        ("clip", {"kind": "sphere", "dim": 8}, {"limit": 1}, "data.limit: Input should be greater than"),
    ],
    ids=range(10),
)
def test_pixels_on_odd_settings(tmp_path, method, lift, changes, outcome):
    pairs = write_pairs(tmp_path, rows=40, pictures=16)
    protocol = write_protocol(tmp_path, "retrieval")
    schedule = {name: value for name, value in changes.items() if name == "batch_size"}
    recipe = pixel_recipe(pairs, protocol, {"name": method}, lift, **schedule)
    recipe["optim"]["lr"] = changes.get("lr", 0.005)
    if "limit" in changes:
        recipe["data"]["limit"] = changes["limit"]
    assert outcome in ended(tmp_path, recipe)


VERBS = {
    "encode": lambda d: _cli("encode", d / "model", d / "p", "--out", d / "set"),
    "index build": lambda d: _cli("index", "build", d / "p", "--model", d / "model", "--out", d / "new"),
    "search --json": lambda d: _cli("search", d / "ix", "--like", "0001.png", "--json", d / "hits.json"),
    "search --gallery": lambda d: _cli("search", d / "ix", "--like", "0001.png", "--gallery", d / "hits.png"),
    "data import": lambda d: _cli("data", "import", "folder", d / "p", d / "pairs"),
    "data scenes": lambda d: _cli("data", "scenes", d / "scenes", "--n", "20"),
    "export faiss": lambda d: _cli("index", "export", d / "ix", d / "out.faiss"),
    "train": lambda d: _cli("train", d / "r.yaml", "--out", d / "run"),
}


def _cli(*words: object) -> str:
    """The command line in this process: exit status and standard error."""
    import io
    from contextlib import redirect_stderr, redirect_stdout

    from limbeck.cli import main

    sys.argv = ["limbeck", *map(str, words)]
    err = io.StringIO()
    try:
        with redirect_stderr(err), redirect_stdout(io.StringIO()):
            main()
    except SystemExit as end:
        return f"{end.code or 0} {err.getvalue()}"
    return "no end"


@posix
@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_full_disk_leaves_nothing_half_written(tmp_path, verb):
    write_pictures(tmp_path / "p", range(4))
    pixel_encoder().save(tmp_path / "model")
    limbeck.Index.build(tmp_path / "ix", tmp_path / "p", model=pixel_encoder())
    pairs = write_pairs(tmp_path / "data", rows=40, pictures=16)
    protocol = write_protocol(tmp_path / "data", "retrieval")
    recipe = pixel_recipe(pairs, protocol, {"name": "clip"}, {"kind": "sphere", "dim": 8})
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))

    def held() -> list[Path]:
        return sorted(
            p for p in tmp_path.rglob("*") if "cache" not in str(p) and p.suffix not in (".lock", ".log")
        )

    before = held()

    def work() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
        return VERBS[verb](tmp_path)

    said = in_child(work)
    assert said.startswith("1 "), said[-500:]
    assert "Traceback" not in said and "limbeck: " in said and ("space" in said or "large" in said), said[
        -500:
    ]
    left = [p for p in held() if p not in before]
    if verb not in ("encode", "train", "index build"):  # these go on where they stopped, and say so
        assert not [p for p in left if p.is_file()], left
    said = VERBS[verb](tmp_path)
    assert said.startswith("0 "), said[-500:]
