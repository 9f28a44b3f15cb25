"""Define the result of an evaluation: one JSON file with the scores, the data, and the settings."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limbeck.environment import environment
from limbeck.errors import LimbeckError
from limbeck.evaluation.packs import is_pack, read_pack
from limbeck.files import read_json, write_json
from limbeck.typed import Json

FORMAT = 1
DIRECTIONS = ("i2t", "t2i")
FIRST_METRICS = {"hashing": "929d0a161ecb", "retrieval": "e13b340e70fe"}
"""Task → version of its metrics (`limbeck.evaluation.validity`) in results that record none."""
# further metrics, of no direction
GROUPS = ("zero_shot", "hierarchy", "entailment", "cone", "radius", "probe", "label")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Result(BaseModel):
    """The scores of one model by one protocol.

    Attributes:
        family: hash that draws of one protocol share (`limbeck.data.resampling`); None in older results.
        metrics: direction → name → value. Hashing has ``map``, ``floor``, ``ceiling`` (hash codes only),
            ``map_unseen`` (without the trained items of the database), ``map_asymmetric`` (real numbers of
            the queries against the codes of the items), ``without_relevant`` (the number of
            queries without a relevant item, if there are any) and more (`limbeck.evaluation.hashing`).
            Retrieval has ``r@1`` … and ``median_rank``. Groups without a direction are, where they apply:
            ``zero_shot`` and ``hierarchy`` (`limbeck.evaluation.classification`), ``cone`` and ``radius``
            (`….cones`), ``entailment`` (`….entailment_ranking`), ``probe`` (`….probe`), ``label``
            (`….by_label`).
        per_query: direction → one value per query, in the order of the protocol's queries: the average
            precision, or the rank of the first relevant item. A query without a relevant item has None. For
            ``zero_shot``, ``hierarchy``, ``entailment`` and ``probe`` a query is a picture, for ``cone`` a
            text.
        curves: direction → name → numbers, for plots (``precision``, ``recall``, ``precision_at``, ``ns``).
        health: set of codes (``database_image`` …) → statistics of its bits.
        seconds: step → seconds (``encode``, ``score``), and ``train`` where the run records it.
        efficiency: cost of the run (`limbeck.evaluation.efficiency`); empty for a model that is not a run.
        progress: validation scores of the run against pairs and seconds; empty for a model that is not a run.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    protocol: str
    protocol_hash: str
    family: str | None = None
    task: Literal["hashing", "retrieval"]
    method: str
    run: str
    space: dict[str, Json]
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
        """The hash that results must share to be compared in one table."""
        return self.family or self.protocol_hash

    @property
    def observation(self) -> tuple[str, int | None]:
        """The protocol (with its draw) and the seed: the key that pairs results of two methods."""
        return self.protocol, self.seed

    @property
    def label(self) -> str:
        """The name of the result's row in a table: the label in ``settings``, else the method."""
        return str(self.settings.get("label") or self.method)

    @property
    def metric_version(self) -> str:
        """The version of the metrics that scored it (`limbeck.evaluation.validity`)."""
        return str(self.settings.get("metric_version", FIRST_METRICS[self.task]))

    def mean(self, name: str) -> float | None:
        """Return the mean of a metric over the measured directions; None where one of them lacks it."""
        values = [self.metrics[direction].get(name) for direction in DIRECTIONS if direction in self.metrics]
        present = [value for value in values if value is not None]
        return sum(present) / len(present) if present and len(present) == len(values) else None

    def save(self, path: Path | str) -> Path:
        """Write the result as JSON; the file is written atomically."""
        write_json(Path(path), self.model_dump(mode="json"))
        return Path(path)

    @classmethod
    def load(cls, path: Path | str) -> Result:
        """Read a result file.

        Raises:
            LimbeckError: the file is missing, damaged, or of another format.
        """
        return cls.parse(read_json(Path(path)), str(path))

    @classmethod
    def parse(cls, content: object, where: str) -> Result:
        """Check the content of a result file.

        Args:
            content: the parsed JSON.
            where: name of the file, for errors.

        Raises:
            LimbeckError: the content is not a result, or it is of another format.
        """
        version = content.get("format") if isinstance(content, dict) else None
        if version != FORMAT:
            raise LimbeckError(
                f"{where}: result format {version!r}, but this version reads {FORMAT}; evaluate again",
                code="E-FILE-VERSION",
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise LimbeckError(
                f"{where}: is not a result, field {field}: {first['msg']}; evaluate again",
                code="E-FILE-FIELD",
            ) from None


def plain(values: np.ndarray | Iterable[float]) -> list[float | None]:
    """Convert numbers for JSON: NaN (a query without relevant items) becomes None; 7 decimals are kept."""
    return [
        None if math.isnan(value) else round(float(value), 7) for value in np.asarray(values, float).tolist()
    ]


def load_results(paths: Sequence[Path | str]) -> list[Result]:
    """Read the results of files, packs (`limbeck.evaluation.packs`) and directories.

    In a directory all ``result*.json`` are read. If there are none, as in a folder of a grid's rows, all
    ``*-s*.json`` are read.

    Raises:
        LimbeckError: a path does not exist; a directory or pack has no result; a file is damaged.
    """
    results: list[Result] = []
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(path.glob("result*.json")) or sorted(path.glob("*-s*.json"))
            if not files:
                raise LimbeckError(
                    f"{path}: has no result*.json; run limbeck evaluate {path} first", code="E-RESULT-MISSING"
                )
            results += [Result.load(file) for file in files]
        elif is_pack(path):
            rows = {name: record for name, record in read_pack(path).items() if "/" not in name}
            if not rows:
                raise LimbeckError(f"{path}: has no results; run its grid first", code="E-RESULT-MISSING")
            results += [Result.parse(record, f"{path}: {name}") for name, record in rows.items()]
        elif path.exists():
            results.append(Result.load(path))
        else:
            raise LimbeckError(
                f"{path}: there is no such file or directory; check the path", code="E-PATH-MISSING"
            )
    return results


def same_protocol(results: Sequence[Result]) -> None:
    """Check that results are of one protocol and of the same items, so that they can be compared.

    Several draws of one protocol are allowed, because comparisons pair results of the same draw.

    Raises:
        LimbeckError: two results differ; the message names their protocols and runs.
    """
    splits: dict[str, Result] = {}
    for result in results:
        same_split = splits.setdefault(result.protocol, result)
        first = results[0] if result.pool != results[0].pool else same_split
        if result.pool != first.pool or result.protocol_hash != first.protocol_hash:
            if result.run == first.run != "in memory" and result.protocol != first.protocol:
                raise LimbeckError(
                    f"{result.run}: holds results of {first.protocol} and {result.protocol}; choose one with "
                    "--protocol, or name a result file",
                    code="E-RESULT-OTHER",
                )
            advice = (
                "choose one with --protocol"
                if result.protocol != first.protocol
                else "the protocol has changed: evaluate again"
            )
            raise LimbeckError(
                f"{result.run}: protocol {result.protocol} ({result.protocol_hash[:8]}) differs from "
                f"{first.protocol} ({first.protocol_hash[:8]}) of {first.run}; {advice}",
                code="E-RESULT-OTHER",
            )
        if result.metric_version != first.metric_version:
            raise LimbeckError(
                f"{result.run}: was scored by another version of the metrics ({result.metric_version}) than "
                f"{first.run} ({first.metric_version}); evaluate both with one version",
                code="E-RESULT-OTHER",
            )
        for key, what in (("items", "other items"), ("relevance", "other labels of the items")):
            this, other = result.settings.get(key), first.settings.get(key)
            if None not in (this, other) and this != other:
                raise LimbeckError(
                    f"{result.run}: protocol {result.protocol} was run on {what} than {first.run}; "
                    "evaluate both on the same data set",
                    code="E-RESULT-OTHER",
                )
