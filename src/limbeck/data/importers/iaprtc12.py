"""IAPR TC-12 with SAIAPR's region labels, in the layout of both downloads."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from limbeck.data.importers.base import Columns, ImportReport, PictureOptions, Source, write_pairs
from limbeck.data.importers.locate import numbered, some
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text

_TEXT = re.compile(r"<DESCRIPTION>(.*?)</DESCRIPTION>", re.DOTALL)
_TITLE = re.compile(r"<TITLE>(.*?)</TITLE>", re.DOTALL)


def import_iaprtc12(src: Path, out: Path, options: PictureOptions) -> ImportReport:
    """Import pictures ``images/NN/N.jpg`` with ``annotations_complete_eng/NN/N.eng`` and region labels.

    Labels come from SAIAPR's ``NN/labels.txt`` (picture, region, label number) and ``wlist.txt`` (number,
    name); those that occur are in the order of their numbers. Captions are the sentences of the description,
    else the title. Ids are picture numbers. Pictures are in ``src``, or in ``options.images``.

    Raises:
        LimbeckError: parts of the layout are missing (all are named at once), a label line is invalid, or a
            label number has no name.
    """
    options.check_paths(src, out)
    source = Source(src)
    report = ImportReport(options.name or "iaprtc12")
    photos = options.picture_source(source)
    texts = _by_number(source, ".eng", r"(?:^|/)annotations_complete_eng/[0-9]+/[^/]+$")
    # SAIAPR's download contains the same pictures again.
    pictures = _by_number(photos, ".jpg", r"(?:^|/)images/[0-9]+/[^/]+$")
    regions = [name for name in source.names if PurePosixPath(name).name == "labels.txt"]
    words = source.find("wlist.txt")
    parts = {
        "images/*/*.jpg": pictures,
        "annotations_complete_eng/*/*.eng": texts,
        "saiapr_tc-12/*/labels.txt": regions,
        "wlist.txt": words,
    }
    missing = [name for name, there in parts.items() if not there]
    if missing or words is None:
        raise LimbeckError(
            f"{source.path}: these files of IAPR TC-12 with SAIAPR are missing: {', '.join(missing)}; "
            "unpack both there",
            code="E-IMPORT-MISSING",
        )
    names = _names(source, words)
    carried: dict[str, set[int]] = {}
    for name in regions:
        for line_number, line in enumerate(source.read_lines(name), start=1):
            cells = line.split()
            if not cells:
                continue
            if len(cells) < 3 or not all(cell.isdigit() for cell in cells[:3]) or int(cells[2]) not in names:
                raise LimbeckError(
                    f"{source.path}: {name} line {line_number} is not picture, region and label of wlist.txt",
                    code="E-IMPORT-LAYOUT",
                )
            carried.setdefault(str(int(cells[0])), set()).add(int(cells[2]))
    paired = sorted(set(pictures) & set(texts), key=int)
    if not paired:
        raise LimbeckError(
            f"{source.path}: no text has the number of a picture; restore both", code="E-IMPORT-CONFLICT"
        )
    ids = sorted(texts, key=int) if options.keep_missing else paired
    used = sorted({number for item in ids for number in carried.get(item, ())})
    columns: Columns = {
        "id": ids,
        "image": [pictures.get(item) for item in ids],
        "captions": [_sentences(source.read_text(texts[item])) for item in ids],
        "labels": [[names[n] for n in sorted(carried.get(item, ()))] for item in ids],
    }
    if len(paired) < len(pictures):
        report.notes.append(f"{len(pictures) - len(paired):,} pictures without a text were skipped")
    if lost := sorted(set(texts) - set(pictures), key=int):
        done = "kept" if options.keep_missing else "dropped (--keep-missing keeps them)"
        report.notes.append(f"{len(lost):,} rows without a picture {done}: {some(lost)}")
    unlabelled = sum(not own for own in columns["labels"])
    if unlabelled:
        report.notes.append(f"{unlabelled:,} rows without a label")
    report.notes += source.reading_notes()
    counts = {"labels": sum(map(len, columns["labels"])), "classes": len(used)}
    return write_pairs(out, columns, photos, options, report, [names[n] for n in used], counts)


def _by_number(source: Source, ending: str, preferred: str) -> dict[str, str]:
    """Return the files with a number as name, by number, without SAIAPR's pictures of drawn outlines."""
    plain = [name for name in source.names if not re.search(r"(?:^|/)segment[^/]*/", name)]
    files = numbered(plain, rf"([0-9]+){re.escape(ending)}", source.path, preferred)
    return {str(number): name for number, name in files.items()}


def _names(source: Source, file: str) -> dict[int, str]:
    names = {}
    for line in source.read_lines(file):
        number, _, name = line.strip().partition(" " if "\t" not in line else "\t")
        if number.isdigit() and name.strip():
            names[int(number)] = normalize_text(name)
    if len(set(names.values())) != len(names):
        raise LimbeckError(f"{source.path}: {file} names a label twice; restore it", code="E-IMPORT-CONFLICT")
    return names


def _sentences(text: str) -> list[str]:
    """Return the description, split at semicolons, or the title where there is none."""
    description = _TEXT.search(text)
    parts = [normalize_text(part) for part in (description[1] if description else "").split(";")]
    title = _TITLE.search(text)
    instead = normalize_text(title[1]) if title else ""
    return [part for part in parts if part] or ([instead] if instead else [])
