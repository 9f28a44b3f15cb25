"""``limbeck evaluate``: evaluate a run, or external hash codes, under a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.cli.outputs import writes


@writes("json")
@encodes
def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="Run, model directory, pretrained model or hub id.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Pairs directory; default: the run's.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol; default: the run's.")] = None,
    codes: Annotated[
        Path | None,
        typer.Option(help="External codes instead of RUN: .npz, .safetensors or a directory of .npy."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Also write the result to this file.")] = None,
    label: Annotated[str | None, typer.Option(help="Name of the result's row in tables.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed to record with the result.")] = None,
    ceiling: Annotated[bool, typer.Option(help="Also learn codes from labels, as an upper bound.")] = True,
    metric_preset: Annotated[
        str | None,
        typer.Option(
            help="Compute mAP as this public code does: qinlab, dchmt, mith, ssah, twdh, ucch or deephash."
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(help="Evaluate only the first BITS bits of each code, as nested models allow."),
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Also fit a linear probe to the image features before the lift."),
    ] = False,
    by_label: Annotated[
        bool,
        typer.Option("--by-label", help="Also compute the mAP per label, and of rare and unseen labels."),
    ] = False,
    exact_words: Annotated[
        bool,
        typer.Option(
            "--exact-words", help="As a control, reduce query texts to the class names they contain verbatim."
        ),
    ] = False,
    asymmetric: Annotated[
        bool,
        typer.Option(
            "--asymmetric",
            help="Compare the real numbers of queries with the items' codes, as a separate row.",
        ),
    ] = False,
    unseen: Annotated[
        str | None,
        typer.Option(
            help="Labels unseen in training, separated by commas; default: the run's hidden labels."
        ),
    ] = None,
    device: str | None = DEVICE,
) -> None:
    """Evaluate a run under a protocol, or external codes with --codes.

    The result is printed as tables and written to RUN/result.json. `limbeck list protocols` lists the
    protocols. If the protocol has a section classification, pictures are also classified zero-shot. If the
    space has entailment cones, the geometry of pictures and texts is reported too.

    A file of codes holds query_image, query_text, database_image and database_text in the order of the
    protocol: uint8 packed as by numpy.packbits, or -1 and +1. Without --data it also holds query_labels and
    database_labels. --codes random:64 and --codes oracle:64 give the floor and the ceiling of a table.
    """
    if (run is None) == (codes is None):
        raise typer.BadParameter("give either RUN or --codes FILE")
    if probe and codes is not None:
        raise typer.BadParameter("--probe needs a model; give RUN instead of --codes")
    if (by_label or unseen is not None or exact_words or asymmetric) and codes is not None:
        raise typer.BadParameter(
            "--by-label, --unseen, --exact-words and --asymmetric need a model; give RUN instead of --codes"
        )
    if bits is not None and codes is not None:
        raise typer.BadParameter("--bits needs a model; with --codes shorten the codes themselves")
    from limbeck.console import console
    from limbeck.reporting.codes import code_tables
    from limbeck.reporting.secondary_metrics import further_tables
    from limbeck.reporting.tables import result_tables

    if codes is not None:
        from limbeck.evaluation.external_codes import evaluate_codes

        result = evaluate_codes(
            codes,
            data,
            protocol,
            json=json,
            label=label,
            seed=seed,
            ceiling=ceiling,
            metric_preset=metric_preset,
        )
    else:
        from limbeck.evaluation.run import evaluate as evaluate_model

        result = evaluate_model(
            str(run), data, protocol, json=json, label=label, seed=seed, ceiling=ceiling,
            metric_preset=metric_preset,
            probe=probe, bits=bits, by_label=by_label, exact_words=exact_words,
            asymmetric=asymmetric,
            unseen=None if unseen is None else [name.strip() for name in unseen.split(",")],
        )  # fmt: skip
    for table in [*result_tables([result]), *code_tables([result]), *further_tables([result])]:
        console().print(table.rich())
