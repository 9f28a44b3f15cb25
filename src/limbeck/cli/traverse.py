"""``limbeck traverse``: follow the geodesic from a picture to the root."""

from __future__ import annotations

from math import degrees
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.cli.outputs import writes
from limbeck.console import echo

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from limbeck.search import Index
    from limbeck.traversal import Traversal


@writes("json", "figure")
@encodes
def traverse(
    index: Annotated[Path, typer.Argument(help="Index of a model with a tangent or polar lift.")],
    image: Annotated[Path | None, typer.Option("--image", help="Start at a picture file.")] = None,
    like: Annotated[str | None, typer.Option("--like", help="Start at an item of the index.")] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Start at image features, .npy (D,) or (1, D).")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option("--texts", help="Candidate texts, one per line, instead of the index's.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Use captions, tags and classes of this pairs directory as texts."),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Points on the path, including both ends.")] = 200,
    all_texts: Annotated[
        bool,
        typer.Option(
            "--all", help="Take the nearest text at every step, even if it does not entail the step."
        ),
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Also write every step to this file.")] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Also draw the path to this .png file.")
    ] = None,
    media: Annotated[
        Path | None, typer.Option("--media", help="Current folder or zip of the pictures, if they moved.")
    ] = None,
    device: str | None = DEVICE,
) -> None:
    """Follow the path from a picture to the root and show the nearest entailing text at every step.

    The candidates are the captions, tags and class names of the index's items, or the texts of --texts or
    --data.
    """
    if sum(start is not None for start in (image, like, features)) != 1:
        raise typer.BadParameter("give exactly one start: --image, --like or --features")
    if texts is not None and data is not None:
        raise typer.BadParameter("give --texts or --data, not both")
    if figure is not None and features is not None:
        raise typer.BadParameter("--figure needs a picture; start at --image or --like")
    if media is not None and (figure is None or like is None):
        raise typer.BadParameter("--media locates the picture of --like for --figure; give all three")
    from limbeck.search import Index

    opened = Index.open(index)
    picture = None
    if figure is not None:  # read before the texts are encoded, which takes longer
        from limbeck.reporting.traversal import check_figure

        check_figure(figure)
        picture = _picture(opened, image, like, media)
    traversal = opened.traverse(
        image=image,
        like=like,
        features=None if features is None else _features(features),
        texts=_texts(texts, data),
        steps=steps,
        entailed=not all_texts,
    )
    start = str(image or like or features)
    _print(traversal, start)
    if json is not None:
        from limbeck.files import write_json

        about = {"index": str(opened.store.path), "space": opened.space.to_json(), "start": start}
        write_json(json, about | traversal.to_json())
    if figure is not None:
        from limbeck.reporting.traversal import write_figure

        assert picture is not None
        write_figure(figure, traversal, picture)
        echo(f"figure: {figure}")


def _picture(index: Index, image: Path | None, like: str | None, media: Path | None) -> Image.Image:
    from limbeck.pictures import open_picture

    if image is not None:
        return open_picture(image)
    return index.picture(index.item(str(like)), media=media)


def _features(file: Path) -> np.ndarray:
    from limbeck.errors import LimbeckError
    from limbeck.index.arrays import open_queries

    rows = open_queries(file)
    if len(rows) != 1:
        raise LimbeckError(
            f"{file}: holds {len(rows)} rows; a traversal starts at one row, give (D,) or (1, D)",
            code="E-ARRAY-SHAPE",
        )
    return rows


def _texts(file: Path | None, data: Path | None) -> list[str] | None:
    """Return the texts of a file or a pairs directory; None stands for those of the index."""
    if file is not None:
        from limbeck.index.texts import read_texts

        return read_texts(file)
    if data is not None:
        from limbeck.data.pairs import Pairs
        from limbeck.encoding import PairsSource

        return PairsSource(Pairs.open(data)).texts()
    return None


def _print(traversal: Traversal, start: str) -> None:
    """Print the path as a table; report a start that only the root entails, and texts left out."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from limbeck.console import console
    from limbeck.traversal import ROOT

    count = traversal.steps[0].entailing
    held = f"{count:,} of {traversal.texts:,} texts {'entails' if count == 1 else 'entail'} it"
    echo(f"{start}, radius {traversal.radius:.3f}: {held}")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("path", "radius", "inside", "entailing"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("nearest text that entails" if traversal.entailed else "nearest text", overflow="fold")
    for step in traversal.chain:
        inside = "all" if step.inside is None else f"{degrees(step.inside):.1f}°"
        share = f"{step.share:.0%}"
        table.add_row(share, f"{step.radius:.3f}", inside, f"{step.entailing:,}", escape(step.text))
    console().print(table)
    if not count:
        missed = f"{traversal.nearest_cone!r} is nearest, {degrees(-traversal.nearest_inside):.1f}° away"
        hint = "; --all takes the nearest text at every step" if traversal.entailed else ""
        echo(f"only {ROOT} entails the start: {missed}{hint}")
    if traversal.unknown:
        some = ", ".join([*map(repr, traversal.unknown[:3]), *(["…"] * (len(traversal.unknown) > 3))])
        echo(
            f"{len(traversal.unknown):,} text(s) left out because the model knows none of their words: {some}"
        )
