"""``limbeck compress``: from a model and pictures to a model with codes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.cli.outputs import writes
from limbeck.console import console, echo
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from rich.table import Table

    from limbeck.evaluation.compress import LabelUse, Result, Tried
    from limbeck.evaluation.ranking_kept import Agreement

_QUERY = {"text": "text", "image": "picture"}


@writes("json_file")
@encodes
def compress(
    model: str = typer.Argument(..., help="Run, model directory, pretrained model or hub id without codes."),
    pictures: Path = typer.Argument(
        ..., help="Folder of pictures, pairs directory, table, or set encoded with MODEL."
    ),
    out: Path = typer.Option(
        ..., "--out", help="New model directory; with several lengths OUT-64, OUT-128, …"
    ),
    bits: str = typer.Option("64", "--bits", help="Length of the codes, or several: 64,128,256."),
    seed: int = typer.Option(0, "--seed", help="Seed of the split and of the maps."),
    labels: str = typer.Option(
        "auto", "--labels", help="Fit codes to the pictures' labels: auto (where they help), always or never."
    ),
    json_file: Path | None = typer.Option(None, "--json", help="Also write all figures to this JSON file."),
    device: str | None = DEVICE,
) -> None:
    """Fit codes to a model's embeddings of your pictures, and keep the codes that preserve its ranking best.

    A fifth of the pictures, at most 500, and their texts are held out as queries. No code is fitted to them.
    """
    from limbeck.encoders.load import load
    from limbeck.evaluation.compress import Compression, of_floats
    from limbeck.files import check_new_directory, write_json
    from limbeck.index.encoded import is_encoded

    lengths, use = _lengths(bits), _use(labels)
    places = {n: out if len(lengths) == 1 else out.with_name(f"{out.name}-{n}") for n in lengths}
    for place in places.values():
        check_new_directory(place, fix="choose another --out or remove it")
    loaded = load(model)
    unread: list[str] = []
    compression = Compression.of(loaded, model, pictures, seed, lambda item, reason: unread.append(reason))
    if unread:
        echo(f"{len(unread)} picture(s) could not be read (the last: {unread[-1]})", err=True)
    floats = of_floats(compression.features)
    counts = compression.counts()
    if compression.text_kind == "everyday":
        echo("the pictures have no texts: built-in names of everyday things stand in for queries")
    echo(", ".join(f"{count:,} {what}" for what, count in counts.items()))
    lengths_told: dict[str, object] = {}
    told = {
        "model": model,
        "pictures": str(pictures),
        "texts": compression.text_kind,
        "seed": seed,
        "float bytes": compression.float_bytes,
        "counts": counts,
        "floats": {kind: asdict(one) for kind, one in floats.items()},
        "lengths": lengths_told,
    }
    for length, place in places.items():
        tried = compression.try_candidates(length, use)
        results = [one.result for one in tried]
        best = results[0]
        console().print(_table(results, floats, length))
        if any(one.candidate.label_weight for one in tried):
            echo(_labels(tried, floats))
        compression.model(tried[0]).save(place, graphs=True)
        search = "asymmetric" if best.prefers_asymmetric else "symmetric"
        echo(
            f"{place}: makes codes by {best.candidate}, {length // 8} bytes per item instead of "
            f"{compression.float_bytes:,}; the default search of its indexes is {search}"
        )
        lengths_told[str(length)] = {
            "chosen": best.candidate,
            "search": search,
            "candidates": [asdict(one) for one in results],
        }
    if json_file is not None:
        write_json(json_file, told)
    if not is_encoded(pictures):  # whose points are floats
        echo(
            f"try: limbeck index build {pictures} --model {places[lengths[0]]} --out INDEX --keep-embeddings"
        )


def _lengths(bits: str) -> list[int]:
    from limbeck.spaces import Hamming

    try:
        lengths = [int(part) for part in bits.split(",")]
    except ValueError:
        raise LimbeckError(
            f"--bits: {bits!r} is not a list of whole numbers; write for example 64,128", code="E-OPTION-FORM"
        ) from None
    for length in lengths:
        Hamming(length)
    return list(dict.fromkeys(lengths))


def _labels(tried: list[Tried], floats: dict[str, Agreement]) -> str:
    """Say how much labels improve the search of held-out queries."""
    plain = next(one for one in tried if not one.candidate.label_weight)
    known = [one for one in tried if one.candidate.label_weight]
    best = tried[0] if tried[0] in known else max(known, key=lambda one: one.result.precision)
    own = [one.mean_precision for one in floats.values() if one.mean_precision is not None]
    kept = (
        "they are used"
        if tried[0] is best
        else "they gain too little or cost too much, so the codes do without"
    )
    return (
        f"labels: mAP {sum(own) / max(1, len(own)):.3f} of the floats, {plain.result.precision:.3f} of "
        f"{plain.candidate.name}, {best.result.precision:.3f} of {best.candidate.name}; overlap@10 "
        f"{plain.result.score:.3f} and {best.result.score:.3f} (means over queries and searches): {kept}"
    )


def _use(labels: str) -> LabelUse:
    from limbeck.evaluation.compress import LabelUse

    try:
        return LabelUse(labels)
    except ValueError:
        raise LimbeckError(
            f"--labels: {labels!r}; choose {', '.join(LabelUse)}", code="E-OPTION-CHOICE"
        ) from None


def _table(results: list[Result], floats: dict[str, Agreement], bits: int) -> Table:
    from rich.table import Table

    table = Table(
        box=None, title=f"{bits} bits, share of the float ranking on held-out queries", title_justify="left"
    )
    for head in ("query", "codes by", "search", "overlap@10", "top 1 in 100", "overlap@10 reranked"):
        table.add_column(head, justify="left" if head in ("query", "codes by", "search") else "right")
    extra = [
        (head, field)
        for head, field in (
            ("R@10", "recall"),
            ("R@10 reranked", "reranked_recall"),
            ("mAP", "mean_precision"),
        )
        if any(getattr(one, field) is not None for one in floats.values())
    ]
    for head, _ in extra:
        table.add_column(head, justify="right")

    def add(kind: str, name: str, search: str, one: Agreement) -> None:
        shown = [getattr(one, field) for _, field in extra]
        cells = [f"{value:.3f}" for value in (one.overlap, one.top, one.reranked)]
        cells += ["" if value is None else f"{value:.3f}" for value in shown]
        table.add_row(kind, name, search, *cells)

    for kind, one in floats.items():
        add(_QUERY[kind], "floats", "exact", one)
        for result in results:
            name = f"{result.candidate} *" if result is results[0] else result.candidate
            add(_QUERY[kind], name, "codes", result.codes[kind])
            add(_QUERY[kind], name, "asymmetric", result.asymmetric[kind])
    return table
