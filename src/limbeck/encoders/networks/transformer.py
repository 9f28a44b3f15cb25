"""How the networks of pictures and texts turn pixels or token ids into one vector, and into one per patch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import nn

from limbeck.encoders.attention import class_attention
from limbeck.encoders.hub import attention
from limbeck.preprocess.text import STEP
from limbeck.typed import Json

if TYPE_CHECKING:
    from transformers import (
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPVisionModel,
        CLIPVisionModelWithProjection,
        SiglipTextModel,
        SiglipVisionModel,
    )

    ClipTexts = CLIPTextModel | CLIPTextModelWithProjection
    ClipPictures = CLIPVisionModel | CLIPVisionModelWithProjection

Inputs = dict[str, torch.Tensor]
Model = TypeVar("Model", bound=nn.Module)


class VisionNetwork(ABC, Generic[Model]):
    """The operations of one kind of image network; the modules themselves are those of `transformers`.

    Inputs hold ``pixels`` (B, 3, S, S), and perhaps ``keep`` (B, K), the patches that run.
    """

    @abstractmethod
    def build(self, stored: dict[str, Json], projection: bool) -> Model:
        """Build the network of a saved configuration without its weights."""

    @abstractmethod
    def dim(self, model: Model, projection: bool) -> int:
        """Return the width of the output."""

    @abstractmethod
    def forward(self, model: Model, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim) features."""

    @abstractmethod
    def tokens(self, model: Model, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + K, dim): the whole picture and every patch."""

    @abstractmethod
    def attended(self, model: Model, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `tokens` and the attention of the whole picture to each patch, (B, K)."""


def tiles_of(pixels: torch.Tensor, side: int) -> torch.Tensor:
    """Cut (B, 3, S, S) pixels into (B, patches, 3·side²) tiles; drop what the grid does not cover."""
    grid = pixels.shape[-1] // side
    whole = pixels[..., : grid * side, : grid * side]
    tiles = whole.reshape(len(pixels), -1, grid, side, grid, side)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(len(pixels), grid * grid, -1)


def _patches(convolution: nn.Conv2d, inputs: Inputs) -> torch.Tensor:
    """Apply the patch convolution to the kept patches only, as a matrix product: half of them, half the
    time."""
    keep, weight = inputs["keep"], convolution.weight
    tiles = tiles_of(inputs["pixels"], convolution.kernel_size[0])
    kept = tiles[torch.arange(len(keep), device=keep.device)[:, None], keep].to(weight.dtype)
    return nn.functional.linear(kept, weight.flatten(1), convolution.bias)


class ClipVision(VisionNetwork["ClipPictures"]):
    """CLIP's vision transformer, and timm's plain ViTs, which differ from it by entries of the configuration.

    ``pre_norm: false`` leaves out the norm before the layers, ``pool: mean`` pools the patches before the
    last norm instead of normalising the class token, and ``projection_bias`` adds a bias that CLIP lacks.
    """

    def build(self, stored: dict[str, Json], projection: bool) -> ClipPictures:
        """Build a `CLIPVisionModel`, with its projection if wanted."""
        from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

        config = CLIPVisionConfig.from_dict(stored)
        model = (CLIPVisionModelWithProjection if projection else CLIPVisionModel)(config)
        if stored.get("pre_norm") is False:
            _inner(model).pre_layrnorm = nn.Identity()
        if projection and stored.get("projection_bias"):
            model.visual_projection = nn.Linear(config.hidden_size, config.projection_dim)
        model.set_attn_implementation(attention())
        return model

    def dim(self, model: ClipPictures, projection: bool) -> int:
        """Return the projection's width, or the transformer's."""
        return int(model.config.projection_dim if projection else model.config.hidden_size)

    def forward(self, model: ClipPictures, inputs: Inputs) -> torch.Tensor:
        """Return the class token (or the mean patch) after the last norm, or its projection."""
        hidden = self._hidden(model, inputs)
        mean = getattr(model.config, "pool", "class") == "mean"
        return self._finish(model, hidden[:, 1:].mean(1) if mean else hidden[:, 0])

    def tokens(self, model: ClipPictures, inputs: Inputs) -> torch.Tensor:
        """Return class token and patches, each after the last norm, or its projection.

        CLIP normalises (and projects) its class token only; treating every patch alike is ours.
        """
        hidden = self._hidden(model, inputs)
        if getattr(model.config, "pool", "class") == "mean":
            hidden = torch.cat([hidden[:, 1:].mean(1, keepdim=True), hidden[:, 1:]], dim=1)
        return self._finish(model, hidden)

    def attended(self, model: ClipPictures, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `tokens` and the class token's attention, averaged over layers and heads (A-CLIP)."""
        with class_attention(_inner(model).encoder.layers) as layers:
            tokens = self.tokens(model, inputs)
        return tokens, torch.stack(layers).mean(0)[:, 1:]

    def _hidden(self, model: ClipPictures, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + K, width), the output before the last norm."""
        vision = _inner(model)
        x = self._embed(model, inputs) if "keep" in inputs else vision.embeddings(inputs["pixels"])
        hidden: torch.Tensor = vision.encoder(inputs_embeds=vision.pre_layrnorm(x)).last_hidden_state
        return hidden

    def _embed(self, model: ClipPictures, inputs: Inputs) -> torch.Tensor:
        embeddings, keep = _inner(model).embeddings, inputs["keep"]
        patches = _patches(embeddings.patch_embedding, inputs) + embeddings.position_embedding(keep + 1)
        start = embeddings.class_embedding + embeddings.position_embedding.weight[0]
        return torch.cat([start.expand(len(keep), 1, -1), patches], dim=1)

    def _finish(self, model: ClipPictures, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = _inner(model).post_layernorm(hidden)
        projection = getattr(model, "visual_projection", None)
        return out if projection is None else projection(out)


def _inner(model: nn.Module) -> Any:
    # transformers 5.0 wraps the transformer in every class, later releases in the projected one only.
    return getattr(model, "vision_model", model)


class SiglipVision(VisionNetwork["SiglipVisionModel"]):
    """SigLIP's vision transformer, without a class token: a learned query pools the patches by attention."""

    def build(self, stored: dict[str, Json], projection: bool) -> SiglipVisionModel:
        """Build a `SiglipVisionModel`; the pooled vector is SigLIP's embedding."""
        from transformers import SiglipVisionConfig, SiglipVisionModel

        model = SiglipVisionModel(SiglipVisionConfig.from_dict(stored))
        model.set_attn_implementation(attention())
        return model

    def dim(self, model: SiglipVisionModel, projection: bool) -> int:
        """Return the transformer's width."""
        return int(model.config.hidden_size)

    def forward(self, model: SiglipVisionModel, inputs: Inputs) -> torch.Tensor:
        """Return the pooled vector."""
        pooled: torch.Tensor = _inner(model).head(self._patches(model, inputs))
        return pooled

    def tokens(self, model: SiglipVisionModel, inputs: Inputs) -> torch.Tensor:
        """Return the pooled vector, and the patches after the last norm."""
        patches = self._patches(model, inputs)
        return torch.cat([_inner(model).head(patches)[:, None], patches], dim=1)

    def attended(self, model: SiglipVisionModel, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `tokens` and the pooling query's attention, averaged over its heads."""
        patches, head = self._patches(model, inputs), _inner(model).head
        probe = head.probe.expand(len(patches), -1, -1)
        _, weights = head.attention(probe, patches, patches, need_weights=True)
        return torch.cat([head(patches)[:, None], patches], dim=1), weights[:, 0].float()

    def _patches(self, model: SiglipVisionModel, inputs: Inputs) -> torch.Tensor:
        vision = _inner(model)
        if "keep" in inputs:
            embeddings = vision.embeddings
            x = _patches(embeddings.patch_embedding, inputs) + embeddings.position_embedding(inputs["keep"])
        else:
            x = vision.embeddings(inputs["pixels"])
        patches: torch.Tensor = vision.post_layernorm(vision.encoder(inputs_embeds=x).last_hidden_state)
        return patches


class TextNetwork(ABC, Generic[Model]):
    """The operations of one kind of text network; the modules themselves are those of `transformers`."""

    @abstractmethod
    def build(self, stored: dict[str, Json], projection: bool) -> Model:
        """Build the network of a saved configuration without its weights."""

    @abstractmethod
    def dim(self, model: Model, projection: bool) -> int:
        """Return the width of the output."""

    @abstractmethod
    def forward(self, model: Model, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Map token ids and mask, (B, L) each, to (B, dim)."""


class ClipText(TextNetwork["ClipTexts"]):
    """CLIP's causal transformer; the end token gives the feature, and ``projection_bias`` adds a bias."""

    def build(self, stored: dict[str, Json], projection: bool) -> ClipTexts:
        """Build a `CLIPTextModel`, with its projection if wanted."""
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        config = CLIPTextConfig.from_dict(stored)
        model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
        if projection and stored.get("projection_bias"):
            model.text_projection = nn.Linear(config.hidden_size, int(config.projection_dim or 0))
        model.set_attn_implementation(attention())
        return model

    def dim(self, model: ClipTexts, projection: bool) -> int:
        """Return the projection's width, or the transformer's."""
        return int((model.config.projection_dim if projection else model.config.hidden_size) or 0)

    def forward(self, model: ClipTexts, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the end token's state after the last norm, or its projection."""

        def run(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            output = model(input_ids=ids, attention_mask=mask)
            return output.text_embeds if hasattr(model, "text_projection") else output.pooler_output

        return by_width(ids, mask, run)


class SiglipText(TextNetwork["SiglipTextModel"]):
    """SigLIP's transformer: every token, even padding, sees every other; the last place gives the feature."""

    def build(self, stored: dict[str, Json], projection: bool) -> SiglipTextModel:
        """Build a `SiglipTextModel`."""
        from transformers import SiglipTextConfig, SiglipTextModel

        model = SiglipTextModel(SiglipTextConfig.from_dict(stored))
        model.set_attn_implementation(attention())
        return model

    def dim(self, model: SiglipTextModel, projection: bool) -> int:
        """Return the width of its head."""
        return int(model.config.projection_size or 0)

    def forward(self, model: SiglipTextModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the head's output; the mask is not read, as in SigLIP's training."""
        pooled: torch.Tensor = model(input_ids=ids).pooler_output
        return pooled


def by_width(
    ids: torch.Tensor, mask: torch.Tensor, run: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Apply ``run`` to groups of texts of similar width, with little padding.

    Most captions are half as long as the longest of their batch (ours).

    Args:
        ids: token ids (B, L), padded at the end.
        mask: (B, L), 1 at tokens.
        run: maps ids and mask of some texts, (b, l), to (b, dim).

    Returns:
        (B, dim), in the order of the texts.
    """
    if torch.jit.is_tracing():  # an exported graph cannot depend on the lengths of its example
        return run(ids, mask)
    steps = -(-mask.sum(1) // STEP)
    kinds = [int(kind) for kind in steps.unique()]
    if len(kinds) < 2:
        return run(ids, mask)
    places = [(steps == kind).nonzero().squeeze(1) for kind in kinds]
    parts = [
        run(ids[own, : kind * STEP], mask[own, : kind * STEP])
        for kind, own in zip(kinds, places, strict=True)
    ]
    return torch.cat(parts)[torch.cat(places).argsort()]
