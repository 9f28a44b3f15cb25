"""User-defined classes, ``FILE.py:CLASS``: reported before they run, and run only if the user named them.

A recipe names files. A saved model only refers to the file of a class by its SHA-256. Whoever loads the model
names the file (`trust_code`), so that loading a directory executes nothing.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from limbeck.errors import LimbeckError
from limbeck.files import sha256_file
from limbeck.notices import say
from limbeck.typed import Json

_OWN = re.compile(r"(?P<file>.+\.py):(?P<cls>\w+)")
_Class = TypeVar("_Class")
TRUSTED: dict[str, str] = {}
"""Files that the user named in this process: absolute path to SHA-256."""
MODULES: dict[tuple[str, str], ModuleType] = {}


@dataclass(frozen=True)
class OwnClass:
    """A class by the name that a recipe or a saved model gives it.

    Attributes:
        file: the file as named; a relative path starts at the working directory.
        cls: the class in it.
    """

    file: Path
    cls: str


def own_name(name: object) -> OwnClass | None:
    """Return the parts of ``FILE.py:CLASS``, or None for any other name."""
    match = _OWN.fullmatch(name) if isinstance(name, str) else None
    return None if match is None else OwnClass(Path(match["file"]), match["cls"])


def trust_code(file: Path | str) -> None:
    """Let models that are loaded later find their classes in a file; it runs when one does.

    Raises:
        LimbeckError: there is no such Python file.
    """
    path = Path(file)
    if path.suffix != ".py":
        raise LimbeckError(
            f"{path}: is not a Python file (.py); name the file of a tower's or lift's class",
            code="E-PLUGIN-FILE",
        )
    TRUSTED[str(path.resolve())] = code_digest(path)


def code_digest(file: Path) -> str:
    """Return the SHA-256 of a file of code.

    Raises:
        LimbeckError: there is no such file.
    """
    if not file.is_file():
        raise LimbeckError(
            f"{file}: there is no such file; name your class FILE.py:CLASS", code="E-PATH-MISSING"
        )
    return sha256_file(file)


def digest_of(own: OwnClass) -> str | None:
    """Return the SHA-256 of a class's file that was named in this process, else None."""
    return TRUSTED.get(str(own.file.resolve()))


def with_digests(tree: Json) -> Json:
    """Return a dumped configuration with the SHA-256 of the files of user-defined classes, for saving."""
    if isinstance(tree, list):
        return [with_digests(inner) for inner in tree]
    if not isinstance(tree, dict):
        return tree
    found = {key: with_digests(inner) for key, inner in tree.items()}
    if (own := own_name(found.get("kind"))) is not None and found.get("sha256") is None:
        found["sha256"] = digest_of(own)
    return found


def class_digest(cls: type) -> str | None:
    """Return the SHA-256 of the file of a user-defined class; None for a built-in class."""
    return getattr(sys.modules.get(cls.__module__), "__limbeck_sha256__", None)


def named_class(
    name: str,
    base: type[_Class],
    what: str,
    *,
    sha256: str | None = None,
    before: Callable[[type[_Class], OwnClass], None] | None = None,
) -> type[_Class]:
    """Return the class that a recipe names; its file is reported and run.

    Args:
        name: ``FILE.py:CLASS``.
        base: the required base class; the class also needs a class ``Config``.
        what: "method", "tower" or "lift", for errors.
        sha256: the required SHA-256 of the file, if the recipe gives it.
        before: called with the class before missing parts are reported.

    Raises:
        LimbeckError: no such file, a file that does not run, another kind of class, an unfinished one.
    """
    own = own_name(name)
    if own is None:
        raise LimbeckError(f"{name!r}: name your {what} FILE.py:CLASS", code="E-PLUGIN-FILE")
    if sha256 is not None and sha256 != code_digest(own.file):
        raise LimbeckError(
            f"{own.file}: its SHA-256 differs from that of the recipe; restore it", code="E-PLUGIN-TRUST"
        )
    trust_code(own.file)
    found = _class_in(own.file, own.cls, base, what)
    if before is not None:
        before(found, own)
    return _finished(found, own)


def saved_class(name: str, sha256: str | None, base: type[_Class], what: str) -> type[_Class]:
    """Return the class that a saved model refers to, from a file that the user named in this process.

    Args:
        name: ``FILE.py:CLASS`` from the recipe; the file is matched by its name, in any folder.
        sha256: the SHA-256 of the file when the model was made; a difference is reported.
        base: the required base class.
        what: "tower" or "lift", for errors.

    Raises:
        LimbeckError: the file was not named; see `named_class`.
    """
    own = own_name(name)
    if own is None:
        raise LimbeckError(f"{name!r}: name your {what} FILE.py:CLASS", code="E-PLUGIN-FILE")
    same = [path for path, digest in TRUSTED.items() if digest == sha256]
    found = same or [path for path in TRUSTED if Path(path).name == own.file.name]
    if not found:
        raise LimbeckError(
            f"the model's {what} is {own.cls} of {own.file.name}, which is not stored in the model (SHA-256 "
            f"{(sha256 or 'unknown')[:16]}); name it: limbeck --code {own.file.name} …, or load(…, code=[…])",
            code="E-PLUGIN-TRUST",
        )
    file = Path(found[-1])
    if not same:
        digests = f"SHA-256 {TRUSTED[str(file)][:16]}, then {(sha256 or 'unknown')[:16]}"
        say(f"{file}: differs from the file of the model's training ({digests})")
    return _finished(_class_in(file, own.cls, base, what), own)


def _class_in(file: Path, cls: str, base: type[_Class], what: str) -> type[_Class]:
    found = getattr(_module(file), cls, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise LimbeckError(
            f"{file}: has no {what} {cls!r} derived from {base.__name__}; add the class",
            code="E-PLUGIN-CLASS",
        )
    return found


def _finished(found: type[_Class], own: OwnClass) -> type[_Class]:
    if missing := getattr(found, "__abstractmethods__", None):
        raise LimbeckError(
            f"{own.file}: {own.cls} lacks {', '.join(sorted(missing))}; implement it", code="E-PLUGIN-CLASS"
        )
    return found


def _module(file: Path) -> ModuleType:
    """Return the module of a file, run once per content, after it was reported."""
    path, digest = str(file.resolve()), code_digest(file)
    if (path, digest) in MODULES:
        return MODULES[path, digest]
    say(f"runs the code of {path} (SHA-256 {digest})")
    name = f"limbeck_own_{file.stem}_{digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise LimbeckError(
            f"{file}: is not a Python file; name your class FILE.py:CLASS", code="E-PLUGIN-FILE"
        )
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__limbeck_sha256__"] = digest
    # Annotations in text form are resolved there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        raise LimbeckError(
            f"{file}: does not run ({type(error).__name__}: {error}); correct it", code="E-PLUGIN-FILE"
        ) from error
    MODULES[path, digest] = module
    return module
