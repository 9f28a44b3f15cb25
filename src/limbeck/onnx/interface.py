"""Other names and types for the inputs and the output of a graph. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Ids:
    """One input of int32 token ids, always of the full length, in the place of ids and mask.

    Attributes:
        name: the name of the input.
        length: the number of tokens.
        pad: the id of the padding token.
        end: whether the padding token also ends a text, so that the first one of a row is no padding.
    """

    name: str
    length: int
    pad: int
    end: bool


def rewire(
    source: Path, target: Path, inputs: Mapping[str, str], output: str, ids: Ids | None = None
) -> None:
    """Write a graph of limbeck with other inputs and one output.

    Args:
        source: a graph whose first output is ``vector``.
        target: the new file.
        inputs: the new names of inputs; others keep theirs.
        output: the new name of ``vector``; other outputs, and what only they need, are left out.
        ids: replaces ``input_ids`` and ``attention_mask``.
    """
    import onnx
    from onnx import helper
    from onnx.utils import Extractor

    model = onnx.load(str(source))
    names = [one.name for one in model.graph.input]
    if len(model.graph.output) > 1:
        model = Extractor(model).extract_model(names, ["vector"])
    graph = model.graph
    before = []
    for one in graph.input:
        if (new := inputs.get(one.name)) is not None:
            before.append(helper.make_node("Identity", [new], [one.name]))
            one.name = new
    if ids is not None:
        before += _padded(graph, ids, masked="attention_mask" in names)
    for node in reversed(before):
        graph.node.insert(0, node)
    graph.node.append(helper.make_node("Identity", ["vector"], [output]))
    graph.output[0].name = output
    onnx.save(model, str(target))


def _padded(graph: onnx.GraphProto, ids: Ids, *, masked: bool) -> list[onnx.NodeProto]:
    """Replace the inputs of a text graph by one; return the nodes that compute the former inputs."""
    from onnx import TensorProto, helper, numpy_helper

    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(ids.name, TensorProto.INT32, ["batch", ids.length]))
    nodes = [helper.make_node("Cast", [ids.name], ["input_ids"], to=TensorProto.INT64)]
    if not masked:
        return nodes
    for name, value in (("limbeck_pad", ids.pad), ("limbeck_axis", 1), ("limbeck_none", 0)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    nodes.append(helper.make_node("Equal", ["input_ids", "limbeck_pad"], ["limbeck_is_pad"]))
    if ids.end:  # a token counts until the first padding token before it
        nodes += [
            helper.make_node("Cast", ["limbeck_is_pad"], ["limbeck_pads"], to=TensorProto.INT64),
            helper.make_node("CumSum", ["limbeck_pads", "limbeck_axis"], ["limbeck_before"], exclusive=1),
            helper.make_node("Equal", ["limbeck_before", "limbeck_none"], ["limbeck_is_text"]),
        ]
    else:
        nodes.append(helper.make_node("Not", ["limbeck_is_pad"], ["limbeck_is_text"]))
    return [
        *nodes,
        helper.make_node("Cast", ["limbeck_is_text"], ["attention_mask"], to=TensorProto.INT64),
    ]
