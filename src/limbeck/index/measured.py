"""Reads and writes ``measured.json``: recall and latency of a derived index."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import read_json, sha256_json, write_json
from limbeck.typed import Json, typed

_PARAMS = {"probes": "nprobe", "ef": "ef_search", "flips": "nflip"}  # search parameters of version 0.1


@dataclass(frozen=True)
class Measurement:
    """Holds one measurement; the keys of ``recall``, ``ms`` and ``fallbacks`` are values of k.

    Attributes:
        params: the search parameters.
        recall: mean recall and its lower bound.
        ms: milliseconds per query, one query at a time.
        fallbacks: share of the queries that fell back to the exact scan.
    """

    params: dict[str, int]
    recall: dict[str, list[float]]
    ms: dict[str, float]
    fallbacks: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Measured:
    """Holds all measurements of a derived index.

    Attributes:
        queries: the number of queries.
        held_out: "items" if stored items were the queries, "given" for your own queries.
        exact_ms: milliseconds per query of exact search, by k.
        entries: the measurements, from fast to thorough.
        exact_below: the least share of allowed rows at which the engine beat exact search.
    """

    queries: int
    held_out: str
    exact_ms: dict[str, float]
    entries: list[Measurement]
    exact_below: float

    @property
    def fits(self) -> bool:
        """Whether every entry was measured for the same values of k, and the numbers are in range."""
        ks = self.exact_ms.keys()
        return (
            bool(ks)
            and all(k.isascii() and k.isdigit() and len(k) < 10 for k in ks)
            and bool(self.entries)
            and all(one.recall.keys() == one.ms.keys() == ks for one in self.entries)
            and all(len(pair) == 2 for one in self.entries for pair in one.recall.values())
            and all(0 <= value < 2**31 for one in self.entries for value in one.params.values())
        )


def read_measured(path: Path, build: str, advice: str) -> Measured:
    """Read what `write_measured` wrote for a build.

    Args:
        path: the file.
        build: the fingerprint of the build.
        advice: the end of the error message, which says what to do.

    Raises:
        LimbeckError: the file is damaged or belongs to another build.
    """
    value = read_json(path)
    of = value.pop("of", None) if isinstance(value, dict) else None
    if of not in (sha256_json([build, value]), build):  # version 0.1 wrote the fingerprint alone
        raise LimbeckError(f"{path}: is damaged or of another build; {advice}", code="E-ENGINE-DAMAGED")
    found = typed(Measured, _current(value), path, advice)
    if not found.fits:
        raise LimbeckError(f"{path}: its numbers do not fit each other; {advice}", code="E-ENGINE-DAMAGED")
    return found


def _current(value: dict[str, Json]) -> dict[str, Json]:
    """Give the fields of version 0.1 their present names."""
    entries = value.get("settings")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return value
    names = {"setting": "params", "scanned": "fallbacks"}
    renamed = [{names.get(name, name): item for name, item in entry.items()} for entry in entries]
    for entry in renamed:
        if isinstance(params := entry.get("params"), dict):
            entry["params"] = {_PARAMS.get(name, name): item for name, item in params.items()}
    return {name: item for name, item in value.items() if name != "settings"} | {"entries": renamed}


def write_measured(path: Path, build: str, value: Measured) -> None:
    """Write a build's measurement with a fingerprint of both."""
    body = asdict(value)
    write_json(path, {"of": sha256_json([build, body]), **body})
