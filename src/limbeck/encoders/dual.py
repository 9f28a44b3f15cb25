"""The dual encoder: image tower, text tower and a lift into one space. Every method produces one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
import torch
from torch import nn

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.cache import BackboneCache, key_of_items
from limbeck.encoders.encode import Key, blocks_of, collated, device_of, encode, output_blocks
from limbeck.encoders.hub import weights_digest
from limbeck.encoders.identity import identity
from limbeck.encoders.inputs import Bagged, Cached, TowerInputs
from limbeck.encoders.lifts import Lift, PrefixLift
from limbeck.encoders.onnx_export import export_onnx
from limbeck.encoders.origin import Floats
from limbeck.encoders.saved import read_model, write_model
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.preprocess import Arrays
from limbeck.preprocess.base import Item
from limbeck.spaces import Kept, Space

if TYPE_CHECKING:
    from limbeck.onnx import OnnxEncoder

Output = Literal["points", "embeddings", "features", "floats"]


class DualEncoder(nn.Module):
    """Two towers and a lift.

    Attributes:
        space: the space of its points (numpy half).
        image_input: ``pixels`` or ``features:NAME``.
        cache: when set, it keeps the outputs of frozen backbones.
        opened_from: the run, directory or hub id that `limbeck.load` opened; None for a model made here.
    """

    cache: BackboneCache | None = None
    opened_from: str | None = None

    def __init__(self, image: Tower, text: Tower, lift: Lift) -> None:
        super().__init__()
        self.towers = cast("Mapping[str, Tower]", nn.ModuleDict({"image": image, "text": text}))
        self.lift = lift

    @property
    def space(self) -> Space:
        """The numpy half of the space."""
        return self.lift.space

    @property
    def image_input(self) -> str:
        """The input of the image tower: ``pixels`` or ``features:NAME``."""
        return str(self.towers["image"].backbone.reads)

    @property
    def text_input(self) -> str:
        """The input of the text tower: ``text``, or ``labels``, which no text query can use."""
        return str(self.towers["text"].backbone.reads)

    @property
    def inputs(self) -> dict[str, str]:
        """The inputs of queries: those of both towers, without a text tower that reads labels."""
        return ({"text": "text"} if self.text_input == "text" else {}) | {"image": self.image_input}

    @property
    def asymmetric(self) -> bool:
        """Whether an index compares its queries' embeddings, not their codes, by default."""
        return self.lift.asymmetric

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return device_of(self)

    def embed(self, modality: str, inputs: TowerInputs) -> torch.Tensor:
        """Map collated inputs of ``image`` or ``text`` to float32 (B, d) embeddings, with gradient."""
        embeddings: torch.Tensor = self.lift(self.towers[modality](inputs), modality)
        return embeddings

    @property
    def kept(self) -> Kept:
        """The kind of the output ``floats``, by which an index of this model's codes ranks."""
        return Floats.of(self.towers, self.lift).kept

    def run(
        self, modality: str, batches: Iterable[tuple[Key, TowerInputs]], *outputs: Output
    ) -> Iterator[tuple[Key, list[np.ndarray]]]:
        """Run the ``image`` or ``text`` tower over batches (`limbeck.encoders.encode.encode`).

        The outputs are ``points`` (stored form), ``embeddings`` (before storage), ``features`` (before the
        lift) and ``floats`` (of the kind `kept`); each batch gives one array per output.
        """
        if unknown := [name for name in outputs if name not in get_args(Output)]:
            raise LimbeckError(
                f"output={unknown[0]!r}: choose points, embeddings, features or floats",
                code="E-OPTION-CHOICE",
            )
        return encode(self, partial(self._outputs, modality, outputs), batches)

    def _outputs(
        self, modality: str, wanted: Sequence[Output], inputs: TowerInputs
    ) -> list[torch.Tensor | np.ndarray]:
        tower = self.towers[modality]
        output = None if isinstance(inputs, Bagged) else tower.backbone_output(inputs)
        features = tower(inputs) if output is None else tower.trunk(output)
        found: dict[Output, torch.Tensor | np.ndarray] = {"features": features}
        if set(wanted) != {"features"}:
            found["embeddings"] = embeddings = self.lift(features, modality)
            if "points" in wanted:
                found["points"] = self.lift.to_storage(embeddings)
            if "floats" in wanted:
                source = Floats.of(self.towers, self.lift)
                output = tower.backbone_output(inputs) if output is None else output
                found["floats"] = source.select(tower, output, features, embeddings)
        return [found[name] for name in wanted]

    def collate(self, modality: str, items: Sequence[Item]) -> Arrays:
        """Turn opened pictures, feature rows or texts into arrays (B, …); threads may call it."""
        inputs = self.towers[modality].backbone.collate(items)
        return {name: tensor.numpy() for name, tensor in inputs.items()}

    def compute(self, modality: str, arrays: Arrays, *outputs: Output) -> list[np.ndarray]:
        """Compute one array (B, width) per output (see `run`) from the arrays of `collate`."""
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return next(self.run(modality, [(None, inputs)], *outputs))[1]

    def encode(
        self, modality: str, items: Sequence[Item] | np.ndarray, *outputs: Output, batch_size: int = 256
    ) -> list[np.ndarray]:
        """Encode pictures, feature rows or texts; return one array (N, width) per output (see `run`).

        Equal texts are encoded once.

        Raises:
            LimbeckError: as in `encode_image` and `encode_text`.
        """
        self._check_items(modality, items)
        if modality == "text":
            distinct = list(dict.fromkeys(items))
            position = {text: i for i, text in enumerate(distinct)}
            items, order = distinct, [position[text] for text in items]
        batches = self._batches(self.towers[modality].backbone, items, batch_size)
        parts = [rows for _, rows in self.run(modality, batches, *outputs)]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)] or [
            self._none(modality, output) for output in outputs
        ]
        return [column[order] for column in columns] if modality == "text" else columns

    def _none(self, modality: str, output: Output) -> np.ndarray:
        """Return an output of no items, (0, width)."""
        if output == "points":
            return np.zeros((0, self.space.width), self.space.dtype)
        tower, lift = self.towers[modality], self.lift
        width = {"embeddings": lift.dim, "features": tower.dim, "floats": self.kept.width}[output]
        return np.zeros((0, width), np.float32)

    def encode_image(
        self, images: Sequence[Item] | np.ndarray, *, output: Output = "points", batch_size: int = 256
    ) -> np.ndarray:
        """Encode pictures or feature rows to points (N, width), embeddings or features.

        Args:
            images: PIL pictures or paths for ``pixels``; float rows (N, D) for ``features:NAME``.
            output: see `run`.
            batch_size: the number of items per forward pass.

        Raises:
            LimbeckError: items do not fit `image_input`, rows have another width, or a picture is unreadable.
        """
        return self.encode("image", images, output, batch_size=batch_size)[0]

    def encode_text(
        self, texts: Sequence[str], *, output: Output = "points", batch_size: int = 256
    ) -> np.ndarray:
        """Encode texts to points (N, width), embeddings or features; equal texts are encoded once.

        Raises:
            LimbeckError: a string is given instead of a list, or the model's text tower reads labels.
        """
        return self.encode("text", texts, output, batch_size=batch_size)[0]

    def _check_items(self, modality: str, items: Sequence[Item] | np.ndarray) -> None:
        """Refuse what `encode_image` or `encode_text` cannot read."""
        if modality == "text":
            if isinstance(items, str):
                raise LimbeckError("encode_text: needs a list of texts, not one string", code="E-INPUT-TYPE")
            self._check_reads_text()
            return
        if not isinstance(items, Sequence | np.ndarray) or isinstance(items, str):
            raise LimbeckError(
                f"encode_image: needs a list of pictures, not one {type(items).__name__}",
                code="E-INPUT-TYPE",
            )
        pixels = self.image_input == "pixels"
        if pixels == isinstance(items, np.ndarray):
            wanted = "pictures" if pixels else "an array of feature rows (N, D)"
            raise LimbeckError(
                f"encode_image: this model reads {self.image_input}; pass {wanted}", code="E-MODEL-INPUT"
            )

    @torch.no_grad()
    def is_clipped(self, points: np.ndarray, modality: str) -> np.ndarray:
        """Return bool (N,): which stored points (N, width) of a modality are at a bound of their radius
        (`Lift.is_clipped`)."""
        return np.asarray(self.lift.is_clipped(torch.from_numpy(points).to(self.device), modality).cpu())

    def check_query(self, text: str) -> None:
        """Raise `LimbeckError` when no word of a text query is known."""
        self._check_reads_text()
        self.towers["text"].backbone.check_query(text)

    def _check_reads_text(self) -> None:
        if (reads := self.towers["text"].backbone.reads) != "text":
            raise LimbeckError(
                f"this model's text tower reads {reads}, not texts; train a student on its image side first "
                "(soda-student with init: {image: RUN}, freeze: [image])",
                code="E-MODEL-INPUT",
            )

    def _batches(
        self, backbone: Backbone, items: Sequence[Item] | np.ndarray, size: int
    ) -> Iterator[tuple[np.ndarray, TowerInputs]]:
        """Return collated batches of ``size`` items, or their backbone's outputs from the cache."""
        blocks = blocks_of(len(items), size)
        key = key_of_items(items) if self.cache is not None and backbone.worth_caching else None
        if self.cache is None or key is None:
            return collated(backbone, items, blocks)
        stored = self.cache.outputs(backbone, key, len(items), lambda: output_blocks(backbone, items))
        return ((block, Cached(torch.from_numpy(np.array(stored[block])))) for block in blocks)

    def prefix(self, bits: int) -> DualEncoder:
        """Return the model of the first ``bits`` bits of this model's codes, with shared towers and weights.

        Raises:
            LimbeckError: the model has no codes, or they have no prefix of ``bits`` bits.
        """
        cut = DualEncoder(self.towers["image"], self.towers["text"], PrefixLift(self.lift, bits))
        cut.cache = self.cache
        return cut.train(self.training)

    @property
    def space_id(self) -> str:
        """The fingerprint of image tower, image head, lift and space; equal ids mean comparable points."""
        digest = hashlib.sha256(
            sha256_json(
                [
                    self.space.to_json(),
                    identity(self.lift.describe()["config"]),
                    identity(self.towers["image"].describe()["config"]),
                ]
            ).encode()
        )
        digest.update(weights_digest(self.towers["image"]).encode())
        for name, tensor in sorted(self.lift.state_dict().items()):
            if "text" not in name and "logit_scale" not in name:
                digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def referenced(self) -> dict[str, Backbone]:
        """Return the backbones with unchanged pretrained weights, by the prefix of their weights."""
        found = {}
        for prefix, module in self.named_modules():
            if isinstance(module, Backbone) and module.pristine and module.frozen:
                found[f"{prefix}.model."] = module
        return found

    def save(self, folder: Path | str, *, bundle: bool = False, graphs: bool = False) -> None:
        """Write a model directory (`limbeck.encoders.saved.write_model`)."""
        write_model(self, folder, bundle=bundle, graphs=graphs)

    def bundle(self, folder: Path) -> None:
        """Write the model with all its weights and its ONNX graphs."""
        self.save(folder, bundle=True, graphs=True)

    def save_onnx(self, folder: Path) -> OnnxEncoder:
        """Write the towers as ONNX graphs into ``folder/onnx`` (see `limbeck.encoders.onnx_export`)."""
        return export_onnx(self, folder, self.space_id)

    def save_pretrained(self, folder: Path | str, *, license: str | None = None) -> None:
        """Write a new directory to publish (`limbeck.encoders.published.save_pretrained`)."""
        from limbeck.encoders.published import save_pretrained

        save_pretrained(self, folder, license=license)

    def push_to_hub(self, repo_id: str, *, private: bool = False, license: str | None = None) -> str:
        """Upload the directory of `save_pretrained` to the hub; return its address."""
        from limbeck.encoders.published import push_to_hub

        return push_to_hub(self, repo_id, private=private, license=license)

    @classmethod
    def from_pretrained(cls, path_or_hub_id: Path | str) -> DualEncoder:
        """Open a model as `limbeck.load` does."""
        from limbeck.encoders.load import load

        return load(path_or_hub_id)

    @classmethod
    def load(cls, folder: Path | str, *, bundled: bool = False) -> DualEncoder:
        """Read a model directory (`limbeck.encoders.saved.read_model`)."""
        return read_model(cls, Path(folder), bundled=bundled)
