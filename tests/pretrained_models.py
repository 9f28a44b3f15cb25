"""Tiny pretrained dual encoders on disk, each as its own library saves it."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from hub_models import write_clip, write_clip_vocabulary
from limbeck.files import read_json, write_json

_NORM = re.compile(r"(norm\d?|ln_\w+|layer_norm\d)\.weight$")
WORDS = ["a", "cat", "dog", "red", "long", "tail", "very", "two", "of", "the"]
TEXTS = ["a red cat", "two dogs", "The DOG of a cat, with a very long tail!", "zebra"]


def write_word_pieces(folder: Path, *, lower: bool = False, **told: Any) -> Tokenizer:
    """A unigram tokenizer with SigLIP's special tokens: texts end with </s>, which also pads them."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in WORDS]
    pieces += [(letter, -6.0) for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!'"]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "</s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | told))
    return tokenizer


def write_siglip(folder: Path, *, seed: int = 0, image_size: int = 16, **told: Any) -> Path:
    """A SiglipModel of `transformers` with its tokenizer and preprocessor; ``told`` goes to the tokenizer."""
    from transformers import SiglipConfig, SiglipModel

    sizes = {"hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokenizer = write_word_pieces(folder, **told)
    text = sizes | {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 12}
    text |= {"pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1}
    vision = sizes | {"image_size": image_size, "patch_size": 8}
    torch.manual_seed(seed)
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    with torch.no_grad():
        for parameter in model.parameters():  # norms and biases too
            parameter.add_(0.05 * torch.randn_like(parameter))
        model.logit_scale.fill_(2.5)
        model.logit_bias.fill_(-3.0)
    model.save_pretrained(folder)
    size = {"height": image_size, "width": image_size}
    preprocessor = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": size, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def randoms(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Random weights by name; those of norms are near one."""
    generator = torch.Generator().manual_seed(seed)
    made = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {name: 1 + w if _NORM.search(name) else w for name, w in made.items()}


def openai_shapes(prefix: str, layers: int, width: int, inner: int) -> dict[str, tuple[int, ...]]:
    """The layers of OpenAI's transformer, as open_clip and MERU name them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(layers):
        own: dict[str, tuple[int, ...]] = {
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "mlp.c_fc.weight": (inner, width),
            "mlp.c_fc.bias": (inner,),
            "mlp.c_proj.weight": (width, inner),
            "mlp.c_proj.bias": (width,),
        }
        own |= {f"{norm}.{kind}": (width,) for norm in ("ln_1", "ln_2") for kind in ("weight", "bias")}
        shapes |= {f"{prefix}{i}.{name}": shape for name, shape in own.items()}
    return shapes


def timm_shapes(prefix: str, layers: int, width: int, patches: int, patch: int) -> dict[str, tuple[int, ...]]:
    """The parts of timm's ViT that all of them have."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        "pos_embed": (1, patches, width),
    }
    for i in range(layers):
        own: dict[str, tuple[int, ...]] = {
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
        }
        own |= {f"{norm}.{kind}": (width,) for norm in ("norm1", "norm2") for kind in ("weight", "bias")}
        shapes |= {f"blocks.{i}.{name}": shape for name, shape in own.items()}
    return {prefix + name: shape for name, shape in shapes.items()}


def write_open_clip(folder: Path, *, quick: bool = True, preprocess: dict[str, Any] | None = None) -> Path:
    """A ViT of open_clip with a width of two heads, on pictures of 16 px."""
    vocabulary = write_clip_vocabulary(folder)
    shapes: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (32,),
        "visual.positional_embedding": (5, 32),
        "visual.conv1.weight": (32, 3, 8, 8),
        "visual.proj": (32, 10),
        "token_embedding.weight": (vocabulary, 24),
        "positional_embedding": (12, 24),
        "text_projection": (24, 10),
        **openai_shapes("visual.transformer.resblocks.", 2, 32, 64),
        **openai_shapes("transformer.resblocks.", 2, 24, 96),
    }
    for name, width in (("visual.ln_pre", 32), ("visual.ln_post", 32), ("ln_final", 24)):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    save_file(randoms(shapes, 1) | {"logit_scale": torch.tensor(3.0)}, folder / "open_clip_model.safetensors")
    vision = {"image_size": 16, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16, "mlp_ratio": 2.0}
    text = {"context_length": 12, "vocab_size": vocabulary, "width": 24, "heads": 2, "layers": 2}
    model = {"embed_dim": 10, "quick_gelu": quick, "vision_cfg": vision, "text_cfg": text}
    told = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "interpolation": "bicubic"}
    config = {"model_cfg": model, "preprocess_cfg": told | {"resize_mode": "shortest"} | (preprocess or {})}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def write_open_clip_siglip(folder: Path) -> Path:
    """SigLIP as open_clip holds it: a ViT of timm with attention pooling, and a text tower without a mask."""
    vocabulary = write_word_pieces(folder).get_vocab_size()
    width = 64
    norms = ["visual.trunk.norm", "visual.trunk.attn_pool.norm", "text.ln_final"]
    pool: dict[str, tuple[int, ...]] = {
        "latent": (1, 1, width), "q.weight": (width, width), "q.bias": (width,),
        "kv.weight": (2 * width, width), "kv.bias": (2 * width,),
        "proj.weight": (width, width), "proj.bias": (width,),
        "mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        **timm_shapes("visual.trunk.", 2, width, 4, 8),
        **{f"visual.trunk.attn_pool.{name}": shape for name, shape in pool.items()},
        "text.token_embedding.weight": (vocabulary, width),
        "text.positional_embedding": (12, width),
        "text.text_projection.weight": (width, width),
        "text.text_projection.bias": (width,),
        **openai_shapes("text.transformer.resblocks.", 2, width, 4 * width),
    }
    shapes |= {f"{name}.{kind}": (width,) for name in norms for kind in ("weight", "bias")}
    scalars = {"logit_scale": torch.tensor(2.0), "logit_bias": torch.tensor(-10.0)}
    save_file(randoms(shapes, 2) | scalars, folder / "open_clip_model.safetensors")
    vision = {"image_size": 16, "timm_model_name": "vit_base_patch16_siglip_224", "timm_pool": "map"}
    text = {"context_length": 12, "vocab_size": vocabulary, "width": width, "heads": 2, "layers": 2}
    text |= {"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}}
    text |= {"tokenizer_kwargs": {"clean": "canonicalize"}, "act_kwargs": {"approximate": "tanh"}}
    model = {"embed_dim": width, "vision_cfg": vision | {"timm_proj": "none"}, "text_cfg": text}
    told = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    config = {"model_cfg": model | {"custom_text": True}, "preprocess_cfg": told}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def write_meru(folder: Path, *, hyperbolic: bool = True, alpha: float = -0.7) -> Path:
    """A checkpoint as MERU and HyCoCLIP publish theirs, and CLIP's tokenizer beside it."""
    vocabulary = write_clip_vocabulary(folder)
    shapes: dict[str, tuple[int, ...]] = {
        **timm_shapes("visual.", 2, 64, 5, 8),
        "visual.cls_token": (1, 1, 64),
        "visual.norm.weight": (64,),
        "visual.norm.bias": (64,),
        "textual.token_embed.weight": (vocabulary, 64),
        "textual.posit_embed": (12, 64),
        "textual.ln_final.weight": (64,),
        "textual.ln_final.bias": (64,),
        "visual_proj.weight": (10, 64),
        "textual_proj.weight": (10, 64),
        **openai_shapes("textual.resblocks.", 2, 64, 256),
    }
    weights = randoms(shapes, 3) | {"logit_scale": torch.tensor(3.0)}
    if hyperbolic:
        scalars = {"curv": -1.2, "visual_alpha": alpha, "textual_alpha": -0.9}
        weights |= {name: torch.tensor(value) for name, value in scalars.items()}
    buffers = {"pixel_mean": torch.zeros(3, 1, 1), "textual.attn_mask": torch.ones(12, 12, dtype=torch.bool)}
    torch.save({"model": weights | buffers, "iteration": 7}, folder / "checkpoint.pth")
    return folder


def write_hyper3(folder: Path, *, hub: bool) -> Path:
    """Hyper3-CLIP: the artifact on the hub (patches averaged), or a folder of its own code (class token)."""
    vocabulary = write_clip_vocabulary(folder)
    norm, text = "fc_norm" if hub else "norm", "text_encoder.backbone." + ("text_model." if hub else "")
    layer: dict[str, tuple[int, ...]] = {"mlp.fc1.weight": (96, 64), "mlp.fc1.bias": (96,)}
    layer |= {"mlp.fc2.weight": (64, 96), "mlp.fc2.bias": (64,)}
    layer |= {f"self_attn.{p}.weight": (64, 64) for p in ("q_proj", "k_proj", "v_proj", "out_proj")}
    layer |= {f"self_attn.{p}.bias": (64,) for p in ("q_proj", "k_proj", "v_proj", "out_proj")}
    layer |= {f"layer_norm{n}.{kind}": (64,) for n in (1, 2) for kind in ("weight", "bias")}
    shapes: dict[str, tuple[int, ...]] = {
        **timm_shapes("vision_encoder.backbone.", 2, 64, 5, 8),
        "vision_encoder.backbone.cls_token": (1, 1, 64),
        f"vision_encoder.backbone.{norm}.weight": (64,),
        f"vision_encoder.backbone.{norm}.bias": (64,),
        f"{text}embeddings.token_embedding.weight": (vocabulary, 64),
        f"{text}embeddings.position_embedding.weight": (12, 64),
        f"{text}final_layer_norm.weight": (64,),
        f"{text}final_layer_norm.bias": (64,),
        **{f"{text}encoder.layers.{i}.{name}": shape for i in range(2) for name, shape in layer.items()},
        "image_proj.weight": (10, 64),
        "image_proj.bias": (10,),
        "text_proj.weight": (10, 64),
        "text_proj.bias": (10,),
    }
    scales = (
        ["logit_scale"] if hub else ["global_logit_scale", "local_logit_scale", "query_pooling.norm.weight"]
    )
    scalars = {"log_curv": 3.0, "visual_alpha": -3.0, "textual_alpha": -2.9} | dict.fromkeys(scales, 2.0)
    weights = randoms(shapes, 4) | {name: torch.tensor(value) for name, value in scalars.items()}
    save_file(weights, folder / "model.safetensors")
    told = {"vision_backbone": "vit_base_patch16_224", "embed_dim": 10, "curv_init": 1.0, "image_size": 16}
    if hub:
        (folder / "config.json").write_text(json.dumps(told))
    else:
        text_of = {"model": told | {"vision_norm_layer": "layer_norm"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(text_of))
    return folder


def export_onnx(model: torch.nn.Module, given: tuple[torch.Tensor, ...], file: Path, **names: Any) -> None:
    """Export with the names of inputs and outputs; ``dynamic_axes`` frees the number of items."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), given, str(file), dynamo=False, opset_version=17, **names)


class Side(torch.nn.Module):
    """One side of a model of `transformers`, as a module of one or two inputs."""

    def __init__(self, model: Any, text: bool) -> None:
        super().__init__()
        self.model, self.text = model, text

    def forward(self, given: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        if not self.text:
            return self.model.get_image_features(pixel_values=given).pooler_output
        masked = {} if mask is None else {"attention_mask": mask}
        return self.model.get_text_features(input_ids=given, **masked).pooler_output


def write_immich(folder: Path, source: Path) -> Path:
    """A tiny CLIP of `transformers` (`write_clip`) in immich's layout: one item per pass, unit vectors."""
    from transformers import AutoTokenizer, CLIPModel

    class Unit(Side):
        def forward(self, given: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            return torch.nn.functional.normalize(super().forward(given), dim=-1)

    model = CLIPModel.from_pretrained(source, attn_implementation="eager")
    told = read_json(source / "preprocessor_config.json")
    export_onnx(Unit(model, False), (torch.zeros(1, 3, 16, 16),), folder / "visual/model.onnx",
                input_names=["image"], output_names=["embedding"])  # fmt: skip
    ids = torch.ones(1, 12, dtype=torch.int32)
    export_onnx(Unit(model, True), (ids,), folder / "textual/model.onnx",
                input_names=["text"], output_names=["embedding"])  # fmt: skip
    AutoTokenizer.from_pretrained(source).save_pretrained(folder / "textual")
    preprocess = {"size": [16, 16], "mode": "RGB", "mean": told["image_mean"], "std": told["image_std"]}
    preprocess |= {"interpolation": "bicubic", "resize_mode": "shortest", "fill_color": 0}
    write_json(folder / "visual/preprocess_cfg.json", preprocess)
    text = {"context_length": 12, "vocab_size": model.config.text_config.vocab_size}
    write_json(folder / "config.json", {"embed_dim": 10, "vision_cfg": {"image_size": 16}, "text_cfg": text})
    return folder


def write_transformers_js(folder: Path, source: Path, *, mask: bool) -> Path:
    """A tiny CLIP or SigLIP of `transformers` in the layout of transformers.js."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(source, attn_implementation="eager")
    free = {0: "batch"}
    export_onnx(Side(model, False), (torch.zeros(2, 3, 16, 16),), folder / "onnx/vision_model.onnx",
                input_names=["pixel_values"], output_names=["image_embeds"],
                dynamic_axes={"pixel_values": free, "image_embeds": free})  # fmt: skip
    ids = torch.ones(2, 12, dtype=torch.int64)
    names = ["input_ids", "attention_mask"] if mask else ["input_ids"]
    export_onnx(Side(model, True), (ids, torch.ones_like(ids)) if mask else (ids,),
                folder / "onnx/text_model.onnx", input_names=names, output_names=["text_embeds"],
                dynamic_axes=dict.fromkeys([*names, "text_embeds"], free))  # fmt: skip
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    write_json(folder / "config.json", model.config.to_dict())
    write_json(folder / "preprocessor_config.json", read_json(source / "preprocessor_config.json"))
    return folder


def write_sentence_clip(folder: Path) -> Path:
    """CLIP as sentence-transformers keeps it: a module with the files of `transformers`."""
    write_clip(folder / "0_CLIPModel")
    module = {"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}
    (folder / "modules.json").write_text(json.dumps([module]))
    return folder


def write_all(folder: Path) -> dict[str, Path]:
    """One tiny model per format, by the name of its directory."""
    clip, siglip = write_clip(folder / "clip"), write_siglip(folder / "siglip")
    return {
        "clip": clip,
        "siglip": siglip,
        "sentence-clip": write_sentence_clip(folder / "sentence-clip"),
        "open-clip": write_open_clip(folder / "open-clip"),
        "open-clip-siglip": write_open_clip_siglip(folder / "open-clip-siglip"),
        "immich": write_immich(folder / "immich", clip),
        "transformers-js": write_transformers_js(folder / "transformers-js", siglip, mask=False),
        "meru": write_meru(folder / "meru"),
        "hyper3-clip": write_hyper3(folder / "hyper3-clip", hub=True),
    }
