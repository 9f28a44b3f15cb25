"""Measure what docs/results/hyperboloid.md says without a training: errors of formulas, the import of COCO.

python benchmarks/hyperboloid_checks.py --coco coco_mini_224.zip [--json docs/results/parts/hyperboloid-checks.json]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from claims import Claims
from limbeck.files import write_json
from limbeck.geometry import lorentz
from limbeck.losses import entailment, info_nce

BIN = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--coco", type=Path, required=True, help="coco_mini_224.zip")
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/hyperboloid-checks.json"))
    options = parser.parse_args()
    claims = Claims()
    formulas(claims)
    coco(claims, options.coco)
    write_json(options.json, claims.rows)
    print(f"{sum(row['met'] for row in claims.rows)} of {len(claims.rows)} met")


def formulas(claims: Claims) -> None:
    """Our functions against the published equations in float64 numpy, away from the singular places."""
    sys.path.insert(0, "tests/geometry")
    import lorentz_oracle as published

    rng = np.random.default_rng(0)
    worst: dict[str, dict[str, float]] = {"float64": {}, "float32": {}}
    for curv in (0.1, 1.0, 10.0):
        for radius in (0.5, 1.5, 3.0):
            vectors = rng.standard_normal((2, 200, 32))
            vectors *= radius / np.sqrt(curv) / np.linalg.norm(vectors, axis=-1, keepdims=True)
            for kind in worst:
                cast = torch.float64 if kind == "float64" else torch.float32
                x, y = (torch.tensor(published.exp_map0(v, curv), dtype=cast) for v in vectors)
                a, b = x.double().numpy(), y.double().numpy()
                pairwise = np.stack([published.distance(row, b, curv) for row in a])
                logits = -pairwise / 0.07
                log_p = logits.diagonal() - np.log(np.exp(logits).sum(1))
                log_q = logits.diagonal() - np.log(np.exp(logits).sum(0))
                excess = published.exterior_angle(a, b, curv) - published.half_aperture(a, curv)
                angle = lorentz.exterior_angle(x, y, curv)
                ours = {
                    "distance": (lorentz.distance(x, y, curv), published.distance(a, b, curv)),
                    "pairwise distance": (lorentz.pairwise_distance(x, y, curv), pairwise),
                    "half aperture": (lorentz.half_aperture(x, curv), published.half_aperture(a, curv)),
                    "exterior angle": (angle, published.exterior_angle(a, b, curv)),
                    "contrastive loss": (
                        info_nce(-lorentz.pairwise_distance(x, y, curv) / 0.07),
                        -(log_p.mean() + log_q.mean()) / 2,
                    ),
                    "entailment loss": (
                        entailment(angle - lorentz.half_aperture(x, curv)),
                        np.maximum(excess, 0).mean(),
                    ),
                }
                for name, (found, wanted) in ours.items():
                    error = float(np.max(np.abs(found.numpy() - wanted) / np.abs(wanted)))
                    worst[kind][name] = max(error, worst[kind].get(name, 0.0))
    for kind, bar in (("float64", 1e-6), ("float32", 2e-4)):
        for name, error in worst[kind].items():
            claims.add(
                f"MERU's {name} against the published equations, {kind}: largest relative error",
                "python benchmarks/hyperboloid_checks.py",
                error,
                "relative",
                bar,
                below=True,
                note="curvatures 0.1, 1, 10; radii 0.5, 1.5, 3; d = 32; also in tests/geometry, tests/methods",
            )


def coco(claims: Claims, archive: Path) -> None:
    """Import the official layout through the command line and read what it reports."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(BIN / "limbeck"), "data", "import", "coco", str(archive), f"{folder}/coco"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = " ".join((done.stdout + done.stderr).split())
    for claim, pattern, wanted in (
        ("COCO mini: pictures without rows that the import reports", r"([\d,]+) pictures without a row", 80),
        ("COCO mini: pairs imported", r"([\d,]+) (?:pairs|rows)", 159),
    ):
        found = re.search(pattern, said)
        value = float(found.group(1).replace(",", "")) if found else float("nan")
        shown = f"limbeck data import coco {archive.name} OUT"
        claims.add(claim, shown, value, "rows", wanted, note="exactly" if value == wanted else said[:200])
        claims.rows[-1]["met"] = value == wanted


if __name__ == "__main__":
    main()
