"""The command line from a recipe to a search, and every bad input as one line with nothing half-written."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limbeck.data.pairs import Pairs
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.training.recipe import list_recipes
from tiny import soda_recipe, write_recipe

Run = Callable[..., tuple[int, str, str]]


def test_from_a_recipe_to_a_search(tmp_path: Path, recipe: dict[str, Any], limbeck: Run) -> None:
    file, run, index = write_recipe(tmp_path / "recipe.yaml", recipe), tmp_path / "run", tmp_path / "index"
    status, out, err = limbeck("train", file, "seed=3", "stages.student.optim.lr=2e-3", "--out", run)
    assert "student: step 15/15" in err
    facts = json.loads((run / "run.json").read_text())
    sizes = facts["stages"]["student"]
    assert 0 < sizes["trained_parameters"] < sizes["parameters"]  # the image side is frozen
    said = f"done, {sizes['parameters']:,} parameters, {sizes['trained_parameters']:,} trained"
    assert (status, out) == (0, f"{run}: {said}; evaluate it with: limbeck evaluate {run}\n")
    assert (facts["seed"], facts["train_pairs"], facts["validation_pairs"]) == (3, 40, 8)
    assert [facts["stages"][s]["steps"] for s in ("teacher", "student")] == [15, 15]
    assert limbeck("evaluate", run, "--no-ceiling")[0] == 0
    result = json.loads((run / "result.json").read_text())
    assert result["bits"] == 8
    assert 0.3 < result["metrics"]["t2i"]["map"] <= 1
    pairs = recipe["data"]["pairs"]
    assert limbeck("index", "build", pairs, "--model", run, "--out", index)[0] == 0
    status, out, _ = limbeck("search", index, "cat sky", "-k", "3", "--json", tmp_path / "hits.json")
    assert status == 0
    assert "row" in out
    status, _, err = limbeck("search", index, "zebra")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("limbeck: query 'zebra': the model knows none of its words")
    status, _, err = limbeck("search", index, "--image", tmp_path / "none.png")
    assert (status, err.count("\n")) == (1, 1)


def test_pixels_from_scenes_to_a_search_by_picture(tmp_path: Path, limbeck: Run) -> None:
    generate_scenes(tmp_path / "scenes", n=60, seed=0, size=32)
    small = {"width": 16, "layers": 1, "heads": 2}
    tree = {
        "name": "tiny/clip",
        "data": {"protocol": "scenes/retrieval", "captions": "all"},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "towers": {
            "image": {
                "backbone": {"kind": "clip_image", "image_size": 32, "augment": {"crop": [0.8, 1.0]}, **small}
            },
            "text": {"backbone": {"kind": "clip_text", "context": 16, **small}},
        },
        "lift": {"kind": "sphere", "dim": 8},
        "schedule": {"epochs": 2, "batch_size": 16, "chunk": 5},
        "stages": {"clip": {"method": {"name": "clip"}}},
    }
    recipe, run, index = write_recipe(tmp_path / "r.yaml", tree), tmp_path / "run", tmp_path / "index"
    assert limbeck("train", recipe, "--data", tmp_path / "scenes", "--out", run, "--quiet")[::2] == (0, "")
    assert limbeck("evaluate", run)[0] == 0
    assert limbeck("index", "build", tmp_path / "scenes", "--model", run, "--out", index)[0] == 0
    pairs = Pairs.open(tmp_path / "scenes")
    pairs.open_image(7).save(tmp_path / "query.png")
    status, out, _ = limbeck("search", index, "--image", tmp_path / "query.png", "-k", "1")
    assert status == 0
    assert pairs.ids[7] in out
    assert limbeck("search", index, "a red circle")[0] == 0


def test_dry_run_reports_sizes_and_keeps_nothing(
    tmp_path: Path, recipe: dict[str, Any], limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_recipe(tmp_path / "recipe.yaml", recipe)
    status, out, err = limbeck("train", file, "--dry-run")
    assert (status, err) == (0, "")
    assert "tiny/soda: 40 training pairs, 8 held out" in out
    assert "student: soda-student" in out
    assert {p.name for p in tmp_path.iterdir()} <= {"recipe.yaml", "limbeck-cache"}


def test_dry_run_of_a_stage_that_reads_an_earlier_one(
    tmp_path: Path, recipe: dict[str, Any], limbeck: Run
) -> None:
    inner = {"backbone": {"kind": "run", "path": "teacher"}, "hidden": []}
    del recipe["stages"]["student"]
    recipe["stages"]["codes"] = {
        "method": {"name": "binarize"},
        "towers": {"image": inner, "text": inner},
        "lift": {"kind": "binary", "bits": 8, "rotation": "random"},
        "schedule": {"steps": 0},
    }
    status, out, err = limbeck("train", write_recipe(tmp_path / "recipe.yaml", recipe), "--dry-run")
    assert (status, err) == (0, "")
    assert "codes: binarize" in out


def test_a_run_is_read_from_any_directory(
    tmp_path: Path, recipe: dict[str, Any], limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("pairs", "protocol"):
        there = Path(recipe["data"][key])
        (tmp_path / there.name).symlink_to(there)
        recipe["data"][key] = there.name
    recipe["schedule"]["steps"] = 1
    monkeypatch.chdir(tmp_path)
    file = write_recipe(tmp_path / "recipe.yaml", recipe)
    assert limbeck("train", file, "--out", "run", "--quiet")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    status, _, err = limbeck("evaluate", "../run", "--no-ceiling")
    assert (status, err) == (0, "")


def test_texts_that_are_all_empty_are_refused(
    tmp_path: Path, whole_run: Path, pairs_dir: Path, limbeck: Run
) -> None:
    status, _, err = limbeck("evaluate", whole_run, "--data", data_without(pairs_dir, tmp_path, tags=[]))
    assert (status, err.count("\n")) == (1, 1)
    assert "column 'tags' is empty" in err
    assert not list(whole_run.glob("result*.json"))


def test_interrupt_before_anything_is_saved(limbeck: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limbeck.training.recipe.load_recipe", interrupted)
    assert limbeck("train", "soda/mirflickr") == (130, "", "limbeck: interrupted\n")


def test_sigterm_before_anything_is_saved(
    tmp_path: Path, recipe: dict[str, Any], limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminated(*_: Any) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("limbeck.training.run.open_data", terminated)
    file = write_recipe(tmp_path / "recipe.yaml", recipe)
    assert limbeck("train", file, "--out", tmp_path / "run", "--quiet") == (143, "", "")
    assert not (tmp_path / "run").exists()
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard, also where a shell started the tests in the background and ignores it for them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "wanted"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_between_stages_says_how_to_go_on(
    tmp_path: Path,
    recipe: dict[str, Any],
    limbeck: Run,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    wanted: int,
) -> None:
    from limbeck.training import run as module

    original, run = module.run_stage, tmp_path / "run"

    def interrupted(*given: Any, **named: Any) -> Path:
        if given[1].name == "student":
            signal.raise_signal(number)
        return original(*given, **named)

    file = write_recipe(tmp_path / "recipe.yaml", recipe)
    with monkeypatch.context() as patch:
        patch.setattr(module, "run_stage", interrupted)
        status, _, err = limbeck("train", file, "--out", run, "--quiet")
    assert (status, err.count("\n")) == (wanted, 1)
    assert f"resume with: limbeck train --resume --out {run}" in err
    status, _, err = limbeck("train", "--resume", "--out", run, "seed=7", "--quiet")  # no recipe is needed
    assert status == 1
    assert "another recipe (seed in" in err
    assert limbeck("train", "--resume", "--out", run, "schedule.log_every=3", "--quiet")[0] == 0


def test_runs_go_to_a_place_of_their_own(
    tmp_path: Path, recipe: dict[str, Any], limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe["schedule"]["steps"] = 1
    file = write_recipe(tmp_path / "recipe.yaml", recipe)
    assert limbeck("train", file, "seed=2", "--quiet")[0] == 0
    assert (tmp_path / "runs/tiny-soda-s2/model/model.json").is_file()
    status, _, err = limbeck("train", file, "seed=2", "--quiet")
    assert (status, err.count("\n")) == (1, 1)
    assert "add --resume" in err


@pytest.mark.parametrize("what", ["recipes", "grids", "protocols", "methods"])
def test_list(limbeck: Run, what: str) -> None:
    status, out, _ = limbeck("list", what)
    assert status == 0
    assert {
        "recipes": "soda/mirflickr",
        "grids": "hmid_net/grid-flickr8k",
        "protocols": "scenes/hashing",
        "methods": "soda-student",
    }[what] in out
    assert "oss above" not in out and "osses above" not in out  # each line says what it is
    assert len(out.splitlines()) == len({line.split()[0] for line in out.splitlines()})  # one a thing
    if what == "recipes":
        assert set(list_recipes()) == {line.split()[0] for line in out.splitlines()}


def test_a_method_with_nothing_to_set(limbeck: Run) -> None:
    status, _, err = limbeck("train", "flickr8k/student-clip", "stages.student.method.mask=1", "--dry-run")
    assert (status, err.count("\n")) == (1, 1)
    assert "key 'mask' is unknown; this part has no keys; remove it" in err


def data_without(pairs: Path, place: Path, **columns: Any) -> Path:
    """A copy of the tiny pairs with some columns replaced."""
    opened = Pairs.open(pairs)
    given = {
        "id": opened.ids,
        "captions": opened.captions,
        "tags": opened.tags,
        "labels": opened.labels_text,
        "split": opened.table.column("split").to_pylist(),
    } | {name: [value] * len(opened) for name, value in columns.items()}
    meta = {"name": "changed", "label_names": opened.label_names, "features": opened.meta["features"]}
    Pairs.write(place / "pairs", given, meta)
    return place / "pairs"


def test_rows_without_a_text_are_said(
    tmp_path: Path, pairs_dir: Path, recipe: dict[str, Any], limbeck: Run
) -> None:
    tags = Pairs.open(pairs_dir).tags
    data = data_without(pairs_dir, tmp_path / "data")
    opened = Pairs.open(data)
    columns = {name: opened.table.column(name).to_pylist() for name in opened.table.column_names}
    columns["tags"] = [[] if row % 3 == 0 else own for row, own in enumerate(tags)]
    Pairs.write(data, columns, opened.meta, replace=True)
    file = write_recipe(tmp_path / "recipe.yaml", recipe)
    status, _, err = limbeck("train", file, "--data", data, "--out", tmp_path / "run")
    assert status == 0
    skipped = json.loads((tmp_path / "run" / "run.json").read_text())["skipped_without_text"]
    assert skipped > 0 and f"{skipped} rows without a text are left out" in err


UCCH = "stages={one: {method: {name: ucch}}}"
BAD: list[tuple[str, list[str], str]] = [
    ("a misspelt recipe", ["soda/mirflicker"], "did you mean 'soda/mirflickr'?"),
    ("no recipe", [], "train: there is no recipe; name one"),
    ("no data", ["soda/mirflickr"], "data.pairs is not set; give --data DIR"),
    ("a misspelt key", ["RECIPE", "optim.lrr=1"], "did you mean 'lr'?"),
    ("a wrong type", ["RECIPE", "lift.bits=many"], "lift"),
    ("a bad override", ["RECIPE", "lift.bits"], "an override looks like key=value"),
    ("an override twice", ["RECIPE", "seed=1", "seed=2"], "seed: is given twice; keep one"),
    ("no such data", ["RECIPE", "--data", "PLACE/none"], "no such directory; make one with"),
    ("no such protocol", ["RECIPE", "data.protocol=scenes/hash"], "protocol 'scenes/hash' is unknown"),
    ("another protocol", ["RECIPE", "data.protocol=mirflickr15k/dcmh"], "import the complete data set"),
    ("labels all zero", ["RECIPE", "--data", "NOLABELS"], "the 40 rows in use have no labels"),
    ("labels unread, but validation needs them", ["RECIPE", UCCH, "--data", "NOLABELS"], "have no labels"),
    ("tags empty", ["RECIPE", "--data", "NOTAGS"], "column 'tags' is empty"),
    ("captions absent", ["RECIPE", "data.protocol=CAPTIONS", "--data", "NOCAPTIONS"], "column 'captions'"),
    ("unknown features", ["RECIPE", "towers.image.backbone.name=vgg"], "no features 'vgg'; there are cnn"),
    ("log1p of negatives", ["RECIPE", "--data", "NEGATIVE"], "log1p needs features >= 0"),
    ("a run that is none", ["RECIPE", "towers.image.backbone={kind: run, path: PLACE}"], "contains no model"),
    ("too few to share", ["RECIPE", "--data", "NOTRAIN"], "split"),
    ("resume without run", ["--resume"], "train: there is no recipe; name one"),
    ("resume of nothing", ["--resume", "--out", "PLACE/none"], "none: holds no run to resume"),
    ("unknown hardware", ["RECIPE", "compute.accelerator=abacus"], "compute.accelerator=abacus"),
]


@pytest.mark.parametrize(("arguments", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    pairs_dir: Path,
    hashing: Path,
    retrieval: Path,
    limbeck: Run,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    data: Path | None = None
    for word in arguments:
        if word == "NEGATIVE":
            data = data_without(pairs_dir, tmp_path / "data")
            file = tmp_path / "negative.npy"
            np.save(file, -np.ones((80, 16), np.float32))
            meta = json.loads((data / "pairs.json").read_text())
            meta["features"]["cnn"]["file"] = str(file)
            (data / "pairs.json").write_text(json.dumps(meta))
        elif word == "NOTRAIN":
            data = data_without(pairs_dir, tmp_path / "data", split="query")
        elif word.startswith("NO"):
            data = data_without(pairs_dir, tmp_path / "data", **{word[2:].lower(): []})
    recipe = write_recipe(tmp_path / "recipe.yaml", soda_recipe(pairs_dir, hashing))
    names = {"RECIPE": recipe, "PLACE": place, "CAPTIONS": retrieval}
    given = []
    for word in arguments:
        for name, value in names.items():
            word = word.replace(name, str(value)) if not word.startswith("NO") else word
        given.append(str(data) if word.startswith("NO") or word == "NEGATIVE" else word)
    status, out, err = limbeck("train", *given, "--quiet")
    assert status == 1, err
    assert out == ""
    assert err.startswith("limbeck: ")
    assert err.count("\n") == 1
    assert said in err
    assert {p.name for p in place.rglob("*") if p.is_file()} == set()
    shutil.rmtree(place)


def test_help_and_import_leave_torch_alone() -> None:
    script = (
        "import sys\n"
        "import limbeck, limbeck.cli.app\n"
        "sys.argv = ['limbeck', '--help']\n"
        "try:\n"
        "    limbeck.cli.app.main()\n"
        "except SystemExit as done:\n"
        "    assert not done.code\n"
        "heavy = {'torch', 'transformers', 'lightning_fabric', 'numba', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout


def test_usage_errors_exit_2(limbeck: Run) -> None:
    assert limbeck("train", "--no-such-option")[0] == 2
    assert limbeck("evaluate")[0] == 2


def test_the_version(run: Callable[..., tuple[int, str, str]]) -> None:
    from limbeck import __version__

    assert run("--version") == (0, f"limbeck {__version__}\n", "")
