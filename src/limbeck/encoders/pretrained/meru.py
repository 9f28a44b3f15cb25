"""MERU and HyCoCLIP, and the CLIP baselines published with them: one ``.pth`` of their shared code."""

from __future__ import annotations

import math
import pickle
import zipfile
from pathlib import Path

import torch

from limbeck.encoders.lifts import Lift
from limbeck.encoders.networks import TEXT
from limbeck.encoders.pretrained.base import Format, ImagePart, Place, Reading, TextPart, filled
from limbeck.encoders.pretrained.hyperbolic import NO_TOKENIZER, heads_of, lorentz, squeezed
from limbeck.encoders.pretrained.keys import Weights, blocks, depth, named, part, plain_vit, within
from limbeck.encoders.tokenizer import special_ids, tokenizer_of

_NEEDED = ("visual_proj.weight", "textual_proj.weight", "textual.token_embed.weight", "logit_scale")


class Meru(Format):
    """A checkpoint file, or a folder with one; CLIP's tokenizer lies beside it."""

    name = "MERU and HyCoCLIP (.pth)"
    gives = "tangent vectors (without alpha and curvature, which init keeps)"

    def detect(self, path: Path) -> bool:
        """Return whether it is a ``.pth`` file, or a folder with one."""
        return path.suffix == ".pth" if path.is_file() else bool(list(path.glob("*.pth")))

    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the ViT of timm with its projection."""
        weights = _weights(place)
        vit = part(weights, "visual.")
        width = vit["cls_token"].shape[-1] if "cls_token" in vit else 0
        model = plain_vit(
            vit, place, projection=part(weights, "visual_proj."), heads=heads_of(width), eps=1e-5
        )
        return ImagePart(model, squeezed(int(model.config.image_size)))

    def text(self, place: Place, projection: bool) -> TextPart:
        """Load the causal transformer with its projection, and CLIP's tokenizer."""
        weights = _weights(place)
        folder = place.path if place.path.is_dir() else place.path.parent
        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise place.refuse(NO_TOKENIZER, "E-MODEL-DAMAGED")
        tokenizer = tokenizer_of(folder, place.name)
        pad, end = special_ids(tokenizer)
        vocabulary, width = weights["textual.token_embed.weight"].shape
        model = TEXT["clip_text_model"].build(
            {
                "vocab_size": vocabulary,
                "hidden_size": width,
                "intermediate_size": 4 * width,
                "num_hidden_layers": depth(weights, "textual.resblocks."),
                "num_attention_heads": max(1, width // 64),
                "max_position_embeddings": len(weights["textual.posit_embed"]),
                "projection_dim": len(weights["textual_proj.weight"]),
                "hidden_act": "gelu",
                "eos_token_id": end,
                "bos_token_id": None,
                "pad_token_id": None,
            },
            projection=True,
        )
        own = {
            "embeddings.token_embedding.weight": weights["textual.token_embed.weight"],
            "embeddings.position_embedding.weight": weights["textual.posit_embed"],
            **blocks(weights, "textual.resblocks."),
            **named("final_layer_norm", weights, "textual.ln_final"),
            "text_projection.weight": weights["textual_proj.weight"],
        }
        filled(model, within(model, own, "text_model"), place)
        return TextPart(model, tokenizer, Reading(pad, int(model.config.max_position_embeddings)))

    def logit_scale(self, place: Place) -> float | None:
        """Read the scale; both trainings cap it at 100."""
        return min(100.0, math.exp(float(_weights(place)["logit_scale"])))

    def lift(self, place: Place, dims: dict[str, int]) -> Lift:
        """Return MERU's lift; a checkpoint without a curvature is a CLIP baseline on the sphere."""
        weights = _weights(place)
        if "curv" not in weights:
            return super().lift(place, dims)
        alphas = {
            modality: math.exp(float(weights[f"{side}_alpha"]))
            for modality, side in (("image", "visual"), ("text", "textual"))
        }
        scale = self.logit_scale(place) or 1.0
        return lorentz(dims, math.exp(float(weights["curv"])), alphas, scale)


def _weights(place: Place) -> Weights:
    """Read the state dict without running anything of the pickle."""
    files = [place.path] if place.path.is_file() else sorted(place.path.glob("*.pth"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise place.refuse(f"holds several checkpoints ({names}); give the path of one of them")
    try:
        stored: object = torch.load(
            files[0], map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(files[0])
        )
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        unsafe = "weights_only" in str(error) or "Unsupported" in str(error)
        why = "holds more than tensors, and limbeck runs no pickle" if unsafe else "is damaged"
        raise place.refuse(f"{files[0].name} {why}; restore the published file", "E-MODEL-DAMAGED") from error
    weights = stored.get("model", stored) if isinstance(stored, dict) else {}
    missing = [name for name in _NEEDED if name not in weights]
    if missing:
        raise place.refuse(f"{files[0].name} lacks {missing[0]}; it is no checkpoint of MERU or HyCoCLIP")
    return dict(weights)
