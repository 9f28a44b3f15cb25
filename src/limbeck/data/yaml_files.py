"""The one reader of YAML (recipes, protocols, grids, overrides): strict, and bounded in size.

In YAML a small file can expand to a huge value (aliases of aliases), a value can contain itself, and a
mapping can lose an entry because its key is repeated. All three are refused before a value is built.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from limbeck.errors import LimbeckError

MAX_BYTES = 2**20
MAX_DEPTH = 50
MAX_NODES = 100_000
"""Keys and values with every alias expanded. The largest packaged grid has about 500."""

_BREAKS = {"\x85", "\u2028", "\u2029"}
_MERGE = "tag:yaml.org,2002:merge"
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$")


class _Refused(LimbeckError):
    """An error without the file's name, which the caller adds."""


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses deep nesting while it parses, and reads 2e-3 as a number."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_deep(self.peek_event().start_mark.line + 1)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Expand ``<<``: a mapping's own keys win, then earlier sources.

        In PyYAML 6.0.4 the keys that a source merges win over the source's own keys.
        """
        sources = [value for key, value in node.value if key.tag == _MERGE]
        own = [(key, value) for key, value in node.value if key.tag != _MERGE]
        taken, merged = {_key(key) for key, _ in own}, []
        for source in [one for s in sources for one in (s.value if s.id == "sequence" else [s])]:
            if not isinstance(source, yaml.MappingNode):
                raise _Refused(
                    f"line {_line(source)}: << needs a mapping or a list of mappings", code="E-YAML-SYNTAX"
                )
            self.flatten_mapping(source)
            merged += [(key, value) for key, value in source.value if _key(key) not in taken]
            taken |= {_key(key) for key, _ in source.value}
        node.value = merged + own


class _Dumper(yaml.SafeDumper):
    """Write text that `_Loader` reads back unchanged, without aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789"))


def yaml_text(value: object) -> str:
    """Return a value as YAML, keys in their order; `parse_yaml` reads it back."""
    text = str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True))
    if _BREAKS.isdisjoint(text):
        return text
    # YAML reads these as line ends, and folds them to blanks unless they are escaped.
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=False))


def parse_yaml(text: str, source: str) -> Any:
    """Return the value of a YAML text: mappings, lists, strings, numbers, booleans, dates, None.

    Raises:
        LimbeckError: the text is not YAML, has a tag of another type, repeats a key, has more than
            `MAX_DEPTH` levels, `MAX_BYTES` or `MAX_NODES` keys and values (with aliases expanded), or has an
            alias inside its own anchor; the error names ``source``.
    """
    if len(text) > MAX_BYTES:
        raise LimbeckError(
            f"{source}: has {len(text):,} characters; a YAML file may have at most {MAX_BYTES:,}",
            code="E-FILE-SIZE",
        )
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _extent(node, {})
        return loader.construct_document(node)
    except _Refused as error:
        raise LimbeckError(f"{source}: {error}", code=error.code) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LimbeckError(
            f"{source}: is not valid YAML ({' '.join(str(error).split())[:300]})", code="E-YAML-SYNTAX"
        ) from None
    finally:
        if loader is not None:
            loader.dispose()


def read_yaml(file: Path) -> Any:
    """Return `parse_yaml` of a file.

    Raises:
        LimbeckError: as in `parse_yaml`, or the file is missing, not regular, larger than `MAX_BYTES`, or not
            UTF-8.
    """
    file = Path(file)
    try:
        if file.exists() and not file.is_file():
            raise LimbeckError(f"{file}: is not a regular file; use a YAML file", code="E-PATH-KIND")
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise LimbeckError(
            f"{file}: cannot read ({error.strerror}); check the path", code="E-PATH-READ"
        ) from None
    except UnicodeDecodeError as error:
        raise LimbeckError(
            f"{file}: is not valid YAML ({error}); save it as UTF-8", code="E-FILE-ENCODING"
        ) from None
    return parse_yaml(text, str(file))


@dataclass(frozen=True)
class _Extent:
    """The number of keys and values, and of levels, at and below a node with every alias expanded."""

    size: int = 1
    depth: int = 1


def _extent(node: yaml.Node, known: dict[int, _Extent | None]) -> _Extent:
    """Measure a node, each part of it once, and check for repeated keys."""
    if not isinstance(node, yaml.CollectionNode):
        return _Extent()
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise _Refused(
                f"line {_line(node)}: contains an alias of itself; write its value out", code="E-YAML-SYNTAX"
            )
        return found
    known[id(node)] = None
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
    parts = [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
    inner = [_extent(part, known) for part in parts]
    found = _Extent(1 + sum(own.size for own in inner), 1 + max((own.depth for own in inner), default=0))
    if found.size > MAX_NODES:
        raise _Refused(
            f"line {_line(node)}: expands to more than {MAX_NODES:,} keys and values with its aliases; "
            "shorten it",
            code="E-FILE-SIZE",
        )
    if found.depth > MAX_DEPTH:
        raise _too_deep(_line(node))
    known[id(node)] = found
    return found


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[Hashable] = set()
    for key, _ in node.value:
        if _key(key) in seen:
            name = key.value if isinstance(key, yaml.ScalarNode) else "a key"
            raise _Refused(
                f"line {_line(key)}: {name!r} is repeated; rename or remove one", code="E-YAML-SYNTAX"
            )
        seen.add(_key(key))


def _key(node: yaml.Node) -> Hashable:
    """Return what distinguishes keys of a mapping; keys of equal value and type are equal."""
    return (node.tag, node.value) if isinstance(node, yaml.ScalarNode) else id(node)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _too_deep(line: int) -> _Refused:
    return _Refused(f"line {line}: nested deeper than {MAX_DEPTH} levels; flatten it", code="E-FILE-SIZE")
