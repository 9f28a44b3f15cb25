"""What an evaluation leaves behind: one JSON file that says what was measured, on what, and how."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limbeck.errors import LimbeckError
from limbeck.evaluation.environment import environment
from limbeck.evaluation.packs import is_pack, read_pack
from limbeck.files import read_json, write_json

FORMAT = 1
DIRECTIONS = ("i2t", "t2i")
GROUPS = ("zero_shot", "hierarchy", "cone", "radius", "probe", "label")  # further metrics, of no direction


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Result(BaseModel):
    """One model measured by one protocol.

    Attributes:
        family: hash that draws of one protocol share (`limbeck.data.resampling`); None in older results.
        metrics: direction → name → value. Hashing: ``map``, ``floor``, ``ceiling`` (codes only),
            ``map_unseen`` (items that were trained on taken out of the database), ``without_relevant``
            (queries without a relevant item, where there are any).
            Retrieval: ``r@1`` …, ``median_rank``. Beside the directions, where they apply: ``zero_shot`` and
            ``hierarchy`` (`limbeck.evaluation.classification`), ``cone`` and ``radius`` (`….cones`),
            ``probe`` (`….probe`), ``label`` (`….by_label`).
        per_query: direction → one value a query, in the order of the protocol's queries: average precision,
            or the rank of the first relevant item; None for a query without a relevant item. ``zero_shot``,
            ``hierarchy``: a query picture; ``cone``: a query text.
        curves: direction → name → numbers, for plots (``precision``, ``recall``, ``precision_at``, ``ns``).
        health: set of codes (``database_image`` …) → numbers about its bits.
        seconds: step → seconds (``encode``, ``score``), and ``train`` where the run says so.
        efficiency, progress: what the run cost, and its validation scores against pairs and seconds; see
            `limbeck.evaluation.efficiency`. Empty for a model that is no run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    protocol: str
    protocol_hash: str
    family: str | None = None
    task: Literal["hashing", "retrieval"]
    method: str
    run: str
    space: dict[str, Any]
    bits: int | None = None
    seed: int | None = None
    metrics: dict[str, dict[str, float]]
    per_query: dict[str, list[float | None]] = Field(default_factory=dict, repr=False)
    curves: dict[str, dict[str, list[float]]] = Field(default_factory=dict, repr=False)
    health: dict[str, dict[str, float | list[float]]] = Field(default_factory=dict, repr=False)
    settings: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=lambda: environment()[0], repr=False)
    machine: dict[str, str | int | bool | None] = Field(default_factory=lambda: environment()[1], repr=False)
    seconds: dict[str, float] = Field(default_factory=dict)
    efficiency: dict[str, float] = Field(default_factory=dict)
    progress: list[dict[str, float]] = Field(default_factory=list, repr=False)
    created: str = Field(default_factory=_now)

    @property
    def pool(self) -> str:
        """Hash of what results must share to stand in one table."""
        return self.family or self.protocol_hash

    @property
    def observation(self) -> tuple[str, int | None]:
        """Split and seed: which of a method's observations it is, and what pairs it with another's."""
        return self.protocol, self.seed

    @property
    def label(self) -> str:
        """Name of the result's row in a table: the recipe where the run names one, else the method."""
        return str(self.settings.get("label") or self.method)

    def mean(self, name: str) -> float | None:
        """Mean of a metric over the directions that were measured; None where one lacks it."""
        values = [self.metrics[way].get(name) for way in DIRECTIONS if way in self.metrics]
        present = [value for value in values if value is not None]
        return sum(present) / len(present) if present and len(present) == len(values) else None

    def save(self, path: Path | str) -> Path:
        """Write the result as JSON, whole or not at all."""
        write_json(Path(path), self.model_dump(mode="json"))
        return Path(path)

    @classmethod
    def load(cls, path: Path | str) -> Result:
        """Read a result; a damaged or newer file is a `LimbeckError` that names it."""
        return cls.parse(read_json(Path(path)), str(path))

    @classmethod
    def parse(cls, content: Any, where: str) -> Result:
        """Check the content of a result file; ``where`` names it in a `LimbeckError`."""
        found = content.get("format") if isinstance(content, dict) else None
        if found != FORMAT:
            raise LimbeckError(
                f"{where}: result format {found!r}, this version reads {FORMAT}; evaluate again"
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise LimbeckError(
                f"{where}: not a result, field {field}: {first['msg']}; evaluate again"
            ) from None


def plain(values: np.ndarray | Iterable[float]) -> list[float | None]:
    """Numbers for JSON: NaN (a query without relevant items) becomes None, floats keep 7 digits."""
    return [
        None if math.isnan(value) else round(float(value), 7) for value in np.asarray(values, float).tolist()
    ]


def load_results(paths: Sequence[Path | str]) -> list[Result]:
    """Results in files and packs named directly (`limbeck.evaluation.packs`) and in directories.

    Of a directory the ``result*.json``; where there is none, as in a folder of a grid's rows, ``*-s*.json``.

    Raises:
        LimbeckError: a path that does not exist, a directory or pack without a result, a damaged file.
    """
    results: list[Result] = []
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(path.glob("result*.json")) or sorted(path.glob("*-s*.json"))
            if not files:
                raise LimbeckError(f"{path}: no result*.json in it; run limbeck evaluate {path} first")
            results += [Result.load(file) for file in files]
        elif is_pack(path):
            rows = {name: record for name, record in read_pack(path).items() if "/" not in name}
            if not rows:
                raise LimbeckError(f"{path}: holds no result; run its grid first")
            results += [Result.parse(record, f"{path}: {name}") for name, record in rows.items()]
        elif path.exists():
            results.append(Result.load(path))
        else:
            raise LimbeckError(f"{path}: no such file or directory")
    return results


def same_protocol(results: Sequence[Result]) -> None:
    """Refuse results of different protocols or items: their figures do not compare.

    Draws of one protocol pass, since each counts against another only on the same draw.

    Raises:
        LimbeckError: names the two protocols and runs that differ.
    """
    splits: dict[str, Result] = {}
    for result in results:
        same_split = splits.setdefault(result.protocol, result)
        first = results[0] if result.pool != results[0].pool else same_split
        if result.pool != first.pool or result.protocol_hash != first.protocol_hash:
            if result.run == first.run != "in memory" and result.protocol != first.protocol:
                raise LimbeckError(
                    f"{result.run}: holds results of {first.protocol} and {result.protocol}; choose one with "
                    "--protocol, or name a result file"
                )
            mend = (
                "choose one with --protocol"
                if result.protocol != first.protocol
                else "the protocol has changed, evaluate again"
            )
            raise LimbeckError(
                f"{result.run}: protocol {result.protocol} ({result.protocol_hash[:8]}) differs from "
                f"{first.protocol} ({first.protocol_hash[:8]}) of {first.run}; {mend}"
            )
        for key, what in (("items", "other items"), ("relevance", "other labels of the items")):
            own, others = result.settings.get(key), first.settings.get(key)
            if None not in (own, others) and own != others:
                raise LimbeckError(
                    f"{result.run}: protocol {result.protocol} was run on {what} than {first.run}; "
                    "evaluate both on the same data set"
                )
