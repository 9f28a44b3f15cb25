"""``limbeck data import``: one sub-command per format, with its own options and those of every format."""

# No postponed annotations: Typer reads those of `_common` and of the commands as objects.
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from limbeck.console import echo

if TYPE_CHECKING:
    from limbeck.data.importers import FeatureSource, ImportReport

import_app = typer.Typer(
    name="import",
    help="Import a data set as a pairs directory. Its pictures stay where they are.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Src = Annotated[Path, typer.Argument(help="Folder or zip file of the data set.")]
Out = Annotated[Path, typer.Argument(help="Pairs directory to create.")]
Images = Annotated[Path | None, typer.Option(help="Folder or zip of the pictures, if they are outside SRC.")]
Column = Annotated[str | None, typer.Option(help="Column of the table, if it has another name.")]


class Common(TypedDict):
    """The fields of `limbeck.data.importers.ImportOptions`."""

    name: str | None
    features: "tuple[FeatureSource, ...]"
    keep_missing: bool
    replace: bool


def _common(
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    features: Annotated[list[str] | None, typer.Option(help="Image features, NAME=FILE.npy.")] = None,
    feature_names: Annotated[
        Path | None, typer.Option(help="Names of the feature rows, one per line.")
    ] = None,
    feature_scale: Annotated[str, typer.Option(help="Factor for stored features, such as 2 or 6/255.")] = "1",
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Keep rows without a picture.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing directory.")] = False,
) -> Common:
    """Parse the options of every format.

    Raises:
        typer.BadParameter: wrong usage (exit status 2).
    """
    from limbeck.data.importers import FeatureSource

    numerator, _, denominator = feature_scale.partition("/")
    try:
        scale = float(numerator) / float(denominator or 1)
    except (ValueError, ZeroDivisionError):
        raise typer.BadParameter(
            f"{feature_scale!r} is not a number or fraction; write for example 6/255",
            param_hint="--feature-scale",
        ) from None
    sources = []
    for text in features or []:
        key, equals, file = text.partition("=")
        if not (key and equals and file):
            raise typer.BadParameter(f"{text!r} is not NAME=FILE.npy", param_hint="--features")
        sources.append(FeatureSource(key, Path(file), feature_names, scale))
    return Common(name=name, features=tuple(sources), keep_missing=keep_missing, replace=replace)


def _format(importer: Callable[..., "ImportReport"]) -> Callable[..., "ImportReport"]:
    """Register an importer as a sub-command that also has the options of `_common` and prints the report."""
    shared = inspect.signature(_common).parameters
    _, *own = inspect.signature(importer).parameters.values()

    @functools.wraps(importer)
    def command(**values: Any) -> None:
        common = _common(**{name: values.pop(name) for name in shared})
        for line in importer(common, **values).lines():
            echo(line)

    parameters = [*own, *shared.values()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    import_app.command(importer.__name__)(command)
    return importer


@_format
def folder(
    common: Common,
    src: Src,
    out: Out,
    table: Annotated[
        Path | None, typer.Option(help="Table of the rows: CSV, TSV, JSON, JSONL or Parquet.")
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
) -> "ImportReport":
    """Import your own pictures, with a table or not.

    Without a table the texts next to the pictures are read, or the folders become labels.
    """
    from limbeck.data.importers import FolderOptions, import_folder

    options = FolderOptions(
        **common,
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
    )
    return import_folder(src, out, options)


@_format
def shards(
    common: Common,
    src: Annotated[
        Path, typer.Argument(help="Folder of shards, one shard, or a pattern: 'dir/{00000..00099}.tar'.")
    ],
    out: Out,
    image_column: Annotated[
        str | None, typer.Option(help="Parquet column of the encoded pictures; default: the only one.")
    ] = None,
    caption_column: Column = None,
    fields: Annotated[
        str | None,
        typer.Option(help="Further JSON fields or Parquet columns to keep: url,width,…"),
    ] = None,
    unchecked: Annotated[
        bool, typer.Option("--unchecked", help="Do not decode the pictures; damaged ones are then kept.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Shards read at a time; default: one per core.")
    ] = None,
) -> "ImportReport":
    """Import webdataset shards (tar) or Parquet with encoded pictures, without copying them.

    A sample of a tar is KEY.jpg, KEY.txt and KEY.json, as img2dataset writes it. Damaged pictures are left
    out, counted, and listed in OUT/skipped.jsonl.
    """
    from limbeck.data.importers import ShardOptions, import_shards

    options = ShardOptions(
        **common,
        image_column=image_column,
        caption_column=caption_column,
        fields=tuple(filter(None, map(str.strip, (fields or "").split(",")))),
        checked=not unchecked,
        workers=workers,
    )
    return import_shards(src, out, options)


@_format
def mirflickr(
    common: Common,
    src: Src,
    out: Out,
    annotations: Annotated[
        Path | None, typer.Option(help="Folder or zip of the label files, if they are outside SRC.")
    ] = None,
) -> "ImportReport":
    """Import MIRFlickr-25K, as downloaded or as 20,015 aligned rows.

    The aligned rows are the lists all_imgs.txt, all_tags.txt and all_labels.txt.
    """
    from limbeck.data.importers import MirflickrOptions, import_mirflickr

    return import_mirflickr(src, out, MirflickrOptions(**common, annotations=annotations))


@_format
def flickr8k(common: Common, src: Src, out: Out, images: Images = None) -> "ImportReport":
    """Import Flickr8k or Flickr30k with their caption file.

    The caption file is captions.txt, Flickr8k.token.txt, results*.token or results*.csv. The lists
    Flickr_8k.*Images.txt give the splits.
    """
    from limbeck.data.importers import PictureOptions, import_flickr8k

    return import_flickr8k(src, out, PictureOptions(**common, images=images))


@_format
def karpathy(common: Common, src: Src, out: Out, images: Images = None) -> "ImportReport":
    """Import Karpathy's splits of Flickr8k, Flickr30k or COCO.

    SRC is dataset_flickr8k.json, dataset_flickr30k.json or dataset_coco.json, or the folder or zip with
    one of them.
    """
    from limbeck.data.importers import PictureOptions, import_karpathy

    return import_karpathy(src, out, PictureOptions(**common, images=images))


@_format
def hierarcaps(common: Common, src: Src, out: Out, images: Images = None) -> "ImportReport":
    """Import HierarCaps: chains of captions from general to specific.

    SRC is the CSV file with the columns captions and image_url, or the folder or zip with it. The captions
    of a chain are joined by =>.
    """
    from limbeck.data.importers import PictureOptions, import_hierarcaps

    return import_hierarcaps(src, out, PictureOptions(**common, images=images))


@_format
def coco(
    common: Common,
    src: Src,
    out: Out,
    images: Images = None,
    year: Annotated[str | None, typer.Option(help="Year to import, 2014 or 2017, if SRC has both.")] = None,
    only: Annotated[
        str | None, typer.Option(help="Import only this kind of annotation: captions or instances.")
    ] = None,
) -> "ImportReport":
    """Import MS COCO with captions and instances, 2014 or 2017.

    The layout is annotations/captions_*.json and annotations/instances_*.json, with the pictures in
    train2017/ and val2017/.
    """
    from limbeck.data.importers import CocoOptions, import_coco

    return import_coco(src, out, CocoOptions(**common, images=images, year=year, only=only))


@_format
def nuswide(
    common: Common,
    src: Src,
    out: Out,
    images: Images = None,
    concepts: Annotated[str, typer.Option(help="Set of labels: tc21 or tc10.")] = "tc21",
) -> "ImportReport":
    """Import NUS-WIDE: image list, tags, and 21 or 10 concepts.

    The files are Imagelist.txt, Labels_*.txt, and TagList1k.txt with AllTags1k.txt, or All_Tags.txt.
    """
    from limbeck.data.importers import NuswideOptions, import_nuswide

    return import_nuswide(src, out, NuswideOptions(**common, images=images, concepts=concepts))


@_format
def iaprtc12(common: Common, src: Src, out: Out, images: Images = None) -> "ImportReport":
    """Import IAPR TC-12 with SAIAPR's region labels.

    The layout is images/, annotations_complete_eng/, and SAIAPR's labels.txt and wlist.txt.
    """
    from limbeck.data.importers import PictureOptions, import_iaprtc12

    return import_iaprtc12(src, out, PictureOptions(**common, images=images))


LabelNames = Annotated[
    Path | None, typer.Option(help="File with the name of each label column, one per line.")
]


@_format
def lists(
    common: Common, src: Src, out: Out, images: Images = None, label_names: LabelNames = None
) -> "ImportReport":
    """Import lists of deep hashing: train.txt, test.txt and database.txt.

    A line is a path and its labels of 0 and 1, as in DeepHash-pytorch and HashNet.
    """
    from limbeck.data.importers import ListsOptions, import_lists

    return import_lists(src, out, ListsOptions(**common, images=images, label_names=label_names))


@_format
def mat(
    common: Common,
    src: Annotated[Path, typer.Argument(help="File *.mat or *.h5, or a folder of such files.")],
    out: Out,
    variables: Annotated[
        str | None,
        typer.Option(help="Variables of images, texts and labels: 'V_{},W_{},L_{}' ({} is tr, te, db)."),
    ] = None,
    label_names: LabelNames = None,
    tag_names: Annotated[
        Path | None, typer.Option(help="File with the word of each text column, one per line.")
    ] = None,
    no_texts: Annotated[bool, typer.Option("--no-texts", help="Leave the texts out.")] = False,
) -> "ImportReport":
    """Import feature files of hashing papers: matrices in MATLAB (also 7.3) or HDF5.

    The variables are I_tr, T_tr, L_tr, I_te … and perhaps I_db …, or XAll, YAll and LAll. The features are
    copied into OUT.
    """
    from limbeck.data.importers import MatOptions, import_mat

    names = tuple(map(str.strip, variables.split(","))) if variables else ()
    if names and len(names) != 3:
        raise typer.BadParameter(f"{variables!r} are not three names", param_hint="--variables")
    return import_mat(
        src,
        out,
        MatOptions(
            **common, variables=names, label_names=label_names, tag_names=tag_names, texts=not no_texts
        ),
    )
