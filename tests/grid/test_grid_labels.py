"""`limbeck grid` with mAP by label and the control of exact words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from limbeck.evaluation.results import Result

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


def test_rows_by_label_and_by_exact_words(tmp_path: Path, write: Write, limbeck: Run) -> None:
    rows = {
        "direct": {"recipe": "direct.yaml", "exact_words": True},
        "plain": {"recipe": "direct.yaml", "set": {"data.limit": 30}},
    }
    file = write("labels", seeds=[0], prepare={}, rows=rows, base=None, tune=None, by_label=["dog"])
    out = tmp_path / "grid"
    status, said, err = limbeck("grid", file, "--out", out)
    assert (status, err) == (0, "")
    found = {result.stem: Result.load(result) for result in (out / "rows").glob("*.json")}
    assert set(found) == {"direct-s0", "direct-s0-exact-words", "plain-s0"}
    assert found["direct-s0-exact-words"].label == "direct, exact words"
    for result in found.values():
        assert result.settings["labels"]["unseen"] == ["dog"]
        assert 0 < result.metrics["label"]["t2i/unseen"] <= 1
    assert "exact words" in said and "mAP by label" in said
    (out / "rows/direct-s0-exact-words.json").unlink()
    assert limbeck("grid", file, "--out", out)[0] == 0
    assert (out / "rows/direct-s0-exact-words.json").is_file()
