"""Read hash codes of other programs from ``.npz``, ``.safetensors``, or a directory of ``.npy`` files.

A file must hold the arrays of at least one direction: ``query_image`` with ``database_text``, or
``query_text`` with ``database_image``. All other arrays are optional:

* ``query_image``, ``query_text``, ``database_image``, ``database_text``: hash codes, uint8 (N, bits/8) packed
  as by `numpy.packbits`, or (N, bits) of −1 and +1 in any signed number type;
* ``query_labels``, ``database_labels``: (N, C) of booleans or 0 and 1, needed where no data set is given.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from limbeck.codes.arrays import as_codes
from limbeck.errors import LimbeckError
from limbeck.evaluation.hashing import SIDES, SetName
from limbeck.npy import open_npy
from limbeck.optional_deps import require
from limbeck.regular import regular_file

LABELS = ("query_labels", "database_labels")
T = TypeVar("T")
_PICKLED = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin"}
_PICKLE_HEADS = {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}
_MEND = "save the arrays with numpy.savez or as .safetensors"


@dataclass(frozen=True)
class CodesFile:
    """Hash codes as read from a file.

    Attributes:
        path: the file or directory.
        codes: name → packed codes, uint8 (N, bits / 8).
        labels: name → bool (N, C); empty where the file has no labels.
        bits: length of the codes.
    """

    path: Path
    codes: dict[SetName, np.ndarray]
    labels: dict[str, np.ndarray]
    bits: int


def read_codes(path: Path | str) -> CodesFile:
    """Read the hash codes of another program and check that the arrays fit together.

    Raises:
        LimbeckError: the file is a pickle or unreadable; an array is unknown or has a wrong shape; codes have
            several lengths; two arrays of one split differ in their row counts.
    """
    path = Path(path)
    arrays = _read_arrays(path)
    unknown = sorted(set(arrays) - set(SetName) - set(LABELS))
    if unknown:
        raise LimbeckError(
            f"{path}: array {unknown[0]!r} is unknown; name them {', '.join([*SetName, *LABELS])}",
            code="E-CODES-ARRAYS",
        )
    codes = {name: _packed(path, name, arrays[name]) for name in SetName if name in arrays}
    if not any(set(sides) <= set(codes) for sides in SIDES.values()):
        held = ", ".join(sorted(codes)) or "no codes"
        raise LimbeckError(
            f"{path}: holds {held}; needs query_image with database_text, or query_text with database_image",
            code="E-CODES-ARRAYS",
        )
    widths = {name: array.shape[1] * 8 for name, array in codes.items()}
    if len(set(widths.values())) > 1:
        lengths = ", ".join(f"{name} {bits}" for name, bits in widths.items())
        raise LimbeckError(
            f"{path}: holds codes of several lengths in bits ({lengths}); save one length",
            code="E-CODES-LENGTH",
        )
    labels = {name: _bool_labels(path, name, arrays[name]) for name in LABELS if name in arrays}
    _check_counts(path, {str(name): own for name, own in (*codes.items(), *labels.items())})
    return CodesFile(path, codes, labels, next(iter(widths.values())))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if path.is_dir():
        files = {name: path / f"{name}.npy" for name in (*SetName, *LABELS)}
        return {name: np.asarray(open_npy(file)) for name, file in files.items() if file.exists()}
    if not path.exists():
        raise LimbeckError(
            f"{path}: there is no such file; give a .npz, a .safetensors or a directory of .npy",
            code="E-PATH-MISSING",
        )
    regular_file(path)
    if path.suffix.lower() in _PICKLED or _is_pickle(path):
        raise LimbeckError(f"{path}: a pickle, which can run code when read; {_MEND}", code="E-FILE-PICKLE")
    if path.suffix.lower() == ".safetensors":
        return dict(_load(path, require("safetensors.numpy").load_file))
    if path.suffix.lower() == ".npz":
        return dict(_load(path, _load_npz))
    raise LimbeckError(
        f"{path}: the ending {path.suffix!r} is unknown; {_MEND}, or give a directory of .npy files",
        code="E-PATH-ENDING",
    )


# A member of an .npz may unpack to _SMALL bytes, or to _RATIO times its packed size, whichever is more.
_SMALL, _RATIO = 1 << 28, 100


def _load_npz(path: Path, allow_pickle: bool = False) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as members:
        for info in members.infolist():
            if info.file_size > max(_SMALL, _RATIO * info.compress_size):
                raise ValueError(
                    f"{info.filename} unpacks to {info.file_size:,} bytes, too many for hash codes"
                )
    with np.load(path, allow_pickle=allow_pickle) as archive:
        return {name: archive[name] for name in archive.files}


def _load(path: Path, reader: Callable[[Path], T]) -> T:
    """Call a reader and turn any error of a damaged or pickled file into a one-line `LimbeckError`."""
    regular_file(path)
    try:
        return reader(path)
    except Exception as error:
        if "pickle" in str(error).lower() or "Object arrays" in str(error):
            raise LimbeckError(
                f"{path}: holds pickled objects, not numbers; {_MEND}", code="E-FILE-PICKLE"
            ) from None
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LimbeckError(f"{path}: cannot read ({first_line}); {_MEND}", code="E-FILE-DAMAGED") from None


def _is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle (by its first bytes) or torch's zip of a pickle (by its members)."""
    with path.open("rb") as stream:
        head = stream.read(2)
    if head in _PICKLE_HEADS and path.suffix != ".safetensors":
        return True
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".pkl") for name in archive.namelist())


def _packed(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if 0 in array.shape:
        raise LimbeckError(
            f"{path}: {name} has shape {array.shape}; codes need at least one row and one bit",
            code="E-ARRAY-SHAPE",
        )
    return np.ascontiguousarray(as_codes(array, f"{path}: {name}"))


def _bool_labels(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim != 2 or not np.isin(array, (0, 1)).all():
        raise LimbeckError(
            f"{path}: {name} has shape {array.shape}; labels are (rows, classes) of 0 and 1",
            code="E-ARRAY-SHAPE",
        )
    return array.astype(bool)


def _check_counts(path: Path, arrays: dict[str, np.ndarray]) -> None:
    for split in ("query", "database"):
        counts = {name: len(own) for name, own in arrays.items() if name.startswith(f"{split}_")}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {rows}" for name, rows in counts.items())
            raise LimbeckError(
                f"{path}: row counts differ within {split} ({listed}); align the rows", code="E-ARRAY-ROWS"
            )
    query, database = (arrays[name] for name in LABELS) if set(LABELS) <= set(arrays) else (None, None)
    if query is not None and database is not None and query.shape[1] != database.shape[1]:
        raise LimbeckError(
            f"{path}: query_labels has {query.shape[1]} classes, database_labels {database.shape[1]}; "
            "align them",
            code="E-ARRAY-SHAPE",
        )
