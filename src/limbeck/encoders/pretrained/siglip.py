"""SigLIP and SigLIP 2 of fixed resolution, as `transformers` saves them."""

from __future__ import annotations

import math
from pathlib import Path

from limbeck.encoders.hub import attention, pretrained, stored_tensor
from limbeck.encoders.pretrained.base import Format, ImagePart, Place, Reading, TextPart
from limbeck.encoders.pretrained.clip import model_type
from limbeck.encoders.tokenizer import load_tokenizer, padding_id
from limbeck.files import read_json
from limbeck.preprocess.resize import HALF, read_preprocessing

# SigLIP 2 was trained on lower-cased texts, which the tokenizer of its files (Gemma's) does not make.
_CASED = ("GemmaTokenizer", "GemmaTokenizerFast", "Siglip2Tokenizer", "Siglip2TokenizerFast")


class TransformersSiglip(Format):
    """`SiglipModel`; SigLIP 2 of fixed resolution is saved as the same class."""

    name = "SigLIP and SigLIP 2 of transformers"

    def detect(self, path: Path) -> bool:
        """Read the model type."""
        return model_type(path) in ("siglip", "siglip2")

    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the vision transformer with its pooling."""
        from transformers import SiglipVisionModel

        _check_fixed(place)
        model = pretrained(SiglipVisionModel, place.path, place.name)
        if not model.config.vision_use_head:
            raise place.refuse("has no pooling head (vision_use_head: false), so it has no embedding")
        model.set_attn_implementation(attention())
        side = int(model.config.image_size)
        return ImagePart(model, read_preprocessing(place.path, side, mean=HALF, std=HALF, short=False))

    def text(self, place: Place, projection: bool) -> TextPart:
        """Load tokenizer and text transformer."""
        from transformers import SiglipTextModel

        _check_fixed(place)
        tokenizer = load_tokenizer(place.name)
        model = pretrained(SiglipTextModel, place.path, place.name)
        model.set_attn_implementation(attention())
        told = place.path / "tokenizer_config.json"
        cased = told.is_file() and read_json(told).get("tokenizer_class") in _CASED
        reading = Reading(
            padding_id(place.path, tokenizer),
            int(model.config.max_position_embeddings),
            whole=True,
            lower=cased,
        )
        return TextPart(model, tokenizer, reading)

    def logit_scale(self, place: Place) -> float | None:
        """Read only the scale; the bias of the logits does not change the ranking and is left out."""
        stored = stored_tensor(place.path, "logit_scale")
        return None if stored is None else math.exp(float(stored))


def _check_fixed(place: Place) -> None:
    if model_type(place.path) == "siglip2":
        raise place.refuse(
            "is SigLIP 2 of variable resolution (NaFlex), which is not read; "
            "use the same size with a fixed resolution (google/siglip2-base-patch16-224)"
        )
