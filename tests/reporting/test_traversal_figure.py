"""The figure of a traversal: one row a text, whatever the texts and the picture look like."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pytest
from PIL import Image

from limbeck.reporting.style import light_settings
from limbeck.reporting.traversal import traversal_png, write_figure
from limbeck.traversal import ROOT, Step, Traversal
from raising import raises_code


def way(*texts: str, entailed: bool = True) -> Traversal:
    """A traversal through some texts, each half as far out as the one before."""
    end = Step(1.0, ROOT, None, 0.0, 0.0, None, 0)
    steps = [
        Step(0.1 * at, text, at, 2.0 / 2**at, 0.3, 0.2 if entailed else -0.2, 9 - at)
        for at, text in enumerate(texts)
    ]
    return Traversal(2.5, [*steps, end], 40, "none", 0.1, [], entailed)


def drawn(found: Traversal, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Image.open(io.BytesIO(traversal_png(found, Image.new(mode, size)))).convert("RGB")


def test_a_row_for_every_text_and_line() -> None:
    short, more = drawn(way("a", "b", "c")), drawn(way("a", "b", "c", "d", "e"))
    folded = drawn(way("a", "b", "c", "d", "words " * 30))
    assert short.width == more.width == folded.width == 1290
    assert short.height < more.height < folded.height
    assert drawn(way()).height < short.height  # the root alone: as tall as the picture
    for figure in (short, folded):
        assert figure.getpixel((2, 2)) == (255, 255, 255)
        colours = {colour for _, colour in figure.getcolors(1 << 20) or []}
        assert {(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)} <= colours and (1, 1, 1) not in colours


def test_the_same_traversal_gives_the_same_bytes() -> None:
    found, picture = way("a red triangle", "a polygon", entailed=False), Image.new("RGB", (20, 30), "red")
    assert traversal_png(found, picture) == traversal_png(found, picture)


@pytest.mark.parametrize("size", [(1, 400), (400, 1), (3000, 2000), (64, 48)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_pictures_of_any_shape_stand_beside_the_texts(size: tuple[int, int], mode: str) -> None:
    figure = drawn(way("costs $5 or $\\frac", "_^{}", "x" * 200, " "), size, mode)
    left = figure.crop((0, 0, 340, figure.height)).getcolors(1 << 20) or []
    assert any(colour == (0, 0, 0) for _, colour in left)  # the picture is black
    assert figure.width == 1290


def test_light_settings_leave_no_stand_in() -> None:
    values = [value for value in light_settings().values() if isinstance(value, str)]
    assert not [value for value in values if value.startswith("#0")]


def test_files(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8))
    write_figure(tmp_path / "new/way.png", way("a"), picture)
    assert (tmp_path / "new/way.png").read_bytes() == traversal_png(way("a"), picture)
    with raises_code("E-PATH-ENDING", "way.svg"):
        write_figure(tmp_path / "way.svg", way("a"), picture)
