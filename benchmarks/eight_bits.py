"""Ways to store a tower in eight bits: size, equal bits of the codes, least cosine, and the cost of a pass.

    python benchmarks/eight_bits.py RUN --pairs DIR [--split test] [--rows 300]

Each way rewrites the fp32 graphs of a run that `limbeck train` wrote: dynamic quantisation of ONNX Runtime, its
operator MatMulNBits at eight bits (blocks of 32, products in float32 or whole numbers), and limbeck's own (`--precision
int8`). Pictures and captions of a split show the difference; a pass is timed as processor time of one thread, the median
of nine, at batch 1 and 32. The answer is written to docs/results/parts/eight-bits.json.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

from limbeck.data.pairs import Pairs
from limbeck.environment import environment
from limbeck.files import write_json
from limbeck.onnx import OnnxEncoder
from limbeck.onnx.eight_bits import write_eight_bits
from onnx_latency import BATCHES, seconds

OUT = Path(__file__).resolve().parents[1] / "docs/results/parts/eight-bits.json"
ROUNDS = 9


def dynamic(graph: Path, out: Path) -> None:
    """Whole numbers with one scale per column, and per table; activations with one scale per pass."""
    prepared = out.with_name("prepared.onnx")
    quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
    operators = ["MatMul", "Gemm", "Gather"]
    quantize_dynamic(
        str(prepared), str(out), per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=operators
    )


def blocks(graph: Path, out: Path, level: int) -> None:
    """MatMulNBits of ONNX Runtime; other operators stay in float32."""
    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=True, accuracy_level=level, bits=8)
    quantizer = MatMulNBitsQuantizer(onnx.load(str(graph)), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(out))


WAYS: dict[str, Any] = {
    "dynamic quantisation": dynamic,
    "MatMulNBits, products in float32": lambda graph, out: blocks(graph, out, 1),
    "MatMulNBits, products of whole numbers": lambda graph, out: blocks(graph, out, 4),
    "limbeck": write_eight_bits,
}


def session(graph: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def measured(graph: Path, arrays: dict[str, np.ndarray], work: Path) -> list[dict[str, Any]]:
    """One row per way; the first is fp32."""
    rows, calls, wanted = [], {}, np.empty(0)
    for way, write in {"fp32": None, **WAYS}.items():
        file = graph if write is None else work / "eight.onnx"
        if write is not None:
            write(graph, file)
        opened = session(file)
        feeds = {one.name: arrays[one.name] for one in opened.get_inputs()}
        found = opened.run(None, feeds)[0]
        wanted = found if write is None else wanted
        norms = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
        row = {
            "way": way,
            "bytes": file.stat().st_size,
            "bits": float(((found >= 0) == (wanted >= 0)).mean()),
            "cosine": float(((found * wanted).sum(1) / norms).min()),
        }
        for batch in BATCHES:
            some = {name: array[:batch] for name, array in feeds.items()}
            calls[way, batch] = lambda opened=opened, some=some: opened.run(None, some)
        rows.append(row)
    taken = seconds({f"{way}|{batch}": call for (way, batch), call in calls.items()}, ROUNDS)
    return [row | {f"seconds_{batch}": taken[f"{row['way']}|{batch}"] for batch in BATCHES} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--rows", type=int, default=300)
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the quantizer reports every node
    encoder = OnnxEncoder.open(given.run / "model")
    if encoder is None:
        raise SystemExit(f"{given.run}: has no ONNX graphs")
    pairs = Pairs.open(given.pairs)
    rows = pairs.split_rows(given.split)[: given.rows].tolist()
    texts = [text for row in rows for text in pairs.captions[row]]
    items = {"text": texts, "image": [pairs.open_image(row) for row in rows]}
    towers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as work:
        for modality, tower in encoder.towers.items():
            towers[modality] = measured(tower.graph, tower.preprocess(items[modality]), Path(work))
    versions, machine = environment()
    about = {"run": given.run.name, "pictures": len(rows), "texts": len(texts)}
    versions |= {"onnxruntime": onnxruntime.__version__}
    write_json(OUT, about | {"towers": towers, "versions": versions, "machine": machine})
    for modality, ways in towers.items():
        print(modality, *ways, sep="\n")


if __name__ == "__main__":
    main()
