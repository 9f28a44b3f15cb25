"""Karpathy's ``dataset_*.json`` of Flickr8k, Flickr30k and COCO: captions and the standard splits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from limbeck.data.importers.base import ImportReport, PictureOptions, Source
from limbeck.data.importers.json_files import entries, parse_json
from limbeck.data.importers.listed import Listed, split_name, write_listed
from limbeck.errors import LimbeckError

_IMAGE = {"filename": str, "split": str, "sentences": list}
_LAYOUT = "Karpathy's {images: [{filename, split, sentences: [{raw}]}]}"


def import_karpathy(src: Path, out: Path, options: PictureOptions) -> ImportReport:
    """Import a split file, given directly or as the one ``dataset_*.json`` of a folder or zip.

    Split "restval" (the rest of COCO's val) becomes train, as in common practice. Pictures are in
    ``options.images``, else next to the file. Ids are file names without suffix.

    Raises:
        LimbeckError: there is not exactly one split file, it has another layout, or there are no pictures.
    """
    options.check_paths(src, out)
    source, file = _split_file(src)
    content = parse_json(source.read_text(file), file)
    report = ImportReport(options.name or str(content.get("dataset") or "karpathy"))
    report.notes += source.reading_notes()
    listed, before = [], Counter[str]()
    for image in entries(content, "images", _IMAGE, file, _LAYOUT):
        where = f"{file}: {image['filename']}"
        captions = [one["raw"] for one in entries(image, "sentences", {"raw": str}, where, _LAYOUT)]
        before[image["split"]] += 1
        name = "/".join(filter(None, (str(image.get("filepath") or ""), image["filename"])))
        listed.append(Listed(name, captions, split=split_name(image["split"])))
    if not listed:
        raise LimbeckError(f"{file}: the list 'images' is empty; download it again", code="E-FILE-EMPTY")
    for split in sorted(before):
        if split_name(split) != split:
            report.notes.append(f"{before[split]:,} rows of split {split} count as {split_name(split)}")
    return write_listed(listed, options.picture_source(source), out, options, report)


def _split_file(src: Path) -> tuple[Source, str]:
    if src.is_file() and src.suffix.lower() == ".json":
        return Source(src.parent), src.name
    source = Source(src)
    files = [name for name in source.names if Path(name).match("dataset_*.json")]
    if len(files) > 1:
        raise LimbeckError(
            f"{src}: holds several split files ({', '.join(files)}); unpack and use one of them",
            code="E-IMPORT-CHOICE",
        )
    if not files:
        raise LimbeckError(
            f"{src}: there is no dataset_*.json; use Karpathy's split file itself", code="E-IMPORT-MISSING"
        )
    return source, files[0]
