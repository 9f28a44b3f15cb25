"""The metric of public repositories, by name: what each of them would print for the same codes.

A score reproduces the formula alone; what a repository does around it (which epoch it reports, which captions
it draws) is named with the result. A recipe's ``data.like`` also selects on the test queries, as most do.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from limbeck.data.protocol import Metric, Protocol
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.tables import split_lines

_BEST_EACH = "it reports the best epoch on the test queries, image to text and text to image separately"
_CAPTIONS = "with several captions a random one is drawn, in evaluation too"


@dataclass(frozen=True)
class Preset:
    """A repository's mean average precision.

    Attributes:
        repository: where the formula was read.
        metric: its rules. Ties go by row (a stable sort; theirs is not stable: any order of equal distances
            may come out, and of rows in random order this is one).
        does: the formula in words.
        selects: which epoch the repository reports.
        on_queries: that this is chosen on the test queries, as ``data.like`` of a recipe does.
        further: what else the repository's figure has beyond the formula.
    """

    repository: str
    metric: Metric
    does: str
    selects: str
    on_queries: bool = True
    further: str = ""

    def not_reproduced(self, selected: bool = False) -> str:
        """What the repository's figure has beyond ours, whose step was ``selected`` on the queries or not."""
        return "; ".join(filter(None, ["" if selected else self.selects, self.further]))


def _metric(
    normalizer: Literal["relevant", "hits", "first_k"],
    empty: Literal["skip", "zero", "error"],
    k: int | None = None,
) -> Metric:
    return Metric(k=k, ties="id", normalizer=normalizer, empty=empty)


PRESETS: dict[str, Preset] = {
    "qinlab": Preset(
        "QinLab-WFU/CLIP-based-Cross-Modal-Hashing, calc_map_k_matrix",
        _metric("relevant", "zero"),
        "mAP over the whole database; a query without a relevant item counts 0",
        _BEST_EACH,
        further=_CAPTIONS,
    ),
    "dchmt": Preset(
        "kalenforn/clip-based-cross-modal-hash, calc_map_k",
        _metric("relevant", "error"),
        "mAP over the whole database; a query without a relevant item makes it NaN, refused here",
        _BEST_EACH,
        further=_CAPTIONS,
    ),
    "mith": Preset(
        "MITH, calc_utils.calc_map_k",
        _metric("relevant", "zero"),
        "mAP over the whole database; a query without a relevant item counts 0",
        "it keeps the best epoch on the test queries, jointly and for each direction",
    ),
    "ssah": Preset(
        "lelan-li/SSAH, calc_hammingranking.calc_map",
        _metric("relevant", "zero"),
        "mAP over the whole database; a query without a relevant item counts 0",
        "the epoch it reports",
        on_queries=False,
    ),
    "twdh": Preset(
        "TwDH (kalenforn/clip-based-cross-modal-hash, calc_map_k with k = 5000)",
        _metric("first_k", "error", 5000),
        "mean precision over the first min(5000, R) relevant items, wherever they rank; not mAP@5000",
        _BEST_EACH,
    ),
    "ucch": Preset(
        "penghu-cs/UCCH, fx_calc_map_multilabel_k with k = 0",
        _metric("hits", "skip"),
        "mAP over the whole database; queries without a relevant item are left out",
        "it chooses the epoch on 2,000 items of the database, not on the test queries",
        on_queries=False,
    ),
    "deephash": Preset(
        "swuxyj/DeepHash-pytorch, CalcTopMap with topK = 5000",
        _metric("hits", "zero", 5000),
        "mean precision at the relevant items among the first 5,000; a query that finds none counts 0",
        "it reports the best epoch on the test queries",
        further="with topK = -1 it drops the last item",
    ),
}


def as_in(
    protocol: Protocol, like: str, *, selected: bool = False, where: str = "--like"
) -> tuple[Protocol, dict[str, Any]]:
    """A hashing protocol with a repository's metric, and what to say of the result.

    The name becomes ``PROTOCOL@LIKE`` and the hash another one: such figures stand in no table with others.

    Args:
        protocol: as it is.
        like: a key of `PRESETS`.
        selected: the model's step was chosen on the test queries (``data.like``): the name then ends in
            ``-selected``, so that such a figure stands in no table with one that was not.
        where: the option to blame.

    Raises:
        LimbeckError: unknown preset, or one that does not select on the queries; a protocol that is not for
            hashing.
    """
    if like not in PRESETS:
        near = difflib.get_close_matches(like, PRESETS, n=1, cutoff=0.7)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}"
        raise LimbeckError(f"{where} {like}: no such repository; {hint}")
    if protocol.task != "hashing":
        raise LimbeckError(
            f"{where} {like}: protocol {protocol.name} is for {protocol.task}, not for hashing"
        )
    preset = PRESETS[like]
    if selected and not preset.on_queries:
        raise LimbeckError(
            f"{where} {like}: does not choose on the test queries ({preset.selects}); leave it out and score "
            "with evaluate --like"
        )
    name = f"{like}-selected" if selected else like
    changed = protocol.model_copy(
        update={"name": f"{protocol.name}@{name}", "metric": preset.metric}, deep=True
    )
    changed.__dict__.pop("hash", None)  # a cached property of the original
    changed._family = sha256_json([protocol.family, name])
    said = {
        "name": name,
        "repository": preset.repository,
        "metric": preset.does,
        "not_reproduced": preset.not_reproduced(selected),
    }
    return changed, said


def best_looks(folder: Path, stage: str) -> dict[str, float]:
    """Best validation score of each direction by itself, over the looks of a stage of a run.

    Of a run with ``data.like`` these are the figures that its repository prints.
    """
    file = folder / "stages" / stage / "metrics.jsonl"
    lines = split_lines(file.read_text(encoding="utf-8")) if file.is_file() else []
    looks = [json.loads(line) for line in lines if line.strip()]
    found = {
        way: [float(look[f"val/{way}/mAP"]) for look in looks if f"val/{way}/mAP" in look]
        for way in ("i2t", "t2i")
    }
    return {way: max(values) for way, values in found.items() if values}
