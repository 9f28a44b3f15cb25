"""What an ONNX export keeps of trained models, and what one pass through a tower costs against torch.

    python benchmarks/onnx_latency.py RUN... --pairs DIR [--split test] [--rounds 15] [--out FILE]

`limbeck export` writes every precision of each run and compares it with torch on the pictures and captions of a split.
Then one pass of each tower (graph or torch module, without preprocessing) is timed at batch 1 and 32: processor seconds
of one thread, all candidates in turn, `--rounds` times, each round long enough for 20 ms; the median counts.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.encoders.dual import DualEncoder
from limbeck.environment import environment
from limbeck.evaluation.onnx_parity import Items, export_and_compare
from limbeck.files import write_json
from limbeck.onnx import OnnxEncoder
from limbeck.onnx.precision import PRECISIONS

BATCHES = (1, 32)


def seconds(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median processor seconds of one call of each."""
    repeats = {}
    for name, call in calls.items():
        call()
        start = time.process_time()
        call()
        repeats[name] = max(1, round(0.02 / max(time.process_time() - start, 1e-5)))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(repeats[name]):
                call()
            taken[name].append((time.process_time() - start) / repeats[name])
    return {name: statistics.median(times) for name, times in taken.items()}


def candidates(
    model: DualEncoder, folder: Path, modality: str, items: list[Any]
) -> dict[str, Callable[[], object]]:
    """One pass over the same arrays: torch, and the graph of each precision with one thread."""
    preprocess = model.towers[modality].backbone.preprocessor
    assert preprocess is not None
    arrays = preprocess(items)
    inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def with_torch() -> None:
        with torch.inference_mode():
            model.embed(modality, inputs)

    calls: dict[str, Callable[[], object]] = {"torch": with_torch}
    for precision in PRECISIONS:
        encoder = OnnxEncoder.open(folder, precision)
        assert encoder is not None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        graph = str(encoder.towers[modality].graph)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        feeds = {one.name: arrays[one.name] for one in session.get_inputs()}
        calls[precision] = lambda session=session, feeds=feeds: session.run(None, feeds)  # type: ignore[misc]
    return calls


def measured(run: Path, pairs: Pairs, split: str, rounds: int) -> dict[str, Any]:
    """Parity and latency of one run."""
    model = limbeck.load(run)
    items = Items.of_pairs(model, pairs, pairs.split_rows(split))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "exported"
        parities = export_and_compare(model, folder, list(PRECISIONS), items)
        latency = []
        for modality, given in (("text", items.texts), ("image", items.images)):
            for batch in BATCHES:
                calls = candidates(model, folder, modality, [given[i] for i in range(batch)])
                latency.append({"modality": modality, "batch": batch} | seconds(calls, rounds))
    return {
        "name": run.name,
        "space": model.space.to_json()["name"],
        "pictures": len(items.image_rows),
        "texts": len(items.texts),
        "parity": [one.to_json() for one in parities],
        "latency": latency,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/onnx-latency.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    pairs = Pairs.open(given.pairs)
    runs = [measured(run, pairs, given.split, given.rounds) for run in given.runs]
    versions, machine = environment()
    versions |= {"onnxruntime": onnxruntime.__version__}
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    write_json(given.out, {"created": created, "versions": versions, "machine": machine, "runs": runs})
    for one in runs:
        print(one["name"], *one["parity"], *one["latency"], sep="\n")


if __name__ == "__main__":
    main()
