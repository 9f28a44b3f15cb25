"""Directories of ONNX graphs as immich and transformers.js read them. Nothing here imports torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tokenizers import Regex, Tokenizer, normalizers

from limbeck.errors import LimbeckError
from limbeck.files import write_json
from limbeck.onnx.encoder import OnnxEncoder
from limbeck.onnx.interface import Ids, rewire
from limbeck.onnx.precision import GRAPHS, Precision
from limbeck.preprocess import Preprocessor
from limbeck.preprocess.pixels import PixelPreprocessor
from limbeck.preprocess.resize import Resize
from limbeck.preprocess.text import TokenPreprocessor
from limbeck.spaces import Space
from limbeck.typed import Json


@dataclass(frozen=True)
class ClipLike:
    """The preprocessing of a model that readers of CLIP can use: token ids, pixels, and a cosine.

    Attributes:
        text: the preprocessing of texts.
        image: the preprocessing of pictures.
        dim: the width of an embedding.
    """

    text: TokenPreprocessor
    image: PixelPreprocessor
    dim: int

    @classmethod
    def of(
        cls, preprocessors: Mapping[str, Preprocessor | None], space: Space, dim: int, layout: str
    ) -> ClipLike:
        """Check the preprocessors and the space of a model for a layout.

        Raises:
            LimbeckError: a tower that reads something else, or a space without a cosine.
        """
        text, image = preprocessors.get("text"), preprocessors.get("image")
        if not isinstance(text, TokenPreprocessor):
            raise refused(layout, f"gives a text tower token ids, but this one reads {_named(text)}")
        if not isinstance(image, PixelPreprocessor):
            raise refused(layout, f"gives an image tower pixels, but this one reads {_named(image)}")
        kind = space.to_json()["name"]
        if kind not in ("sphere", "hamming"):
            raise refused(layout, f"compares embeddings by cosine, but this model's space is {kind}")
        return cls(text, image, dim)

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer, which also cleans texts and puts the prefix before them."""
        text, steps = self.text, []
        if text.canonical:
            steps += [
                normalizers.Replace("_", " "),
                normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""),
                normalizers.Lowercase(),
                normalizers.Replace(Regex(r"\s+"), " "),
                normalizers.Strip(),
            ]
        elif text.lower:
            steps.append(normalizers.Lowercase())
        if text.prefix:
            steps.append(normalizers.Prepend(text.prefix))
        tokenizer = Tokenizer.from_str(text.tokenizer.to_str())
        if steps:
            last = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
            tokenizer.normalizer = normalizers.Sequence([*steps, *last])
        return tokenizer

    def tokenizer_config(self) -> dict[str, Json]:
        """Return ``tokenizer_config.json`` of `transformers`."""
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.text.length,
            "pad_token": self.text.tokenizer.id_to_token(self.text.pad),
            "padding_side": "right",
            "truncation_side": "right",
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": False,
        }

    def write_tokenizer(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
        self.tokenizer().save(str(folder / "tokenizer.json"))
        write_json(folder / "tokenizer_config.json", self.tokenizer_config())

    @property
    def resize(self) -> Resize:
        """How a picture becomes a square; limbeck's own rule differs from it by one pixel at most."""
        return self.image.resize or Resize(self.image.side, self.image.side)

    def preprocessor_config(self, layout: str) -> dict[str, Json]:
        """Return ``preprocessor_config.json`` of `transformers`.

        Raises:
            LimbeckError: a picture is padded, which that file cannot say.
        """
        resize, square = self.resize, {"height": self.image.side, "width": self.image.side}
        if resize.fill is not None:
            raise refused(layout, "cannot pad a picture to a square, as this model's preprocessing does")
        return {
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": square if resize.short is None else {"shortest_edge": resize.short},
            "resample": resize.resample,
            "do_center_crop": resize.short is not None,
            "crop_size": square,
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.image.mean),
            "image_std": list(self.image.std),
        }


class Layout(ABC):
    """One layout of two graphs with their files.

    Attributes:
        name: its value of ``--layout``.
        graphs: the path of each graph in float32, by modality.
        several: whether graphs of several precisions lie side by side.
    """

    name: ClassVar[str]
    graphs: ClassVar[Mapping[str, str]]
    several: ClassVar[bool]

    @abstractmethod
    def write_files(self, model: ClipLike, folder: Path) -> None:
        """Write all files but the graphs.

        Raises:
            LimbeckError: a preprocessing that the layout cannot express.
        """

    @abstractmethod
    def write_graph(self, modality: str, model: ClipLike, source: Path, target: Path) -> None:
        """Write a graph of limbeck with the layout's inputs and output."""

    def write(self, exported: OnnxEncoder, model: ClipLike, folder: Path) -> dict[str, Path]:
        """Write the files and the graphs of an export into a directory; return the graphs by modality."""
        self.write_files(model, folder)
        targets = {modality: folder / path for modality, path in self.graphs.items()}
        for modality, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            self.write_graph(modality, model, exported.towers[modality].graph, target)
        return targets

    def path(self, modality: str, precision: Precision) -> str:
        """Return where the graph of a precision lies."""
        return self.graphs[modality].replace("model.onnx", GRAPHS[precision if self.several else "fp32"])

    def check_precisions(self, precisions: Sequence[Precision]) -> None:
        """Refuse several precisions where there is one graph per tower."""
        if len(precisions) > 1 and not self.several:
            raise LimbeckError(
                f"--layout {self.name}: holds one graph per tower; give one --precision",
                code="E-OPTION-RANGE",
            )


class TransformersJs(Layout):
    """``onnx/text_model.onnx`` and ``onnx/vision_model.onnx`` beside the other files of `transformers`."""

    name = "transformers.js"
    graphs: ClassVar = {"text": "onnx/text_model.onnx", "image": "onnx/vision_model.onnx"}
    several = True

    def write_files(self, model: ClipLike, folder: Path) -> None:
        """Write the configurations of model, tokenizer and pictures."""
        text, image = model.text, model.image
        write_json(
            folder / "config.json",
            {
                "model_type": "clip",
                "architectures": ["CLIPModel"],
                "projection_dim": model.dim,
                "text_config": {
                    "model_type": "clip_text_model",
                    "projection_dim": model.dim,
                    "vocab_size": text.tokenizer.get_vocab_size(),
                    "max_position_embeddings": text.length,
                    "pad_token_id": text.pad,
                },
                "vision_config": {
                    "model_type": "clip_vision_model",
                    "projection_dim": model.dim,
                    "image_size": image.side,
                },
            },
        )
        write_json(folder / "preprocessor_config.json", model.preprocessor_config(self.name))
        model.write_tokenizer(folder)

    def write_graph(self, modality: str, model: ClipLike, source: Path, target: Path) -> None:
        """Name inputs and output as `transformers` does."""
        if modality == "text":
            rewire(source, target, {}, "text_embeds")
        else:
            rewire(source, target, {"pixels": "pixel_values"}, "image_embeds")


class Immich(Layout):
    """``textual/model.onnx`` and ``visual/model.onnx`` with open_clip's configuration of the model."""

    name = "immich"
    graphs: ClassVar = {"text": "textual/model.onnx", "image": "visual/model.onnx"}
    several = False

    def write_files(self, model: ClipLike, folder: Path) -> None:
        """Write ``config.json``, the tokenizer, and ``visual/preprocess_cfg.json``."""
        text, image, resize = model.text, model.image, model.resize
        filters = {2: "bilinear", 3: "bicubic"}
        if resize.resample not in filters or resize.short not in (None, image.side):
            raise refused(self.name, "resizes the short side to that of the square, this model differently")
        mode = "shortest" if resize.short is not None else "squash"
        for name in ("textual", "visual"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        model.write_tokenizer(folder / "textual")
        write_json(
            folder / "visual" / "preprocess_cfg.json",
            {
                "size": [image.side, image.side],
                "mode": "RGB",
                "mean": list(image.mean),
                "std": list(image.std),
                "interpolation": filters[resize.resample],
                "resize_mode": mode if resize.fill is None else "longest",
                "fill_color": resize.fill or 0,
            },
        )
        words = {"context_length": text.length, "vocab_size": text.tokenizer.get_vocab_size()}
        write_json(
            folder / "config.json",
            {"embed_dim": model.dim, "vision_cfg": {"image_size": image.side}, "text_cfg": words},
        )

    def write_graph(self, modality: str, model: ClipLike, source: Path, target: Path) -> None:
        """Read int32 ids of the full length without a mask; the graph finds the padding itself."""
        if modality == "text":
            ends = model.text.tokenizer.encode("").ids
            end = bool(ends) and ends[-1] == model.text.pad
            rewire(source, target, {}, "embedding", Ids("text", model.text.length, model.text.pad, end))
        else:
            rewire(source, target, {"pixels": "image"}, "embedding")


LAYOUTS: dict[str, Layout] = {one.name: one for one in (Immich(), TransformersJs())}


def refused(layout: str, why: str) -> LimbeckError:
    """Return the error of a model that a layout cannot hold."""
    return LimbeckError(f"--layout {layout}: it {why}; use --layout limbeck", code="E-EXPORT-LAYOUT")


def _named(preprocess: Preprocessor | None) -> str:
    kinds = {"bag": "counts of words", "pixels": "pixels", "concat": "several parts", "tokens": "token ids"}
    if preprocess is None:
        return "labels, or is user-defined"
    return kinds.get(preprocess.kind, f"{preprocess.kind}:{getattr(preprocess, 'name', '')}")
