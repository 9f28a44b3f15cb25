"""Evaluate a model by a protocol."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.data.caption_chains import Chains, chain_version, find_chains, read_chains
from limbeck.data.pairs import Pairs
from limbeck.data.prompts import exact_words_prompt
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import open_splits
from limbeck.data.resolved_splits import ResolvedSplits
from limbeck.errors import LimbeckError
from limbeck.evaluation.asymmetric import AsymmetricHamming
from limbeck.evaluation.by_label import score_labels
from limbeck.evaluation.classification import unknown_classes, zero_shot
from limbeck.evaluation.cones import score_cones, text_details
from limbeck.evaluation.efficiency import read_efficiency
from limbeck.evaluation.encode import Side, encode_pictures, encode_texts
from limbeck.evaluation.entailment_ranking import score_chains
from limbeck.evaluation.hashing import SIDES, Scores, SetName, label_points, score_hashing
from limbeck.evaluation.metric_presets import as_in, best_looks
from limbeck.evaluation.probe import linear_probe
from limbeck.evaluation.results import Result
from limbeck.evaluation.retrieval import score_retrieval
from limbeck.evaluation.run_metadata import RunFacts, read_run_facts
from limbeck.evaluation.validity import metric_version
from limbeck.notices import say
from limbeck.optional_deps import require
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.encoders.dual import DualEncoder, Output


def evaluate(
    model: DualEncoder | Path | str,
    pairs: Pairs | Path | str | None = None,
    protocol: Protocol | Path | str | None = None,
    *,
    json: Path | str | None = None,
    label: str | None = None,
    seed: int | None = None,
    ceiling: bool = True,
    batch_size: int = 256,
    metric_preset: str | None = None,
    probe: bool = False,
    bits: int | None = None,
    by_label: bool = False,
    unseen: Sequence[str] | None = None,
    exact_words: bool = False,
    asymmetric: bool = False,
) -> Result:
    """Evaluate a model by a protocol.

    In addition to retrieval or hashing, it scores zero-shot classification where the protocol has a section
    ``classification``, and the entailment cones of a space that has them.

    Args:
        model: a dual encoder, a run directory, a model directory, or a hub id.
        pairs: the data set; by default the one that the run was trained on.
        protocol: name, file or protocol; by default the protocol of the run.
        json: file that the result is also written to.
        label: name of the row in tables; by default the run's recipe.
        seed: seed to record with the result; by default the seed of the run.
        ceiling: for hash codes, also learn codes from the labels as an upper reference.
        batch_size: pictures or texts per forward pass.
        metric_preset: score with the metric of a public repository (`metric_presets.PRESETS`). A run with
            ``data.like`` always uses that repository's metric.
        probe: also fit a linear probe to the image features (extra ``probe``).
        bits: evaluate only the first ``bits`` bits of the codes of a nested model; the result is a separate
            row ("64 bits, first 16").
        by_label: also compute the mAP of each label, and its mean over rare and over unseen labels.
        unseen: labels withheld in training, for ``by_label``; by default the labels that the run withheld.
        exact_words: evaluate a control as a separate row: each text is replaced by a prompt of the class
            names that it contains word for word (`limbeck.data.prompts.exact_words_prompt`).
        asymmetric: evaluate, as a separate row, queries by their real numbers before the signs, against the
            items' codes (`AsymmetricHamming`). Scores of codes alone (look-up, curves, health) are left out.

    Returns:
        The result. For a run directory it is also written into that directory: as ``result.json`` under the
        protocol of the run, else as ``result-NAME.json``. The file name ends in ``-16bits`` for the first 16
        bits, in ``-exact-words`` for that control and in ``-asymmetric`` for real queries.

    Raises:
        LimbeckError: model, data set and protocol do not fit together, or files are missing or damaged.
    """
    if isinstance(model, (str, Path)) and pairs is None and not Path(model).exists():
        raise LimbeckError(
            f"{model}: there is no such run; give the directory of a run (a hub id also needs --data)",
            code="E-RUN-MISSING",
        )
    facts = read_run_facts(model)
    pairs = facts.pairs if pairs is None else pairs
    if pairs is None:
        raise LimbeckError(
            f"{facts.run}: does not name a data set; give one with --data DIR", code="E-OPTION-MISSING"
        )
    pairs = Pairs.open(pairs) if isinstance(pairs, (str, Path)) else pairs
    protocol = facts.protocol if protocol is None else protocol
    if protocol is None:
        raise LimbeckError(
            f"{facts.run}: does not name a protocol; give one with --protocol NAME", code="E-OPTION-MISSING"
        )
    splits = open_splits(protocol, pairs, "--protocol")
    protocol = splits.protocol
    if splits.note is not None:
        say(splits.note)
    by_label = by_label or unseen is not None
    if by_label and protocol.task != "hashing":
        raise LimbeckError(
            f"protocol {protocol.name}: --by-label needs a hashing protocol; choose one",
            code="E-PROTOCOL-TASK",
        )
    preset: dict[str, Json] = {}
    if facts.like is not None:
        if metric_preset not in (None, facts.like):
            raise LimbeckError(
                f"--metric-preset {metric_preset}: the run selected its step like {facts.like}; "
                "leave the option out",
                code="E-OPTION-CONFLICT",
            )
        protocol, preset = as_in(protocol, facts.like, selected=True, where="data.like")
        preset["best_looks"] = best_looks(Path(facts.folder or ""), facts.stage)
    elif metric_preset is not None:
        protocol, preset = as_in(protocol, metric_preset)
    if isinstance(model, (str, Path)):
        require("torch")
        from limbeck.encoders.cache import BackboneCache
        from limbeck.encoders.load import load

        model = load(model)
        model.cache = BackboneCache()  # every run of a table encodes the same texts
    row, tail = label or facts.label, ""
    if bits is not None and bits != (whole := model.space.to_json().get("bits")):
        model = model.prefix(bits)
        row, tail = label or f"{row}, {whole} bits, first {bits}", f"-{bits}bits"
    if exact_words:
        row, tail = f"{row}, exact words", f"{tail}-exact-words"
    space = model.space
    if asymmetric:
        if protocol.task != "hashing" or space.storage != "codes":
            raise LimbeckError(
                f"--asymmetric: compares with hash codes by labels; {row} under {protocol.name} does not",
                code="E-OPTION-UNUSED",
            )
        space = AsymmetricHamming(8 * space.width)
        row, tail = f"{row}, asymmetric", f"{tail}-asymmetric"
    splits = dataclasses.replace(splits, protocol=protocol)
    extra: dict[str, object] = {}
    if (classes := splits.classes) is not None:
        extra |= {"classes": classes.names, "unknown_classes": unknown_classes(model, classes)}
    started = time.perf_counter()
    queries: Output = "embeddings" if asymmetric else "points"
    floats = protocol.task == "hashing" and space.storage == "codes"
    sides, silent = _encode(model, splits, batch_size, exact_words, queries, floats)
    encoded = time.perf_counter()
    if silent:
        extra["without_text"] = silent
    if protocol.task == "hashing":
        rules = protocol.metric.map_rules
        settings: dict[str, object] = {**rules}
        sets = {
            name: label_points(name, side.points, side.rows, splits, side.floats)
            for name, side in sides.items()
        }
        scores = score_hashing(space, sets, rules, directions=protocol.directions, ceiling=ceiling)
        if by_label:
            label_scores, extra["labels"] = score_labels(
                space, sets, pairs.label_names, splits.train.labels, rules,
                unseen=facts.hidden if unseen is None else unseen, directions=protocol.directions,
            )  # fmt: skip
            scores.metrics |= label_scores.metrics
    else:
        settings = {"ks": protocol.metric.ks}
        scores = score_retrieval(
            space, sides[SetName.QUERY_IMAGE], sides[SetName.QUERY_TEXT], protocol.metric.ks or [1, 5, 10],
            median_rank=protocol.metric.median_rank, directions=protocol.directions,
        )  # fmt: skip
    for more in () if asymmetric else _further(model, splits, sides, batch_size):
        for group, values in more.metrics.items():
            scores.metrics[group] = scores.metrics.get(group, {}) | values
        scores.per_query |= more.per_query
    if "entailment" in scores.metrics:
        source = protocol.chain_source
        extra["chains"] = {"source": source, "version": chain_version(source)}
    if probe:
        probe_scores, extra["probe"] = linear_probe(model, splits, batch_size=batch_size)
        scores.metrics |= probe_scores.metrics
        scores.per_query |= probe_scores.per_query
    cost, progress = read_efficiency(facts.folder) if facts.folder is not None else ({}, [])
    result = Result(
        protocol=protocol.name,
        protocol_hash=protocol.hash,
        family=protocol.family,
        task=protocol.task,
        method=facts.method,
        run=facts.run,
        space=model.space.to_json(),
        bits=8 * model.space.width if model.space.storage == "codes" else None,
        seed=facts.seed if seed is None else seed,
        settings={
            "label": row,
            "metric": settings,
            "metric_version": metric_version(protocol.task),
            "pairs": str(pairs.path),
            "fingerprint": pairs.fingerprint,
            "items": splits.items_hash,
            "relevance": splits.relevance_hash,
            "counts": {name: len(side) for name, side in sides.items()},
            "image_input": model.image_input,
            "space_id": model.space_id,
        }
        | ({"recipe": facts.recipe} if label is None and facts.recipe else {})
        | extra
        | ({"like": preset} if preset else {}),
        seconds=facts.seconds | {"encode": encoded - started, "score": time.perf_counter() - encoded},
        efficiency=cost,
        progress=progress,
        **vars(scores),
    )
    _write(result, json, facts, tail)
    return result


def _encode(
    model: DualEncoder,
    splits: ResolvedSplits,
    batch_size: int,
    exact_words: bool,
    queries: Output,
    floats: bool,
) -> tuple[dict[SetName, Side], dict[str, int]]:
    """Encode what the protocol's directions need, and count the rows without text per split (if any).

    With ``floats`` queries also keep their real numbers before the signs.
    """
    protocol, pairs = splits.protocol, splits.pairs
    needed = {name for direction in protocol.directions for name in SIDES[direction]}
    if protocol.task == "retrieval":
        needed = {SetName.QUERY_IMAGE, SetName.QUERY_TEXT}
    if protocol.classification is not None:
        needed.add(SetName.QUERY_IMAGE)
    sides: dict[SetName, Side] = {}
    silent: dict[str, int] = {}
    for name in (name for name in SetName if name in needed):
        part = splits.query if name.part == "query" else splits.database
        asks = name.part == "query"
        output: Output = queries if asks else "points"
        if name in (SetName.QUERY_IMAGE, SetName.DATABASE_IMAGE):
            sides[name] = encode_pictures(
                model, pairs, part.rows, output=output, floats=floats and asks, batch_size=batch_size
            )
            continue
        texts = part.texts
        if lacking := sum(not any(text.strip() for text in row) for row in texts):
            silent[name.part] = lacking
        if lacking == len(part):
            pairs.require_texts(protocol.text.column, part.rows)  # refuses, and names the column
        if exact_words:
            texts = [[exact_words_prompt(text, pairs.label_names) for text in row] for row in texts]
        sides[name] = encode_texts(
            model, texts, part.rows, output=output, floats=floats and asks, batch_size=batch_size
        )
    return sides, silent


def _further(
    model: DualEncoder, splits: ResolvedSplits, sides: Mapping[SetName, Side], batch_size: int
) -> Iterator[Scores]:
    """Yield the scores of the query split that do not belong to the protocol's task."""
    if splits.classes is not None:
        yield zero_shot(model, sides[SetName.QUERY_IMAGE], splits.classes, batch_size=batch_size)
    if model.space.has_cones and {SetName.QUERY_IMAGE, SetName.QUERY_TEXT} <= set(sides):
        images, texts = sides[SetName.QUERY_IMAGE], sides[SetName.QUERY_TEXT]
        details = text_details(model, splits, texts, batch_size=batch_size)
        bounded = {
            "image": model.is_clipped(images.points, "image"),
            "text": model.is_clipped(texts.points, "text"),
        }
        yield score_cones(model.space, images, texts, details, bounded)
    if SetName.QUERY_IMAGE in sides and (chains := _chains(splits, model.space.has_cones)) is not None:
        yield score_chains(model, sides[SetName.QUERY_IMAGE], chains, batch_size=batch_size)


def _chains(splits: ResolvedSplits, has_cones: bool) -> Chains | None:
    """Return the chains of texts of the queries; None where nothing asks for them and there are none."""
    protocol = splits.protocol
    if protocol.chains is None:
        if protocol.text.column != "captions" or not (has_cones or protocol.task == "retrieval"):
            return None
        found = find_chains(splits.pairs, splits.query.rows, protocol.chain_source)
        return found if found.texts else None
    return read_chains(splits.pairs, splits.query.rows, protocol.chains)


def _write(result: Result, json: Path | str | None, facts: RunFacts, tail: str) -> None:
    if json is not None:
        result.save(json)
    if facts.folder is not None:
        same = result.protocol_hash == facts.protocol_hash or facts.protocol in (None, result.protocol)
        name = "result" if same else f"result-{result.protocol.replace('/', '-')}"
        result.save(facts.folder / f"{name}{tail}.json")
