"""Networks that are ONNX graphs; a graph's bytes are a buffer, saved and hashed as weights are."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from limbeck.encoders.networks.transformer import Inputs, TextNetwork, VisionNetwork
from limbeck.errors import LimbeckError
from limbeck.onnx.foreign import Calls, open_session
from limbeck.typed import Json

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_LARGEST = 1 << 34  # bytes of a graph with its weights; a forged size must not exhaust the memory


@dataclass(frozen=True)
class OnnxConfig:
    """What is saved beside the bytes of a graph.

    Attributes:
        inputs: the graph's names for its inputs: pixels, or ids and perhaps mask, in this order.
        output: the name of the embedding.
        dim: the width of the embedding.
        batch: the fixed number of items per pass, or None.
        graph: the number of bytes of the graph.
        files: names and sizes of files of weights that the graph refers to, in the order of their bytes.
        image_size: the side of the square that an image network reads, in pixels.
        max_position_embeddings: the largest number of tokens that a text network reads.
        model_type: the key in `limbeck.encoders.networks`.
    """

    inputs: list[str]
    output: str
    dim: int
    batch: int | None
    graph: int
    files: dict[str, int] = field(default_factory=dict)
    image_size: int = 0
    max_position_embeddings: int = 0
    model_type: str = "onnx"

    def to_dict(self) -> dict[str, Json]:
        """Return the JSON of the assets."""
        return asdict(self)


class OnnxModel(nn.Module):
    """A graph that onnxruntime runs on the CPU; it has no gradients."""

    graph: torch.Tensor
    data: torch.Tensor

    def __init__(self, config: OnnxConfig) -> None:
        super().__init__()
        sizes = config.graph, sum(config.files.values())
        if max(sizes) > _LARGEST:
            raise LimbeckError(
                f"ONNX graph of {max(sizes):,} bytes exceeds the limit of {_LARGEST:,}; restore it",
                code="E-MODEL-DAMAGED",
            )
        self.config = config
        self.register_buffer("graph", torch.empty(sizes[0], dtype=torch.uint8))
        self.register_buffer("data", torch.empty(sizes[1], dtype=torch.uint8))
        self.session: InferenceSession | None = None

    def __getstate__(self) -> dict[str, object]:
        """Leave out the session, which cannot be copied."""
        return self.__dict__ | {"session": None}

    @property
    def calls(self) -> Calls:
        """The name of the network type."""
        return Calls(self.config.inputs, self.config.output, self.config.batch)

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        """Map one tensor per input, with B rows each, to (B, dim) float32."""
        if torch.jit.is_tracing():
            raise LimbeckError(
                "export: this tower is an ONNX graph already; use the files of its source",
                code="E-EXPORT-UNSUPPORTED",
            )
        if self.session is None:
            self.session = open_session(_bytes(self.graph), self._files(), "the graph of the model")
        found = self.calls.run(self.session, [value.detach().cpu().numpy() for value in values])
        return torch.from_numpy(found).to(values[0].device)

    def _files(self) -> dict[str, bytes]:
        whole, start, files = _bytes(self.data), 0, {}
        for name, size in self.config.files.items():
            files[name] = whole[start : start + size]
            start += size
        return files


class OnnxVision(VisionNetwork[OnnxModel]):
    """An image graph; it gives the whole picture only."""

    def build(self, stored: dict[str, Any], projection: bool) -> OnnxModel:
        """Make room for the graph."""
        return OnnxModel(OnnxConfig(**stored))

    def dim(self, model: OnnxModel, projection: bool) -> int:
        """Return the width of the embedding."""
        return model.config.dim

    def forward(self, model: OnnxModel, inputs: Inputs) -> torch.Tensor:
        """Run the graph on the pixels."""
        found: torch.Tensor = model(inputs["pixels"])
        return found

    def tokens(self, model: OnnxModel, inputs: Inputs) -> torch.Tensor:
        """Raise `LimbeckError`: the graph does not give them."""
        raise LimbeckError(
            "an ONNX tower has no patch features; use weights of transformers or open_clip",
            code="E-MODEL-LACKS",
        )

    def attended(self, model: OnnxModel, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Raise `LimbeckError`: the graph does not give it."""
        return self.tokens(model, inputs), inputs["pixels"]


class OnnxText(TextNetwork[OnnxModel]):
    """A text graph."""

    def build(self, stored: dict[str, Any], projection: bool) -> OnnxModel:
        """Make room for the graph."""
        return OnnxModel(OnnxConfig(**stored))

    def dim(self, model: OnnxModel, projection: bool) -> int:
        """Return the width of the embedding."""
        return model.config.dim

    def forward(self, model: OnnxModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run the graph on ids, and on the mask where it reads one."""
        found: torch.Tensor = model(ids, mask)
        return found


def _bytes(tensor: torch.Tensor) -> bytes:
    return tensor.cpu().numpy().tobytes()
