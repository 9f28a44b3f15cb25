"""Tell which recorded results are void: their protocol, data set, chains of texts or metric changed."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Literal

import numpy as np

from limbeck.data.caption_chains import chain_version
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.errors import LimbeckError
from limbeck.evaluation.encode import Side
from limbeck.evaluation.hashing import Labelled, SetName, score_hashing
from limbeck.evaluation.results import Result
from limbeck.evaluation.retrieval import score_retrieval
from limbeck.files import sha256_json
from limbeck.metrics import MapRules
from limbeck.spaces import Hamming

Task = Literal["hashing", "retrieval"]
_ITEMS, _QUERIES, _LABELS = 60, 12, 5


@cache
def metric_version(task: Task) -> str:
    """Return a hash of what the metrics of a task give on a fixed example with many ties.

    A change of the code that changes a figure of the example changes the hash; any other change does not. The
    example covers the metrics of the two directions, not zero-shot classification, cones, chains and probe.
    """
    sizes = (_QUERIES, _QUERIES, _ITEMS, _ITEMS)
    sets = {name: _example(name, size) for name, size in zip(SetName, sizes, strict=True)}
    if task == "hashing":
        rules: MapRules = {"k": None, "ties": "expected", "normalizer": "relevant", "empty": "skip"}
        scores = score_hashing(Hamming(16), sets, rules, ceiling=False)
    else:
        images, texts = sets[SetName.QUERY_IMAGE].points, sets[SetName.DATABASE_TEXT].points
        rows = np.arange(_ITEMS) % _QUERIES
        sides = Side(images, np.arange(_QUERIES)), Side(texts, rows)
        scores = score_retrieval(Hamming(16), *sides, [1, 5, 10])
    figures = {
        way: {name: round(value, 6) for name, value in own.items()} for way, own in scores.metrics.items()
    }
    return sha256_json(figures)[:12]


def _example(name: str, size: int) -> Labelled:
    """Return codes of 16 bits and labels, which are the same with every version of a library."""
    drawn = np.frombuffer(hashlib.shake_256(name.encode()).digest(4 * size), np.uint8).reshape(size, 4)
    labels = np.unpackbits(drawn[:, 2:3], axis=1)[:, :_LABELS].astype(bool)
    return Labelled(np.ascontiguousarray(drawn[:, :2] & 0x0F), labels, drawn[:, 3] < 128)


@cache
def _protocol_hash(name: str) -> str | None:
    """Return the hash of a packaged protocol; None where a data set completes it, or for a file."""
    try:
        protocol = load_protocol(name)
    except LimbeckError:
        return None  # the protocol of a file: the grid that names the file compares its content
    return None if protocol.splits.otherwise is not None else protocol.hash


def void_reasons(result: Result, pairs: Pairs | None = None) -> list[str]:
    """Return why a recorded result no longer counts; empty where it does.

    Args:
        result: as recorded.
        pairs: the present data set of the same name; None if it is missing, and then it is not compared.
    """
    reasons = []
    if (now := _protocol_hash(result.protocol)) is not None and now != result.protocol_hash:
        reasons.append(_changed(f"protocol {result.protocol}", result.protocol_hash, now))
    recorded = result.settings.get("fingerprint")
    if pairs is not None and recorded is not None and recorded != pairs.fingerprint:
        reasons.append(_changed(f"data set {pairs.path.name}", recorded, pairs.fingerprint))
    if result.metric_version != (version := metric_version(result.task)):
        reasons.append(_changed(f"code of the metrics of {result.task}", result.metric_version, version))
    chains = result.settings.get("chains")
    if chains is not None and chains["version"] != (version := chain_version(chains["source"])):
        reasons.append(_changed("rule of the chains of texts", chains["version"], version))
    return reasons


def _changed(what: str, recorded: str, now: str) -> str:
    return f"the {what} has changed ({recorded[:8]} in the row, {now[:8]} now)"
