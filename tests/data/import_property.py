"""Made-up folders, tables and names, and what must hold of their import; for the test and for benchmarks/.

A case is files of odd names (each a picture of its own colour), a table that names them in some spelling, and
perhaps features by name. The check knows which file each name was made from: a row of the table must be in
the pairs with that file's colour and its own text, or without a picture and counted, or the whole import is
refused in one line. The same for features, whose rows carry the number of the file that they belong to.
"""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from PIL import Image

from limbeck.data.importers import FolderOptions, import_folder
from limbeck.data.importers.base import FeatureSource
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.pictures import is_picture_name, normalize_text

FOLDERS = ["", "a", "b", "train", "val", "a/b", "x y", "x  y", "photos", "caf\u00e9", "cafe\u0301"]
STEMS = [
    "1",
    "2",
    "IMG 1",
    "IMG  1",
    "\u00e9",
    "e\u0301",
    "q\u00a0r",
    "q\u202fr",
    'q"r',
    "it's",
    "a,b",
    "c;d",
    "#1",
    "1.5",
]
ENDINGS = [".png", ".png", ".PNG", ".jpg", ".dat", "", ".jfif"]
TEXTS = ["plain", 'says "so"', '"begins', "a, b; c", "it's\u2028two", "NA", "caf\u00e9", "  blanks   inside "]
SPELLINGS = ["as it is"] * 4 + ["./", "\\", "absolute", "own folder", "other folder"]
SPELLINGS += ["file name", "other form", "blank at end", "no ending"]


@dataclass(frozen=True)
class Name:
    """A name of a list: the file it was made from (None: made up) and its path, the spelling, the text."""

    file: int | None
    path: str
    spelling: str
    text: str

    @property
    def told(self) -> str:
        """The path that the text tells, the folder of all pictures or of another disk taken off."""
        return self.path if self.spelling in ("absolute", "own folder", "other folder") else self.text


@dataclass(frozen=True)
class Case:
    """One data set: ``files`` by number, rows of the table (names and captions), names of feature rows."""

    files: tuple[str, ...]
    gone: frozenset[int]
    links: tuple[tuple[str, int], ...]
    packed: str | None
    table: str
    by_id: bool
    beside: bool
    keep_missing: bool
    rows: tuple[tuple[Name, str], ...]
    features: tuple[Name, ...]


def colour(number: int) -> tuple[int, int, int]:
    """The colour of a file."""
    return (40 + 13 * number % 200, 255 - 17 * number % 240, 3 * number % 256)


def picture(number: int) -> bytes:
    """A picture of one colour, PNG whatever the ending."""
    data = io.BytesIO()
    Image.new("RGB", (2, 2), colour(number)).save(data, "PNG")
    return data.getvalue()


def spell(name: str, how: str, root: str) -> str:
    """A name in another spelling."""
    if how == "other form":
        other = unicodedata.normalize("NFD", name)
        return other if other != name else unicodedata.normalize("NFC", name)
    return {
        "./": "./" + name,
        "\\": name.replace("/", "\\"),
        "absolute": f"{root}/{name}",
        "own folder": f"photos/{name}",
        "other folder": f"elsewhere/{name}",
        "file name": PurePosixPath(name).name,
        "blank at end": name + " ",
        "no ending": name.removesuffix(PurePosixPath(name).suffix),
    }.get(how, name)


# Kinds of tables: ending, and separator and encoding of the delimited ones.
TABLES = {
    "CSV": (".csv", ",", "utf-8"),
    "CSV with a byte order mark": (".csv", ",", "utf-8-sig"),
    "CSV by semicolons, UTF-16": (".csv", ";", "utf-16"),
    "TSV": (".tsv", "\t", "utf-8"),
    "JSON lines": (".jsonl", "", "utf-8"),
    "JSON": (".json", "", "utf-8"),
    "Parquet": (".parquet", "", ""),
}
ROOT = "{root}"  # stands for the folder until there is one


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A case in which names often collide."""
    paths = st.builds(
        lambda folder, stem, ending: f"{folder}/{stem}{ending}".lstrip("/"),
        st.sampled_from(FOLDERS),
        st.sampled_from(STEMS),
        st.sampled_from(ENDINGS),
    )
    files = draw(st.lists(paths, min_size=1, max_size=8, unique=True))
    numbers = st.integers(0, len(files) - 1)
    packed = draw(st.sampled_from([None, None, "zip", "no flag", "backslashes"]))
    by_id = draw(st.sampled_from([False, False, False, True]))
    usual = draw(st.sampled_from(SPELLINGS))
    spellings = st.sampled_from([usual, usual, usual, *SPELLINGS]) if draw(st.booleans()) else st.just(usual)

    def names(of: st.SearchStrategy[int | None]) -> st.SearchStrategy[Name]:
        def make(file: int | None, how: str, path: str) -> Name:
            name = path if file is None else files[file]
            return Name(file, name, how, spell(name, how, ROOT))

        return st.builds(make, of, spellings, paths)

    listed = st.sampled_from([*range(len(files)), *range(len(files)), None])
    rows = draw(st.lists(st.tuples(names(listed), st.sampled_from(TEXTS)), min_size=1, max_size=10))
    features = draw(st.one_of(st.just([]), st.lists(names(numbers), max_size=8, unique_by=lambda n: n.text)))
    links = draw(st.lists(st.tuples(paths, numbers), max_size=2)) if packed is None else []
    return Case(
        files=tuple(files),
        gone=frozenset(draw(st.lists(numbers, max_size=2))),
        links=tuple((name, to) for name, to in links if name not in files),
        packed=packed,
        table=draw(st.sampled_from(list(TABLES))),
        by_id=by_id,
        beside=draw(st.booleans()),
        keep_missing=draw(st.sampled_from([True, True, False])),
        rows=tuple((name, f"{text} row {at}") for at, (name, text) in enumerate(rows)),
        features=tuple(features),
    )


@dataclass
class Outcome:
    """What became of a case, for counting."""

    counts: Counter[str] = field(default_factory=Counter)


def check(case: Case, place: Path) -> Outcome:
    """Import a case in an empty folder, and raise an AssertionError where a row is not what it should be."""
    root = place / "photos"
    root.mkdir(parents=True)
    there = write_files(case, root)
    src = root if case.packed is None else pack(case, root, place / "photos.zip")
    base = str(src if case.packed else root)
    rows = [(replace(n, text=n.text.replace(ROOT, base)), said) for n, said in case.rows]
    table = (place if case.beside or case.packed else root) / f"captions{TABLES[case.table][0]}"
    write_table(
        table,
        case.table,
        [("id" if case.by_id else "image", "caption"), *((n.text, said) for n, said in rows)],
    )
    options = FolderOptions(
        keep_missing=case.keep_missing,
        table=table,
        features=write_features(case, place, base),
    )
    outcome = Outcome()
    out = place / "pairs"
    try:
        report = import_folder(src, out, options)
    except LimbeckError as error:
        assert "\n" not in str(error) and not out.exists(), str(error)
        outcome.counts["refused"] += 1
        return outcome
    outcome.counts["imported"] += 1
    pairs = Pairs.open(out)
    check_rows(pairs, rows, there, case.by_id, " ".join(report.notes), outcome)
    if case.features:
        check_features(pairs, case, rows, base, there, outcome)
    return outcome


def write_files(case: Case, root: Path) -> dict[str, int]:
    """Write the files that are not gone, and links; gives number by name of what is there."""
    there = {}
    for number, name in enumerate(case.files):
        if number not in case.gone:
            try:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(picture(number))
            except OSError:  # a file of that name is where the folder should be, or the other way round
                continue
            there[name] = number
    for name, to in case.links:
        try:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(root / case.files[to])
        except OSError:
            continue
        if case.files[to] in there:
            there[name] = to
    (root / "notes.txt").write_text("no picture")
    if case.packed is None:
        (root / os.fsdecode(b"caf\xe9.png")).write_bytes(picture(99))
    return there


def pack(case: Case, root: Path, file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            name = path.relative_to(root).as_posix()
            name = name.replace("/", "\\") if case.packed == "backslashes" else name
            archive.writestr(name, path.read_bytes())
    if case.packed == "no flag":
        data = bytearray(file.read_bytes())
        for info in zipfile.ZipFile(file).infolist():
            data[info.header_offset + 7] &= ~0x08
        start = data.find(b"PK\x01\x02")
        while start >= 0:
            data[start + 9] &= ~0x08
            start = data.find(b"PK\x01\x02", start + 4)
        file.write_bytes(data)
    return file


def write_table(file: Path, kind: str, rows: list[tuple[str, str]]) -> None:
    """The table by the rules of its format: quotes in CSV only, one line a row."""
    ending, mark, encoding = TABLES[kind]
    records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    if ending == ".csv":
        with file.open("w", newline="", encoding=encoding) as stream:
            csv.writer(stream, delimiter=mark).writerows(rows)
    elif ending == ".tsv":
        file.write_text("".join("\t".join(row) + "\n" for row in rows), encoding=encoding)
    elif ending == ".jsonl":
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    elif ending == ".json":
        file.write_text(json.dumps(records, ensure_ascii=False), encoding=encoding)
    else:
        pq.write_table(pa.Table.from_pylist(records), file)


def write_features(case: Case, place: Path, base: str) -> tuple[FeatureSource, ...]:
    if not case.features:
        return ()
    np.save(place / "f.npy", np.array([[name.file] for name in case.features], np.int32))
    names = [name.text.replace(ROOT, base) for name in case.features]
    (place / "names.txt").write_text("".join(name + "\n" for name in names), encoding="utf-8")
    return (FeatureSource("clip", place / "f.npy", place / "names.txt"),)


def check_rows(
    pairs: Pairs,
    rows: list[tuple[Name, str]],
    there: dict[str, int],
    by_id: bool,
    notes: str,
    outcome: Outcome,
) -> None:
    """Each row of the table is a row of the pairs, with its own picture or with none, which is said."""
    images = [pairs.image_path(row) for row in range(len(pairs))]
    held = [image for image in images if image is not None]
    assert len(set(held)) == len(held), "two rows have one picture"
    at = {text: row for row, texts in enumerate(pairs.captions) for text in texts}
    assert len(at) == sum(map(len, pairs.captions)) == len(rows), "a text is lost or stands twice"
    for name, said in rows:
        row = at[normalize_text(said)]
        if images[row] is None:
            whole = name.spelling in ("as it is", "./", "\\", "absolute")
            assert not (whole and name.path in there), f"{name} is there and was not found"
            counted = "rows kept without picture" in notes or "no pictures: features only" in notes
            assert counted, f"{name} has no picture, and no word is said"
            others = [other for other, text in rows if at[normalize_text(text)] == row]
            mixed = {plain(other.told.strip() if by_id else other.told) for other in others}
            assert len(mixed) == 1, f"rows of several names became one: {mixed}"
            outcome.counts["row without picture, said"] += 1
            continue
        shown = pairs.open_image(row).getpixel((0, 0))
        asked = [other.text for other, _ in rows]
        mine = meant(name, there, asked)
        if shown in {colour(number) for number in mine}:
            outcome.counts["row with its picture"] += 1
            continue
        told = [other.told for other, _ in rows]
        bare = by_id or not any(map(is_picture_name, asked))
        assert may_guess(name.told, images[row] or "", told, list(there), bare), f"{name} got {images[row]}"
        assert "pictures found: " in notes, f"{name}: unsaid"
        outcome.counts["row with a picture by file name alone, said"] += 1


def meant(name: Name, there: dict[str, int], asked: list[str]) -> set[int]:
    """Numbers of the files that a name can mean: that of this very path, else the one it was made from."""
    if name.text in there:
        return {there[name.text]}
    path = plain(name.text)
    if path in there:
        return {there[path]}
    if name.path in there:
        return {there[name.path]}
    forms = [known for known in there if key(known) == key(path)]
    alike = {plain(other) for other in asked if key(plain(other)) == key(path)}
    return {there[forms[0]]} if len(forms) == 1 and len(alike) == 1 else set()


def plain(name: str) -> str:
    """The path without what never matters."""
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def key(path: str) -> str:
    return unicodedata.normalize("NFC", path).strip()


def stem(path: str, is_file: bool) -> str:
    """The path without its ending; of a file any ending is one, of another name those that pictures have."""
    suffix = PurePosixPath(path).suffix.lower()
    return path[: -len(suffix)] if suffix in ENDINGS and suffix and (is_file or suffix != ".dat") else path


def may_guess(name: str, got: str, asked: list[str], known: list[str], endings: bool) -> bool:
    """Whether a picture may be taken by its file name alone.

    It must be the only one of that name on both sides, and no folder may speak against it. With ``endings``
    a name without them, or the path without it, is enough.
    """
    name, got = key(plain(name)), key(got)
    asked, known = sorted({key(plain(one)) for one in asked}), sorted({key(one) for one in known})
    folders = [{str(PurePosixPath(one).parent) for one in side} for side in (asked, known)]
    folder, other = str(PurePosixPath(name).parent), str(PurePosixPath(got).parent)
    against = folder not in (".", other) and (folder in folders[1] or other in folders[0])

    def only(short: Callable[[str, bool], str]) -> bool:
        wanted = short(name, False)
        alike = [path for path in asked if short(path, False) == wanted]
        return alike == [name] and [path for path in known if short(path, True) == wanted] == [got]

    def last(path: str, is_file: bool) -> str:
        return PurePosixPath(path).name

    def last_stem(path: str, is_file: bool) -> str:
        return PurePosixPath(stem(path, is_file)).name

    # The folder of all pictures is called photos, so that it may stand before any of them.
    inside = f"photos/{got}"
    against &= name != inside and not (endings and stem(name, False) == stem(inside, True))
    return (not against and (only(last) or (endings and only(last_stem)))) or (endings and only(stem))


def check_features(
    pairs: Pairs, case: Case, rows: list[tuple[Name, str]], base: str, there: dict[str, int], outcome: Outcome
) -> None:
    """Each row has the features of its own picture, or none."""
    names = [name.text.replace(ROOT, base) for name in case.features]
    number_of = {name: number for name, number in there.items()}
    images = [pairs.image_path(row) for row in range(len(pairs))]
    taken = [at for at in pairs.feature_rows.tolist() if at >= 0]
    assert len(taken) == len(set(taken)), "one row of features went to two pictures"
    for row, at in enumerate(pairs.feature_rows.tolist()):
        if at < 0:
            outcome.counts["row without features"] += 1
            continue
        name, image = case.features[at], images[row]
        text = names[at]
        if image is not None and number_of.get(image) == name.file:
            outcome.counts["row with its features"] += 1
        elif image is not None:
            # The picture that the name was made from is not in the table; the name may fit another one.
            exact = plain(text) == image or text == image
            own = case.files[name.file or 0] in images
            told = [one.told for one in case.features]
            guess = may_guess(name.told, image, told, [one for one in images if one is not None], True)
            assert exact or (not own and guess), f"features of {name} went to {image}"
            outcome.counts["row with features by file name alone"] += 1
        else:
            item = key(plain(pairs.ids[row]))
            wanted = [key(plain(one)) for one in (name.told, text)]
            fits = {one for path in wanted for one in (path, stem(path, False), stem(path, True))}
            if not any(images):  # ids are all that the table has
                fits |= {PurePosixPath(one).name for one in fits}
                item = PurePosixPath(item).name
            assert {item, stem(item, False)} & fits, f"{name} went to {item}"
            outcome.counts["row without picture, with features by id"] += 1
