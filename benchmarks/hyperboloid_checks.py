"""Figures of docs/results/hyperboloid.md that need no training: formulas, the COCO import, the house.

Called by hyperboloid_results.py.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from claims import Claims
from limbeck.geometry import lorentz
from limbeck.losses import entailment, info_nce

BIN = Path(sys.executable).parent
PACKAGES = {"spaces": "spaces", "encoders/lifts": "lifts", "methods": "methods"}


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
                "benchmarks/hyperboloid_results.py",
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


def house(claims: Claims) -> None:
    """The layer contract, and every isinstance on a method, space or lift outside its own package."""
    linter = subprocess.run([str(BIN / "lint-imports")], capture_output=True, text=True, check=False)
    claims.add("import-linter: broken contracts", "lint-imports", linter.returncode, "", 0, below=True)
    root = Path("src/limbeck")
    names = {
        package: {
            node.name
            for file in (root / package).glob("*.py")
            for node in ast.parse(file.read_text(encoding="utf-8")).body
            if isinstance(node, ast.ClassDef) and not node.name.endswith("Config")
        }
        for package in PACKAGES
    }
    found = []
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
                asked = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
                for package, own in names.items():
                    if asked & own and not file.is_relative_to(root / package):
                        found.append(f"{file.name}:{node.lineno} {sorted(asked & own)}")
    claims.add(
        "isinstance on a method, space or lift outside its own package",
        "benchmarks/hyperboloid_results.py (reads the syntax trees)",
        len(found),
        "places",
        0,
        below=True,
        note="; ".join(found),
    )
