"""Reads the ONNX graph of a text tower as a program for ``static/graph.js``.

Only the messages of ONNX that limbeck's exporter writes are read, so that the base install can make a site.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from limbeck.errors import LimbeckError

# The operators of static/graph.js; a test compares both lists.
_OPERATORS = (
    "Abs Acosh Add And ArgMax Asinh Atanh Cast Ceil Clip Concat ConstantOfShape Cos Cosh Div Equal Erf "
    "Exp Expand Flatten Floor Gather GatherElements Gemm Greater GreaterOrEqual Identity IsNaN "
    "LayerNormalization Less LessOrEqual Log MatMul Mod Mul Neg Not Or Pow Range Reciprocal ReduceL2 "
    "ReduceMax ReduceMean ReduceSum Relu Reshape Shape Sigmoid Sin Sinh Slice Softmax Sqrt Squeeze Sub "
    "Tanh Transpose Unsqueeze Where"
)
OPERATORS = frozenset(_OPERATORS.split())
# ONNX's numbers of types, and the types that a typed array of JavaScript holds.
_FLOAT, _INT64, _DOUBLE = 1, 7, 11
_TYPES: dict[int, str] = {_FLOAT: "<f4", 2: "u1", 3: "i1", 6: "<i4", _INT64: "<i8", 9: "u1", _DOUBLE: "<f8"}
_STORED = {_FLOAT: "<f4", 2: "u1", 3: "i1", 6: "<i4", _INT64: "<i4", 9: "u1", _DOUBLE: "<f4"}
_INT32 = np.iinfo(np.int32)

Field: TypeAlias = tuple[int, int | bytes]
Attribute: TypeAlias = "int | float | list[int] | Tensor"


@dataclass(frozen=True)
class Tensor:
    """A constant: its ONNX type and its values."""

    kind: int
    values: np.ndarray


@dataclass(frozen=True)
class Node:
    """One operation: inputs by name ("" for one that is left out), one output, and attributes."""

    operator: str
    inputs: list[str]
    output: str
    attributes: dict[str, Attribute]


@dataclass
class Program:
    """A graph with its constants, ready to be packed.

    Attributes:
        inputs: the names of the graph's inputs.
        outputs: the names of the graph's outputs.
        nodes: the operations in their order.
        constants: the weights and other constants by name.
    """

    inputs: list[str]
    outputs: list[str]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)

    @property
    def unknown(self) -> list[str]:
        """The operators that the browser lacks."""
        return sorted({node.operator for node in self.nodes} - OPERATORS)

    def packed(self) -> tuple[dict[str, object], bytes]:
        """Return the JSON that `Graph` of static/graph.js reads, and the bytes of its constants."""
        used = {name for node in self.nodes for name in node.inputs} | set(self.outputs)
        numbers: dict[str, int] = {}
        blob, tensors = bytearray(), []
        for name, tensor in self.constants.items():
            if name in used:
                numbers[name] = len(numbers)
                tensors.append(_stored(tensor, blob))
        for name in (*self.inputs, *(node.output for node in self.nodes)):
            numbers.setdefault(name, len(numbers))
        nodes = []
        for node in self.nodes:
            told = {
                key: _stored(value, blob) if isinstance(value, Tensor) else value
                for key, value in node.attributes.items()
            }
            inputs = [numbers[name] if name else -1 for name in node.inputs]
            nodes.append([node.operator, inputs, numbers[node.output], told])
        program: dict[str, object] = {
            "inputs": {name: numbers[name] for name in self.inputs},
            "outputs": [numbers[name] for name in self.outputs],
            "nodes": nodes,
            "tensors": tensors,
        }
        return program, bytes(blob)


def read_graph(file: Path) -> Program:
    """Read an ONNX file.

    Raises:
        LimbeckError: the file is missing or damaged, or holds tensors of an unknown type.
    """
    try:
        graph = dict(_fields(file.read_bytes()))[7]
        assert isinstance(graph, bytes)
        return _graph(graph)
    except (OSError, KeyError, IndexError, ValueError, struct.error, AssertionError) as error:
        raise LimbeckError(
            f"{file}: cannot be read ({error!r}); build the index again", code="E-MODEL-DAMAGED"
        ) from None


def _graph(data: bytes) -> Program:
    program = Program([], [])
    inputs: list[str] = []
    for number, value in _fields(data):
        if number == 1:
            node = _node(_message(value))
            if node.operator == "Constant":
                constant = node.attributes["value"]
                assert isinstance(constant, Tensor)
                program.constants[node.output] = constant
            else:
                program.nodes.append(node)
        elif number == 5:
            name, tensor = _tensor(_message(value))
            program.constants[name] = tensor
        elif number in (11, 12):
            named = dict(_fields(_message(value)))[1]
            (inputs if number == 11 else program.outputs).append(_text(named))
    program.inputs = [name for name in inputs if name not in program.constants]
    return program


def _node(data: bytes) -> Node:
    inputs, outputs, operator, attributes = [], [], "", {}
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 5:
            name, attribute = _attribute(_message(value))
            if attribute is not None:
                attributes[name] = attribute
    return Node(operator, inputs, outputs[0], attributes)


def _attribute(data: bytes) -> tuple[str, Attribute | None]:
    name, found, whole = "", None, []
    for number, value in _fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            (found,) = struct.unpack("<f", _message(value))
        elif number == 3:
            found = _signed(value)
        elif number == 5:
            found = _tensor(_message(value))[1]
        elif number == 8:
            whole += _numbers(value)
    return name, whole or found


def _tensor(data: bytes) -> tuple[str, Tensor]:
    name, shape, kind, raw, listed = "", [], _FLOAT, None, b""
    for number, value in _fields(data):
        if number == 1:
            shape += _numbers(value)
        elif number == 2:
            kind = _signed(value)
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _message(value)
        elif number in (4, 5, 7):
            listed += _message(value) if number == 4 else np.array(_numbers(value), _TYPES[kind]).tobytes()
    values = np.frombuffer(listed if raw is None else raw, _TYPES[kind])
    return name, Tensor(kind, values.reshape(shape))


def _stored(tensor: Tensor, blob: bytearray) -> list[object]:
    """Append a constant to the blob; return its type, its shape and the place of its first byte."""
    values = tensor.values
    if tensor.kind == _INT64:
        values = values.clip(_INT32.min, _INT32.max)  # the "to the end" of a slice
    blob.extend(bytes(-len(blob) % 4))
    place = len(blob)
    blob.extend(np.ascontiguousarray(values, _STORED[tensor.kind]).tobytes())
    return [tensor.kind, list(values.shape), place]


def _fields(data: bytes) -> Iterator[Field]:
    """Yield number and value of each field of a protocol-buffer message."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        length, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + length > len(data):
            raise ValueError("truncated")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _numbers(value: int | bytes) -> list[int]:
    """Return a repeated whole number, packed or not."""
    if isinstance(value, int):
        return [_signed(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_signed(number))
    return found


def _signed(value: int | bytes) -> int:
    assert isinstance(value, int)
    return value - (1 << 64) if value >> 63 else value


def _message(value: int | bytes) -> bytes:
    assert isinstance(value, bytes)
    return value


def _text(value: int | bytes) -> str:
    return _message(value).decode()
