"""The classes of a data set for zero-shot classification: the class of each row, and their prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from limbeck.data.hierarchy import Tree, node_names
from limbeck.data.pairs import Pairs
from limbeck.data.prompts import clean_class_name
from limbeck.errors import LimbeckError

FROM_PATHS = "path"


class Classification(BaseModel):
    """The protocol's section on classification: the source of the classes, their names, and their tree.

    ``classes``: ``path`` (a row's class path, see `node_names`) or ``label`` (rows with exactly one label).
    ``prompts``: texts with ``{}`` for the class; a class is the mean point of its prompts. ``names``: words
    for classes whose names are codes, such as WordNet ids. ``hierarchy``: ``path`` (the tree of the class
    paths), or a file of ``parent child`` lines in the protocol's folder.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    classes: Literal["path", "label"]
    prompts: list[str] = Field(min_length=1)
    names: dict[str, str] = Field(default_factory=dict)
    hierarchy: str | None = None

    @model_validator(mode="after")
    def _prompts_name_the_class(self) -> Self:
        for prompt in self.prompts:
            if prompt.count("{}") != 1:
                raise ValueError(f"prompt {prompt!r} needs {{}} exactly once, for the class")
        if len(set(self.prompts)) < len(self.prompts):
            raise ValueError("prompts repeats a prompt; remove the second")
        return self


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of a data set and of some of its rows.

    Attributes:
        names: the C classes, sorted.
        numbers: int64 (n,), the class of each row; −1 for a row without exactly one.
        words: per class its name in prompts.
        prompts: per class its prompts, equally many for each.
        tree: the tree of the classes, or None.
        nodes: int64 (C,), the number of each class in the tree; empty without one.
    """

    names: list[str]
    numbers: np.ndarray
    words: list[str]
    prompts: list[list[str]]
    tree: Tree | None
    nodes: np.ndarray


def read_classes(
    pairs: Pairs, rows: np.ndarray, section: Classification, file_tree: Tree | None, protocol: str
) -> Classes:
    """Read the classes of the whole table and of some of its rows (n,).

    ``file_tree`` is the tree read from ``section.hierarchy`` where that is a file.

    Raises:
        LimbeckError: no row has a class, there are fewer than two classes, words are given for an unknown
            class, class paths form no tree, or a class is not in the tree.
    """
    if file_tree is None and section.hierarchy not in (None, FROM_PATHS):
        raise LimbeckError(
            f"protocol {protocol}: classification.hierarchy is a file; use load_protocol to read it",
            code="E-CONFIG-VALUE",
        )
    own = class_names(pairs, section.classes)
    known = pairs.label_names if section.classes == "label" else own  # a label may be wrong for every row
    names = sorted({name for name in known if name})
    number = {name: at for at, name in enumerate(names)}
    numbers = np.array([number.get(own[row] or "", -1) for row in rows.tolist()], np.int64)
    if (numbers < 0).all():
        wanted = "a class path" if section.classes == "path" else "exactly one label"
        raise LimbeckError(
            f"protocol {protocol}: classification: none of {len(rows)} query rows of {pairs.path} has "
            f"{wanted}; import the data with it, or use a protocol without classification",
            code="E-DATA-LABELS",
        )
    if len(names) < 2:
        raise LimbeckError(
            f"protocol {protocol}: classification: {pairs.path} has one class, {names[0]!r}; two are needed",
            code="E-DATA-LABELS",
        )
    unknown = [name for name in section.names if name not in number]
    if unknown:
        raise LimbeckError(
            f"protocol {protocol}: classification.names: {unknown[0]!r} is not a class of {pairs.path}; "
            "remove or correct it",
            code="E-LABEL-UNKNOWN",
        )
    last = {name: path[-1] for path, name in node_names(pairs.class_paths).items()}
    called = last if section.classes == "path" else {}
    words = [clean_class_name(name if name in section.names else called.get(name, name), section.names)
             for name in names]  # fmt: skip
    tree = file_tree
    if section.hierarchy == FROM_PATHS:
        tree = Tree.from_paths(pairs.class_paths, f"{pairs.path}, class paths")
    return Classes(
        names=names,
        numbers=numbers,
        words=words,
        prompts=[[prompt.replace("{}", word) for prompt in section.prompts] for word in words],
        tree=tree,
        nodes=np.empty(0, np.int64) if tree is None else tree.numbers(names),
    )


def class_names(pairs: Pairs, source: Literal["path", "label"]) -> Sequence[str | None]:
    """Return the one class of every row, or None: its class path (see `node_names`), or its only label."""
    if source == "path":
        names = node_names(pairs.class_paths)
        return [names[tuple(path)] if path else None for path in pairs.class_paths]
    return [labels[0] if len(labels) == 1 else None for labels in pairs.labels_text]
