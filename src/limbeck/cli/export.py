"""``limbeck export``: a model as ONNX files, with what each precision costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from limbeck.console import console, echo
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from rich.table import Table

    from limbeck.encoders.dual import DualEncoder
    from limbeck.evaluation.onnx_parity import Parity
    from limbeck.onnx.layouts import Layout
    from limbeck.onnx.precision import Precision


def export(
    model: str = typer.Argument(..., help="Run, model directory, pretrained model or hub id."),
    out: Path | None = typer.Option(None, "--onnx", "--out", help="New directory for the exported files."),
    layout: str = typer.Option(
        "limbeck",
        "--layout",
        help="limbeck, immich or transformers.js (ONNX), or transformers (a CLIPModel with weights).",
    ),
    precision: list[str] = typer.Option(
        ["fp32"], "--precision", help="fp32, fp16 or int8; may be given several times."
    ),
    pairs: Path | None = typer.Option(
        None, "--pairs", help="Pairs directory: measure the loss of recall on its pictures and texts."
    ),
    split: str = typer.Option("test", "--split", help="Split of --pairs that is measured."),
    card: Path | None = typer.Option(
        None, "--card", help="New directory to publish: weights, ONNX, model card and checksums."
    ),
    hub: str | None = typer.Option(
        None, "--hub", metavar="OWNER/NAME", help="Upload to the hub what --card would write."
    ),
    private: bool = typer.Option(False, "--private", help="With --hub: make a new repository private."),
    license: str | None = typer.Option(
        None, "--license", help="With --card or --hub: the licence that the model card names."
    ),
) -> None:
    """Write a model for use elsewhere: as ONNX graphs, compared with torch, or as a directory to publish.

    In limbeck's own layout each tower has a folder with its graphs and its tokenizer. The graphs contain the
    projection into the space of the model. The signs of their output are the hash codes, where the model has
    codes. Other layouts hold models that read pixels and token ids and that compare by cosine or codes.
    """
    from limbeck.encoders.load import load
    from limbeck.encoders.transformers_clip import NAME, save_clip_model
    from limbeck.files import check_new_directory
    from limbeck.onnx.layouts import LAYOUTS
    from limbeck.onnx.precision import check_precision

    known = ("limbeck", *LAYOUTS, NAME)
    if layout not in known:
        raise LimbeckError(f"--layout {layout!r}: choose one of {', '.join(known)}", code="E-OPTION-CHOICE")
    wanted = {check_precision(name) for name in precision}
    if out is None and card is None and hub is None:
        raise LimbeckError("export: give --onnx DIR, --card DIR or --hub OWNER/NAME", code="E-OPTION-MISSING")
    for option, folder in (("--onnx", out), ("--card", card)):
        if folder is not None:
            check_new_directory(folder, fix=f"choose another {option} or remove it")
    if layout == NAME and (pairs is not None or wanted != {"fp32"}):
        raise LimbeckError(
            f"--layout {NAME}: writes weights, not ONNX; leave out --precision and --pairs",
            code="E-OPTION-UNUSED",
        )
    if (private and hub is None) or (license is not None and card is None and hub is None):
        raise LimbeckError(
            "--private and --license describe a directory of --card or --hub; leave them out",
            code="E-OPTION-UNUSED",
        )
    encoder = load(model)
    if out is not None and layout == NAME:
        save_clip_model(encoder, out)
        echo(f"wrote a CLIPModel of transformers to {out}")
    elif out is not None:
        _export_onnx(encoder, out, wanted, LAYOUTS.get(layout), pairs, split)
    if card is not None:
        encoder.save_pretrained(card, license=license)
        echo(f"wrote the model, ONNX files and a model card to {card}")
    if hub is not None:
        echo(f"uploaded to {encoder.push_to_hub(hub, private=private, license=license)}")


def _export_onnx(
    encoder: DualEncoder,
    out: Path,
    wanted: set[Precision],
    layout: Layout | None,
    pairs: Path | None,
    split: str,
) -> None:
    from limbeck.data.pairs import Pairs
    from limbeck.evaluation.onnx_parity import Items, export_and_compare
    from limbeck.onnx.precision import PRECISIONS

    items = Items.built_in(encoder)
    if pairs is not None:
        opened = Pairs.open(pairs)
        items = Items.of_pairs(encoder, opened, opened.split_rows(split))
    ordered = [name for name in PRECISIONS if name in wanted]
    parities = export_and_compare(encoder, out, ordered, items, layout)
    console().print(_table(parities))
    compared = f"{len(items.image_rows):,} pictures and {len(items.texts):,} texts"
    echo(f"compared with torch on {compared}; wrote ONNX files in {out}")


def _table(parities: list[Parity]) -> Table:
    from rich.table import Table

    table = Table(box=None)
    reference = parities[0]
    shown = [("text", "text"), ("image", "picture")]
    heads = [f"{what} {name}" for what in ("least cosine", "equal bits") for _, name in shown]
    for head in ("precision", "size", *heads, *(reference.recall or {})):
        table.add_column(head, justify="left" if head == "precision" else "right")
    for one in parities:
        cosines = [f"{one.cosine[key]:.6f}" if key in one.cosine else "" for key, _ in shown]
        bits = [f"{one.bits[key]:.3%}" if one.bits and key in one.bits else "" for key, _ in shown]
        recall = [f"{value:.4f}" for value in (one.recall or {}).values()]
        size = f"{one.bytes / 1e6:.2f} MB" if one.bytes else ""
        table.add_row(one.precision, size, *cosines, *bits, *recall)
    return table
