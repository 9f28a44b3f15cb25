"""The preprocessing of a pretrained image tower, read from its files (`preprocessor_config.json`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.notices import say
from limbeck.pictures.fit import WHOLE_ASPECT
from limbeck.typed import Json

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)  # SigLIP's mean and standard deviation
_NAMES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


@dataclass(frozen=True)
class Resize:
    """Resize a picture to a square of ``side`` pixels, step by step as `transformers` does.

    Attributes:
        side: the side of the square that the tower reads, in pixels.
        short: the length to which the short side is resized before the centre is cropped; None resizes both
            sides to ``side`` at once, whatever the shape.
        resample: Pillow's number of the filter.
        even: whether a centre between two pixels goes to the even one (torchvision) or down (`transformers`).
        fill: the grey value around a picture whose *long* side is resized to ``side``; None crops or
            squeezes.
    """

    side: int
    short: int | None
    resample: int = 3
    even: bool = False
    fill: int | None = None

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the square; of a very long picture only the centre is resized."""
        width, height = image.size
        filter_ = Image.Resampling(self.resample)
        if self.fill is not None:
            return self._padded(image, filter_, self.fill)
        if self.short is None:
            wide = tall = self.side
        else:
            # `transformers` rounds the long side down.
            scale = min(width, height)
            wide, tall = int(self.short * width / scale), int(self.short * height / scale)
        left, top = ((round(n / 2) if self.even else n // 2) for n in (wide - self.side, tall - self.side))
        if max(wide, tall) <= WHOLE_ASPECT * self.side:
            whole = image if (wide, tall) == image.size else image.resize((wide, tall), filter_)
            return whole.crop((left, top, left + self.side, top + self.side))
        across, down = width / wide, height / tall
        box = (left * across, top * down, (left + self.side) * across, (top + self.side) * down)
        return image.resize((self.side, self.side), filter_, box=box)

    def _padded(self, image: Image.Image, filter_: Image.Resampling, fill: int) -> Image.Image:
        longest = max(image.size)
        wide, tall = (max(1, round(self.side * n / longest)) for n in image.size)
        square = Image.new("RGB", (self.side, self.side), (fill, fill, fill))
        square.paste(image.resize((wide, tall), filter_), ((self.side - wide) // 2, (self.side - tall) // 2))
        return square

    def to_json(self) -> dict[str, Json]:
        """Return the JSON that `resize_from_json` reads."""
        later: dict[str, Json] = {"even": True} if self.even else {}
        later |= {} if self.fill is None else {"fill": self.fill}
        return {"side": self.side, "short": self.short, "resample": self.resample, **later}


@dataclass(frozen=True)
class Preprocessing:
    """Resize, then (pixel / 255 − mean) / std per channel."""

    resize: Resize
    mean: tuple[float, ...]
    std: tuple[float, ...]


def resize_from_json(stored: dict[str, Any]) -> Resize:
    """Rebuild a `Resize` from its `to_json`."""
    side, resample = int(stored["side"]), int(stored["resample"])
    return Resize(side, stored["short"], resample, bool(stored.get("even")), stored.get("fill"))


def read_preprocessing(
    folder: Path,
    side: int,
    *,
    mean: tuple[float, ...] = CLIP_MEAN,
    std: tuple[float, ...] = CLIP_STD,
    short: bool = True,
) -> Preprocessing:
    """Read the preprocessing of a `transformers` folder; without one, use CLIP's own and print a note.

    Args:
        folder: holds ``processor_config.json`` or ``preprocessor_config.json``.
        side: the side of the square that the tower reads, in pixels.
        mean: the model's mean where the file has none.
        std: the model's standard deviation where the file has none.
        short: whether a picture is cropped after its short side is resized, where the file does not say;
            else both sides are resized.

    Raises:
        LimbeckError: squares of another size than the tower reads, invalid values.
    """
    file, stored = _stored(folder)
    if not file.is_file():
        family = "CLIP" if short else "SigLIP"
        say(f"{file} is missing; pictures are read as {family} reads them, at {side} x {side} pixels")
    square = {} if short else {"size": {"height": side, "width": side}}
    try:
        return _parsed({"image_mean": mean, "image_std": std, **square, **stored}, side, file)
    except (KeyError, TypeError, ValueError) as error:
        raise LimbeckError(
            f"{file}: cannot be understood ({error}); restore it", code="E-MODEL-DAMAGED"
        ) from None


def _stored(folder: Path) -> tuple[Path, dict[str, Any]]:
    # Newer releases of `transformers` write one file for the whole processor.
    file = folder / "processor_config.json"
    if file.is_file() and isinstance(told := read_json(file), dict) and "image_processor" in told:
        return file, dict(told["image_processor"])
    file = folder / "preprocessor_config.json"
    told = read_json(file) if file.is_file() else {}
    if not isinstance(told, dict):
        raise LimbeckError(f"{file}: must be a JSON object; restore it", code="E-MODEL-DAMAGED")
    return file, dict(told)


def _parsed(told: dict[str, Any], side: int, file: Path) -> Preprocessing:
    mean, std = told["image_mean"], told["image_std"]
    if told.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if len(mean) != 3 or len(std) != 3:
        raise LimbeckError(
            f"{file}: image_mean and image_std must hold three numbers each", code="E-MODEL-DAMAGED"
        )
    factor = 1.0 if told.get("do_rescale") is False else float(told.get("rescale_factor", 1 / 255))
    unit = 255 * factor  # 1 where pixels become shares of 255, as they do here
    return Preprocessing(
        _resize(told, side, file),
        tuple(float(m) / unit for m in mean),
        tuple(float(s) / unit for s in std),
    )


def _resize(told: dict[str, Any], side: int, file: Path) -> Resize:
    size, crop = told.get("size", side), told.get("crop_size", side)
    crop = crop if isinstance(crop, dict) else {"height": crop, "width": crop}
    size = size if isinstance(size, dict) else {"shortest_edge": size}
    resample = int(told.get("resample", 3))
    if resample not in _NAMES:
        raise LimbeckError(
            f"{file}: resample {resample} is not a filter; choose one of {_NAMES}", code="E-MODEL-UNSUPPORTED"
        )
    short = size.get("shortest_edge")
    square = crop if short is not None else size
    cropped = told.get("do_center_crop", True) is not False
    if told.get("do_resize") is False or (short is not None and not cropped):
        raise LimbeckError(
            f"{file}: makes pictures of several shapes, but the tower reads squares of {side}; set do_resize "
            f"and do_center_crop",
            code="E-MODEL-UNSUPPORTED",
        )
    if (square["height"], square["width"]) != (side, side) or (short is not None and short < side):
        raise LimbeckError(
            f"{file}: makes {square['width']} x {square['height']} of a picture, but the tower reads "
            f"{side} x {side}; set size and crop_size to {side}",
            code="E-MODEL-UNSUPPORTED",
        )
    return Resize(side, None if short is None else int(short), resample)


def open_clip_preprocessing(told: dict[str, Any], side: int, file: Path) -> Preprocessing:
    """Read open_clip's ``preprocess_cfg``; what it leaves out is open_clip's default.

    Args:
        told: the section.
        side: the side of the square that the tower reads, in pixels.
        file: for errors.

    Raises:
        LimbeckError: the squares have another size, or a mode, filter or mean is unknown.
    """
    size, mode = told.get("size") or side, told.get("resize_mode") or "shortest"
    filters = {"bicubic": 3, "bilinear": 2, "random": 3}
    filter_ = filters.get(told.get("interpolation") or "bicubic")
    mean, std = told.get("mean") or CLIP_MEAN, told.get("std") or CLIP_STD
    sides = set(size) if isinstance(size, list) else {size}
    if sides != {side}:
        raise LimbeckError(
            f"{file}: size {size} is not the {side} x {side} that the tower reads", code="E-MODEL-UNSUPPORTED"
        )
    if mode not in ("shortest", "longest", "squash") or filter_ is None or (len(mean), len(std)) != (3, 3):
        raise LimbeckError(
            f"{file}: resize_mode, interpolation, mean or std has an unknown value; restore it",
            code="E-MODEL-DAMAGED",
        )
    fill = int(told.get("fill_color") or 0) if mode == "longest" else None
    resize = Resize(side, side if mode == "shortest" else None, filter_, even=True, fill=fill)
    return Preprocessing(resize, tuple(map(float, mean)), tuple(map(float, std)))
