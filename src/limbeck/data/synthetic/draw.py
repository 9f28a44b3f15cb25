"""Drawing of scenes: antialiased figures with textures on noisy backgrounds, with Pillow and numpy."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from limbeck.data.synthetic.sample import Figure, Scene

SUPERSAMPLING = 4
_RGB = {
    "red": (205, 38, 38),
    "orange": (240, 130, 25),
    "yellow": (238, 212, 50),
    "green": (40, 150, 60),
    "blue": (40, 75, 200),
    "purple": (130, 45, 160),
    "white": (240, 240, 240),
    "black": (28, 28, 30),
}

# Several colours per place: grass can be dry, the sky grey or dusky, paper tinted.
_PALETTES = {
    "sky": ((150, 192, 228), (196, 202, 210), (222, 180, 170)),
    "grass": ((112, 150, 80), (164, 160, 92), (78, 120, 78)),
    "sand": ((214, 190, 148), (176, 172, 166), (196, 150, 118)),
    "night": ((30, 32, 66), (24, 40, 40), (48, 30, 56)),
    "paper": ((236, 234, 226), (240, 228, 170), (200, 222, 236), (238, 206, 208)),
}


def draw_scene(scene: Scene, rng: np.random.Generator, size: int = 64) -> Image.Image:
    """Draw a scene as an RGB picture of ``size`` × ``size`` pixels.

    Args:
        scene: the scene to draw.
        rng: the item's generator, for shades, rotations, backgrounds and noise.
        size: the side in pixels.
    """
    canvas = _background(scene.place, rng, size)
    _scatter_specks(canvas, rng)
    for figure in scene.figures:
        _paint(canvas, figure, rng)
    canvas *= rng.uniform(0.7, 1.12) * rng.uniform(0.92, 1.08, 3)  # light and its colour
    canvas += rng.normal(0.0, rng.uniform(3.0, 9.0), canvas.shape)
    return Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))


def _paint(canvas: np.ndarray, figure: Figure, rng: np.random.Generator) -> None:
    """Blend one figure into the canvas float (H, W, 3), changing only the square around it."""
    side = canvas.shape[0]
    reach = figure.radius * side + 1.0
    left, top = int(figure.x * side - reach), int(figure.y * side - reach)
    width = math.ceil(2 * reach) + 1
    fine = width * SUPERSAMPLING
    centre = ((figure.x * side - left) * SUPERSAMPLING, (figure.y * side - top) * SUPERSAMPLING)
    turn = math.radians(rng.uniform(-10.0, 10.0))
    mask = _mask(figure.shape, centre, figure.radius * side * SUPERSAMPLING, turn, fine)
    base = np.clip(np.array(_RGB[figure.colour]) + rng.normal(0.0, 18.0, 3), 0, 255)
    share = _texture(figure.texture, fine, centre, side / 64.0 * SUPERSAMPLING, rng)
    cover = _reduce(mask, width)
    inked = cover * base
    if share is not None:
        inked += _reduce(mask * share, width) * (_second_tone(base) - base)
    rows, cols = slice(max(top, 0), min(top + width, side)), slice(max(left, 0), min(left + width, side))
    inside = (slice(rows.start - top, rows.stop - top), slice(cols.start - left, cols.stop - left))
    canvas[rows, cols] = canvas[rows, cols] * (1.0 - cover[inside]) + inked[inside]


def _reduce(fine: np.ndarray, width: int) -> np.ndarray:
    """Box-filter a supersampled (s·w, s·w) array to (w, w, 1)."""
    s = SUPERSAMPLING
    columns = fine.reshape(width, s, width * s).sum(axis=1)
    return columns.reshape(width, width, s).sum(axis=2)[..., None] / s**2


def _mask(shape: str, centre: tuple[float, float], radius: float, turn: float, side: int) -> np.ndarray:
    """Return float (side, side): 1 inside the figure, 0 outside."""
    image = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(image)
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape in ("circle", "ring"):
        pen.ellipse(box, fill=1)
        if shape == "ring":
            inner = 0.52 * radius
            pen.ellipse((x - inner, y - inner, x + inner, y + inner), fill=0)
    elif shape == "cross":
        arm, reach = 0.3 * radius, 0.95 * radius
        points = [(-arm, -reach), (arm, -reach), (arm, -arm), (reach, -arm), (reach, arm), (arm, arm)]
        points += [(-px, -py) for px, py in points]
        pen.polygon([_turned(px, py, turn, centre) for px, py in points], fill=1)
    else:
        pen.polygon([_turned(px, py, turn, centre) for px, py in _corners(shape, radius)], fill=1)
    return np.asarray(image, dtype=np.float64)


def _corners(shape: str, radius: float) -> list[tuple[float, float]]:
    """Return corners around the origin; the first one points up."""
    if shape == "star":
        spokes = [(radius if at % 2 == 0 else 0.42 * radius, at * math.pi / 5) for at in range(10)]
    else:
        count, first = {"triangle": (3, 0.0), "square": (4, 0.25), "diamond": (4, 0.0), "hexagon": (6, 0.0)}[
            shape
        ]
        spokes = [(radius, 2 * math.pi * at / count + first * math.pi) for at in range(count)]
    narrow = 0.72 if shape == "diamond" else 1.0
    return [(narrow * length * math.sin(angle), -length * math.cos(angle)) for length, angle in spokes]


def _turned(x: float, y: float, turn: float, centre: tuple[float, float]) -> tuple[float, float]:
    cos, sin = math.cos(turn), math.sin(turn)
    return centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos


def _texture(
    texture: str, side: int, centre: tuple[float, float], pixel: float, rng: np.random.Generator
) -> np.ndarray | None:
    """Return the share of the second tone, 0 or 1, (side, side); None for plain. ``pixel``: width / 64."""
    if texture == "plain":
        return None
    angle = rng.uniform(0.0, math.pi) if texture == "striped" else rng.uniform(-0.2, 0.2)
    period = pixel * {"striped": rng.uniform(4.2, 5.4), "dotted": rng.uniform(4.4, 5.2)}.get(
        texture, rng.uniform(6.0, 7.5)
    )
    v, u = np.mgrid[0:side, 0:side].astype(np.float64)
    u, v = u - centre[0], v - centre[1]
    across = (u * math.cos(angle) + v * math.sin(angle)) / period + rng.random()
    along = (v * math.cos(angle) - u * math.sin(angle)) / period + rng.random()
    if texture == "striped":
        return (across % 1.0 < 0.5).astype(np.float64)
    if texture == "checkered":
        return ((across % 1.0 < 0.5) != (along % 1.0 < 0.5)).astype(np.float64)
    return (np.hypot(across % 1.0 - 0.5, along % 1.0 - 0.5) < 0.31).astype(np.float64)


def _second_tone(base: np.ndarray) -> np.ndarray:
    """Return a darker tone of light colours and a lighter one of dark colours."""
    light = float(base @ (0.299, 0.587, 0.114)) > 140
    return base * 0.45 if light else base + 0.6 * (255.0 - base)


def _background(place: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a background float (size, size, 3) in 0–255; structure more than colour shows the place."""
    palette = _PALETTES[place]
    canvas = np.array(palette[int(rng.integers(len(palette)))]) + rng.normal(0.0, 16.0, 3)
    canvas = canvas + rng.uniform(-14.0, 14.0) * np.linspace(-1.0, 1.0, size)[:, None, None]
    canvas = np.broadcast_to(canvas, (size, size, 3)).copy()
    if place == "sky":
        canvas += 50.0 * _blobs(rng, size, 5)
    elif place == "grass":
        blades = np.repeat(rng.normal(0.0, 17.0, (-(-size // 4), size, 1)), 4, axis=0)
        canvas += blades[:size]
    elif place == "sand":
        canvas += rng.normal(0.0, 14.0, (size, size, 1)) + 20.0 * _blobs(rng, size, 4)
    elif place == "night":
        stars = rng.random((size, size)) < 0.008
        canvas[stars] += rng.uniform(60.0, 190.0, (int(stars.sum()), 1))
    else:
        gap = max(size // 8, 2)
        canvas[int(rng.integers(gap)) :: gap] -= rng.uniform(30.0, 70.0, 3)
    return canvas


def _scatter_specks(canvas: np.ndarray, rng: np.random.Generator) -> None:
    """Add up to eight bright specks that no caption mentions, as noise for colour histograms."""
    side = canvas.shape[0]
    for _ in range(int(rng.integers(0, 9))):
        reach = max(round(side / 64 * float(rng.uniform(0.6, 1.6))), 1)
        row, column = rng.integers(0, side - reach, 2)
        canvas[row : row + reach, column : column + reach] = rng.uniform(20.0, 245.0, 3)


def _blobs(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Return smooth noise float (size, size, 1) around 0, from an enlarged coarse grid."""
    coarse = Image.fromarray(rng.normal(0.0, 0.45, (cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)[..., None]
