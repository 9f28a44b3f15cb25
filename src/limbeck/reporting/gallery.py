"""Write a contact sheet: the pictures of search hits in one image file, one row per query."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.files import STANDARD_OUTPUT, write_atomic
from limbeck.pictures import contain

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

_CELL, _GAP, _TITLE, _LINES = 168, 12, 30, 3
_LINE_HEIGHT = 15
_INK, _FAINT, _PAPER, _EMPTY = "#1c2530", "#66717e", "#ffffff", "#e8ebef"


@dataclass(frozen=True)
class Cell:
    """One hit on the sheet.

    Attributes:
        picture: opens the picture; if it raises a `LimbeckError`, the cell shows "no picture".
        lines: up to three short lines below the picture.
    """

    picture: Callable[[], Image.Image]
    lines: Sequence[str]


def contact_sheet(path: Path | str, rows: Sequence[tuple[str, Sequence[Cell]]], *, columns: int = 6) -> None:
    """Write a contact sheet: rows of (query, its hits), from top to bottom, wrapped after ``columns`` hits.

    The path ends in ``.png`` or ``.jpg``, or is ``-`` for a PNG to standard output.

    Raises:
        LimbeckError: the suffix is wrong, there are no hits, or the file cannot be written.
    """
    from PIL import Image, ImageDraw, ImageFont

    path = Path(path)
    if path != STANDARD_OUTPUT and path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise LimbeckError(
            f"{path}: a gallery is a picture; use a name that ends in .png or .jpg", code="E-PATH-ENDING"
        )
    if not any(cells for _, cells in rows):
        raise LimbeckError(
            f"{path}: there are no hits to show; search with a larger -k", code="E-RESULT-MISSING"
        )
    across = min(columns, max(len(cells) for _, cells in rows))
    tall = _CELL + _LINES * _LINE_HEIGHT + _GAP
    depths = [_TITLE + -(-len(cells) // across) * tall for _, cells in rows]
    size = (_GAP + across * (_CELL + _GAP), _GAP + sum(depths))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    title_font, font = ImageFont.load_default(18), ImageFont.load_default(12)
    top = _GAP
    for (title, cells), depth in zip(rows, depths, strict=True):
        draw.text((_GAP, top), _fit(draw, title, title_font, size[0] - 2 * _GAP), fill=_INK, font=title_font)
        for number, cell in enumerate(cells):
            left = _GAP + number % across * (_CELL + _GAP)
            upper = top + _TITLE + number // across * tall
            _paste(sheet, draw, cell, (left, upper), font)
            for line, text in enumerate(cell.lines[:_LINES]):
                place = (left, upper + _CELL + 3 + line * _LINE_HEIGHT)
                draw.text(place, _fit(draw, text, font, _CELL), fill=_INK if line == 0 else _FAINT, font=font)
        top += depth
    data = io.BytesIO()
    sheet.save(data, "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG")
    write_atomic(path, data.getvalue())


def _paste(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, cell: Cell, corner: tuple[int, int], font: object
) -> None:
    """Paste the whole picture, centred in its cell; small pictures are enlarged."""
    left, top = corner
    draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), fill=_EMPTY)
    try:
        picture = contain(cell.picture(), _CELL, _CELL)
    except LimbeckError:
        draw.text((left + 8, top + _CELL // 2 - 8), "no picture", fill=_FAINT, font=font)  # type: ignore[arg-type]
        return
    sheet.paste(picture, (left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2))


def _fit(draw: ImageDraw.ImageDraw, text: str, font: object, width: int) -> str:
    """Shorten a text with an ellipsis to fit into ``width`` pixels."""
    text = " ".join(text.split())
    if draw.textlength(text, font=font) <= width:  # type: ignore[arg-type]
        return text
    while text and draw.textlength(text + "…", font=font) > width:  # type: ignore[arg-type]
        text = text[:-1]
    return text + "…"
