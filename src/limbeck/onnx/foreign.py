"""Graphs of other programs: what goes in, what comes out, and how they run. Nothing here imports torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.typed import Json

if TYPE_CHECKING:
    import onnxruntime

THREADS = "LIMBECK_ONNX_THREADS"
"""The variable that names the threads of one run of a graph; by default one per core."""
_OUTPUTS = ("image_embeds", "text_embeds", "image_embedding", "text_embedding", "embedding", "pooler_output")
_TYPES = {"tensor(int32)": "int32", "tensor(int64)": "int64", "tensor(float16)": "float16"}
_NOT_WEIGHTS = {".json", ".txt", ".model", ".md", ".onnx", ".rknn", ".armnn"}


@dataclass(frozen=True)
class Calls:
    """How a graph is called.

    Attributes:
        inputs: its names for its inputs: pixels, or ids and perhaps a mask, in this order.
        output: its name for the embedding.
        batch: the fixed number of items per pass, or None.
    """

    inputs: list[str]
    output: str
    batch: int | None

    def to_json(self) -> dict[str, Json]:
        """Return the keyword arguments."""
        return asdict(self)

    def run(self, session: onnxruntime.InferenceSession, values: Sequence[np.ndarray]) -> np.ndarray:
        """Map one array per input, with B rows each, to the embeddings (B, dim), float32."""
        kinds = {given.name: np.dtype(_TYPES.get(given.type, "float32")) for given in session.get_inputs()}
        feeds = {
            name: value.astype(kinds[name], copy=False)
            for name, value in zip(self.inputs, values, strict=False)
        }
        count = len(values[0])
        step = self.batch or max(1, count)
        parts = [
            session.run([self.output], {name: value[i : i + step] for name, value in feeds.items()})[0]
            for i in range(0, count, step)
        ]
        return np.concatenate(parts).astype(np.float32)


@dataclass(frozen=True)
class Graph:
    """A graph of another program that gives embeddings.

    Attributes:
        file: the graph.
        files: the files of weights that it names, in its folder.
        calls: how it is called.
        dim: the width of the embedding.
    """

    file: Path
    files: list[Path]
    calls: Calls
    dim: int

    @classmethod
    def read(cls, file: Path, where: str, *, image_size: int = 0, context: int = 0) -> Graph:
        """Read a graph of pictures of ``image_size`` pixels, or of texts of ``context`` tokens.

        Args:
            file: the graph.
            where: what messages call it.
            image_size: the side of the square that the preprocessing makes; 0 for texts.
            context: the number of tokens of a text.

        Raises:
            LimbeckError: a damaged graph, or one whose inputs or outputs are not known.
        """
        content = file.read_bytes()
        others = [other for other in sorted(file.parent.iterdir()) if other.suffix not in _NOT_WEIGHTS]
        files = [other for other in others if other.is_file() and other.name.encode() in content]
        session = open_session(content, {other.name: other.read_bytes() for other in files}, where)
        given = session.get_inputs()
        inputs, output = _inputs(where, given, image_size), _output(where, session.get_outputs())
        first = given[0].shape[0]
        calls = Calls(inputs, output.name, first if isinstance(first, int) else None)
        if isinstance(width := output.shape[1], int):
            return cls(file, files, calls, width)
        shape = (1, 3, image_size, image_size) if image_size else (1, context)
        ones = np.ones(shape, np.float32 if image_size else np.int64)
        return cls(file, files, calls, calls.run(session, [ones] * len(inputs)).shape[1])


def open_session(graph: bytes, files: Mapping[str, bytes], where: str) -> onnxruntime.InferenceSession:
    """Open a graph whose weights may lie in other files, given by name.

    Raises:
        LimbeckError: onnxruntime refuses the graph; the message starts with ``where``.
    """
    import onnxruntime

    options = session_options()
    if files:
        sizes = [len(content) for content in files.values()]
        options.add_external_initializers_from_files_in_memory(list(files), list(files.values()), sizes)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no common base
        raise LimbeckError(
            f"{where}: onnxruntime cannot read it ({' '.join(str(error).split())[:160]}); "
            "copy the model again, or export it again",
            code="E-MODEL-DAMAGED",
        ) from None


def session_options() -> onnxruntime.SessionOptions:
    """Return the options of every session: threads that do not wait actively, and no messages."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    # Waiting threads would burn as much processor time as a text takes.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.intra_op_num_threads = int(os.environ.get(THREADS, 0))
    return options


class _Port(Protocol):
    """Holds an input or output of a session; ``shape`` names the axes of any length."""

    name: str
    type: str
    shape: list[int | str | None]


def _inputs(where: str, given: Sequence[_Port], image_size: int) -> list[str]:
    """Return the names of the inputs in the order pixels, or ids and mask; other inputs are refused."""
    pixels = [one for one in given if len(one.shape) == 4 and "float" in one.type]
    tokens = [one for one in given if len(one.shape) == 2 and "int" in one.type]
    masks = [one for one in tokens if one.name == "attention_mask"]
    ids = [one for one in tokens if one.name != "attention_mask"]
    wanted = pixels if image_size else [*ids, *masks]
    if len(wanted) != len(given) or (pixels if image_size else ids)[1:] or not wanted:
        seen = ", ".join(f"{one.name} {one.type} {one.shape}" for one in given)
        reads = "float pixels (B, 3, S, S)" if image_size else "integer ids (B, L), perhaps attention_mask"
        raise _refused(where, f"its inputs are {seen}; limbeck gives {reads}")
    sides = {side for side in wanted[0].shape[2:] if isinstance(side, int)}
    if image_size and sides - {image_size}:
        raise _refused(where, f"reads squares of {sides.pop()}, the preprocessing makes {image_size}")
    return [one.name for one in wanted]


def _output(where: str, given: Sequence[_Port]) -> _Port:
    """Return the embedding: an output of a known name, else the only one of two axes."""
    flat = [one for one in given if len(one.shape) == 2]
    known = [one for wanted in _OUTPUTS for one in flat if one.name == wanted]
    if not known and len(flat) != 1:
        seen = ", ".join(f"{one.name} {one.shape}" for one in given)
        raise _refused(where, f"its outputs are {seen}; none of them is known as the embedding")
    return (known or flat)[0]


def _refused(where: str, why: str) -> LimbeckError:
    return LimbeckError(f"{where}: {why}", code="E-MODEL-UNSUPPORTED")
