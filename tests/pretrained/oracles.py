"""What each format's own library, or its published definition in float64, says of pictures and `TEXTS`.

Every function returns the embeddings of pictures and texts as float64 arrays: unit vectors, or space parts of
points on the hyperboloid.
"""

from __future__ import annotations

import math
from pathlib import Path

import float64
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer

from limbeck.files import read_json
from pretrained_models import TEXTS

Pictures = list[Image.Image]
Both = tuple[np.ndarray, np.ndarray]
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LENGTH = 12


def transformers(folder: Path, pictures: Pictures) -> Both:
    """CLIP and SigLIP by their own processor, tokenizer and model, in float32."""
    from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil, SiglipImageProcessorPil

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    told, siglip = read_json(folder / "preprocessor_config.json"), model.config.model_type == "siglip"
    sizes = {} if siglip else {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    processor = (SiglipImageProcessorPil if siglip else CLIPImageProcessorPil)(**(sizes | told))
    tokens = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt")
    given = {"input_ids": tokens["input_ids"]} if siglip else dict(tokens)
    with torch.no_grad():
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        image = model.get_image_features(pixel_values=pixels).pooler_output
        text = model.get_text_features(**given).pooler_output
    return _units(image.double(), text.double())


def open_clip(folder: Path, pictures: Pictures) -> Both:
    """open_clip's ViT."""
    w = _doubles(load_file(folder / "open_clip_model.safetensors"))
    quick = read_json(folder / "open_clip_config.json")["model_cfg"]["quick_gelu"]
    act = float64.quick_gelu if quick else float64.gelu
    pixels = _pixels(cut(pictures), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
    image = float64.open_clip_image(pixels, w, heads=2, act=act)
    return _units(image, float64.open_clip_text(clip_ids(folder), w, heads=2, act=act))


def open_clip_siglip(folder: Path, pictures: Pictures) -> Both:
    """open_clip's SigLIP; the texts are cleaned by hand."""
    w = _doubles(load_file(folder / "open_clip_model.safetensors"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cleaned = ["a red cat", "two dogs", "the dog of a cat with a very long tail", "zebra"]
    rows = _cut_rows([tokenizer.encode(text).ids for text in cleaned])
    ids = torch.tensor([row + [1] * (LENGTH - len(row)) for row in rows])
    pixels = _pixels(squeezed(pictures), (0.5,) * 3, (0.5,) * 3)
    image = float64.siglip_image(pixels, w, heads=1, act=float64.gelu)
    return _units(image, float64.siglip_text(ids, w, heads=2, act=float64.gelu_tanh))


def meru(folder: Path, pictures: Pictures) -> Both:
    """MERU, HyCoCLIP, or the CLIP baseline where there is no curvature."""
    w = _doubles(torch.load(folder / "checkpoint.pth", weights_only=True)["model"])
    pixels = _pixels(squeezed(pictures), *IMAGENET)
    features = float64.timm_image(pixels, w, "visual.", heads=1, eps=1e-5, mean=False)
    image, text = float64.linear(features, w, "visual_proj"), float64.meru_text(clip_ids(folder), w, heads=1)
    if "curv" not in w:
        return _units(image, text)
    curv = math.exp(w["curv"])
    return (
        float64.lifted(image, float(w["visual_alpha"]), curv).numpy(),
        float64.lifted(text, float(w["textual_alpha"]), curv).numpy(),
    )


def hyper3(folder: Path, pictures: Pictures) -> Both:
    """Hyper3-CLIP; the artifact on the hub averages patches and squeezes pictures."""
    w = _doubles(load_file(folder / "model.safetensors"))
    hub = "logit_scale" in w
    pixels = _pixels(squeezed(pictures) if hub else cut(pictures), *IMAGENET)
    eps, prefix = 1e-6 if hub else 1e-5, "text_encoder.backbone." + ("text_model." if hub else "")
    features = float64.timm_image(pixels, w, "vision_encoder.backbone.", heads=1, eps=eps, mean=hub)
    curv = min(10.0, math.exp(w["log_curv"]))
    image = float64.linear(features, w, "image_proj")
    text = float64.hyper3_text(clip_ids(folder), w, prefix, heads=1)
    return (
        float64.lifted(image, float(w["visual_alpha"]), curv).numpy(),
        float64.lifted(text, float(w["textual_alpha"]), curv).numpy(),
    )


def squeezed(pictures: Pictures) -> Pictures:
    """Both sides resized, whatever the shape."""
    return [picture.resize((16, 16), Image.Resampling.BICUBIC) for picture in pictures]


def cut(pictures: Pictures) -> Pictures:
    """torchvision's Resize(16) and CenterCrop(16): long side rounded down, centre to the even pixel."""
    squares = []
    for picture in pictures:
        short = min(picture.size)
        wide, tall = (16 if n == short else int(16 * n / short) for n in picture.size)
        left, top = round((wide - 16) / 2), round((tall - 16) / 2)
        whole = picture.resize((wide, tall), Image.Resampling.BICUBIC)
        squares.append(whole.crop((left, top, left + 16, top + 16)))
    return squares


def clip_ids(folder: Path) -> torch.Tensor:
    """Token ids padded with zeros, as CLIP's own tokenizer pads; a long text keeps its end."""
    from transformers import AutoTokenizer

    rows = _cut_rows(AutoTokenizer.from_pretrained(folder)(TEXTS)["input_ids"])
    assert max(map(len, rows)) == LENGTH > min(map(len, rows))
    return torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows])


def _cut_rows(rows: list[list[int]]) -> list[list[int]]:
    return [row if len(row) <= LENGTH else [*row[: LENGTH - 1], row[-1]] for row in rows]


def _doubles(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.double() for name, tensor in weights.items()}


def _pixels(squares: Pictures, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    raw = np.stack([np.asarray(square, np.float64) / 255 for square in squares])
    return torch.from_numpy((raw - np.array(mean)) / np.array(std)).permute(0, 3, 1, 2)


def _units(image: torch.Tensor, text: torch.Tensor) -> Both:
    return float64.unit(image).numpy(), float64.unit(text).numpy()
