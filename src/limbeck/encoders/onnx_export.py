"""Write the towers of a dual encoder as ONNX graphs, and check them against torch."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from limbeck.encoders.origin import Floats
from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir
from limbeck.onnx.encoder import FOLDER, OnnxEncoder, OnnxTower
from limbeck.preprocess import Preprocessor
from limbeck.preprocess.features import FeaturePreprocessor

if TYPE_CHECKING:
    from torch.onnx._internal.torchscript_exporter.jit_utils import GraphContext

    from limbeck.encoders.dual import DualEncoder

OPSET = 18
# Of a different length each, so that a graph that was frozen to the example's shape cannot pass.
_TEXTS = (
    "a dog",
    "a black dog runs over a green lawn with a red ball in its mouth",
    "two children and their parents sit on a bench in the park and look at the ducks on the small pond, "
    "while a man in a blue coat throws bread to them and a woman takes pictures of all of it",
)
TOLERANCE = 1e-4
"""The largest difference between a graph and torch, relative to the largest number of an output (ours)."""


@dataclass(frozen=True)
class Exported:
    """One exported tower and the largest difference of its output from torch's, relative to its size."""

    tower: OnnxTower
    error: float


class _Graph(nn.Module):
    """A tower with its head, as a function of tensors in a fixed order."""

    def __init__(self, model: DualEncoder, modality: str, names: Sequence[str]) -> None:
        super().__init__()
        self.tower, self.lift = model.towers[modality], model.lift
        self.modality, self.names = modality, names
        self.floats = Floats.of(model.towers, model.lift)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.tower.backbone_output(dict(zip(self.names, tensors, strict=True)))
        features = self.tower.trunk(output)
        vector = self.lift(features, self.modality)
        if self.floats.source == "embeddings":
            return (vector,)
        return vector, self.floats.select(self.tower, output, features, vector)


def export_onnx(model: DualEncoder, folder: Path, space_id: str) -> OnnxEncoder:
    """Write ``encoder.json`` and one folder per tower into ``folder/onnx``, completely or not at all.

    The folder of a tower holds ``model.onnx`` and the files of its preprocessor.

    A graph maps what the preprocessor returns to ``vector`` (B, dim), the float32 embeddings whose signs are
    the codes where the space has codes, and to ``floats`` (B, `DualEncoder.kept.width`) where these are other
    numbers. Batch and text length are free.

    Args:
        model: the model.
        folder: the model directory.
        space_id: the model's `DualEncoder.space_id`.

    Returns:
        The exported encoder. A tower without a preprocessor (user-defined, or of labels) is left out.

    Raises:
        LimbeckError: ONNX cannot express a tower, or its graph differs from torch.
    """
    towers: dict[str, OnnxTower] = {}
    with atomic_dir(folder / FOLDER) as aside, _on_cpu(model):
        for modality in model.inputs:
            preprocess = model.towers[modality].backbone.preprocessor
            if preprocess is not None:
                (aside / modality).mkdir()
                towers[modality] = export_tower(model, modality, preprocess, aside / modality).tower
        encoder = OnnxEncoder(folder, model.space, space_id, model.kept, towers, model.asymmetric)
        encoder.write_settings(aside)
    exported = OnnxEncoder.open(folder)
    assert exported is not None
    return exported


@contextlib.contextmanager
def _on_cpu(model: DualEncoder) -> Iterator[None]:
    device = model.device
    model.to("cpu")
    try:
        yield
    finally:
        model.to(device)


def export_tower(model: DualEncoder, modality: str, preprocess: Preprocessor, folder: Path) -> Exported:
    """Write one tower into ``folder`` and compare it with torch on examples of several shapes.

    Raises:
        LimbeckError: the graph differs from torch by more than `TOLERANCE`.
    """
    tower = OnnxTower(folder, _reads(model, modality), preprocess.save(folder))
    items = examples(model, modality)
    arrays = preprocess(items)
    was_training = model.training
    graph = _Graph(model, modality, list(arrays)).eval()
    try:
        with torch.no_grad():
            _write(graph, arrays, tower.graph)
            error = max(_error(graph, preprocess, tower, block) for block in (items, items[:1]))
    finally:
        model.train(was_training)
    if not error <= TOLERANCE:
        raise LimbeckError(
            f"export: the graph of the {modality} tower differs from torch by {error:.1g} of its largest "
            f"number; at most {TOLERANCE:g} is accepted; export this model with another version of torch",
            code="E-EXPORT-DIFFERS",
        )
    return Exported(tower, error)


def _reads(model: DualEncoder, modality: str) -> str:
    return model.text_input if modality == "text" else model.image_input


def examples(model: DualEncoder, modality: str) -> list[Any]:
    """Return three items of a modality, of different lengths and shapes."""
    if modality == "text":
        return list(_TEXTS)
    rng = np.random.default_rng(0)
    if model.image_input == "pixels":
        return [Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)) for _ in range(3)]
    preprocess = model.towers[modality].backbone.preprocessor
    assert isinstance(preprocess, FeaturePreprocessor)
    return list(rng.random((3, preprocess.width), np.float32))


def _write(graph: _Graph, arrays: dict[str, np.ndarray], file: Path) -> None:
    # The exporter on scripts, not the newer one on `torch.export`: it needs .1 s where that needs 4, and no
    # further package. What it could freeze silently, lengths and branches, is compared afterwards.
    for name, symbolic in _SYMBOLIC.items():
        torch.onnx.register_custom_op_symbolic(f"aten::{name}", symbolic, OPSET)
    outputs = ["vector"] if graph.floats.source == "embeddings" else ["vector", "floats"]
    axes = {name: {0: "batch"} for name in [*arrays, *outputs]}
    for name, array in arrays.items():
        if array.dtype == np.int64 and array.ndim == 2:  # token ids and their mask
            axes[name][1] = f"length_{name.rpartition('.')[0]}" if "." in name else "length"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                graph,
                tuple(torch.from_numpy(array) for array in arrays.values()),
                str(file),
                input_names=list(arrays),
                output_names=outputs,
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            # Its message is the whole graph; the reason is the last line.
            reason = str(error).strip().splitlines()[-1][:120]
            raise LimbeckError(
                f"export: ONNX cannot express the {graph.modality} tower ({reason}); use the model itself",
                code="E-EXPORT-UNSUPPORTED",
            ) from None


def _expm1(g: GraphContext, x: torch.Value) -> torch.Value:
    """Write expm1(x) = 2 t / (1 - t) with t = tanh(x / 2), which keeps the digits of a small x."""
    one, two = (g.op("Constant", value_t=torch.tensor(value)) for value in (1.0, 2.0))
    t = g.op("Tanh", g.op("Div", x, two))
    return g.op("Div", g.op("Mul", two, t), g.op("Sub", one, t))


# Operators that ONNX has, or can express, but the exporter does not know.
_SYMBOLIC: dict[str, Callable[..., object]] = {
    "expm1": _expm1,
    "asinh": lambda g, x: g.op("Asinh", x),
    "acosh": lambda g, x: g.op("Acosh", x),
    "atanh": lambda g, x: g.op("Atanh", x),
}


def _error(graph: _Graph, preprocess: Preprocessor, tower: OnnxTower, items: list[object]) -> float:
    """Return the largest difference from torch, relative to the largest number of each output."""
    arrays = preprocess(items)
    wanted = graph(*map(torch.from_numpy, arrays.values()))
    worst = 0.0
    for mine, theirs in zip(tower.run(arrays), wanted, strict=True):
        expected = theirs.numpy()
        worst = max(worst, float(np.abs(mine - expected).max() / max(float(np.abs(expected).max()), 1e-9)))
    return worst
