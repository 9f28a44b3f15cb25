"""``limbeck distil-text``: a small text tower for a model, whose image side stays as it is."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.console import echo


@encodes
def distil_text(
    model: str = typer.Argument(..., help="Teacher: run, model directory, pretrained model or hub id."),
    texts: Path = typer.Argument(..., help="Text file with one text per line, or pairs directory."),
    out: Path = typer.Option(..., "--out", help="New model directory."),
    to: str = typer.Option(
        "text", "--to", help="What the tower learns: the teacher's text outputs, or the image embeddings."
    ),
    tokens: int = typer.Option(7000, "--tokens", min=64, help="Size of the vocabulary."),
    rank: int | None = typer.Option(None, "--rank", min=1, help="Width of the table; default: full."),
    invented: int = typer.Option(
        30_000,
        "--invented",
        min=0,
        help="Number of phrases to invent from the teacher's vocabulary, besides the texts.",
    ),
    split: str | None = typer.Option(
        None, "--split", help="Split of a pairs directory; default: train where it has one, else all rows."
    ),
    seed: int = typer.Option(0, "--seed", help="Seed of the invented phrases."),
    device: str | None = DEVICE,
) -> None:
    """Fit a table of token vectors to a model's text tower, without pictures.

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
    check_new_directory(out, fix="choose another --out or remove it")
    settings = distil.StaticSettings(tokens=tokens, rank=rank, invented=invented, seed=seed)
    if to == "image":
        pairs = Pairs.open(texts)
        found = distil.distil_to_images(load(model), pairs, distil.split_or_all(pairs, split), settings)
    else:
        given = distil.read_texts(texts, split)
        found = distil.distil_text(load(model), given, settings)
    found.model.save(out, graphs=True)
    if found.unknown:
        echo(f"note: {found.unknown:,} texts left out, as the teacher knows no word of them", err=True)
    echo(
        f"{out}: fitted to {found.texts:,} texts; cosine {found.cosine:.3f} to its targets on held-out ones; "
        f"text tower {found.bytes / 1e6:.2f} MB"
    )
