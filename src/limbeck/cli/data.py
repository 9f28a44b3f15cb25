"""``limbeck data``: generate scenes, import data sets and check them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limbeck.cli.outputs import writes
from limbeck.console import echo
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from limbeck.data.importers.base import FeatureSource

data_app = typer.Typer(
    name="data",
    help="Generate, import and check data sets (pairs directories).",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Column = Annotated[str | None, typer.Option(help="Column of the table, if it has another name.")]


@data_app.command("scenes")
def scenes(
    out: Annotated[Path, typer.Argument(help="Directory to create.")],
    n: Annotated[int, typer.Option("--n", "-n", help="Number of scenes.")] = 6000,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Width and height of the pictures in pixels.")] = 64,
    replace: Annotated[bool, typer.Option("--replace", help="Swap out an existing directory.")] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also score the trivial baselines.")] = False,
) -> None:
    """Generate a data set of small pictures with captions, tags, labels, and splits."""
    from limbeck.data.synthetic.generate import generate_scenes

    with _progress("scenes") as progress:
        generate_scenes(out, n, seed, size=size, replace=replace, progress=progress)
    echo(f"{out}: {n:,} scenes of {size} pixels, seed {seed}")
    if baselines:
        from limbeck.data.pairs import Pairs
        from limbeck.data.synthetic.baselines import BASELINES, baseline_recall

        for name, describe in BASELINES.items():
            recall = baseline_recall(Pairs.open(out), describe)
            echo(f"ridge from {name}: R@1 i2t {recall['i2t']:.1f} %, t2i {recall['t2i']:.1f} %")


@data_app.command("import")
def import_data(
    format: Annotated[
        str,
        typer.Argument(
            help="folder, mirflickr, flickr8k, karpathy, coco, nuswide, iaprtc12.", metavar="FORMAT"
        ),
    ],
    src: Annotated[Path, typer.Argument(help="Folder or zip file of the data set.")],
    out: Annotated[Path, typer.Argument(help="Pairs directory to create; pictures stay where they are.")],
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    features: Annotated[list[str] | None, typer.Option(help="Image features, NAME=FILE.npy.")] = None,
    feature_names: Annotated[
        Path | None, typer.Option(help="Names of the feature rows, one per line.")
    ] = None,
    feature_scale: Annotated[str, typer.Option(help="Multiply stored features by this; 6/255 works.")] = "1",
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Keep rows without a picture.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Swap out an existing directory.")] = False,
    table: Annotated[
        Path | None, typer.Option(help="Table of the rows: CSV, TSV, JSON, JSONL or Parquet (folder).")
    ] = None,
    id_column: Column = None,
    image_column: Column = None,
    caption_column: Column = None,
    tags_column: Column = None,
    labels_column: Column = None,
    split_column: Column = None,
    path_column: Annotated[
        str | None, typer.Option(help="Column of class paths, root first: a list, or text split at > or /.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Separator of tags or labels in one cell; default ','.")
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(help="Types of further columns, NAME=TYPE, …: text, int, float, bool, date or time."),
    ] = None,
    multiline: Annotated[
        bool, typer.Option("--multiline", help="Quoted CSV fields may contain line breaks.")
    ] = False,
    folder_labels: Annotated[
        bool,
        typer.Option("--folder-labels", help="Use each picture's folder as its label (without a table)."),
    ] = False,
    annotations: Annotated[Path | None, typer.Option(help="Folder of label files (mirflickr).")] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder or zip of the pictures, if outside SRC (not for folder, mirflickr)."),
    ] = None,
    year: Annotated[str | None, typer.Option(help="2014 or 2017, if SRC holds both (coco).")] = None,
    only: Annotated[str | None, typer.Option(help="Import only captions or only instances (coco).")] = None,
    concepts: Annotated[str | None, typer.Option(help="Label set: tc21 (default) or tc10 (nuswide).")] = None,
) -> None:
    """Import a folder with a table, MIRFlickr-25K, Flickr8k, Flickr30k, MS COCO, NUS-WIDE or IAPR TC-12."""
    from limbeck.data.importers import IMPORTERS, ImportOptions

    if format not in IMPORTERS:
        known = "; ".join(f"{key}: {importer.help}" for key, importer in IMPORTERS.items())
        raise typer.BadParameter(f"no format {format!r}; choose one of {known}", param_hint="FORMAT")
    options = ImportOptions(
        name=name,
        features=_features(features or [], feature_names, feature_scale),
        keep_missing=keep_missing,
        replace=replace,
        table=table,
        id_column=id_column,
        image_column=image_column,
        caption_column=caption_column,
        tags_column=tags_column,
        labels_column=labels_column,
        split_column=split_column,
        path_column=path_column,
        separator=separator,
        types=types,
        multiline=multiline,
        folder_labels=folder_labels,
        annotations=annotations,
        images=images,
        year=year,
        only=only,
        concepts=concepts,
    )
    for line in IMPORTERS[format](src, out, options).lines():
        echo(line)


@data_app.command("check")
@writes("json_file")
def check(
    directory: Annotated[Path, typer.Argument(help="Pairs directory.", metavar="DIR")],
    protocol: Annotated[str | None, typer.Option(help="Also check this protocol's splits and leaks.")] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every problem to this JSON file.")
    ] = None,
) -> None:
    """Check a pairs directory for faults.

    The check finds missing, unreadable and duplicate pictures, empty texts, and faults of labels, features
    and splits. It exits with status 1 if there are errors; warnings and notes do not count.
    """
    from limbeck.data.check import check_pairs
    from limbeck.data.pairs import Pairs
    from limbeck.data.protocols import load_protocol
    from limbeck.files import write_json

    pairs = Pairs.open(directory, strict=False)
    rules = None if protocol is None else load_protocol(protocol)
    with _progress("pictures") as progress:
        report = check_pairs(pairs, rules, progress)
    if json_file is not None:
        write_json(json_file, report.to_json())
    for line in report.lines():
        echo(line)
    if report.number("error"):
        raise LimbeckError(
            f"{directory}: {report.number('error')} kinds of errors; correct them and check again"
        )


def _features(given: list[str], names: Path | None, scale: str) -> tuple[FeatureSource, ...]:
    """Parse the ``NAME=FILE`` texts of the command line; exit with status 2 on wrong usage."""
    from limbeck.data.importers.base import FeatureSource

    top, _, bottom = scale.partition("/")
    try:
        factor = float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"{scale!r} is not a number or fraction; write for example 6/255", param_hint="--feature-scale"
        ) from None
    sources = []
    for text in given:
        key, equals, file = text.partition("=")
        if not (key and equals and file):
            raise typer.BadParameter(f"{text!r} is not NAME=FILE.npy", param_hint="--features")
        sources.append(FeatureSource(key, Path(file), names, factor))
    return tuple(sources)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error until the work ends; stay silent unless that is a terminal."""
    from rich.progress import Progress

    from limbeck.console import console as make_console

    console = make_console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
