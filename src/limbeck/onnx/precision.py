"""Smaller graphs: half floats, or whole numbers of eight bits. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from limbeck.errors import LimbeckError
from limbeck.onnx.eight_bits import write_eight_bits

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# The names of transformers.js.
GRAPHS: dict[Precision, str] = {
    "fp32": "model.onnx",
    "fp16": "model_fp16.onnx",
    "int8": "model_quantized.onnx",
}


def convert(graph: Path, precision: Precision) -> Path:
    """Write a float32 graph in another precision beside it and return its path; float32 is left as it is.

    ``fp16`` halves all weights and computes in half floats; inputs and outputs stay float32. ``int8`` stores
    weights in eight bits and computes in float32 (`limbeck.onnx.eight_bits`).
    """
    out = graph.with_name(GRAPHS[precision])
    if precision == "fp16":
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = convert_float_to_float16(onnx.load(str(graph)), keep_io_types=True)
        onnx.save(model, str(out))
    elif precision == "int8":
        write_eight_bits(graph, out)
    return out


def check_precision(name: str) -> Precision:
    """Return a precision by its name.

    Raises:
        LimbeckError: an unknown name.
    """
    for known in PRECISIONS:
        if name == known:
            return known
    raise LimbeckError(f"--precision {name!r}: choose one of {', '.join(PRECISIONS)}", code="E-OPTION-CHOICE")
