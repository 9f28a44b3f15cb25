"""Differences between groups of results, paired by draw and seed, corrected together."""

from __future__ import annotations

from dataclasses import dataclass

from claims import Claims
from limbeck.evaluation.compare import LEVEL, Difference, Group
from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.metrics import holm, paired_test
from limbeck.reporting.tables import DIRECTION_LABELS, name_head


@dataclass
class Pair:
    """One difference, one minus other; ``p_holm`` comes with `Differences.settle`."""

    one: str
    other: str
    figure: str
    value: float
    seeds: list[int]
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    bar: float | None = None

    @property
    def note(self) -> str:
        if self.low is None or self.high is None:
            return "one run each"
        text = f"95 % interval {self.low:+.4f} to {self.high:+.4f}"
        return text + (f", p {self.p_holm:.3g} after Holm" if self.p_holm is not None else "")

    @property
    def shown(self) -> Difference:
        """As `soda_tables.signed` prints it."""
        return Difference(self.other, self.seeds, self.value, self.low, self.high, self.p, self.p_holm)


class Differences:
    """Collects what a section tells; Holm's correction runs over all of it."""

    def __init__(self, claims: Claims, command: str) -> None:
        self.claims, self.command = claims, command
        self.pairs: list[Pair] = []

    def add(
        self, one: Group | None, other: Group | None, figure: str, bar: float | None = None,
        names: tuple[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Figures: ``i2t map``, ``mean map``, ``t2i ndcg@1000``, ``i2t label:rare`` …; nothing without both."""
        if one is None or other is None:
            return
        sides = [observed(group.results, figure) for group in (one, other)]
        shared = [at for at in sides[0] if at in sides[1]]
        if not shared:
            return
        first, second = ([side[at] for at in shared] for side in sides)
        names = names or (one.label, other.label)
        pair = Pair(*names, figure, sum(first) / len(first) - sum(second) / len(second),
                    [seed or 0 for _, seed in shared], bar=bar)  # fmt: skip
        if len(shared) > 1:
            test = paired_test(first, second, confidence=1 - LEVEL)
            pair.low, pair.high, pair.p = test.low, test.high, test.p
        self.pairs.append(pair)

    def both(self, one: Group | None, other: Group | None, name: str, bar: float | None = None) -> None:
        """Both directions of a figure."""
        for way in DIRECTIONS:
            self.add(one, other, f"{way} {name}", bar)

    def settle(self) -> list[Pair]:
        """Correct, write a claim each, and return them."""
        tested = [pair for pair in self.pairs if pair.p is not None]
        for pair, p in zip(tested, holm([pair.p or 0.0 for pair in tested]).tolist(), strict=True):
            pair.p_holm = p
        for pair in self.pairs:
            self.claims.add(
                f"{pair.one} minus {pair.other}, {said(pair.figure)}", self.command, pair.value, unit(pair.figure),
                pair.bar, seeds=pair.seeds, note=pair.note,
            )  # fmt: skip
        return self.pairs


def observed(results: list[Result], figure: str) -> dict[tuple[str, int | None], float]:
    """The figure of each result that has it, by draw and seed."""
    found = {}
    for result in results:
        value = one_value(result, figure)
        if value is not None:
            found[result.observation] = value
    return found


def one_value(result: Result, figure: str) -> float | None:
    way, name = figure.split(" ", 1)
    if way == "mean":
        values = [one_value(result, f"{direction} {name}") for direction in DIRECTIONS]
        return None if None in values else sum(v for v in values if v is not None) / len(values)
    if name.startswith("label:"):
        return result.metrics.get("label", {}).get(f"{way}/{name.removeprefix('label:')}")
    return result.metrics.get(way, {}).get(name)


def said(figure: str) -> str:
    way, name = figure.split(" ", 1)
    where = {"mean": "mean of both directions"} | DIRECTION_LABELS
    if name.startswith("label:"):
        return f"{where[way]} mAP of {name.removeprefix('label:')} labels"
    what = {
        "map": "mAP",
        "map_unseen": "mAP of items not trained on",
        "lookup_precision": "precision within radius 2",
    }
    return f"{where[way]} {what.get(name, name_head(name))}"


def unit(figure: str) -> str:
    return "mAP" if "map" in figure or "label:" in figure else ""
