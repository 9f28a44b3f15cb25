"""Define the metrics of public repositories by name: what each would print for the same hash codes.

A preset reproduces the formula only. The result names the rest of the repository's procedure: which epoch it
reports, which captions it samples. A recipe's ``data.like`` also selects the checkpoint on the test queries,
as most repositories do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limbeck.data.protocol import Metric, Protocol
from limbeck.errors import LimbeckError, proposal
from limbeck.tables import split_lines
from limbeck.typed import Json

_BEST_EACH = "it reports the best epoch on the test queries, image to text and text to image separately"
_CAPTIONS = "it samples one of several captions at random, in evaluation too"


@dataclass(frozen=True)
class Preset:
    """The mean average precision of a repository.

    Attributes:
        repository: the source of the formula.
        metric: its rules. Ties are ordered by row (a stable sort). The repository's sort is not stable: it
            may return equal distances in any order, and for rows in random order ours is one of them.
        does: the formula in words.
        selects: which epoch the repository reports.
        on_queries: whether the repository selects the epoch on the test queries, as a recipe's ``data.like``.
        further: other differences between the repository's figure and the formula.
    """

    repository: str
    metric: Metric
    does: str
    selects: str
    on_queries: bool = True
    further: str = ""

    def not_reproduced(self, selected: bool = False) -> str:
        """Name what ours does not reproduce; ``selected``: our step was also selected on the test queries."""
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
        "mAP over the whole database; a query without a relevant item makes it NaN, an error here",
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
    protocol: Protocol, like: str, *, selected: bool = False, where: str = "--metric-preset"
) -> tuple[Protocol, dict[str, Json]]:
    """Return a hashing protocol with a repository's metric, and a description for the result.

    The name becomes ``PROTOCOL@LIKE`` and the hash changes: such scores are never compared with other scores.

    Args:
        protocol: the original protocol.
        like: a key of `PRESETS`.
        selected: the model's step was selected on the test queries (``data.like``). The name then ends in
            ``-selected``, so that such a score is never compared with one without that selection.
        where: name of the option or key, for errors.

    Raises:
        LimbeckError: the preset is unknown; ``selected`` with a preset that does not select on the queries;
            the protocol is not for hashing.
    """
    if like not in PRESETS:
        raise LimbeckError(
            f"{where} {like}: there is no such repository; {proposal(like, PRESETS)}", code="E-OPTION-CHOICE"
        )
    if protocol.task != "hashing":
        raise LimbeckError(
            f"{where} {like}: protocol {protocol.name} is for {protocol.task}; choose a hashing protocol",
            code="E-PROTOCOL-TASK",
        )
    preset = PRESETS[like]
    if selected and not preset.on_queries:
        raise LimbeckError(
            f"{where} {like}: does not select on the test queries ({preset.selects}); leave it out and "
            "score with evaluate --metric-preset",
            code="E-OPTION-CONFLICT",
        )
    name = f"{like}-selected" if selected else like
    description: dict[str, Json] = {
        "name": name,
        "repository": preset.repository,
        "metric": preset.does,
        "not_reproduced": preset.not_reproduced(selected),
    }
    return protocol.scored_by(preset.metric, name), description


def best_looks(folder: Path, stage: str) -> dict[str, float]:
    """Return the best mAP of each direction over the validations of a stage: direction → mAP.

    For a run with ``data.like`` these are the figures that the repository prints.

    Args:
        folder: the run directory.
        stage: name of the stage.
    """
    file = folder / "stages" / stage / "metrics.jsonl"
    lines = split_lines(file.read_text(encoding="utf-8")) if file.is_file() else []
    looks = [json.loads(line) for line in lines if line.strip()]
    scores = {
        direction: [float(look[f"val/{direction}/mAP"]) for look in looks if f"val/{direction}/mAP" in look]
        for direction in ("i2t", "t2i")
    }
    return {direction: max(values) for direction, values in scores.items() if values}
