from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from limbeck.evaluation.results import Result

METHODS = {"soda": 0.80, "multi-hot teacher": 0.795, "no teacher": 0.785}


def fake_hashing(label: str, bits: int | None, seed: int, level: float) -> Result:
    rng = np.random.default_rng([seed, bits or 0, len(label)])
    level = level + (0.012 * np.log2(bits / 16) if bits else 0.05) + float(rng.normal(0, 0.003))
    metrics, curves = {}, {}
    for direction, shift in (("i2t", 0.0), ("t2i", -0.012)):
        metrics[direction] = {"map": level + shift, "floor": 0.558, "map_unseen": level + shift - 0.01}
        if bits:
            metrics[direction]["ceiling"] = 0.985
            recall = np.linspace(0, 1, bits + 1) ** 1.5
            precision = 0.558 + (level - 0.5) * 1.25 * (1 - recall**2)
            curves[direction] = {"recall": recall.tolist(), "precision": precision.tolist()}
    health: dict[str, dict[str, Any]] = {}
    if bits:
        for part in ("database_image", "database_text"):
            ones = np.clip(rng.normal(0.5, 0.08, bits), 0, 1).tolist()
            health[part] = {
                "ones": ones,
                "entropy": 0.94,
                "correlation": 0.11,
                "constant_bits": 0.0,
                "unique": 0.62,
            }
    return Result(
        protocol="scenes/demo",
        protocol_hash="3f5a9c" + "0" * 58,
        task="hashing",
        method=label.replace(" ", "_"),
        run=f"runs/{label.replace(' ', '-')}-{bits}-s{seed}",
        space={"name": "hamming", "bits": bits} if bits else {"name": "sphere", "dim": 256},
        bits=bits,
        seed=seed,
        metrics=metrics,
        curves=curves,
        health=health,
        settings={"label": label},
        seconds={"train": 14.2, "encode": 1.1, "score": 0.4},
    )


def fake_retrieval(label: str, level: float) -> Result:
    metrics = {
        "i2t": {"r@1": level, "r@5": level * 2.0, "r@10": level * 2.5, "median_rank": 7.0},
        "t2i": {"r@1": level * 0.9, "r@5": level * 1.9, "r@10": level * 2.4, "median_rank": 8.5},
    }
    return Result(
        protocol="scenes/retrieval", protocol_hash="77ab01" + "0" * 58, task="retrieval", method="clip",
        run=f"runs/{label}", space={"name": "sphere", "dim": 256}, seed=0, metrics=metrics,
        settings={"label": label}, seconds={"train": 63.0, "encode": 1.1, "score": 0.4},
    )  # fmt: skip


@pytest.fixture
def hashing_results() -> list[Result]:
    results = [
        fake_hashing(label, bits, seed, level)
        for label, level in METHODS.items()
        for bits in (16, 32, 64)
        for seed in (0, 1, 2)
    ]
    return [*results, fake_hashing("clip features", None, 0, 0.80)]


@pytest.fixture
def retrieval_results() -> list[Result]:
    return [fake_retrieval("clip (scenes)", 0.31)]


@pytest.fixture
def training_curves() -> dict[str, list[dict[str, Any]]]:
    rng = np.random.default_rng(3)
    curves: dict[str, list[dict[str, Any]]] = {}
    for label in METHODS:
        for bits in (16, 32, 64):
            rows: list[dict[str, Any]] = []
            for stage in ("teacher", "student"):
                for step in range(0, 400, 2):
                    loss = 0.3 + 0.4 * np.exp(-step / 80) + rng.normal(0, 0.012)
                    rows.append({"stage": stage, "step": step, "loss": float(loss)})
                    if step % 50 == 48:
                        score = 0.55 + 0.25 * (1 - np.exp(-step / 120)) + rng.normal(0, 0.004)
                        rows.append({"stage": stage, "step": step, "val/map": float(score)})
            curves[f"{label} {bits}"] = rows
    return curves
