"""How the networks of text towers turn token ids into one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import nn

from limbeck.encoders.hub import attention
from limbeck.preprocess.text import STEP
from limbeck.typed import Json

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, SiglipTextModel

    ClipModel = CLIPTextModel | CLIPTextModelWithProjection

Model = TypeVar("Model", bound=nn.Module)


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


class ClipText(TextNetwork["ClipModel"]):
    """CLIP's causal transformer, feature at the end token; ``projection_bias`` adds one to the projection."""

    def build(self, stored: dict[str, Json], projection: bool) -> ClipModel:
        """Build a `CLIPTextModel`, with its projection if wanted."""
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        config = CLIPTextConfig.from_dict(stored)
        model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
        if projection and stored.get("projection_bias"):
            model.text_projection = nn.Linear(config.hidden_size, int(config.projection_dim or 0))
        model.set_attn_implementation(attention())
        return model

    def dim(self, model: ClipModel, projection: bool) -> int:
        """Return the projection's width, or the transformer's."""
        return int((model.config.projection_dim if projection else model.config.hidden_size) or 0)

    def forward(self, model: ClipModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the end token's state after the last norm, or its projection."""

        def run(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            output = model(input_ids=ids, attention_mask=mask)
            return output.text_embeds if hasattr(model, "text_projection") else output.pooler_output

        return by_width(ids, mask, run)


class SiglipText(TextNetwork["SiglipTextModel"]):
    """SigLIP's transformer: every token sees every other, padding too; feature at the last place."""

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
