"""Arrays by name from MATLAB files (versions 5 and 7.3) and from HDF5."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.optional_deps import require

SUFFIXES = (".mat", ".h5", ".hdf5")


@dataclass(frozen=True)
class Variable:
    """An array as its file stores it.

    Attributes:
        file: the file.
        values: the array, of any shape.
        turned: it has its axes in the order of MATLAB's memory, so that rows are the last axis (version 7.3).
    """

    file: Path
    values: np.ndarray
    turned: bool = False


class Variables:
    """The arrays of one file, or of all MATLAB and HDF5 files of a folder; they are read when asked for.

    Raises:
        LimbeckError: no such file, or two files with a variable of one name.
    """

    def __init__(self, src: Path) -> None:
        self.src, self._files = src, dict[str, Path]()
        if not src.exists():
            raise LimbeckError(
                f"{src}: there is no such file or folder to import from", code="E-PATH-MISSING"
            )
        files = sorted(f for f in src.iterdir() if f.suffix in SUFFIXES) if src.is_dir() else [src]
        if not files:
            raise LimbeckError(f"{src}: has no file *.mat, *.h5 or *.hdf5", code="E-IMPORT-MISSING")
        for file in files:
            for name in _names(file):
                if name in self._files:
                    raise LimbeckError(
                        f"{src}: {self._files[name].name} and {file.name} both have a variable {name}; "
                        "import one of the two files",
                        code="E-IMPORT-CHOICE",
                    )
                self._files[name] = file

    @property
    def names(self) -> list[str]:
        """The names of all variables, sorted."""
        return sorted(self._files)

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __getitem__(self, name: str) -> Variable:
        """Read a variable.

        Raises:
            LimbeckError: no variable of this name, or it is not a real array.
        """
        if name not in self._files:
            raise self.missing(name)
        file = self._files[name]
        with _whole(file):
            if _is_hdf5(file):
                with require("h5py").File(file, "r") as opened:
                    found = opened[name]
                    turned = "MATLAB_class" in found.attrs
                    values = found[()] if hasattr(found, "shape") else None
            else:
                turned, values = False, require("scipy.io").loadmat(file, variable_names=[name])[name]
                if hasattr(values, "toarray"):  # MATLAB's sparse matrices
                    values = values.toarray()
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
            raise LimbeckError(
                f"{file}: {name} is not an array of real numbers; name another variable",
                code="E-IMPORT-LAYOUT",
            )
        return Variable(file, values, turned)

    def missing(self, what: str) -> LimbeckError:
        """Return the error that names what is missing, and what is there."""
        return LimbeckError(
            f"{self.src}: has no variable {what}; it has {', '.join(self.names) or 'none'}",
            code="E-IMPORT-MISSING",
        )


def _is_hdf5(file: Path) -> bool:
    return bool(require("h5py").is_hdf5(file))


def _names(file: Path) -> list[str]:
    with _whole(file):
        if _is_hdf5(file):
            with require("h5py").File(file, "r") as opened:
                return [name for name in opened if not name.startswith("#")]
        return [name for name, _, _ in require("scipy.io").whosmat(file)]


@contextlib.contextmanager
def _whole(file: Path) -> Iterator[None]:
    """Read a file; turn what scipy and h5py raise at a damaged or foreign one into one line."""
    try:
        yield
    except LimbeckError:
        raise
    except Exception as error:  # scipy's reader raises nearly any type, its own without a common base
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise LimbeckError(
            f"{file}: cannot be read as MATLAB or HDF5 ({reason}); restore the file", code="E-IMPORT-LAYOUT"
        ) from error
