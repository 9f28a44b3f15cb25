"""Points and embeddings that are read from files: what is wrong with one names the file and the row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", ["vectors", "codes", "embeddings"])
def test_nan_names_its_file(tmp_path: Path, limbeck: Run, which: str, bad: float) -> None:
    unit = np.eye(8, dtype=np.float32)
    arrays = {"vectors": unit, "codes": 2 * unit - 1, "embeddings": unit.copy()}
    arrays[which][3, 2] = bad
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "ids.txt").write_text("".join(f"i{n}\n" for n in range(8)))
    points = "vectors" if which == "vectors" else "codes"
    options = ["--embeddings", tmp_path / "embeddings.npy"] if which == "embeddings" else []
    status, _, said = limbeck(
        "index", "build", "--codes", tmp_path / f"{points}.npy", "--ids", tmp_path / "ids.txt",
        *options, "--out", tmp_path / "i",
    )  # fmt: skip
    assert status == 1
    assert f"{tmp_path / which}.npy: row 3 holds NaN or infinity" in said
    assert not (tmp_path / "i").exists()
