"""Weights of a graph in eight bits; it still computes in float32. Nothing here imports torch.

A matrix is cut into blocks of 32 numbers along the sum of its product. Each block has whole numbers from
-127 to 127 and one scale. Nodes at the start of the graph restore the matrix when the graph is opened, so
that a run costs what it costs in float32, in every version of ONNX Runtime and in browsers. Dynamic
quantisation, whose products are of whole numbers, is faster but changes several times as many bits of codes.

The last matrices stay in half floats, because many bits of a code depend on them. So do small tables and
filters.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

BLOCK = 32
LAST, SMALL = 1 / 6, 1 / 32  # shares of all weights
_FEWEST = 1024  # numbers of a matrix that is worth changing


def write_eight_bits(graph: Path, out: Path) -> None:
    """Write a float32 graph with its matrices, tables and filters in eight bits or half floats."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(graph))
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    large = dict(_large(model.graph, weights))
    halves = _halves(large, {name: array.size for name, array in weights.items()})
    before: list[onnx.NodeProto] = []

    def constant(array: np.ndarray, name: str) -> str:
        kept.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def float32(array: np.ndarray, name: str, target: str) -> str:
        before.append(helper.make_node("Cast", [constant(array, name)], [target], to=onnx.TensorProto.FLOAT))
        return target

    kept = [one for one in model.graph.initializer if one.name not in large]
    for name, (operator, transposed) in large.items():
        array = weights[name]
        if name in halves:
            float32(array.astype(np.float16), f"{name}.half", name)
            continue
        by_columns = operator in ("MatMul", "Gemm") and not transposed
        rows = array.T if by_columns else array.reshape(len(array), -1)
        whole, scales = _blocks(rows)
        parts = [float32(whole, f"{name}.whole", f"{name}.float")]
        parts.append(float32(scales, f"{name}.scales", f"{name}.scale"))
        shape = constant(np.array(rows.shape if by_columns else array.shape), f"{name}.shape")
        restored = f"{name}.rows" if by_columns else name
        before.append(helper.make_node("Mul", parts, [f"{name}.blocks"]))
        before.append(helper.make_node("Reshape", [f"{name}.blocks", shape], [restored]))
        if by_columns:
            before.append(helper.make_node("Transpose", [restored], [name], perm=[1, 0]))
    nodes = [*before, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.save(model, str(out))


def _large(graph: onnx.GraphProto, weights: dict[str, np.ndarray]) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Yield the name of each matrix, table and filter, its operator, and whether that transposes it."""
    for node in graph.node:
        transposed = any(one.name == "transB" and one.i for one in node.attribute)
        for name in node.input:
            array = weights.get(name)
            if array is not None and array.dtype == np.float32 and array.ndim > 1 and array.size >= _FEWEST:
                yield name, (node.op_type, transposed)


def _halves(large: dict[str, tuple[str, bool]], sizes: dict[str, int]) -> set[str]:
    """Return the names of what is kept in half floats."""
    total, spent, found = sum(sizes.values()), 0, set()
    for name in reversed(large):
        spent += sizes[name]
        if spent > LAST * total:
            break
        found.add(name)
    for name, (operator, _) in large.items():
        if operator not in ("MatMul", "Gemm") and sizes[name] <= SMALL * total:
            found.add(name)
    return found


def _blocks(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return whole numbers int8 (N, blocks, BLOCK) and scales float16 (N, blocks, 1) of rows (N, D).

    Rows whose length is no multiple of `BLOCK` are one block each.
    """
    size = BLOCK if rows.shape[1] % BLOCK == 0 else rows.shape[1]
    blocks = rows.reshape(len(rows), -1, size)
    scales = (np.abs(blocks).max(-1, keepdims=True) / 127).astype(np.float16)
    scales[scales == 0] = 1  # also where a block is too small for half floats
    whole = np.clip(np.round(blocks / scales.astype(np.float32)), -127, 127).astype(np.int8)
    return whole, scales
