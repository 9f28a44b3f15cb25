"""What a derived index gives and costs, as ``measured.json`` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.files import read_json, sha256_json, write_json
from limbeck.typed import typed


@dataclass(frozen=True)
class Measurement:
    """One setting of a search; the keys of the dicts are numbers of hits.

    Attributes:
        setting: of the engine.
        recall: mean and lower bound.
        ms: of a query asked alone.
        scanned: share of the queries that went over to the exact scan.
    """

    setting: dict[str, int]
    recall: dict[str, list[float]]
    ms: dict[str, float]
    scanned: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """All that was measured for a derived index.

    Attributes:
        queries: how many asked.
        held_out: "items" or "given".
        exact_ms: ms of exact search, by number of hits.
        settings: from fast to thorough.
        exact_below: least share of rows at which a filter was answered faster than exactly.
    """

    queries: int
    held_out: str
    exact_ms: dict[str, float]
    settings: list[Measurement]
    exact_below: float

    @property
    def fits(self) -> bool:
        """Whether every setting was measured for the same numbers of hits."""
        ks = self.exact_ms.keys()
        return (
            bool(ks)
            and all(k.isascii() and k.isdigit() and len(k) < 10 for k in ks)
            and bool(self.settings)
            and all(one.recall.keys() == one.ms.keys() == ks for one in self.settings)
            and all(len(pair) == 2 for one in self.settings for pair in one.recall.values())
            and all(0 <= value < 2**31 for one in self.settings for value in one.setting.values())
        )


def read_measured(path: Path, build: str, mend: str) -> dict[str, Any]:
    """Read what `write_measured` wrote for a build, which a fingerprint names; a `Measured` as JSON.

    Raises:
        LimbeckError: damaged, or of another build.
    """
    value = read_json(path)
    of = value.pop("of", None) if isinstance(value, dict) else None
    if of not in (sha256_json([build, value]), build):  # the fingerprint alone: as version 0.1 wrote it
        raise LimbeckError(f"{path}: damaged or of another build; {mend}")
    found = typed(Measured, value, path, mend)
    if not found.fits:
        raise LimbeckError(f"{path}: its numbers do not fit each other; {mend}")
    return asdict(found)


def write_measured(path: Path, build: str, value: Mapping[str, Any]) -> None:
    """Write what was measured for a build, under a fingerprint of both."""
    body = {key: item for key, item in value.items() if key != "of"}
    write_json(path, {"of": sha256_json([build, body]), **body})
