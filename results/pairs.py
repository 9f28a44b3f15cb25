"""Differences between groups of results, paired by draw and seed, corrected together after Holm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from limbeck.evaluation.compare import LEVEL
from limbeck.evaluation.results import DIRECTIONS
from limbeck.metrics import holm, paired_test
from limbeck.reporting.tables import DIRECTION_LABELS, name_head
from results.data import Rows, members, observed

_NAMES = {
    "map": "mAP",
    "map_unseen": "mAP of items not trained on",
    "lookup_precision": "precision within radius 2",
}


@dataclass
class Pair:
    """One difference, one minus other; no interval where only one run is shared."""

    one: str
    other: str
    figure: str
    mean: float
    seeds: list[int] = field(default_factory=list)
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    bar: float | None = None

    @property
    def counts(self) -> bool:
        """Whether p after Holm's correction is below .05."""
        return self.p_holm is not None and self.p_holm < LEVEL

    @property
    def note(self) -> str:
        """Interval and p value in words."""
        if self.low is None or self.high is None:
            return "one run each"
        text = f"95 % interval {self.low:+.4f} to {self.high:+.4f}"
        return text + (f", p {self.p_holm:.3g} after Holm" if self.p_holm is not None else "")

    @property
    def unit(self) -> str:
        """Unit of a claim."""
        return "mAP" if "map" in self.figure or "label:" in self.figure else ""


def paired(one: Rows, other: Rows, figure: str, names: Sequence[str] | None = None) -> Pair | None:
    """The difference of a figure over the draws and seeds that both have; None where they share none."""
    first, second = observed(one, figure), observed(other, figure)
    shared = [at for at in first if at in second]
    if not shared:
        return None
    own, others = [first[at] for at in shared], [second[at] for at in shared]
    labels = names or (members(one)[0].label, members(other)[0].label)
    mean = sum(own) / len(own) - sum(others) / len(others)
    pair = Pair(labels[0], labels[1], figure, mean, [seed or 0 for _, seed in shared])
    if len(shared) > 1:
        test = paired_test(own, others, confidence=1 - LEVEL)
        pair.low, pair.high, pair.p = test.low, test.high, test.p
    return pair


def gaps(one: Rows, other: Rows, name: str = "map") -> dict[str, Pair]:
    """Direction → difference of a figure.

    Raises:
        ValueError: the groups share no draw.
    """
    found = {way: paired(one, other, f"{way} {name}") for way in DIRECTIONS}
    if None in found.values():
        raise ValueError(f"{name}: {members(one)[0].label} and {members(other)[0].label} share no draw")
    return {way: pair for way, pair in found.items() if pair is not None}


def correct(pairs: Sequence[Pair]) -> None:
    """Set ``p_holm`` of all pairs of a table."""
    tested = [pair for pair in pairs if pair.p is not None]
    for pair, p in zip(tested, holm([pair.p or 0.0 for pair in tested]).tolist(), strict=True):
        pair.p_holm = p


def figure_name(figure: str) -> str:
    """A figure in words."""
    way, name = figure.split(" ", 1)
    where = {"mean": "mean of both directions"} | DIRECTION_LABELS
    if name.startswith("label:"):
        return f"{where[way]} mAP of {name.removeprefix('label:')} labels"
    return f"{where[way]} {_NAMES.get(name, name_head(name))}"
