"""An is-a tree over classes, read from ``parent child`` lines or built from the class paths of a table."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.tables import read_list, warn_notes

_COMMENT = re.compile(r"(^|\s)#.*")
_JOIN = " > "
Edge = tuple[str, str, str]  # parent, child, source of the edge ("FILE, line 3")


class Tree:
    """A rooted tree of names; every node except the root has one parent.

    Attributes:
        nodes: the N names, each parent before its children, the root first.
        parents: int64 (N,), the number of each node's parent in ``nodes``; −1 for the root.
        source: the source of the tree, for messages.
    """

    def __init__(self, nodes: Sequence[str], parents: np.ndarray, source: str) -> None:
        self.nodes = list(nodes)
        self.parents = np.asarray(parents, np.int64)
        self.source = source
        self._number = {name: number for number, name in enumerate(self.nodes)}

    @classmethod
    def read(cls, file: str | Path) -> Tree:
        """Read a text file of edges, one ``parent child`` per line; blank lines and ``# …`` are skipped.

        Raises:
            LimbeckError: there is no such file, it is not text, a line does not have two words, there is no
                edge, a node is its own ancestor or has two parents, or there are two roots.
        """
        path = Path(file)
        edges: list[Edge] = []
        lines = read_list(path)
        warn_notes(lines.notes)
        for number, line in lines.numbered():
            words = _COMMENT.sub("", line).split()
            if len(words) == 2:
                edges.append((words[0], words[1], f"{path}, line {number}"))
            elif words:
                raise LimbeckError(
                    f"{path}, line {number}: {_short(' '.join(words))!r} has {len(words)} "
                    f"{'word' if len(words) == 1 else 'words'}, not 2; write 'parent child', _ for a blank",
                    code="E-HIERARCHY-TREE",
                )
        if not edges:
            raise LimbeckError(
                f"{path}: contains no edge; write one 'parent child' per line", code="E-FILE-EMPTY"
            )
        return cls._grow([], edges, str(path))

    @classmethod
    def from_paths(cls, paths: Iterable[Sequence[str]], source: str = "class paths") -> Tree:
        """Build the tree whose branches are class paths, root first; empty paths are skipped.

        A node is a path from the root, so equal names may occur on two levels or in two branches.
        `node_names` names the nodes.

        Raises:
            LimbeckError: there is no path, or there are two roots.
        """
        distinct = sorted({tuple(path) for path in paths if len(path)})
        if not distinct:
            raise LimbeckError(
                f"{source}: has no class path; import the data with a column 'path'", code="E-DATA-LABELS"
            )
        names = node_names(distinct)
        full = _from_root(distinct)
        nodes = {full[path][:end]: path for path in distinct for end in range(1, len(full[path]) + 1)}
        edges = [
            (names[node[:-1]], names[node], f"{source}, path {'/'.join(path)!r}")
            for node, path in nodes.items()
            if len(node) > 1
        ]
        return cls._grow([names[node] for node in nodes], edges, source)

    @classmethod
    def _grow(cls, names: Sequence[str], edges: Sequence[Edge], source: str) -> Tree:
        parents: dict[str, dict[str, str]] = {name: {} for name in names}
        for parent, child, where in edges:
            parents.setdefault(parent, {})
            parents.setdefault(child, {}).setdefault(parent, where)
        order = _parents_first(parents)
        for child, above in parents.items():
            if len(above) > 1:
                (first, _), (second, where) = list(above.items())[:2]
                raise LimbeckError(
                    f"{where}: {child!r} is below {second!r} and below {first!r}; in a tree each node "
                    "has one parent: remove one of the two edges, or give the two meanings two names",
                    code="E-HIERARCHY-TREE",
                )
        roots = [name for name in order if not parents[name]]
        if len(roots) > 1:
            more = f" (and {len(roots) - 2} more)" if len(roots) > 2 else ""
            raise LimbeckError(
                f"{source}: has two roots, {roots[0]!r} and {roots[1]!r}{more}; "
                "add a node above them, so that all classes are in one tree",
                code="E-HIERARCHY-TREE",
            )
        number = {name: at for at, name in enumerate(order)}
        return cls(order, np.array([number[next(iter(parents[n]), "")] if parents[n] else -1 for n in order]),
                   source)  # fmt: skip

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._number

    def __repr__(self) -> str:
        return f"Tree({self.source!r}, {len(self)} nodes, root {self.root!r})"

    @property
    def root(self) -> str:
        """The name of the root."""
        return self.nodes[0]

    @property
    def edges_hash(self) -> str:
        """The SHA-256 of the edges: equal for equal trees, whatever the order of the lines."""
        return sha256_json(sorted([self.nodes[p] if p >= 0 else "", n] for n, p in self._with_parents()))

    def numbers(self, names: Sequence[str]) -> np.ndarray:
        """Return the numbers of some nodes, int64 (n,).

        Raises:
            LimbeckError: a name is unknown.
        """
        for name in names:
            if name not in self._number:
                near = difflib.get_close_matches(name, self.nodes, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "add an edge 'parent child' for it"
                raise LimbeckError(
                    f"{self.source}: class {name!r} is not in the tree; {hint}", code="E-LABEL-UNKNOWN"
                )
        return np.array([self._number[name] for name in names], np.int64)

    def path(self, name: str) -> list[str]:
        """Return the names from the root to a node, including it."""
        found, at = [], int(self.numbers([name])[0])
        while at >= 0:
            found.append(self.nodes[at])
            at = int(self.parents[at])
        return found[::-1]

    def _with_parents(self) -> list[tuple[str, int]]:
        return list(zip(self.nodes, self.parents.tolist(), strict=True))


def node_names(paths: Iterable[Sequence[str]]) -> dict[tuple[str, ...], str]:
    """Name the nodes of class paths and of their beginnings; return the names by path.

    The last entry names a node if no other node has it, else the whole path does (``A > A``).

    Raises:
        LimbeckError: an entry equals the joined path of another node.
    """
    full = _from_root(paths)
    nodes = dict.fromkeys(path[:end] for path in full.values() for end in range(1, len(path) + 1))
    count = Counter(node[-1] for node in nodes)
    names = {node: node[-1] if count[node[-1]] == 1 else _JOIN.join(node) for node in nodes}
    twice = [name for name, times in Counter(names.values()).items() if times > 1]
    if twice:
        raise LimbeckError(
            f"class paths: {twice[0]!r} names two nodes; write {_JOIN.strip()!r} in no entry",
            code="E-HIERARCHY-TREE",
        )
    return names | {path: names[full[path]] for path in full}


def _from_root(paths: Iterable[Sequence[str]]) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Prepend to each path the path above its first entry, if that is a node of exactly one other path."""
    full = {tuple(path): tuple(path) for path in paths if len(path)}
    while True:
        roots = {path[0] for path in full.values()}
        inner = {path[:end] for path in full.values() for end in range(2, len(path) + 1)}
        above: dict[str, list[tuple[str, ...]]] = {}
        for node in sorted(inner):
            if node[-1] in roots and node[0] != node[-1]:
                above.setdefault(node[-1], []).append(node)
        root = next((name for name, nodes in sorted(above.items()) if len(nodes) == 1), None)
        if root is None:
            return full
        full = {own: above[root][0] + path[1:] if path[0] == root else path for own, path in full.items()}


def _parents_first(parents: dict[str, dict[str, str]]) -> list[str]:
    """Order the nodes so that every parent comes before its children; refuse a cycle."""
    children: dict[str, list[str]] = {name: [] for name in parents}
    waiting = {name: len(above) for name, above in parents.items()}
    for name, above in parents.items():
        for parent in above:
            children[parent].append(name)
    order = [name for name, count in waiting.items() if not count]
    for name in order:  # grows while it is read
        for child in children[name]:
            waiting[child] -= 1
            if not waiting[child]:
                order.append(child)
    if len(order) < len(parents):
        _refuse_cycle(parents, set(parents) - set(order))
    return order


def _refuse_cycle(parents: dict[str, dict[str, str]], stuck: set[str]) -> None:
    """Raise for a cycle: a stuck node is on one or below one, so going up among them returns to a node."""
    way = [next(name for name in parents if name in stuck)]
    while way[-1] not in way[:-1]:
        way.append(next(parent for parent in parents[way[-1]] if parent in stuck))
    ring = way[way.index(way[-1]) :][::-1]  # parent first, the same node at both ends
    where = parents[ring[1]][ring[0]]
    shown = ring if len(ring) <= 6 else [*ring[:3], "…", *ring[-2:]]
    raise LimbeckError(
        f"{where}: {ring[0]!r} is its own ancestor ({' → '.join(shown)}); remove one edge of this cycle",
        code="E-HIERARCHY-TREE",
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
