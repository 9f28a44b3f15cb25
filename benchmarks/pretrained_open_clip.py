"""Does limbeck give the embeddings of open_clip itself, and of the ViT of timm that MERU and Hyper3-CLIP build?

    pip install --no-deps --target DIR open_clip_torch timm torchvision==0.28.0 ftfy wcwidth
    python benchmarks/pretrained_open_clip.py --libraries DIR [--out FILE]

The libraries are not among limbeck's, since torchvision's wheel does not fit every torch: two operators are declared
before it is imported. Tiny models with random weights are built by open_clip, saved by its own code for the hub, and
opened by limbeck. The figure is the largest difference of a number of the unit vectors.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import limbeck
from hub_models import write_clip_vocabulary
from limbeck.encoders.networks import VISION
from limbeck.encoders.pretrained.base import Place
from limbeck.encoders.pretrained.keys import plain_vit
from limbeck.environment import environment
from limbeck.files import write_json
from pretrained_models import write_word_pieces

TEXTS = ["a red cat", "dog of a cat", "cat"]
VIT = {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32}
HALF = {"image_mean": (0.5,) * 3, "image_std": (0.5,) * 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--libraries", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    declared = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    sys.path.append(str(given.libraries))
    import open_clip
    import timm

    with tempfile.TemporaryDirectory() as scratch:
        rows = open_clip_rows(Path(scratch))
    rows |= timm_rows()
    for name, worst in rows.items():
        print(f"{name:32} {worst:.1e}")
    if given.out:
        versions, machine = environment()
        versions |= {"open_clip_torch": open_clip.__version__, "timm": timm.__version__}
        write_json(given.out, {"differences": rows, "versions": versions, "machine": machine})


def open_clip_rows(place: Path) -> dict[str, float]:
    words = write_clip_vocabulary(place / "words")
    pieces = write_word_pieces(place / "pieces").get_vocab_size()
    sizes = {"context_length": 12, "heads": 2, "layers": 2}
    text = sizes | {"vocab_size": words, "width": 32}
    free = sizes | {"vocab_size": pieces, "width": 64, "no_causal_mask": True, "proj_bias": True}
    free |= {"pool_type": "last", "norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"}}
    trunk = {"image_size": 32, "timm_model_name": tiny_siglip(), "timm_model_pretrained": False}
    siglip = {"embed_dim": 64, "init_logit_bias": -10, "custom_text": True, "text_cfg": free}
    siglip |= {"vision_cfg": trunk | {"timm_pool": "map", "timm_proj": "none"}}
    vit = {"embed_dim": 10, "vision_cfg": VIT, "text_cfg": text}
    long = {"image_resize_mode": "longest", "image_interpolation": "bilinear"}
    squash = {"image_resize_mode": "squash"}
    return {
        "ViT, shortest": worst(place / "a", vit, {}, write_clip_vocabulary),
        "ViT, QuickGELU, longest": worst(
            place / "b", vit | {"quick_gelu": True}, long, write_clip_vocabulary
        ),
        "ViT, custom text, squash": worst(
            place / "c", vit | {"custom_text": True}, squash, write_clip_vocabulary
        ),
        "SigLIP, image tower of timm": worst(place / "d", siglip, squash | HALF, write_word_pieces),
    }


def worst(
    folder: Path, config: dict[str, Any], preprocess: dict[str, Any], tokens: Callable[[Path], Any]
) -> float:
    import open_clip
    from open_clip.factory import _MODEL_CONFIGS
    from open_clip.push_to_hf_hub import save_for_hf
    from transformers import AutoTokenizer

    class Beside:
        """The tokenizer is written beside the weights already."""

        def save_pretrained(self, folder: str) -> None: ...

    tokens(folder)
    _MODEL_CONFIGS[folder.name] = config
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms(folder.name, **preprocess)
    shaken(model)
    save_for_hf(model, Beside(), config, str(folder), safe_serialization=True)
    encoder, told = limbeck.load(folder), config["text_cfg"]
    options = {"padding": "max_length", "truncation": True, "max_length": 12, "return_tensors": "pt"}
    ids = AutoTokenizer.from_pretrained(folder)(TEXTS, **options)["input_ids"]
    if not told.get("no_causal_mask"):  # open_clip's own tokenizer pads with zeros
        ends = (ids == told["vocab_size"] - 1).int().argmax(1, keepdim=True)
        ids = ids.masked_fill(torch.arange(12) > ends, 0)
    with torch.no_grad():
        image = model.encode_image(torch.stack([transform(p) for p in pictures()]), normalize=True)
        text = model.encode_text(ids, normalize=True)
    found = np.abs(encoder.encode_image(pictures()) - image.numpy()).max()
    return float(max(found, np.abs(encoder.encode_text(TEXTS) - text.numpy()).max()))


def tiny_siglip() -> str:
    """Register a tiny ViT of timm with attention pooling and return its name."""
    from timm.models import vision_transformer

    name = "vit_base_patch16_siglip_32"

    def build(pretrained: bool = False, **options: Any) -> torch.nn.Module:
        sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 1}
        sizes |= {"class_token": False, "global_pool": "map"} | options
        sizes.pop("pretrained_cfg", None)
        return vision_transformer._create_vision_transformer("vit_base_patch16_siglip_224", **sizes)

    build.__name__, build.__module__ = name, vision_transformer.__name__
    vision_transformer.register_model(build)
    return name


def timm_rows() -> dict[str, float]:
    """The ViT as MERU builds it (class token, norms of torch), and as Hyper3-CLIP's artifact (mean patch)."""
    import timm

    rows = {}
    for pool, options, eps in (("token", {"norm_layer": torch.nn.LayerNorm}, 1e-5), ("avg", {}, 1e-6)):
        sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 1}
        options = sizes | options | {"num_classes": 0, "global_pool": pool}
        model = shaken(timm.create_model("vit_base_patch16_224", **options))
        place, square = Place(pool, Path(pool)), {"weight": torch.eye(64)}
        own = plain_vit(dict(model.state_dict()), place, projection=square, heads=1, eps=eps)
        pixels = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            theirs = model(pixels)
            ours = VISION["clip_vision_model"].forward(own.eval(), {"pixels": pixels})
        rows[f"ViT of timm, pool {pool}"] = float((ours - theirs).abs().max() / theirs.norm(dim=1).max())
    return rows


@torch.no_grad()
def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Move every weight, norms and biases too."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shapes = [(32, 32), (40, 61), (91, 33), (9, 12)]
    return [Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]


if __name__ == "__main__":
    main()
