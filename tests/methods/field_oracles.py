"""Eight methods of the field from their formulas, by loops in float64 numpy; no code of limbeck.

Every loss is a function of ``x``, the outputs by name, and of ``held``, the same numbers in the places where
the formula stops the gradient (a code, a teacher, a weight). A difference quotient in ``x`` with ``held``
kept is then the gradient that the method must have.

Networks are read from ``w``, the method's weights by name, and from ``h``, the backbones' outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, log1p, sqrt
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
SIDES = ("image", "text")


# ------------------------------------------------------------------------------ networks
def linear(w: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    return np.array([w[f"{name}.weight"] @ row + w[f"{name}.bias"] for row in x])


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def tower(w: Arrays, m: str, h: Arrays) -> np.ndarray:
    """One hidden layer."""
    return relu(linear(w, f"encoder.towers.{m}.trunk.0", h[m]))


def codes(w: Arrays, h: Arrays) -> Arrays:
    return {m: np.tanh(linear(w, f"encoder.lift.heads.{m}", tower(w, m, h))) for m in SIDES}


def ssah_outputs(w: Arrays, h: Arrays, labels: np.ndarray) -> Arrays:
    hidden = relu(linear(w, "label_net.0", labels))
    f = {m: np.tanh(linear(w, f"semantic.{m}.0", tower(w, m, h))) for m in SIDES}
    f["label"] = np.tanh(linear(w, "label_net.2", hidden))

    def judged(m: str, features: np.ndarray) -> np.ndarray:
        return linear(w, f"judge.{m}.2", relu(linear(w, f"judge.{m}.0", features)))

    return (
        codes(w, h)
        | {"label_codes": np.tanh(linear(w, "label_code.0", f["label"]))}
        | {f"{name}_semantic": rows for name, rows in f.items()}
        | {f"{name}_predicted": linear(w, f"classify.{name}", rows) for name, rows in f.items()}
        | {f"{m}_verdict": judged(m, f[m]) for m in SIDES}
        | {f"{m}_label_verdict": judged(m, f["label"]) for m in SIDES}
    )


def lcdh_outputs(w: Arrays, h: Arrays) -> Arrays:
    tokens = [relu(linear(w, f"tokens.{m}", h[m])) for m in SIDES]
    width, heads = tokens[0].shape[1], 4
    size, teacher = width // heads, []
    for pair in np.stack(tokens, 1):
        q, k, v = (
            pair @ w["attention.in_proj_weight"][s * width : (s + 1) * width].T
            + w["attention.in_proj_bias"][s * width : (s + 1) * width]
            for s in range(3)
        )
        mixed = np.zeros((2, width))
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for a in range(2):
                score = [exp(q[a, part] @ k[b, part] / sqrt(size)) for b in range(2)]
                mixed[a, part] = sum(score[b] * v[b, part] for b in range(2)) / sum(score)
        mean = (pair + linear(w, "attention.out_proj", mixed)).mean(0)
        normed = (mean - mean.mean()) / sqrt(mean.var() + 1e-5)
        teacher.append(normed * w["fused.0.weight"] + w["fused.0.bias"])
    return codes(w, h) | {"teacher": np.tanh(linear(w, "fused.1", np.array(teacher)))}


def cmimh_outputs(w: Arrays, h: Arrays) -> Arrays:
    found = codes(w, h)
    for m in SIDES:
        raw = linear(w, f"critics.{m}", h[m])
        found[f"{m}_critic"] = np.array([row / norm(row) for row in raw])
    return found


def crovca_outputs(w: Arrays, h: Arrays) -> Arrays:
    found = {}
    for m in SIDES:
        raw = linear(w, f"encoder.lift.heads.{m}.0", tower(w, m, h))
        of = {key: w[f"encoder.lift.heads.{m}.1.{key}"] for key in ("weight", "bias", *NORM)}
        found[m] = (raw - of[NORM[0]]) / np.sqrt(of[NORM[1]] + 1e-5) * of["weight"] + of["bias"]
    return found


NORM = ("running_mean", "running_var")


# ------------------------------------------------------------------------------ parts of formulas
def norm(x: np.ndarray) -> float:
    return sqrt(sum(float(value) ** 2 for value in x))


def cos(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y) / (norm(x) * norm(y))


def sign(x: np.ndarray) -> np.ndarray:
    return np.array([[1.0 if value >= 0 else -1.0 for value in row] for row in x])


def share(a: np.ndarray, b: np.ndarray) -> int:
    return int(any(x and y for x, y in zip(a, b, strict=True)))


def likelihood(a: np.ndarray, b: np.ndarray, labels: np.ndarray, theta: float) -> float:
    """Mean of log(1 + e^Theta) - S Theta, Theta = theta / sqrt(width) a_i b_j."""
    terms = []
    for i in range(len(a)):
        for j in range(len(b)):
            t = theta / sqrt(a.shape[1]) * float(a[i] @ b[j])
            terms.append(log1p(exp(t)) - share(labels[i], labels[j]) * t)
    return float(np.mean(terms))


def info_nce(scores: np.ndarray) -> float:
    total = 0.0
    for table in (scores, scores.T):
        for i in range(len(table)):
            total += log(sum(exp(s) for s in table[i])) - table[i, i]
    return total / (2 * len(scores))


def table(a: np.ndarray, b: np.ndarray, score: Callable[[Any, Any], float]) -> np.ndarray:
    return np.array([[score(x, y) for y in b] for x in a])


def squared(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean([(p - q) ** 2 for p, q in zip(a.ravel(), b.ravel(), strict=True)]))


# ------------------------------------------------------------------------------ losses
def ssah(x: Arrays, held: Arrays, labels: np.ndarray, theta: float) -> dict[str, float]:
    b = sign(held["image"] + held["text"] + held["label_codes"])
    parts = dict.fromkeys(("adversarial", "features", "codes", "quantization", "labels"), 0.0)
    for name, h in (("label", x["label_codes"]), ("image", x["image"]), ("text", x["text"])):
        f = x[f"{name}_semantic"]
        # The label network teaches: where it meets a modality it does not move.
        f_l, h_l = (source[key] for source in ((x if name == "label" else held),) for key in LABEL_NET)
        parts["features"] += likelihood(f, f_l, labels, theta)
        parts["codes"] += likelihood(h, h_l, labels, theta)
        parts["quantization"] += squared(b, h)
        parts["labels"] += squared(x[f"{name}_predicted"], labels)
    for m in SIDES:
        # Cross-entropy of "comes from labels": 0 for the modality, 1 for the label network.
        own = [log1p(exp(t)) for t in x[f"{m}_verdict"][:, 0]]
        other = [log1p(exp(-t)) for t in x[f"{m}_label_verdict"][:, 0]]
        parts["adversarial"] += float(np.mean(own) + np.mean(other))
    return parts


LABEL_NET = ("label_semantic", "label_codes")


def lcdh(
    x: Arrays, held: Arrays, labels: np.ndarray, theta: float, rising: float, temperature: float
) -> dict[str, float]:
    u, v, z = x["image"], x["text"], x["teacher"]
    b, matrix = sign(held["teacher"]), table(held["teacher"], held["teacher"], cos)
    return {
        "teacher": likelihood(z, z, labels, theta),
        "distil": sum(squared(table(p, q, cos), matrix) for p, q in ((u, v), (u, u), (v, v))),
        "contrast": info_nce(table(u, v, cos) / temperature),
        "quantization": squared(b, z) + rising * (squared(b, u) + squared(b, v)),
    }


def self_paced(x: Arrays, held: Arrays, labels: np.ndarray, heat: float, pace: float) -> float:
    """C(U, U) + C(V, V) + C(U, V) of DHaPH."""
    total = 0.0
    for p, q in (("image", "image"), ("text", "text"), ("image", "text")):
        terms = []
        for i in range(len(labels)):
            own = rest = 0.0
            for j in range(len(labels)):
                score, known = cos(x[p][i], x[q][j]), cos(held[p][i], held[q][j])
                if share(labels[i], labels[j]):
                    own += exp(score / heat) * exp(-1 - known) ** (pace / 4)
                else:
                    rest += exp(score / heat) * exp(-1 + known) ** pace
            terms.append(-log(own / (own + rest)))
        total += float(np.mean(terms))
    return total


def ball(vector: np.ndarray, curv: float, clip: float) -> np.ndarray:
    """Clipped, then the exponential map at the origin of the Poincare ball of curvature -curv."""
    length = norm(vector)
    vector = vector * min(1.0, clip / length)
    r = sqrt(curv) * norm(vector)
    return np.tanh(r) / r * vector


def ball_distance(x: np.ndarray, y: np.ndarray, curv: float) -> float:
    """2 / sqrt(c) artanh(sqrt(c) |-x (+) y|), by Moebius addition."""
    xy, xx, yy = -float(x @ y), float(x @ x), float(y @ y)
    added = (1 + 2 * curv * xy + curv * yy) * -x + (1 - curv * xx) * y
    return (
        2 / sqrt(curv) * float(np.arctanh(sqrt(curv) * norm(added / (1 + 2 * curv * xy + curv**2 * xx * yy))))
    )


def nearest(near: np.ndarray, neighbours: int) -> np.ndarray:
    """Which are neighbours of each other, without the item itself."""
    best = [set(np.argsort(-row)[:neighbours].tolist()) for row in near]
    n = range(len(near))
    return np.array([[i != j and j in best[i] and i in best[j] for j in n] for i in n])


def triplet_hinges(
    to_ancestors: np.ndarray, mutual: np.ndarray, draws: dict[str, np.ndarray], margin: float
) -> float:
    """HIER's mean hinge; ``draws``: anchors (T,), uniform (T, N) for j and k, Gumbel noise (2, T, P)."""
    anchors = [i for i, row in enumerate(mutual) if row.any() and sum(row) < len(row) - 1]
    terms = []
    for t, drawn in enumerate(draws["anchor"]):
        i = anchors[int(drawn)]
        allowed = [mutual[i], [not on and n != i for n, on in enumerate(mutual[i])]]
        j, k = (int(np.argmax((1 - draws[key][t]) * mask)) for key, mask in zip("jk", allowed, strict=True))
        d = to_ancestors
        pair = np.maximum(d[i], d[j])
        p = int(np.argmax(-pair / 0.1 + draws["gumbel"][0, t]))
        q = int(np.argmax(-np.maximum(pair, d[k]) / 0.1 + draws["gumbel"][1, t]))
        hinges = [max(0.0, d[i, p] - d[i, q] + margin), max(0.0, d[j, p] - d[j, q] + margin)]
        terms.append((sum(hinges) + max(0.0, d[k, q] - d[k, p] + margin)) * (p != q))
    return float(np.mean(terms))


def ucch(
    x: Arrays, held: Arrays, rows: np.ndarray, memory: np.ndarray | None, drawn: np.ndarray, config: Any
) -> dict[str, float]:
    """``memory`` None: the first epoch, when the batch's own codes are the memory."""
    u, v = ({m: np.array([r / norm(r) for r in s[m]]) for m in SIDES} for s in (x, held))
    heat, b = config.temperature * sqrt(u["image"].shape[1]), len(rows)
    own = sign(v["image"] + v["text"]) if memory is None else sign(memory[rows])
    others = own if memory is None else sign(memory[drawn])
    contrast = 0.0
    for m in SIDES:
        for i in range(b):
            positive = float(u[m][i] @ own[i]) / heat
            negative = [
                float(u[m][i] @ c) / heat for c, row in zip(others, drawn, strict=True) if row != rows[i]
            ]
            contrast += (log(sum(exp(s) for s in (positive, *negative))) - positive) / b
    scores, ranking = u["image"] @ u["text"].T, 0.0
    for s in (scores, scores.T):
        for i in range(b):
            moved = [t if t >= s[i, i] - config.margin else t - config.shift for t in s[i]]
            ranking += (config.margin - s[i, i] + log(sum(exp(t) for t in moved))) / b
    return {"contrast": contrast, "ranking": ranking}


def cmimh(x: Arrays, held: Arrays, drawn: Arrays, heat: float) -> dict[str, float]:
    """``drawn``: uniform numbers by modality; a bit is +1 where its number is below p, gradient as of p."""
    p, kept = ({m: (1 + s[m]) / 2 for m in SIDES} for s in (x, held))
    bits = {m: np.where(drawn[m] < kept[m], 1.0, -1.0) + 2 * (p[m] - kept[m]) for m in SIDES}
    unit = {m: bits[m] / sqrt(bits[m].shape[1]) for m in SIDES}
    gap = []
    for a, b in zip(p["image"].ravel(), p["text"].ravel(), strict=True):
        kl = [s * log(s / t) + (1 - s) * log((1 - s) / (1 - t)) for s, t in ((a, b), (b, a))]
        gap.append(sum(kl))
    return {
        "cross": info_nce(unit["image"] @ unit["text"].T / heat),
        "intra": sum(info_nce(unit[m] @ x[f"{m}_critic"].T / heat) for m in SIDES),
        "gap": float(np.mean(gap)),
    }


def crovca(x: Arrays, targets: Arrays, eps: float) -> dict[str, float]:
    """``targets``: by modality the numbers whose signs it predicts."""
    parts = {"align": 0.0, "rate": 0.0}
    for m in SIDES:
        terms = [log1p(exp(z)) - (t > 0) * z for z, t in zip(x[m].ravel(), targets[m].ravel(), strict=True)]
        parts["align"] += float(np.mean(terms)) / 2
        rows, width = x[m].shape
        unit = np.array([row / norm(row) for row in x[m]])
        gram = np.eye(width) + width / (rows * eps) * unit.T @ unit
        parts["rate"] -= 0.5 * float(np.linalg.slogdet(gram)[1]) * (width + rows) / (width * rows) / 2
    return parts


def crovca_means(held: Arrays, labels: np.ndarray) -> Arrays:
    """Targets of an item: the mean of the means of its labels; without a label the other side's numbers."""
    found = {"image": held["text"].copy(), "text": held["image"].copy()}
    for i, own in enumerate(labels):
        means = [
            np.mean([held[m][r] for m in SIDES for r in range(len(labels)) if labels[r, c]], 0)
            for c in np.flatnonzero(own)
        ]
        if means:
            found["image"][i] = found["text"][i] = np.mean(means, 0)
    return found


def kdph(
    x: Arrays, labels: np.ndarray, w: Arrays, random: np.ndarray, given: dict[str, Any], margin: float
) -> dict[str, float]:
    """``given``: by modality the row of ``random`` of each code; the threshold of R is -1/4 (4 classes)."""
    parts = dict.fromkeys(("classes", "irrelevant", "contrast", "noise"), 0.0)
    axes, scales = w["axes"], np.exp(w["log_scales"])
    for m in SIDES:
        terms = []
        for row, own in zip(x[m], labels, strict=True):
            scores = []
            for c in range(len(axes)):
                mu = axes[c, 0] / norm(axes[c, 0])
                g1 = axes[c, 1] - (axes[c, 1] @ mu) * mu
                g1 = g1 / norm(g1)
                g2 = axes[c, 2] - (axes[c, 2] @ mu) * mu - (axes[c, 2] @ g1) * g1
                along = [float(row @ axis) / norm(row) for axis in (mu, g1, g2 / norm(g2))]
                kappa, b1, b2 = scales[c]
                scores.append(kappa * along[0] + b1 * along[1] ** 2 - b2 * along[2] ** 2)
                scores[-1] -= (kappa + b1 + b2) / 2
            terms += [
                max(0.0, scores[n] - scores[p] + margin)
                for p in range(len(scores))
                for n in range(len(scores))
                if own[p] and not own[n]
            ]
        parts["classes"] += float(np.mean(terms))
        parts["noise"] += float(np.mean([row @ random[j] for row, j in zip(x[m], given[m], strict=True)]))
    for p, q in (("image", "image"), ("text", "text"), ("image", "text")):
        pairs = [
            max(0.0, cos(x[p][i], x[q][j]) + 0.25)
            for i in range(len(labels))
            for j in range(len(labels))
            if labels[i].sum() > 1 and labels[j].sum() > 1 and not share(labels[i], labels[j])
        ]
        parts["irrelevant"] += float(np.mean(pairs))
    parts["contrast"] = info_nce(table(x["image"], x["text"], cos) / 0.2)
    return parts
