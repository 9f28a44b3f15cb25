"""Flickr8k, and Flickr30k with the same layout: pictures, one caption file, lists of the splits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from limbeck.data.importers.base import ImportReport, PictureOptions, Source
from limbeck.data.importers.listed import Listed, split_name, write_listed
from limbeck.data.importers.locate import some
from limbeck.errors import LimbeckError
from limbeck.names import resolve
from limbeck.tables import line_fields

# In order of preference; the lemmatised and the expert files of the original download are not captions.
_CAPTION_FILES = (r"captions\.(?:txt|csv)", r"Flickr8k\.token(?:\.txt)?", r"results[^/]*\.(?:token|csv)")
_SPLIT_LIST = re.compile(r"(?:^|/)Flickr_?8k\.(\w+?)_?Images\.txt$", re.IGNORECASE)
_TOKEN = re.compile(r"(?P<name>[^\t]+)#\d+\t(?P<caption>.*)")
# One line of the common Flickr30k file lacks its second bar, hence the optional one.
_BARRED = re.compile(r"(?P<name>[^|]+?)\s*\|\s*\d+\s*\|?(?P<caption>.*)")
_BLANKS = " \t"  # other white space may belong to a file name
_LAYOUTS = "'image,caption' (CSV), 'NAME.jpg#0<TAB>caption' (.token), 'image_name| comment_number| comment'"


def import_flickr8k(src: Path, out: Path, options: PictureOptions) -> ImportReport:
    """Import pictures with the captions of one file, in its order, including repeated ones.

    Splits come from ``Flickr_8k.trainImages.txt`` and the other lists: train, val (dev counts as val), test.
    Pictures are in any folder of ``src``, or in ``options.images``. Ids are file names without suffix.

    Raises:
        LimbeckError: there is no caption file, it has another layout, a picture is in two splits, or there
            are no pictures.
    """
    options.check_paths(src, out)
    source = Source(src)
    file = _caption_file(source)
    report = ImportReport(
        options.name or ("flickr30k" if Path(file).name.startswith("results") else "flickr8k")
    )
    pictures: dict[str, Listed] = {}
    for name, caption in _read_captions(source.read_lines(file), file):
        pictures.setdefault(name, Listed(name)).captions.append(caption)
    if not pictures:
        raise LimbeckError(f"{source.path}: {file} contains no captions; restore it", code="E-FILE-EMPTY")
    report.notes.append(f"captions from {file}")
    _read_splits(source, pictures, report)
    report.notes += source.reading_notes()
    return write_listed(list(pictures.values()), options.picture_source(source), out, options, report)


def _caption_file(source: Source) -> str:
    for pattern in _CAPTION_FILES:
        there = [name for name in source.names if re.search(rf"(?:^|/){pattern}$", name, re.IGNORECASE)]
        if there:
            first = min(there, key=lambda name: (name.count("/"), name))
            return source.find(PurePosixPath(first).name) or first
    raise LimbeckError(
        f"{source.path}: there is no caption file; add captions.txt, Flickr8k.token.txt or results*.csv",
        code="E-IMPORT-MISSING",
    )


def _read_captions(lines: list[str], file: str) -> Iterator[tuple[str, str]]:
    """Yield (picture name, caption) per line; the first line determines the layout."""
    first = lines[0] if lines else ""
    header = [field.strip().strip('"').lower() for field in re.split(r"[,|]", first)]
    if header == ["image", "caption"]:
        yield from _comma_rows(lines, file)
        return
    barred = header == ["image_name", "comment_number", "comment"] and "|" in first
    if not barred and not _TOKEN.fullmatch(first):
        raise LimbeckError(
            f"{file}: line 1 is {first[:60]!r}; known layouts are {_LAYOUTS}; import other tables as folder",
            code="E-IMPORT-LAYOUT",
        )
    pattern, start = (_BARRED, 1) if barred else (_TOKEN, 0)
    for number, line in enumerate(lines[start:], start=start + 1):
        match = pattern.fullmatch(line)
        if match:
            yield match["name"].strip(_BLANKS), match["caption"]
        elif line.strip():
            raise LimbeckError(
                f"{file}: line {number} is {line.strip()[:60]!r}, in another form than line 1; restore it",
                code="E-IMPORT-LAYOUT",
            )


def _comma_rows(lines: list[str], file: str) -> Iterator[tuple[str, str]]:
    """Yield the rows of ``image,caption``; the text after the first comma is the caption, quoted or not.

    `limbeck.tables` would refuse the unquoted commas in captions of the usual download.
    """
    for number, line in enumerate(lines[1:], start=2):
        where = f"{file}: line {number}"
        fields = line_fields(line, ",", where)
        if len(fields) == 1 and fields[0].strip():
            raise LimbeckError(
                f"{where} is {fields[0][:60]!r}, without a caption; add one", code="E-IMPORT-LAYOUT"
            )
        if len(fields) > 1:
            yield fields[0].strip(_BLANKS), ",".join(fields[1:])


def _read_splits(source: Source, pictures: dict[str, Listed], report: ImportReport) -> None:
    """Set the split of each picture that a list names."""
    lists: dict[str, str] = {}
    for name in sorted(source.names, key=lambda name: (-name.count("/"), name)):
        match = _SPLIT_LIST.search(name)
        if match:
            lists[match[1].lower()] = source.find(PurePosixPath(name).name) or name
    if not lists:
        report.notes.append("no Flickr_8k.trainImages.txt and the other lists: no split column")
    unknown: list[str] = []
    for word, file in sorted(lists.items()):
        split = split_name(word)
        names = list(filter(None, (line.strip(_BLANKS) for line in source.read_lines(file))))
        for name, picture in zip(names, resolve(names, pictures).found, strict=True):
            item = None if picture is None else pictures[picture]
            if item is None:
                unknown.append(name)
            elif item.split not in (None, split):
                raise LimbeckError(
                    f"{source.path}: {name} is in the lists of {item.split} and {split}; correct {file}",
                    code="E-IMPORT-CONFLICT",
                )
            else:
                item.split = split
    if unknown:
        report.notes.append(f"{len(unknown):,} names of the split lists have no captions: {some(unknown)}")
