"""Evaluate external hash codes against a data set or against labels in their file, without torch."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Metric, Protocol
from limbeck.data.protocols import load_protocol, open_splits
from limbeck.data.resolved_splits import ResolvedSplits
from limbeck.errors import LimbeckError
from limbeck.evaluation.codes_file import CodesFile, read_codes
from limbeck.evaluation.control_codes import control_codes, is_control
from limbeck.evaluation.hashing import SIDES, Labelled, SetName, label_points, score_hashing
from limbeck.evaluation.metric_presets import as_in
from limbeck.evaluation.results import Result
from limbeck.files import sha256_json
from limbeck.metrics import MapRules
from limbeck.spaces import Hamming
from limbeck.typed import Json


def evaluate_codes(
    codes: Path | str,
    pairs: Pairs | Path | str | None = None,
    protocol: Protocol | Path | str | None = None,
    *,
    json: Path | str | None = None,
    label: str | None = None,
    seed: int | None = None,
    ceiling: bool = True,
    metric_preset: str | None = None,
) -> Result:
    """Evaluate hash codes of any program.

    Args:
        codes: ``.npz``, ``.safetensors`` or a directory of ``.npy`` (`limbeck.evaluation.codes_file`); or a
            control, ``random:BITS`` or ``oracle:BITS`` (`limbeck.evaluation.control_codes`).
        pairs: the data set of the codes, whose rows are in the order of the protocol's id lists. Without it
            the labels in the codes file are used, and you can compare the result only with results on equal
            labels.
        protocol: a hashing protocol. It is required with ``pairs``; otherwise it only sets the metric rules.
        json: file that the result is also written to.
        label: name of the row in tables; by default the file's name.
        seed: seed to record with the result; it also seeds a control.
        ceiling: also learn codes from the labels as an upper reference.
        metric_preset: score with the metric of a public repository (`metric_presets.PRESETS`); needs
            ``protocol``.

    Returns:
        The result.

    Raises:
        LimbeckError: the file is a pickle; its arrays do not fit together; its row count differs from the
            protocol's; the protocol is not for hashing.
    """
    pairs = Pairs.open(pairs) if isinstance(pairs, (str, Path)) else pairs
    protocol = load_protocol(protocol) if isinstance(protocol, (str, Path)) else protocol
    splits = None
    if protocol is not None and pairs is not None:
        splits = open_splits(protocol, pairs, "--protocol")
        protocol = splits.protocol
    file = control_codes(codes, splits, seed=seed or 0) if is_control(codes) else read_codes(codes)
    if protocol is not None and protocol.task != "hashing":
        raise LimbeckError(
            f"protocol {protocol.name}: is for {protocol.task}; codes need a hashing protocol",
            code="E-PROTOCOL-TASK",
        )
    preset: dict[str, Json] = {}
    if metric_preset is not None:
        if protocol is None:
            raise LimbeckError(
                f"--metric-preset {metric_preset}: changes the metric of a protocol; give --protocol NAME",
                code="E-OPTION-MISSING",
            )
        protocol, preset = as_in(protocol, metric_preset)
    rules = (protocol.metric if protocol else Metric()).map_rules
    if pairs is not None and protocol is None:
        raise LimbeckError(
            f"{file.path}: codes for a data set need a protocol; give --protocol NAME",
            code="E-OPTION-MISSING",
        )
    if splits is not None and protocol is not None:
        sets = _labels_of_splits(file, splits)
        name, digest, family = protocol.name, protocol.hash, protocol.family
    else:
        sets = _labels_of_file(file)
        (name, digest), family = _own_protocol(file, protocol, rules), None
    started = time.perf_counter()
    wanted = protocol.directions if protocol else list(SIDES)
    directions = [direction for direction in wanted if set(SIDES[direction]) <= set(sets)]
    if not directions:
        raise LimbeckError(
            f"{file.path}: has no codes for a direction of protocol {name} ({', '.join(wanted)}); save the "
            "query and database codes of one direction",
            code="E-CODES-ARRAYS",
        )
    space = Hamming(file.bits)
    scores = score_hashing(space, sets, rules, directions=directions, ceiling=ceiling)
    result = Result(
        protocol=name,
        protocol_hash=digest,
        family=family,
        task="hashing",
        method="codes",
        run=str(file.path),
        space=space.to_json(),
        bits=file.bits,
        seed=seed,
        settings={
            "label": label or file.path.stem.partition(":")[0],
            "metric": rules,
            "counts": {name: len(labelled.points) for name, labelled in sets.items()},
        }
        | ({} if splits is None else {"items": splits.items_hash, "relevance": splits.relevance_hash})
        | ({"like": preset} if preset else {}),
        seconds={"score": time.perf_counter() - started},
        **vars(scores),
    )
    if json is not None:
        result.save(json)
    return result


def _labels_of_splits(file: CodesFile, splits: ResolvedSplits) -> dict[SetName, Labelled]:
    sets = {}
    for name, codes in file.codes.items():
        part = splits.parts[name.part]
        if len(codes) != len(part):
            raise LimbeckError(
                f"{file.path}: {name} has {len(codes)} rows, split {name.part} of protocol "
                f"{splits.protocol.name} has {len(part)}; save one code per row, in its order",
                code="E-ARRAY-ROWS",
            )
        sets[name] = label_points(name, codes, part.rows, splits)
    return sets


def _labels_of_file(file: CodesFile) -> dict[SetName, Labelled]:
    sets = {}
    for name, codes in file.codes.items():
        wanted = f"{name.part}_labels"
        labels = file.labels.get(wanted)
        if labels is None:
            raise LimbeckError(
                f"{file.path}: has no {wanted}; add them, or give the data set with --data DIR",
                code="E-CODES-ARRAYS",
            )
        sets[name] = Labelled(codes, labels)
    return sets


def _own_protocol(file: CodesFile, protocol: Protocol | None, rules: MapRules) -> tuple[str, str]:
    """Return a name and a hash for labels from the file; the hash covers the labels and the metric rules."""
    labels = {
        name: [list(array.shape), np.packbits(array).tobytes().hex()] for name, array in file.labels.items()
    }
    name = f"{protocol.name}, labels from the file" if protocol else "labels from the file"
    return name, sha256_json({"labels": labels, "settings": rules})
