"""Encode texts, pictures and feature rows by ONNX Runtime. Nothing here imports torch."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from limbeck.codes import sign_codes
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from limbeck.onnx.foreign import Calls, session_options
from limbeck.onnx.precision import GRAPHS, Precision
from limbeck.preprocess import Arrays, Preprocessor, preprocessor_from_json
from limbeck.preprocess.base import Item
from limbeck.spaces import Kept, Space, space_from_json
from limbeck.typed import Json

if TYPE_CHECKING:
    import onnxruntime

Output = Literal["points", "embeddings", "floats"]

FOLDER = "onnx"
"""The folder of these files in a model directory."""
SETTINGS = "encoder.json"
FORMAT = 1


@dataclass
class OnnxTower:
    """One tower with its head: ``model.onnx`` in a folder of its own, and its preprocessor.

    Attributes:
        folder: holds the graph and the preprocessor's files.
        reads: ``text``, ``pixels`` or ``features:NAME``.
        settings: the preprocessor's settings.
        precision: chooses the graph.
        calls: how a graph of another program is called, whose output is any multiple of the embedding; None
            for limbeck's own.
    """

    folder: Path
    reads: str
    settings: dict[str, Json]
    precision: Precision = "fp32"
    calls: Calls | None = None

    @property
    def graph(self) -> Path:
        """The file of the graph."""
        return self.folder / GRAPHS[self.precision]

    @cached_property
    def preprocess(self) -> Preprocessor:
        """The preprocessor, read at first use."""
        return preprocessor_from_json(self.settings, self.folder)

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        """The graph, read at first use.

        Raises:
            LimbeckError: the graph is missing or damaged.
        """
        if not self.graph.is_file():
            raise LimbeckError(
                f"{self.graph}: there is no such file, so the model is incomplete; copy or export it again",
                code="E-MODEL-DAMAGED",
            )
        import onnxruntime

        try:
            return onnxruntime.InferenceSession(
                str(self.graph), session_options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the C++ side raises its own classes
            reason = (str(error).strip().splitlines() or ["no reason given"])[0][:120]
            raise LimbeckError(
                f"{self.graph}: cannot be read ({reason}); restore it", code="E-MODEL-DAMAGED"
            ) from None

    def run(self, arrays: Arrays) -> list[np.ndarray]:
        """Return the graph's outputs for preprocessed items: ``vector``, and ``floats`` where it has them."""
        if self.calls is not None:
            vectors = self.calls.run(self.session, list(arrays.values()))
            return [vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)]
        names = [one.name for one in self.session.get_inputs()]
        outputs: list[np.ndarray] = self.session.run(None, {name: arrays[name] for name in names})
        return outputs


@dataclass
class OnnxEncoder:
    """The towers of a dual encoder as graphs (an `Encoder`).

    Attributes:
        folder: the model directory.
        space: the space of the points.
        space_id: as `DualEncoder.space_id`.
        kept: the kind of floats that `encode` returns.
        towers: "text" and "image", as far as they were exported.
        asymmetric: as `DualEncoder.asymmetric`.
        whole: whether `bundle` also copies the weights of torch, where the directory holds them.
    """

    folder: Path
    space: Space
    space_id: str
    kept: Kept
    towers: dict[str, OnnxTower]
    asymmetric: bool = False
    whole: bool = True

    @classmethod
    def open(cls, folder: Path, precision: Precision = "fp32") -> OnnxEncoder | None:
        """Open the graphs of a model directory, or return None where it has none.

        Raises:
            LimbeckError: its settings are damaged, or of a newer version.
        """
        file = folder / FOLDER / SETTINGS
        if not file.is_file():
            return None
        stored = read_json(file)
        try:
            if stored["format"] > FORMAT:
                raise LimbeckError(
                    f"{file}: format {stored['format']} is newer; upgrade limbeck", code="E-FILE-VERSION"
                )
            towers = {
                modality: OnnxTower(
                    folder / FOLDER / modality,
                    one["reads"],
                    one["preprocess"],
                    precision,
                    Calls(**one["calls"]) if "calls" in one else None,
                )
                for modality, one in stored["towers"].items()
            }
            space, kept = space_from_json(stored["space"]), Kept.from_json(stored["kept"])
            asymmetric = bool(stored.get("asymmetric", False))  # graphs from before this setting
            return cls(folder, space, str(stored["space_id"]), kept, towers, asymmetric)
        except (KeyError, TypeError, AttributeError) as error:
            raise LimbeckError(
                f"{file}: is damaged ({error!r}); build the index again", code="E-MODEL-DAMAGED"
            ) from None

    @property
    def inputs(self) -> dict[str, str]:
        """What each exported tower reads: ``text``, ``pixels`` or ``features:NAME``."""
        return {modality: tower.reads for modality, tower in self.towers.items()}

    def load(self, modality: str) -> None:
        """Read the graph and the preprocessor of a tower, which `encode` does at its first use."""
        tower = self.towers[modality]
        tower.session, tower.preprocess  # noqa: B018

    def check_query(self, text: str) -> None:
        """Raise `LimbeckError` when no word of a text query is known."""
        self.towers["text"].preprocess.check_query(text)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts to points (N, width)."""
        return self.encode("text", texts, "points")[0]

    def encode_image(self, images: Sequence[Item] | np.ndarray) -> np.ndarray:
        """Encode pictures or feature rows to points (N, width)."""
        return self.encode("image", images, "points")[0]

    def encode(
        self, modality: str, items: Sequence[Item] | np.ndarray, *outputs: Output, batch_size: int = 256
    ) -> list[np.ndarray]:
        """Encode at least one picture, feature row or text; return one array (N, width) per output.

        Args:
            modality: ``image`` or ``text``.
            items: pictures or their paths, feature rows (N, D), or texts.
            outputs: ``points`` (stored form), ``embeddings`` (before storage), ``floats`` (of the kind
                `kept`).
            batch_size: the number of items per run of the graph.
        """
        parts = []
        for start in range(0, len(items), batch_size):
            block = [_opened(item) for item in items[start : start + batch_size]]
            parts.append(self.compute(modality, self.collate(modality, block), *outputs))
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def collate(self, modality: str, items: Sequence[Item]) -> Arrays:
        """Turn opened pictures, feature rows or texts into the arrays (B, …) of `compute`."""
        return self.towers[modality].preprocess(items)

    def compute(self, modality: str, arrays: Arrays, *outputs: Output) -> list[np.ndarray]:
        """Compute one array (B, width) per output from the arrays of `collate`."""
        vectors = self.towers[modality].run(arrays)
        found: dict[Output, np.ndarray] = {"embeddings": vectors[0], "floats": vectors[-1]}
        if "points" in outputs:
            found["points"] = sign_codes(vectors[0]) if self.space.storage == "codes" else vectors[0]
        return [found[name] for name in outputs]

    def write_settings(self, folder: Path) -> None:
        """Write ``encoder.json`` into the folder of the towers."""
        towers = {
            modality: {"reads": tower.reads, "preprocess": tower.settings}
            | ({} if tower.calls is None else {"calls": tower.calls.to_json()})
            for modality, tower in self.towers.items()
        }
        write_json(
            folder / SETTINGS,
            {
                "format": FORMAT,
                "space": self.space.to_json(),
                "space_id": self.space_id,
                "kept": self.kept.to_json(),
                "asymmetric": self.asymmetric,
                "towers": towers,
            },
        )

    def bundle(self, folder: Path) -> None:
        """Copy the graphs into an empty directory, and the model where it holds all its weights.

        Raises:
            LimbeckError: a file of the model is missing.
        """
        names, model = [FOLDER], self.folder / "model.json"
        if self.whole and model.is_file() and not read_json(model).get("references"):
            names += ["model.json", "model.safetensors", "image", "text"]
        others = shutil.ignore_patterns(GRAPHS["fp16"], GRAPHS["int8"])
        for name in names:
            source = self.folder / name
            if not source.exists():
                raise LimbeckError(f"{source}: is missing; restore the model", code="E-MODEL-DAMAGED")
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=others)
            else:
                shutil.copyfile(source, folder / name)


def _opened(item: Item) -> Item:
    if not isinstance(item, Path):
        return item
    from limbeck.pictures import open_picture  # with Pillow, which a text does not need

    return open_picture(item)
