"""Graphs in eight bits: every weight lies near its original, and what is small or last keeps eleven bits."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from limbeck.onnx.eight_bits import BLOCK, write_eight_bits

SHAPES = {
    "table": (512, 64),
    "small_table": (20, 64),
    "filters": (64, 1, 16, 32),
    "small_filters": (64, 1, 4, 4),
    "product": (64, 512),
    "odd": (81, 512),
    "turned": (128, 512),
    "tied": (512, 96),
    "last": (96, 128),
    "few": (8, 8),
    "line": (4096,),
}


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    made["product"][:BLOCK, 0] = 0  # a block of zeros
    made["product"][:BLOCK, 1] *= 1e-9  # and one below half floats
    made["product"][:BLOCK, 2] *= 1e3
    return made


@pytest.fixture(scope="module")
def restored(
    weights: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, np.ndarray]:
    """The weights as the converted graph uses them, and the share of its size."""
    folder = tmp_path_factory.mktemp("graph")
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["a"]),
        helper.make_node("Gather", ["small_table", "ids"], ["b"]),
        helper.make_node("Conv", ["picture", "filters"], ["c"], group=1),
        helper.make_node("Conv", ["picture", "small_filters"], ["d"], group=1),
        helper.make_node("MatMul", ["a", "product"], ["e"]),
        helper.make_node("MatMul", ["x", "odd"], ["f"]),
        helper.make_node("Gemm", ["e", "turned"], ["g"], transB=1),
        helper.make_node("MatMul", ["e", "tied"], ["h"]),
        helper.make_node("MatMul", ["h", "last"], ["i"]),
        helper.make_node("MatMul", ["y", "few"], ["j"]),
        helper.make_node("Add", ["z", "line"], ["k"]),
    ]
    floats = {"picture": (1, 1, 16, 32), "x": (2, 81), "y": (2, 8), "z": (4096,)}
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, [2])]
    inputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in floats.items()]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "abcdefghijk"]
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in weights.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(folder / "model.onnx"))
    write_eight_bits(folder / "model.onnx", folder / "eight.onnx")
    eight = onnx.load(str(folder / "eight.onnx"))
    for name in weights:
        eight.graph.output.append(helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, None))
        eight.graph.node.append(helper.make_node("Identity", [name], [f"{name}.out"]))
    session = onnxruntime.InferenceSession(eight.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {name: np.zeros(shape, np.float32) for name, shape in floats.items()} | {"ids": np.array([0, 1])}
    found = session.run([f"{name}.out" for name in weights], feeds)
    sizes = [(folder / name).stat().st_size for name in ("eight.onnx", "model.onnx")]
    return dict(zip(weights, found, strict=True)) | {"share": np.array(sizes[0] / sizes[1])}


def rows(name: str, array: np.ndarray) -> np.ndarray:
    """The rows that a product sums along."""
    return array.T if name in ("product", "odd", "tied") else array.reshape(len(array), -1)


@pytest.mark.parametrize("name", ["table", "product", "odd", "turned", "filters"])
def test_a_weight_is_within_half_a_step(
    name: str, weights: dict[str, np.ndarray], restored: dict[str, np.ndarray]
) -> None:
    wanted, found = rows(name, weights[name]), rows(name, restored[name])
    assert wanted.shape == found.shape and not np.array_equal(wanted, found)
    size = wanted.shape[1] if name == "odd" else BLOCK
    largest = np.abs(wanted.reshape(len(wanted), -1, size)).max(-1).repeat(size, axis=1)
    # a scale in half floats is off by 1/2048, and so may be the largest number of a block
    assert (np.abs(wanted - found) <= largest * (0.5 / 127 + 1 / 2000) + 1e-6).all()


@pytest.mark.parametrize("name", ["small_table", "small_filters", "last"])
def test_what_is_small_or_last_is_in_half_floats(
    name: str, weights: dict[str, np.ndarray], restored: dict[str, np.ndarray]
) -> None:
    np.testing.assert_array_equal(restored[name], weights[name].astype(np.float16).astype(np.float32))


def test_the_rest_is_as_it_was(weights: dict[str, np.ndarray], restored: dict[str, np.ndarray]) -> None:
    for name in ("few", "line"):
        np.testing.assert_array_equal(restored[name], weights[name])
    assert 0.25 < restored["share"] < 0.4
