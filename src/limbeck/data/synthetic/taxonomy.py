"""The words of the scenes and their trees (figure → polygon → quadrilateral → square)."""

from __future__ import annotations

SHAPES = ("triangle", "square", "diamond", "hexagon", "circle", "ring", "star", "cross")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
TEXTURES = ("plain", "striped", "dotted", "checkered")
SIZES = ("small", "large")
PLACES = ("grass", "sand", "sky", "night", "paper")

# 24 concepts for the multi-labels; "plain" is the absence of a texture and therefore none of them.
LABELS = (*SHAPES, *COLOURS, *TEXTURES[1:], *PLACES)

PARENT = {
    "triangle": "polygon",
    "square": "quadrilateral",
    "diamond": "quadrilateral",
    "quadrilateral": "polygon",
    "hexagon": "polygon",
    "polygon": "figure",
    "circle": "round shape",
    "ring": "round shape",
    "round shape": "figure",
    "star": "spiky shape",
    "cross": "spiky shape",
    "spiky shape": "figure",
    "red": "warm",
    "orange": "warm",
    "yellow": "warm",
    "warm": "colour",
    "green": "cool",
    "blue": "cool",
    "purple": "cool",
    "cool": "colour",
    "white": "grey",
    "black": "grey",
    "grey": "colour",
    "striped": "patterned",
    "dotted": "patterned",
    "checkered": "patterned",
    "patterned": "texture",
    "plain": "texture",
    "grass": "ground",
    "sand": "ground",
    "ground": "place",
    "sky": "air",
    "night": "air",
    "air": "place",
    "paper": "desk",
    "desk": "place",
}
PHRASES = {
    "grass": "on grass",
    "sand": "on sand",
    "sky": "in the sky",
    "night": "at night",
    "paper": "on paper",
    "ground": "on the ground",
    "air": "in the air",
    "desk": "on a desk",
}
# Words a tagger may use instead, and words that have nothing to do with the picture.
SYNONYMS = {
    "triangle": ("trigon", "delta"),
    "square": ("box", "block"),
    "diamond": ("rhombus",),
    "hexagon": ("honeycomb", "sixsided"),
    "circle": ("disc", "ball", "dot"),
    "ring": ("hoop", "loop"),
    "star": ("asterisk", "starlet"),
    "cross": ("plus", "crossing"),
    "red": ("crimson", "rot"),
    "orange": ("tangerine",),
    "yellow": ("golden", "gelb"),
    "green": ("lime", "verde"),
    "blue": ("azure", "azul"),
    "purple": ("violet",),
    "white": ("pale", "blanco"),
    "black": ("dark", "noir"),
    "striped": ("stripes", "lines"),
    "dotted": ("dots", "polkadot"),
    "checkered": ("chequers", "grid"),
    "grass": ("lawn", "meadow"),
    "sand": ("beach", "desert"),
    "sky": ("clouds", "heaven"),
    "night": ("stars", "midnight"),
    "paper": ("notebook", "page"),
    "small": ("tiny", "little"),
    "large": ("big", "huge"),
}
NOISE_WORDS = (
    *("explore", "nikon", "canon", "art", "2007", "interesting", "macro", "abstract", "geotagged", "light"),
    *("design", "geometry", "toy", "favourite", "flickr", "minimal", "fun", "untitled", "test", "graphic"),
)
# Figures of these colours would vanish in their background.
INVISIBLE = frozenset(
    {("green", "grass"), ("yellow", "sand"), ("orange", "sand"), ("blue", "sky"), ("white", "sky")}
    | {("black", "night"), ("white", "paper")}
)
# Combinations that only the split "heldout" has: train has each part, never both together.
HELD_OUT = frozenset(
    {("red", "star"), ("blue", "ring"), ("green", "diamond"), ("yellow", "cross"), ("purple", "circle")}
    | {("white", "hexagon"), ("orange", "square"), ("black", "triangle")}
)


def class_path(word: str) -> list[str]:
    """Return the path from the root of a word's tree to the word, e.g. figure, polygon, triangle."""
    path = [word]
    while path[0] in PARENT:
        path.insert(0, PARENT[path[0]])
    return path
