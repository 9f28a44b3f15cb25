"""The page of the hyperbolic field with some rows: what is there is shown and judged, what lacks is named."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from limbeck.evaluation import Result  # noqa: E402
from limbeck.evaluation.packs import write_pack  # noqa: E402
from results import data  # noqa: E402
from results.render import Page  # noqa: E402


def record(label: str, seed: int, r10: float, *, cones: bool = True, **more: Any) -> dict[str, Any]:
    recalls = {"r@1": r10 / 10, "r@5": r10 / 2, "r@10": r10}
    metrics: dict[str, Any] = {"i2t": recalls, "t2i": recalls}
    metrics["entailment"] = {"auc": 0.9 if cones else 0.8, "ap": 0.4, "distinct": 1.0, "zeros": 0.0}
    if cones:
        metrics["entailment"] |= {"margin_auc": 0.7, "margin_ap": 0.3}
        metrics["cone"] = {"inside": 0.35, "inside_coarsest": 0.5, "inside_other": 0.125}
        metrics["radius"] = {"image": 1.5, "text": 1.0, "text/words-1-4": 0.75, "text/words-5-8": 1.25}
    result = Result(
        protocol="p", protocol_hash="0" * 64, task="retrieval", method="m", run=f"{label}-s{seed}",
        space={"name": "lorentz", "dim": 8}, seed=seed, settings={"label": label},
        metrics=metrics | more, seconds={"train": 60.0 + seed},
    )  # fmt: skip
    return result.model_dump(mode="json")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of packs in place of the recorded ones."""
    shutil.copy(ROOT / "results" / "facts.yaml", tmp_path)
    monkeypatch.setattr(data, "HERE", tmp_path)
    monkeypatch.setattr(data, "DOCS", tmp_path)
    data.pack.cache_clear()
    yield tmp_path
    data.pack.cache_clear()


def test_rows_are_judged_and_the_rest_is_missing(kept: Path) -> None:
    rows = {f"hmid-net-cones-s{s}": record("HMID-Net, cones", s, 0.25 + 0.01 * s) for s in range(3)}
    rows |= {f"meru-s{s}": record("MERU", s, 0.1 + 0.01 * s) for s in range(3)}
    rows |= {f"twin-s{s}": record("Euclidean twin", s, 0.24 + 0.01 * s, cones=False) for s in range(2)}
    write_pack(kept / "hyperbolic-flickr8k.jsonl.xz", rows)
    scenes = record("HMID-Net", 0, 0.5, hierarchy={"tie": 2.75}, zero_shot={"top1": 0.5})
    write_pack(kept / "hyperbolic-scenes.jsonl.xz", {"hmid-net-s0": scenes})
    dims = {f"hmid-net-8-s{s}": record("HMID-Net 8", s, 0.2 + 0.01 * s) for s in range(2)}
    dims |= {f"twin-8-s{s}": record("Euclidean twin 8", s, 0.3 + 0.01 * s, cones=False) for s in range(2)}
    write_pack(kept / "hyperbolic-dims.jsonl.xz", dims)
    page = Page("hyperbolic")
    text = page.text()
    met = {one["claim"]: (one["value"], one["met"]) for one in page.claims if one["bar"] is not None}
    assert met["HMID-Net, cones above MERU, t2i R@10: lower end of the 95 % interval"] == (15.0, True)
    assert met["HMID-Net, cones above its Euclidean twin, AUC of PEP, clamped score"] == (10.0, True)
    twin = met["HMID-Net, cones minus its Euclidean twin, i2t R@10, at most the noise of the twin behind"]
    assert twin == (pytest.approx(1.5), True)
    assert met["HMID-Net, cones, held-out pictures inside the cone of their caption"] == (35.0, True)
    assert met["HMID-Net, cones, held-out pictures inside the cone of their coarsest phrase"] == (50.0, False)
    other = "HMID-Net, cones, held-out pictures inside the cone of a random other caption"
    assert met[other] == (12.5, False)
    assert met["scenes, HMID-Net: TIE"] == (2.75, True)
    few = "HMID-Net 8 dimensions above the Euclidean twin, R@10, mean of both ways"
    assert met[f"{few}: lower end of the 95 % interval"] == (pytest.approx(-10.0), False)
    assert "| 2.6 / 13.0 / 26.0 ± 1.0 |" in text and "| 0.75 / 1.25 | 60 |" in text
    twin_row = next(line for line in text.splitlines() if line.startswith("| Euclidean twin | 2."))
    assert twin_row.count("–") == 7  # no cones: no margin, no shares, no radii
    assert "Euclidean twin (1 of 3 runs)" in text and "ATMG (3 of 3 runs)" in text
    assert "MERU (" not in text.split("## Grid `hyperbolic/grid-scenes`")[0]


def test_a_grid_that_must_be_there_is_asked_for(kept: Path) -> None:
    assert data.Grid("nowhere", optional=True).results == []
    with pytest.raises(Exception, match="nowhere"):
        data.Grid("nowhere")
    assert data.part_if_there("nowhere") == []
