"""``limbeck distil-text``: a small text tower for a model, whose image side stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.console import echo


@encodes
def distil_text(
    model: str = typer.Argument(..., help="Teacher: run, model directory, pretrained model or hub id."),
    texts: Path = typer.Argument(..., help="Text file with one text per line, or pairs directory."),
    out: Path = typer.Option(..., "--out", help="New model directory."),
    kind: str = typer.Option(
        "static",
        "--kind",
        help="static (a table of tokens) or transformer (a small network).",
    ),
    to: str = typer.Option(
        "text", "--to", help="What the tower learns: the teacher's text outputs, or the image embeddings."
    ),
    size: float = typer.Option(3.0, "--size", min=0.01, help="Largest size of a table in megabytes."),
    width: int = typer.Option(128, "--width", min=32, help="Width of a transformer, a multiple of 32."),
    layers: int = typer.Option(2, "--layers", min=1, help="Number of layers of a transformer."),
    epochs: int | None = typer.Option(
        None,
        "--epochs",
        min=1,
        help="Passes over the texts; default: 4 for a table (1 with --to image), else 10.",
    ),
    invented: int = typer.Option(
        220_000,
        "--invented",
        min=0,
        help="Number of texts to make up from the teacher's vocabulary and the given texts.",
    ),
    split: str | None = typer.Option(
        None, "--split", help="Split of a pairs directory; default: train where it has one, else all rows."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the texts that are made up."),
    device: str | None = DEVICE,
) -> None:
    """Fit a small text tower to a model's text tower, without pictures.

    The result has the image side of the teacher, so it answers queries over an index of the teacher:
    limbeck index encoder INDEX --model SMALL.
    """
    from limbeck.data.pairs import Pairs
    from limbeck.encoders.load import load
    from limbeck.errors import LimbeckError
    from limbeck.files import check_new_directory
    from limbeck.training import distil_text as distil

    if to not in ("text", "image"):
        raise LimbeckError(f"--to {to!r}: choose text or image", code="E-OPTION-CHOICE")
    if kind not in ("static", "transformer"):
        raise LimbeckError(f"--kind {kind!r}: choose static or transformer", code="E-OPTION-CHOICE")
    if width % 32:
        raise LimbeckError(f"--width {width}: give a multiple of 32", code="E-OPTION-RANGE")
    check_new_directory(out, fix="choose another --out or remove it")
    settings = distil.TextSettings(
        kind=cast("distil.Kind", kind),
        size=size,
        width=width,
        layers=layers,
        invented=invented,
        epochs=epochs,
        seed=seed,
    )
    if to == "image":
        pairs = Pairs.open(texts)
        found = distil.distil_to_images(load(model), pairs, distil.split_or_all(pairs, split), settings)
    else:
        given = distil.read_texts(texts, split)
        teacher = load(model)
        lesson = distil.lesson_of_texts(teacher, given, settings)
        if lesson.unknown:
            echo(
                f"note: {lesson.unknown:,} texts were left out, because the teacher knows no word of them",
                err=True,
            )
        found = distil.distil_text(teacher, lesson, settings)
    found.model.save(out, graphs=True)
    echo(
        f"{out}: cosine {found.cosine:.3f} to its targets on held-out texts; "
        f"text backbone {found.bytes / 1e6:.2f} MB"
    )
