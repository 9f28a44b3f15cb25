"""Small versions of the fuzzer under benchmarks/attack: fast ones always, hundreds of cases as slow tests."""

from __future__ import annotations

import json
import os
import random
import sys

import numpy as np
import pytest

from attack.damage import DAMAGES, mutated
from attack.filters import attack_filters, check_filter
from attack.worker import Wrong, classified, run_cases, worst
from limbeck.errors import LimbeckError

posix = pytest.mark.skipif(sys.platform == "win32", reason="forks")


def test_filters_answer_as_plain_python_does():
    found = attack_filters(300, seed=3)
    assert found["faults"] == [] and found["cases"] == sum(found["outcomes"].values()) == 300
    assert found["outcomes"]["right"] > 20


def test_a_wrong_answer_would_be_seen(monkeypatch):
    from limbeck.index import filter_ast as conditions

    monkeypatch.setattr(conditions, "compared", lambda chunk, *_: np.ones(len(chunk), bool))
    with pytest.raises(Wrong, match="rows"):
        check_filter("small = 0")


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_repeatable_and_changes_something(name):
    data = json.dumps({"a": [1, 2, {"b": "text"}], "c": 5}).encode() * (1 if name == "json" else 9)
    made = [DAMAGES[name](data, random.Random(seed)) for seed in range(20)]
    assert made == [DAMAGES[name](data, random.Random(seed)) for seed in range(20)]
    assert sum(one != data for one in made) > 14


def test_json_values_are_mutated_in_a_copy():
    value = {"a": [1, {"b": 2}]}
    assert any(mutated(value, random.Random(seed)) != value for seed in range(9))
    assert value == {"a": [1, {"b": 2}]}


@posix
def test_children_that_crash_hang_or_swell_are_told_apart(tmp_path):
    def run(case: int) -> tuple[str, str]:
        if case == 1:
            os.abort()
        if case == 2:
            while True:
                pass
        if case == 3:
            return classified(lambda: np.ones(1 << 28))
        if case == 4:
            return classified(
                lambda: (_ for _ in ()).throw(LimbeckError("a.json: wrong; mend it", code="E-FILE-FIELD"))
            )
        if case == 5:
            return worst([("right", ""), classified(lambda: 1 / 0)])
        return classified(lambda: None)

    found = list(run_cases(7, run, seconds=1.0, memory=1 << 28, log=tmp_path / "log"))
    assert [one.case for one in found] == list(range(7))
    assert [one.kind for one in found] == [
        "right", "crash", "time", "memory", "refused", "exception", "right",
    ]  # fmt: skip


@posix
@pytest.mark.slow
def test_damaged_files_of_every_kind(tmp_path):
    pytest.importorskip("faiss")
    from attack.files import attack_files

    found = attack_files(tmp_path, 300, seed=5)
    assert found["faults"] == []
    assert sum(sum(counts.values()) for counts in found["by_mode"].values()) == found["cases"] == 300
    assert set(found["by_mode"]["damaged"]) <= {"refused", "right"}


@posix
@pytest.mark.slow
def test_filters_by_the_thousand():
    assert attack_filters(5000, seed=4)["faults"] == []


@posix
@pytest.mark.slow
def test_kills_lose_nothing(tmp_path):
    from attack.kills import attack_kills

    found = attack_kills(tmp_path, 12, seed=6)
    assert found["faults"] == [] and sum(found["during"].values()) == 12
