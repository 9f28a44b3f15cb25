"""A stand-in for pymilvus' client: one server's collections in memory, brute force, ties at random."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np


class Hits:
    def __init__(self, ids: np.ndarray, distances: np.ndarray) -> None:
        self.ids, self.distances = ids.tolist(), distances.tolist()


class Schema:
    def __init__(self, description: str) -> None:
        self.description, self.fields = description, []

    def add_field(self, name: str, kind: str, **options: Any) -> None:
        self.fields.append((name, kind, options))


class Indexes(list):
    def add_index(self, **options: Any) -> None:
        self.append(options)


class FakeMilvus:
    """``filters`` says what an expression means: text to a test of a row, a dictionary."""

    def __init__(self, filters: dict[str, Callable[[dict], bool]] | None = None) -> None:
        self.collections: dict[str, dict[str, Any]] = {}
        self.aliases: dict[str, str] = {}
        self.filters, self.asked, self.rng = filters or {}, [], np.random.default_rng(0)

    def collection_of(self, name: str) -> dict[str, Any]:
        return self.collections[self.aliases.get(name, name)]

    def create_schema(self, *, description: str, **options: Any) -> Schema:
        return Schema(description)

    def prepare_index_params(self) -> Indexes:
        return Indexes()

    def create_collection(self, name: str, schema: Schema, **options: Any) -> None:
        self.collections[name] = {"schema": schema, "rows": [], "index": None, "loaded": False}

    def insert(self, name: str, rows: list[dict], **options: Any) -> None:
        names = {field[0] for field in self.collection_of(name)["schema"].fields}
        assert all(row.keys() == names for row in rows)
        self.collection_of(name)["rows"] += rows

    def flush(self, name: str) -> None:
        pass

    def create_index(self, name: str, params: Indexes) -> None:
        self.collection_of(name)["index"] = params[0]

    def load_collection(self, name: str) -> None:
        self.collection_of(name)["loaded"] = True

    def get_load_state(self, name: str) -> dict[str, Any]:
        return {"state": "Loaded" if self.collection_of(name)["loaded"] else "NotLoad"}

    def query(self, name: str, **options: Any) -> list[dict]:
        return [{"count(*)": len(self.collection_of(name)["rows"])}]

    def has_collection(self, name: str) -> bool:
        return name in self.collections or name in self.aliases

    def list_collections(self) -> list[str]:
        return list(self.collections)

    def describe_collection(self, name: str) -> dict[str, Any]:
        real = self.aliases.get(name, name)
        aliases = [alias for alias, other in self.aliases.items() if other == real]
        description = self.collections[real]["schema"].description
        return {"collection_name": real, "aliases": aliases, "description": description}

    def describe_index(self, name: str, field: str) -> dict[str, Any]:
        return self.collection_of(name)["index"]

    def create_alias(self, name: str, alias: str) -> None:
        assert alias not in self.aliases and alias not in self.collections
        self.aliases[alias] = name

    def alter_alias(self, name: str, alias: str) -> None:
        assert alias in self.aliases
        self.aliases[alias] = name

    def drop_collection(self, name: str) -> None:
        del self.collections[name]

    def search(self, name, *, data, filter, limit, anns_field, search_params, **options) -> list[Hits]:
        found = self.collection_of(name)
        assert found["loaded"] and search_params["metric_type"] == found["index"]["metric_type"]
        self.asked.append((len(data), limit))
        rows = [row for row in found["rows"] if not filter or self.filters[filter](row)]
        numbers = np.array([row["row"] for row in rows], dtype=np.int64)
        answers = []
        for query in data:
            far = _distances(search_params["metric_type"], query, [row[anns_field] for row in rows])
            shuffled = self.rng.permutation(len(rows))
            order = shuffled[np.argsort(far[shuffled], kind="stable")][:limit]
            answers.append(Hits(numbers[order], np.abs(far[order])))
            if search_params["metric_type"] == "IP":
                answers[-1].distances = (-far[order]).tolist()
        return answers


def _distances(metric: str, query: Any, points: list[Any]) -> np.ndarray:
    if not points:
        return np.empty(0, np.float32)
    if metric == "HAMMING":
        codes = np.frombuffer(b"".join(points), np.uint8).reshape(len(points), -1)
        return np.bitwise_count(codes ^ np.frombuffer(query, np.uint8)).sum(1).astype(np.float32)
    vectors = np.stack(points)
    return -(vectors @ query) if metric == "IP" else ((vectors - query) ** 2).sum(1)


PYMILVUS = types.SimpleNamespace(
    DataType=types.SimpleNamespace(
        INT64="INT64", DOUBLE="DOUBLE", BOOL="BOOL", VARCHAR="VARCHAR", ARRAY="ARRAY",
        BINARY_VECTOR="BINARY_VECTOR", FLOAT_VECTOR="FLOAT_VECTOR",
    ),
    MilvusException=type("MilvusException", (Exception,), {}),
)  # fmt: skip
