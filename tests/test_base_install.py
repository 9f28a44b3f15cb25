"""The base install: what answers and builds without the packages of the extras, and what names the extra."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import limbeck
from limbeck.cli.device import encodes
from limbeck.errors import LimbeckError
from limbeck.index import query
from limbeck.index.exact import search_vectors
from limbeck.index.scan_numpy import highest_vectors
from limbeck.optional_deps import _PROJECTS, EXTRAS, missing
from tiny_encoder import WORDS, pixel_encoder, write_pictures

BASE = f"""
import sys
from importlib.machinery import PathFinder

class Base(PathFinder):
    @classmethod
    def find_spec(cls, name, *more):
        return None if name in {sorted(EXTRAS)} else super().find_spec(name, *more)

sys.meta_path[:] = [Base if finder is PathFinder else finder for finder in sys.meta_path]
"""
TRAIN = "torch is not installed; type: pip install 'limbeck[train]'"
FAST = "numba is not installed; type: pip install 'limbeck[fast]'"
SERVE = "fastapi is not installed; type: pip install 'limbeck[serve]'"
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, an index of their codes with its model, and codes with their ids."""
    root = tmp_path_factory.mktemp("base")
    write_pictures(root / "pictures", range(6))
    pixel_encoder(bits=16).save(root / "model")
    pixel_encoder(bits=16).save(root / "run/model", graphs=True)
    limbeck.Index.build(root / "index", root / "pictures", model=root / "model")
    np.save(root / "codes.npy", np.arange(8, dtype=np.uint8).reshape(4, 2))
    (root / "ids.txt").write_text("a\nb\nc\nd\n")
    return root


def python(script: str, place: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BASE + script],
        capture_output=True,
        text=True,
        cwd=place,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def verbs(place: Path, *commands: list[str]) -> list[tuple[int, str, str]]:
    """Run commands in one process; return exit status, standard output and standard error of each."""
    script = f"""
import contextlib, io, json
from limbeck.cli import main
answers = []
for words in {commands!r}:
    sys.argv, out, err, status = ["limbeck", *words], io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
    answers.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""
    return [tuple(one) for one in json.loads(python(script, place))]


def test_an_index_answers_every_kind_of_query(place: Path) -> None:
    script = f"""
import numpy as np
from limbeck import Index
index = Index.open("index")
assert len(index) == 6
points = index.store.points[0]
for row, name in enumerate(["0000.png", "0003.png"]):
    assert index.search(like=name, k=5)
    assert index.search(image="pictures/" + name, k=1)[0].score == 0
assert len(index.search({WORDS[0]!r}, k=3)) == 3
assert index.search(points=points[2], k=1)[0].score == 0
assert len(index.search({WORDS[0]!r}, radius=16)) == 6
built = Index.build("vectors", np.eye(4, dtype=np.float32), items={{"id": list("abcd")}})
assert [hit.id for hit in built.search(like="b", radius=-1)] == ["a", "c", "d"]
"""
    python(script, place)


def test_the_command_line_builds_from_codes_and_searches(place: Path) -> None:
    commands = [
        ["index", "build", "--codes", "codes.npy", "--ids", "ids.txt", "--out", "built"],
        ["search", "index", WORDS[1]],
        ["search", "index", "--image", "pictures/0001.png"],
        ["search", "built", "--codes", "codes.npy"],
        ["search", "built", "--like", "c", "--where", "id != a"],
        ["index", "info", "built"],
        ["index", "verify", "built"],
        ["index", "sync", "index", "pictures"],  # nothing is new
        ["list", "protocols"],
        ["--help"],
    ]
    for words, (status, out, err) in zip(commands, verbs(place, *commands), strict=True):
        assert (status, err) == (0, ""), words
        assert out


def test_the_command_line_encodes_with_graphs(place: Path) -> None:
    first = [
        ["index", "build", "pictures", "--model", "run", "--out", "ours"],
        ["encode", "run", "pictures", "--out", "set"],
        ["index", "build", "set", "--model", "run", "--out", "from-set"],
    ]
    more = [
        ["index", "add", "ours", "pictures/more"],
        ["index", "sync", "ours", "pictures"],
        ["index", "encoder", "ours", "--model", "run"],
        ["search", "ours", WORDS[1]],
        ["search", "ours", "--image", "pictures/0001.png"],
    ]
    answers = verbs(place, *first)
    write_pictures(place / "pictures/more", range(6, 8))
    write_pictures(place / "pictures", range(2, 3), size=(8, 40))
    try:
        answers += verbs(place, *more)
        want = limbeck.load(place / "model").encode_image(sorted((place / "pictures").rglob("*.png")))
    finally:
        shutil.rmtree(place / "pictures/more")
        write_pictures(place / "pictures", range(2, 3))
    for words, (status, out, err) in zip(first + more, answers, strict=True):
        assert status == 0, (words, err)
        assert out
    stores = {name: limbeck.Index.open(place / name).store for name in ("ours", "from-set", "index")}
    names = [f"{n:04}.png" for n in range(6)]
    ours = stores["ours"].points_at(stores["ours"].rows_of([*names, "more/0006.png", "more/0007.png"]))
    np.testing.assert_array_equal(ours, want)
    np.testing.assert_array_equal(stores["from-set"].points[0], stores["index"].points[0])


def test_a_verb_that_needs_an_extra_names_it(place: Path) -> None:
    limbeck.Index.build(place / "four", np.load(place / "codes.npy"), items={"id": list("abcd")})
    needs = [
        (["train", "clip/scenes"], TRAIN),
        (["demo", "--out", "x"], TRAIN),
        (["encode", "model", "pictures", "--out", "x"], TRAIN),
        (["export", "model", "--onnx", "x"], TRAIN),
        (["index", "build", "pictures", "--model", "model", "--out", "x"], TRAIN),
        (["evaluate", "model"], FAST),
        (["evaluate", "--codes", "codes.npy"], FAST),
        (["serve", "index"], SERVE),
        (["compare", "x.json"], FAST),
        (["index", "engine", "four", "--engine", "ivf"], FAST),
        (["serve", "four"], "fastapi is not installed; type: pip install 'limbeck[serve]'"),
    ]
    answers = verbs(place, *[words for words, _ in needs])
    for (words, extra), answer in zip(needs, answers, strict=True):
        assert answer == (1, "", f"limbeck: {extra} [E-PACKAGE-MISSING]\n"), words
    assert not (place / "x").exists()


def test_a_call_that_needs_an_extra_names_it(place: Path) -> None:
    needs = [
        ("limbeck.load('model')", TRAIN),
        ("limbeck.train('clip/scenes')", TRAIN),
        ("limbeck.evaluate('model', 'pictures', 'x')", FAST),
        ("limbeck.Index.build('x', 'pictures', model='model')", TRAIN),
    ]
    script = "import limbeck\n" + "".join(
        f"try:\n    {call}\nexcept limbeck.LimbeckError as error:\n    print(error)\n" for call, _ in needs
    )
    assert python(script, place).splitlines() == [extra for _, extra in needs]


def test_only_packages_of_extras_are_translated() -> None:
    assert missing(ModuleNotFoundError("x", name="limbeck.mistyped")) is None
    assert missing(ModuleNotFoundError("x", name="torch.mistyped")) is None
    with pytest.raises(LimbeckError, match="lightning-fabric is not installed"):
        raise missing(ModuleNotFoundError("x", name="lightning_fabric")) or AssertionError


def test_the_extras_are_those_of_pyproject() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    for package, extra in EXTRAS.items():
        name = _PROJECTS.get(package, package.replace("_", "-"))
        assert any(line.startswith(name + ">=") for line in project["optional-dependencies"][extra]), name
        assert not any(line.startswith(name + ">=") for line in project["dependencies"]), name


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
def test_numpy_finds_the_vectors_of_the_compiled_scan(rows: int) -> None:
    rng = np.random.default_rng(3)
    items, queries = rng.integers(-3, 4, (rows, 5)).astype(np.float32), rng.integers(-3, 4, (4, 5))
    queries = queries.astype(np.float32)
    for mask in (None, rng.random(rows) < 0.4):
        for k in (1, 6, 400):
            scores, found = highest_vectors(queries, items, k, mask=mask)
            wanted, _ = search_vectors(queries, items, k, mask=mask)
            np.testing.assert_array_equal(scores, wanted)  # whole numbers are exact in float32
            np.testing.assert_array_equal(np.take_along_axis(queries @ items.T, found, 1), wanted)
            assert found.dtype == np.int64
            assert all(len(set(one)) == found.shape[1] for one in found.tolist())


def test_a_large_index_without_numba_says_so_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    index = limbeck.Index.open(place / "index")
    want = index.search(like="0002.png")
    monkeypatch.setattr(query, "SMALL_ROWS", 0)
    monkeypatch.setitem(sys.modules, "numba", None)
    query.has_numba.cache_clear()
    try:
        assert index.search(like="0002.png") == index.search(like="0002.png") == want
    finally:
        query.has_numba.cache_clear()
    said = (
        "limbeck: numba is not installed, so numpy scans the index; faster with: pip install 'limbeck[fast]'"
    )
    assert capsys.readouterr().err.splitlines() == [said]


def test_verbs_that_encode_let_waiting_threads_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMP reads it when torch is imported; a person's own choice stands."""

    @encodes
    def policy(device: str | None = None) -> str:
        return os.environ["OMP_WAIT_POLICY"]

    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert policy(device="cpu") == "ACTIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert policy(device="cpu") == "PASSIVE"
