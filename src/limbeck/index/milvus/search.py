"""Searches a Milvus collection, scores its candidates locally, and searches missing rows exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.filter_parser import Where
from limbeck.index.milvus.address import ANSWER_SECONDS, Address, connect, one_line_errors
from limbeck.index.milvus.columns import POINT
from limbeck.index.milvus.expression import expression
from limbeck.index.milvus.record import Layout, Record
from limbeck.index.query import Answer, ExactSearch, check_k, check_radius
from limbeck.index.segment_view import SegmentView
from limbeck.index.store import IndexStore

if TYPE_CHECKING:
    from pymilvus import MilvusClient


MOST = 16384  # the most hits per query that Milvus returns
_TOGETHER = 1 << 18  # hits per message
_SPARE, _GROWTH = 16, 4
_SHORTLIST, _NPROBE = 200, 16  # defaults for a collection with lists
_STALE = 0.2  # above this share of missing rows, a new push is recommended


class MilvusSearch:
    """Searches a Milvus collection for the segments that it holds, and the other segments exactly.

    Scores and order equal those of `ExactSearch`. More than k items are fetched. While the last of them is
    not certainly farther than the k-th (because of ties, rounding or removed rows), more are fetched, up to
    the limit of Milvus; then the exact engine answers the query. With lists, only the lists near the query
    are scanned, so that some of the nearest items may be missed.
    """

    def __init__(
        self, store: IndexStore, client: MilvusClient, address: Address, collection: str, record: Record
    ) -> None:
        """Store checked arguments; use `open_search` to make one."""
        self._store, self._client, self._address, self._collection = store, client, address, collection
        self._record, self._layout = record, Layout.of(store.space, record.lists)
        self._columns = {column.name: column for column in record.columns}
        names = [entry.name for entry in store.manifest.segments]
        self._numbers = np.array([names.index(entry.name) for entry in record.segments])
        self._starts = np.cumsum([0, *(entry.rows for entry in record.segments)])
        self._others = [number for number in range(len(names)) if number not in self._numbers]
        self._exact = ExactSearch(store)
        self._rest = SegmentView(store, self._others) if self._others else None
        self._rest_search = None if self._rest is None else ExactSearch(self._rest)

    @property
    def uncovered(self) -> int:
        """The number of rows of the index that are not in the collection."""
        return 0 if self._rest is None else self._rest.rows

    @property
    def exact(self) -> bool:
        """Whether Milvus compares every item."""
        return not self._record.lists

    @property
    def nprobe(self) -> int:
        """The number of lists that a search scans (nprobe)."""
        return min(self._address.nprobe or _NPROBE, self._record.lists)

    @property
    def why(self) -> str:
        """A description of the search, in one line for people."""
        lists, share = self._record.lists, self.uncovered / max(1, self._store.rows)
        how = f"{self.nprobe} of {lists} lists, recall not measured" if lists else "every item compared"
        rest = f"; {share:.1%} of the rows were added later and are searched here" if self.uncovered else ""
        rest += ": push again" if share > _STALE else ""
        what = f"{self._record.rows:,} items of generation {self._record.generation}"
        return f"{what} in {self._address}, {how}{rest}"

    def __call__(self, points: np.ndarray, k: int, where: Where | None = None) -> Answer:
        """Return the k nearest items like `ExactSearch`, with a filter instead of a mask."""
        k, space = check_k(k), self._store.space
        queries = space.check(points, what="query")
        if k > MOST or not len(queries):
            return self._exact(queries, k, self._mask(where))

        def settled(query: np.ndarray, scores: np.ndarray, last: float) -> bool:
            return len(scores) >= k and self._beyond(query, scores[k - 1], last)

        count = max(2 * k + _SPARE, 0 if self.exact else _SHORTLIST)
        answers, open_ = self._gather(queries, count, where, settled)
        if not self.exact:  # the answer is approximate, but has k hits if there are k items
            open_ = [q for q, (scores, _) in enumerate(answers) if len(scores) < k]
        if self._rest is not None and self._rest_search is not None:
            more, numbers = self._rest_search(queries, k, self._mask(where, self._others))
            rest = zip(more, self._rest.to_store(numbers), strict=True)
            answers = [_ordered(space.score_sign, *pair) for pair in zip(answers, rest, strict=True)]
        if open_:
            scores, rows = self._exact(queries[open_], k, self._mask(where))
            for q, answer in zip(open_, zip(scores, rows, strict=True), strict=True):
                answers[q] = answer
        width = min(k, *(len(rows) for _, rows in answers))
        return np.stack([one[:width] for one, _ in answers]), np.stack([rows[:width] for _, rows in answers])

    def range_search(self, points: np.ndarray, radius: float, where: Where | None = None) -> list[Answer]:
        """Return all items within a radius like `ExactSearch.range_search`.

        Raises:
            LimbeckError: the collection has lists, so that items may be missed.
        """
        if not self.exact:
            raise LimbeckError(
                "radius: this engine cannot find all items within it; use --engine exact",
                code="E-ENGINE-CANNOT",
            )
        space = self._store.space
        queries, limit = space.check(points, what="query"), check_radius(space, radius)

        def settled(query: np.ndarray, scores: np.ndarray, last: float) -> bool:
            return self._beyond(query, limit, last)

        answers, open_ = self._gather(queries, 256, where, settled)
        sign = space.score_sign
        near = [
            (scores[kept], rows[kept]) for scores, rows in answers for kept in [sign * scores >= sign * limit]
        ]
        if self._rest is not None and self._rest_search is not None:
            more = self._rest_search.range_search(queries, limit, self._mask(where, self._others))
            rest = [(scores, self._rest.to_store(rows)) for scores, rows in more]
            near = [_ordered(sign, *pair) for pair in zip(near, rest, strict=True)]
        if open_:
            exact_answers = self._exact.range_search(queries[open_], limit, self._mask(where))
            for q, answer in zip(open_, exact_answers, strict=True):
                near[q] = answer
        return near

    def _gather(
        self,
        queries: np.ndarray,
        count: int,
        where: Where | None,
        settled: Callable[[np.ndarray, np.ndarray, float], bool],
    ) -> tuple[list[Answer], list[int]]:
        """Return the ordered candidates of each query, and the queries that the limit of Milvus left open."""
        space, none = self._store.space, np.empty(0, np.int64)
        answers = [(space.rescore(queries[:0], queries[:0]), none)] * len(queries)
        allowed = True if where is None else expression(where.condition, self._columns, self._store.schema)
        if allowed is False:
            return answers, []
        text, todo = "" if allowed is True else allowed, list(range(len(queries)))
        while todo:
            count, unsettled = min(count, MOST), []
            step = max(1, _TOGETHER // count)
            for block in (todo[start : start + step] for start in range(0, len(todo), step)):
                for q, (rows, raw) in zip(block, self._ask(queries[block], count, text), strict=True):
                    query = queries[q : q + 1]
                    answers[q] = _ordered(space.score_sign, self._scored(query, *self._alive(rows, raw)))
                    if len(rows) == count and not settled(query, answers[q][0], float(raw[-1])):
                        unsettled.append(q)
            if count == MOST or not self.exact:
                return answers, unsettled
            todo, count = unsettled, _GROWTH * count
        return answers, []

    def _ask(self, queries: np.ndarray, count: int, text: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return rows of the collection and Milvus' scores, best first, for each query."""
        ready = self._layout.queries(queries)
        data = [query.tobytes() for query in ready] if self._layout.metric == "HAMMING" else list(ready)
        params = {"nprobe": self.nprobe} if self._record.lists else {}
        with one_line_errors(self._address):
            hits = self._client.search(
                self._collection,
                data=data,
                filter=text,
                limit=count,
                anns_field=POINT,
                search_params={"metric_type": self._layout.metric, "params": params},
                timeout=ANSWER_SECONDS,
                consistency_level="Eventually",  # a named collection is never written to
            )
        return [(np.array(one.ids, dtype=np.int64), np.array(one.distances)) for one in hits]

    def _alive(self, rows: np.ndarray, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert rows of the collection to rows of the store, without rows removed since."""
        at = np.searchsorted(self._starts, rows, side="right") - 1
        local, numbers = rows - self._starts[at], self._numbers[at]
        alive = np.ones(len(rows), dtype=bool)
        for number in np.unique(numbers):
            here = numbers == number
            alive[here] = ~self._store.segments[number].is_removed(local[here])
        return (local + np.asarray(self._store.starts)[numbers])[alive], raw[alive]

    def _scored(self, query: np.ndarray, rows: np.ndarray, raw: np.ndarray) -> Answer:
        """Return scores: Milvus' Hamming distances, which are exact, or the space's float64 scores."""
        if self._store.space.storage == "codes":
            return self._store.space.score(raw), rows
        return self._store.space.rescore(query, self._store.points_at(rows)), rows

    def _beyond(self, query: np.ndarray, score: float, last: float) -> bool:
        """Return whether all items after Milvus' last one are certainly farther than a score."""
        space = self._store.space
        with np.errstate(over="ignore"):  # an overflow gives -inf
            limit = float(space.raw_limit(query, np.array([score]), self._record.longest)[0])
        return last > limit if space.storage == "codes" else last < limit

    def _mask(self, where: Where | None, numbers: list[int] | None = None) -> np.ndarray | None:
        """Return the filter as a mask for the exact engine, for all or the given segments."""
        segments = self._store.segments
        chosen = segments if numbers is None else [segments[number] for number in numbers]
        return None if where is None else np.concatenate([where.mask(segment.items) for segment in chosen])


def _ordered(sign: int, *answers: Answer) -> Answer:
    """Merge answers to one query: nearest first, ties by row."""
    scores = np.concatenate([scores for scores, _ in answers])
    rows = np.concatenate([rows for _, rows in answers])
    order = np.lexsort((rows, -sign * scores))
    return scores[order], rows[order]


def open_search(store: IndexStore, text: str) -> MilvusSearch:
    """Open the collection at an address for searches of an index.

    Raises:
        LimbeckError: the address is invalid, no server answers, there is no such collection, or it is of
            another index, model or state.
    """
    address = Address.parse(text)
    client = connect(address)
    with one_line_errors(address):
        if not client.has_collection(address.name):
            raise LimbeckError(
                f"{address}: holds no such collection; limbeck index push {store.path} {address} loads one",
                code="E-MILVUS-COLLECTION",
            )
        about = client.describe_collection(address.name)
        # not the alias: a later push must not change what rows mean
        name = str(about["collection_name"])
        record = Record.from_text(about.get("description", ""), address)
        record.check(store, address)
        if address.nprobe is not None and not record.lists:
            raise LimbeckError(
                f"{address}: has no lists; leave out ?nprobe=, or push with --nlist", code="E-OPTION-UNUSED"
            )
        layout, index = Layout.of(store.space, record.lists), client.describe_index(name, POINT)
        if (index["index_type"], index["metric_type"]) != (layout.kind, layout.metric):
            raise LimbeckError(
                f"{address}: its index is {index['index_type']} {index['metric_type']}, not the "
                f"{layout.kind} {layout.metric} that was pushed; push again",
                code="E-MILVUS-COLLECTION",
            )
        if "Loaded" not in str(client.get_load_state(name)["state"]).replace("NotLoad", ""):
            client.load_collection(name)
    return MilvusSearch(store, client, address, name, record)
