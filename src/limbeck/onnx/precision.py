"""Smaller graphs: half floats, or whole numbers of eight bits. Nothing here imports torch."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Literal, get_args

from limbeck.errors import LimbeckError

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
    the matrices in eight bits with one scale per column and computes their products in whole numbers; tables
    of tokens get one scale each.
    """
    out = graph.with_name(GRAPHS[precision])
    if precision == "fp16":
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = convert_float_to_float16(onnx.load(str(graph)), keep_io_types=True)
        onnx.save(model, str(out))
    elif precision == "int8":
        _quantize(graph, out)
    return out


def _quantize(graph: Path, out: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it recommends its own preparation, which is the next line
    try:
        with tempfile.TemporaryDirectory() as folder:
            prepared = Path(folder) / graph.name
            quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
            quantize_dynamic(
                str(prepared),
                str(out),
                per_channel=True,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            )
    finally:
        logger.setLevel(level)


def check_precision(name: str) -> Precision:
    """Return a precision by its name.

    Raises:
        LimbeckError: an unknown name.
    """
    for known in PRECISIONS:
        if name == known:
            return known
    raise LimbeckError(f"--precision {name!r}: choose one of {', '.join(PRECISIONS)}", code="E-OPTION-CHOICE")
