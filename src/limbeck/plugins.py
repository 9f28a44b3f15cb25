"""Classes in files of one's own, ``FILE.py:CLASS``: said before they run, run only when a person named them.

A recipe names files by itself. A saved model only refers to the file of a class by its SHA-256. Who loads
the model names the file (`trust_code`), so that loading a directory executes nothing.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from limbeck.errors import LimbeckError
from limbeck.files import sha256_file
from limbeck.notices import say

_OWN = re.compile(r"(?P<file>.+\.py):(?P<cls>\w+)")
_Class = TypeVar("_Class")
TRUSTED: dict[str, str] = {}
"""Files that a person named in this process: absolute path to SHA-256."""
MODULES: dict[tuple[str, str], ModuleType] = {}


@dataclass(frozen=True)
class OwnClass:
    """A class by the name that a recipe or a saved model gives it.

    Attributes:
        file: as it is written there; a relative path counts from the working directory.
        cls: the class in it.
    """

    file: Path
    cls: str


def own_name(name: object) -> OwnClass | None:
    """The parts of ``FILE.py:CLASS``, or None for any other name."""
    match = _OWN.fullmatch(name) if isinstance(name, str) else None
    return None if match is None else OwnClass(Path(match["file"]), match["cls"])


def trust_code(file: Path | str) -> None:
    """Let models that are loaded from now on find their classes in a file; it is run when one does.

    Raises:
        LimbeckError: no such Python file.
    """
    path = Path(file)
    if path.suffix != ".py":
        raise LimbeckError(f"{path}: is no Python file (.py); name the file of a tower's or lift's class")
    TRUSTED[str(path.resolve())] = code_digest(path)


def code_digest(file: Path) -> str:
    """SHA-256 of a file of code."""
    if not file.is_file():
        raise LimbeckError(f"{file}: no such file; a class of yours is named FILE.py:CLASS")
    return sha256_file(file)


def digest_of(own: OwnClass) -> str | None:
    """SHA-256 of the file of a class that was named in this process, else None."""
    return TRUSTED.get(str(own.file.resolve()))


def with_digests(tree: Any) -> Any:
    """A dumped configuration with the SHA-256 of the files of its own classes, to be saved."""
    if isinstance(tree, list):
        return [with_digests(inner) for inner in tree]
    if not isinstance(tree, dict):
        return tree
    found = {key: with_digests(inner) for key, inner in tree.items()}
    if (own := own_name(found.get("kind"))) is not None and found.get("sha256") is None:
        found["sha256"] = digest_of(own)
    return found


def class_digest(cls: type) -> str | None:
    """SHA-256 of the file that a class of one's own came from; None for a class that ships."""
    return getattr(sys.modules.get(cls.__module__), "__limbeck_sha256__", None)


def named_class(
    name: str,
    base: type[_Class],
    what: str,
    *,
    sha256: str | None = None,
    before: Callable[[type[_Class], OwnClass], None] | None = None,
) -> type[_Class]:
    """The class that a recipe names; its file is said and run.

    Args:
        name: ``FILE.py:CLASS``.
        base: what it must be derived from; it needs a class ``Config``, too.
        what: "method", "tower" or "lift", for errors.
        sha256: what the file must be, if the recipe says it.
        before: looks at the class before what it lacks is named.

    Raises:
        LimbeckError: no such file, a file that does not run, another kind of class, an unfinished one.
    """
    own = own_name(name)
    if own is None:
        raise LimbeckError(f"{name!r}: a {what} of yours is named FILE.py:CLASS")
    if sha256 is not None and sha256 != code_digest(own.file):
        raise LimbeckError(f"{own.file}: is not the file that the recipe names by its sha256; restore it")
    trust_code(own.file)
    found = _class_in(own.file, own.cls, base, what)
    if before is not None:
        before(found, own)
    return _finished(found, own)


def saved_class(name: str, sha256: str | None, base: type[_Class], what: str) -> type[_Class]:
    """The class that a saved model refers to, from a file that a person named in this process.

    Args:
        name: ``FILE.py:CLASS`` as the recipe had it; the file's own name counts, wherever it lies now.
        sha256: of the file when the model was made; a difference is said.
        base: what the class must be derived from.
        what: "tower" or "lift", for errors.

    Raises:
        LimbeckError: nobody named the file; see `named_class`.
    """
    own = own_name(name)
    if own is None:
        raise LimbeckError(f"{name!r}: a {what} of yours is named FILE.py:CLASS")
    same = [path for path, digest in TRUSTED.items() if digest == sha256]
    found = same or [path for path in TRUSTED if Path(path).name == own.file.name]
    if not found:
        raise LimbeckError(
            f"the model's {what} is {own.cls} of {own.file.name}, which a model does not carry (SHA-256 "
            f"{(sha256 or 'unknown')[:16]}); name it: limbeck --code {own.file.name} …, or load(…, code=[…])"
        )
    file = Path(found[-1])
    if not same:
        digests = f"SHA-256 {TRUSTED[str(file)][:16]}, then {(sha256 or 'unknown')[:16]}"
        say(f"{file}: differs from the file that the model was made with ({digests})")
    return _finished(_class_in(file, own.cls, base, what), own)


def _class_in(file: Path, cls: str, base: type[_Class], what: str) -> type[_Class]:
    found = getattr(_module(file), cls, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise LimbeckError(f"{file}: holds no {what} {cls!r}, a class derived from {base.__name__}")
    return found


def _finished(found: type[_Class], own: OwnClass) -> type[_Class]:
    if missing := getattr(found, "__abstractmethods__", None):
        raise LimbeckError(f"{own.file}: {own.cls} lacks {', '.join(sorted(missing))}; write it")
    return found


def _module(file: Path) -> ModuleType:
    """The module of a file, run once per content, after it was said."""
    path, digest = str(file.resolve()), code_digest(file)
    if (path, digest) in MODULES:
        return MODULES[path, digest]
    say(f"runs the code of {path} (SHA-256 {digest})")
    name = f"limbeck_own_{file.stem}_{digest[:12]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise LimbeckError(f"{file}: is no Python file; a class of yours is named FILE.py:CLASS")
    module = importlib.util.module_from_spec(spec)
    module.__dict__["__limbeck_sha256__"] = digest
    # Annotations that are text are looked up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        raise LimbeckError(f"{file}: does not run ({type(error).__name__}: {error}); mend it") from error
    MODULES[path, digest] = module
    return module
