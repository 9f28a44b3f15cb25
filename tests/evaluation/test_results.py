from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers_results import make

from limbeck.errors import LimbeckError
from limbeck.evaluation import Result, compare, environment
from raising import raises_code


def test_round_trip(tmp_path: Path) -> None:
    result = make()
    assert Result.load(result.save(tmp_path / "deep" / "result.json")) == result
    assert result.mean("map") == pytest.approx(0.795)
    assert result.mean("ceiling") is None
    assert result.machine["processor"] and "numpy" in result.versions


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": 99}, ("E-FILE-VERSION", "format")),
        ({"metrics": 3}, ("E-FILE-FIELD", "metrics")),
        ({"extra": 1}, ("E-FILE-FIELD", "extra")),
        ({"seed": "x"}, ("E-FILE-FIELD", "seed")),
    ],
)
def test_damaged_results_are_named(tmp_path: Path, change: dict[str, Any], word: tuple[str, ...]) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(make().model_dump(mode="json") | change))
    with raises_code(*word) as caught:
        Result.load(path)
    assert "result.json" in str(caught.value) and "\n" not in str(caught.value)


def test_results_of_two_protocols_never_mix(tmp_path: Path) -> None:
    other = make("other", protocol="q", protocol_hash="b" * 64)
    with raises_code("E-RESULT-OTHER", "other-0:"):
        compare([make(), other])
    assert len(compare([make(), other], protocol="q").groups) == 1
    with pytest.raises(LimbeckError, match="no result of this protocol"):
        compare([make()], protocol="z")
    make().save(tmp_path / "run" / "result.json")
    other.save(tmp_path / "run" / "result-q.json")
    with raises_code("E-RESULT-OTHER", "--protocol"):
        compare([tmp_path / "run"])


def test_results_of_two_data_sets_never_mix() -> None:
    one, two = (make(name, settings={"label": name, "items": name}) for name in ("one", "two"))
    with raises_code("E-RESULT-OTHER", "two-0:"):
        compare([one, two])


def test_a_changed_protocol_of_the_same_name_asks_for_another_evaluation() -> None:
    with raises_code("E-RESULT-OTHER", "two-0:"):
        compare([make("one"), make("two", protocol_hash="b" * 64)])


def test_missing_sources_are_named(tmp_path: Path) -> None:
    with raises_code("E-PATH-MISSING", "nowhere:"):
        compare([tmp_path / "nowhere"])
    with raises_code("E-RESULT-MISSING", "result*.json"):
        compare([tmp_path])
    with pytest.raises(LimbeckError, match="there is nothing to compare"):
        compare([])


def test_environment_reads_without_torch_types() -> None:
    versions, machine = environment()
    assert set(machine) == {"system", "processor", "cores", "threads", "bf16", "vector_popcount"}
    json.dumps([versions, machine])
