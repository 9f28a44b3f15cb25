"""What cannot work is refused before the first step, not after the teacher has trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from limbeck.training import fit, train
from raising import raises_code
from tiny import pixel_recipe, soda_recipe, write_pairs, write_protocol, write_recipe

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_pairs(tmp_path, pictures=16)
    write_protocol(tmp_path, "retrieval")
    return tmp_path


@pytest.fixture
def no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "forward_backward", lambda *_: pytest.fail("a step was taken"))


def hmid_net(place: Path, crop: list[float]) -> dict[str, Any]:
    method = {"name": "hmid-net", "teacher": "teacher", "mask": {"ratio": 0.25}, "decoder_width": 32}
    lift = {"kind": "polar", "dim": 8, "radius": 1.0, "max_radius": 2.2}
    return pixel_recipe(
        place / "pairs", place / "retrieval.yaml", method, lift, augment={"crop": crop, "jitter": 0.2}
    )


TEACHER = {"teacher": {"method": {"name": "meru", "entailment": 0.0}}}


def with_teacher(recipe: dict[str, Any]) -> dict[str, Any]:
    return recipe | {"stages": TEACHER | recipe["stages"]}


@pytest.mark.usefixtures("no_steps")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ("E-CONFIG-VALUE", "stages.student", "'hmid-net'")),
        ({"lift": {"kind": "polar", "dim": 4, "max_radius": 2.2}}, ("E-CONFIG-VALUE", "width 8")),
        (
            {"method": {"name": "meru"}, "lift": {"kind": "sphere", "dim": 8}},
            ("E-MODEL-LACKS", "stages.student"),
        ),
        ({"pairs": 500}, ("E-CONFIG-VALUE", "stages.student.pairs", "500")),
    ],
)
def test_a_later_stage_that_cannot_work_is_refused_at_once(
    place: Path, change: dict[str, Any], said: tuple[str, ...]
) -> None:
    recipe = with_teacher(hmid_net(place, [1.0, 1.0] if change else [0.6, 1.0]))
    recipe["stages"]["student"] = recipe["stages"]["student"] | change
    with raises_code(*said):
        train(recipe, out=place / "run", quiet=True)
    assert not (place / "run").exists()


def test_looking_ahead_changes_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = soda_recipe(write_pairs(tmp_path), write_protocol(tmp_path), steps=3)
    one = train(recipe, out=tmp_path / "one", quiet=True)
    monkeypatch.setattr("limbeck.training.run.check_stages", lambda *_: None)
    other = train(recipe, out=tmp_path / "other", quiet=True)
    file = "model/model.safetensors"
    assert (one / file).read_bytes() == (other / file).read_bytes()


@pytest.mark.usefixtures("no_steps")
def test_a_grid_refuses_a_row_before_its_teacher_trains(place: Path, limbeck: Run) -> None:
    recipe = hmid_net(place, [0.6, 1.0])
    write_recipe(place / "student.yaml", recipe)
    write_recipe(place / "teacher.yaml", recipe | {"stages": TEACHER})
    row = {"recipe": "student.yaml", "set": {"stages.student.method.teacher": "$teacher"}}
    grid = {
        "name": "g",
        "seeds": [0, 1],
        "prepare": {"teacher": {"recipe": "teacher.yaml"}},
        "rows": {"taught": row, "again": row},
    }
    (place / "grid.yaml").write_text(yaml.safe_dump(grid))
    status, out, err = limbeck("grid", place / "grid.yaml", "--out", place / "out", "--dry-run")
    assert status == 1
    assert err.count("crops and mirror images move the patches") == 4
    status, out, err = limbeck("grid", place / "grid.yaml", "--out", place / "out")
    assert status == 1
    assert "taught-s0: cannot run, and nothing is trained for it: method 'hmid-net': crops" in out
    assert err.count("\n") == 4
    assert not (place / "out" / "teacher").exists()
