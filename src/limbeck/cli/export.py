"""``limbeck export``: a model as ONNX files, with what each precision costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from limbeck.console import console, echo

if TYPE_CHECKING:
    from rich.table import Table

    from limbeck.evaluation.onnx_parity import Parity


def export(
    model: str = typer.Argument(..., help="Run, model directory, pretrained model or hub id."),
    onnx: Path = typer.Option(..., "--onnx", help="New directory for the ONNX files."),
    precision: list[str] = typer.Option(
        ["fp32"], "--precision", help="fp32, fp16 or int8; may be given several times."
    ),
    pairs: Path | None = typer.Option(
        None, "--pairs", help="Pairs directory: measure the loss of recall on its pictures and texts."
    ),
    split: str = typer.Option("test", "--split", help="Split of --pairs that is measured."),
) -> None:
    """Write the towers of a model as ONNX graphs with their preprocessing, and compare them with torch.

    Each tower has a folder with its graphs and its tokenizer. The graphs contain the projection into the
    space of the model. The signs of their output are the hash codes, where the model has codes.
    """
    from limbeck.data.pairs import Pairs
    from limbeck.encoders.load import load
    from limbeck.evaluation.onnx_parity import Items, export_and_compare
    from limbeck.files import check_new_directory
    from limbeck.onnx.precision import PRECISIONS, check_precision

    wanted = {check_precision(name) for name in precision}
    check_new_directory(onnx, fix="choose another --onnx or remove it")
    encoder = load(model)
    items = Items.built_in(encoder)
    if pairs is not None:
        opened = Pairs.open(pairs)
        items = Items.of_pairs(encoder, opened, opened.split_rows(split))
    parities = export_and_compare(encoder, onnx, [name for name in PRECISIONS if name in wanted], items)
    console().print(_table(parities))
    compared = f"{len(items.image_rows):,} pictures and {len(items.texts):,} texts"
    echo(f"compared with torch on {compared}; ONNX files in {onnx}")


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
