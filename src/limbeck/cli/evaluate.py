"""``limbeck evaluate``: measure a run, or codes from elsewhere, by a protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.cli.outputs import writes


@writes("json")
@encodes
def evaluate(
    run: Annotated[Path | None, typer.Argument(help="Run or model directory.")] = None,
    data: Annotated[Path | None, typer.Option(help="Pairs directory; the run's own by default.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol; the run's own by default.")] = None,
    codes: Annotated[
        Path | None,
        typer.Option(help="Codes from elsewhere: .npz, .safetensors or a directory of .npy, instead of RUN."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the result there as well.")] = None,
    label: Annotated[str | None, typer.Option(help="Name of the row in tables.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed to record with the result.")] = None,
    ceiling: Annotated[bool, typer.Option(help="Also learn codes from labels.")] = True,
    like: Annotated[
        str | None,
        typer.Option(help="A public repository's mAP: qinlab, dchmt, mith, ssah, twdh, ucch or deephash."),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="Measure the first so many bits of the codes, of a nested model say.")
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Also fit a linear classifier to the image features before the lift."),
    ] = False,
    by_label: Annotated[
        bool,
        typer.Option("--by-label", help="Also the mAP of each label by itself, of rare and unseen ones."),
    ] = False,
    exact_words: Annotated[
        bool,
        typer.Option(
            "--exact-words", help="A control: texts ask only with the class names they say word for word."
        ),
    ] = False,
    unseen: Annotated[
        str | None,
        typer.Option(help="Labels that training did not know, by commas; the run's hidden ones by default."),
    ] = None,
    device: str | None = DEVICE,
) -> None:
    """Measure a run by a protocol, or codes from elsewhere with --codes.

    The result is printed as tables and written to RUN/result.json; see `limbeck list protocols`. Where the
    protocol has a section classification, pictures are also classified zero-shot; of a space with cones it is
    also told where pictures and texts lie.

    A file of codes holds query_image, query_text, database_image, database_text (uint8 packed as by
    numpy.packbits, or -1 and +1) in the order of the protocol, and query_labels and database_labels where no
    --data is given. --codes random:64 and oracle:64 make the floor and the ceiling of a table.
    """
    if (run is None) == (codes is None):
        raise typer.BadParameter("give either RUN or --codes FILE")
    if probe and codes is not None:
        raise typer.BadParameter("--probe wants a model, --codes has none")
    if (by_label or unseen is not None or exact_words) and codes is not None:
        raise typer.BadParameter("--by-label, --unseen and --exact-words want a model, --codes has none")
    if bits is not None and codes is not None:
        raise typer.BadParameter("--bits wants a model, --codes has none; cut the codes instead")
    from limbeck.console import console
    from limbeck.reporting.codes import code_tables
    from limbeck.reporting.secondary_metrics import further_tables
    from limbeck.reporting.tables import result_tables

    if codes is not None:
        from limbeck.evaluation.external_codes import evaluate_codes

        result = evaluate_codes(
            codes, data, protocol, json=json, label=label, seed=seed, ceiling=ceiling, like=like
        )
    else:
        from limbeck.evaluation.run import evaluate as evaluate_model

        result = evaluate_model(
            str(run), data, protocol, json=json, label=label, seed=seed, ceiling=ceiling, like=like,
            probe=probe, bits=bits, by_label=by_label, exact_words=exact_words,
            unseen=None if unseen is None else [name.strip() for name in unseen.split(",")],
        )  # fmt: skip
    for table in [*result_tables([result]), *code_tables([result]), *further_tables([result])]:
        console().print(table.rich())
