"""Packaged protocols and those in files: one YAML file each, with its id lists in the same folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from limbeck.data.classes import FROM_PATHS
from limbeck.data.config_errors import describe
from limbeck.data.hierarchy import Tree
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Context, Protocol, Validation
from limbeck.data.resampling import FORM, base_name, redraw
from limbeck.data.resolved_splits import ResolvedSplits, resolve_splits
from limbeck.data.splits import Split
from limbeck.data.yaml_files import read_yaml
from limbeck.errors import LimbeckError, proposal
from limbeck.tables import TextList, decode_text, split_lines, warn_notes

FOLDER = Path(__file__).resolve().parents[1] / "protocols"


def load_protocol(name: str | Path) -> Protocol:
    """Load a protocol by name (see `list_protocols`) or from a YAML file.

    ``@3`` or ``@fold2of5`` after either resamples its splits (`limbeck.data.resampling`).

    Raises:
        LimbeckError: the name or file is unknown; a key is unknown or malformed; an id list is missing,
            changed (SHA-256) or repeats an id; the class tree is invalid; the protocol cannot be resampled.
    """
    base = None if Path(name).is_file() else base_name(str(name))
    if base is not None:
        return _redrawn(load_protocol(base), str(name))
    file = _find(str(name))
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise LimbeckError(
            f"{file}: a protocol is a mapping of keys, found {type(content).__name__}", code="E-CONFIG-FORM"
        )
    try:
        protocol = Protocol.model_validate(content)
    except ValidationError as error:
        raise describe(error, Protocol, str(file)) from None
    splits = protocol.splits
    parts: dict[str, Split | Validation | None] = {
        "query": splits.query, "database": splits.database, "train": splits.train,
        "validation": protocol.validation,
    }  # fmt: skip
    lists = {
        name: _read_ids(file.parent / part.file, part.sha256 or "")
        for name, part in parts.items()
        if part is not None and part.file is not None
    }
    section, tree = protocol.classification, None
    if section is not None and section.hierarchy not in (None, FROM_PATHS):
        tree = Tree.read(file.parent / section.hierarchy)
    return protocol.within(Context(lists, tree))


def fitting_protocols(pairs: Pairs) -> list[str]:
    """Return the packaged protocols whose queries and training rows a data set has, with texts to show."""
    found = []
    for name in list_protocols():
        try:
            splits = resolve_splits(load_protocol(name), pairs)
            pairs.require_texts(splits.protocol.text.column, splits.query.rows)
            if splits.protocol.task == "hashing":
                pairs.require_labels(splits.query.rows)
        except LimbeckError:
            continue
        found.append(name)
    return found


def open_splits(protocol: Protocol | Path | str, pairs: Pairs, option: str) -> ResolvedSplits:
    """Resolve a protocol (or its name or file) on a data set; where it does not fit, name those that do.

    ``option`` is the option to set, such as ``--protocol`` or ``data.protocol``, for the message.

    Raises:
        LimbeckError: the protocol does not fit; the error names what is missing (see `load_protocol`,
            `resolve_splits`) and the protocols that fit.
    """
    protocol = load_protocol(protocol) if isinstance(protocol, (str, Path)) else protocol
    try:
        return resolve_splits(protocol, pairs)
    except LimbeckError as error:
        fits = sorted(fitting_protocols(pairs), key=lambda name: load_protocol(name).task != protocol.task)
        if not fits:
            raise
        shown = f"{option}{'=' if '.' in option else ' '}{fits[0]}"
        others = f" (or {', '.join(fits[1:4])})" if fits[1:] else ""
        raise LimbeckError(f"{error}; this data set fits {shown}{others}", code=error.code) from None


def protocol_file(name: str) -> Path | None:
    """Return the file of a protocol's name, also of ``FILE@3``; None for a packaged one."""
    for own in (name, base_name(name)):
        if own is not None and own not in list_protocols() and Path(own).is_file():
            return Path(own)
    return None


def lasting_name(name: str) -> str:
    """Return the name as it is stored: a file by its absolute path."""
    file = protocol_file(name)
    if file is None:
        return name
    redrawn = "" if file == Path(name) else f"@{name.rpartition('@')[2]}"
    return f"{file.resolve()}{redrawn}"


def _redrawn(base: Protocol, name: str) -> Protocol:
    changes, pool, family = redraw(base, name)
    drawn = Protocol.model_validate(base.model_dump() | changes)
    return drawn.within(Context({} if pool is None else {"pool": pool}, base.context.tree, family))


def list_protocols() -> list[str]:
    """Return the names of the packaged protocols, sorted."""
    return sorted(file.relative_to(FOLDER).with_suffix("").as_posix() for file in FOLDER.rglob("*.yaml"))


def _find(name: str) -> Path:
    if name in list_protocols():
        return FOLDER / f"{name}.yaml"
    file = Path(name)
    if file.is_file():
        return file
    if file.suffix in (".yaml", ".yml"):
        raise LimbeckError(
            f"{name}: there is no such protocol file; give its path, or restore it", code="E-PATH-MISSING"
        )
    if name.rpartition("@")[0] in list_protocols():
        raise LimbeckError(f"protocol {name!r} is unknown; after @, {FORM}", code="E-PROTOCOL-UNKNOWN")
    hint = proposal(name, list_protocols(), "limbeck list protocols")
    raise LimbeckError(f"protocol {name!r} is unknown; {hint}", code="E-PROTOCOL-UNKNOWN")


def _read_ids(file: Path, sha256: str) -> list[str]:
    if not file.is_file():
        raise LimbeckError(f"{file}: there is no such id list; restore it", code="E-PATH-MISSING")
    content = file.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise LimbeckError(
            f"{file}: SHA-256 is {found[:12]}…, the protocol expects {sha256[:12]}…; restore it",
            code="E-FILE-DAMAGED",
        )
    decoded = decode_text(content, str(file))
    warn_notes(decoded.notes)
    ids = TextList(str(file), split_lines(decoded.text)).entries
    if len(set(ids)) != len(ids):
        raise LimbeckError(f"{file}: an id occurs twice; list each id once", code="E-ID-REPEATED")
    return ids
