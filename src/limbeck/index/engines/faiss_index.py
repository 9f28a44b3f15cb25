"""Searches with indexes of faiss: one adapter, and a table with a row for each kind of index.

* ``faiss-flat`` compares every point; it checks our own kernels independently.
* ``faiss-ivf`` scans the ``nprobe`` lists whose centroids are nearest to the query. Vectors are in half
  precision: a third faster at the same recall, because the space re-ranks the candidates.
* ``faiss-ivfpq`` adds product quantization: Jégou, Douze and Schmid, "Product Quantization for Nearest
  Neighbor Search", PAMI 2011. Each of M parts takes one byte, by default a sixteenth of the vectors' memory.
* ``faiss-hnsw`` searches a graph: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor
  search using Hierarchical Navigable Small World graphs", 2018. A graph needs a distance: with the inner
  product that ranks points of the hyperboloid, its recall is one in seven.
* ``faiss-multihash`` looks up each part of a code with up to ``nflip`` bits flipped: Norouzi, Punjani and
  Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR 2012. Unlike theirs, it stops early.

Vectors are indexed by `Space.coordinates` with Euclidean distance, and the space re-ranks the candidates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.engines.base import (
    BuildParam,
    Candidates,
    Engine,
    Points,
    RowMask,
    SearchParams,
    packed_left,
    widened,
)
from limbeck.optional_deps import require

FILE = "index.faiss"
_SAMPLE = 64  # training points per centroid
_MOST_FLIPS = 5
_STEPS = sorted({2**power for power in range(10)} | {3 * 2**power for power in range(9)})  # 1, 2, 3, 4, 6, …
_EF = (16, 32, 64, 128, 256, 512, 1024)
_SHORTLISTS = (64, 256)  # candidates that the space scores


class _Clustering(Protocol):
    min_points_per_centroid: int


class _Quantizer(Protocol):
    cp: _Clustering


class _Graph(Protocol):
    efConstruction: int
    efSearch: int


class FaissIndex(Protocol):
    """Declares the members of faiss' index classes that are used here; faiss has no type hints."""

    d: int
    ntotal: int
    nlist: int
    nprobe: int
    cp: _Clustering
    pq: _Quantizer
    do_polysemous_training: bool
    hnsw: _Graph
    b: int
    nflip: int

    def train(self, points: np.ndarray) -> None:
        """Learn centroids from points (n, columns)."""

    def add(self, points: np.ndarray) -> None:
        """Append points (n, columns)."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return distances and rows (Q, k); the row -1 marks a missing answer."""


@dataclass(frozen=True)
class Kind:
    """Holds one kind of faiss index.

    Attributes:
        cls: the faiss class in the file.
        factory: the string for faiss' index factory, with the build parameters in braces.
        build_params: (rows, columns) to the build parameters.
        search_params: an index to its search parameters, from fast to thorough.
        apply: sets (index, parameters, number of candidates, allowed rows) before a search.
        sample: the least number of training points; None without training.
    """

    cls: str
    factory: str
    build_params: Callable[[int, int], list[BuildParam]]
    search_params: Callable[[FaissIndex], list[SearchParams]]
    apply: Callable[[FaissIndex, SearchParams, int, RowMask | None], None]
    sample: int | None = None

    @property
    def binary(self) -> bool:
        """Whether it indexes codes."""
        return self.cls.startswith("IndexBinary")

    def empty(self, rows: int, columns: int, params: Mapping[str, int]) -> FaissIndex:
        """Return an index without points, for ``rows`` points of ``columns`` bytes or coordinates."""
        faiss = require("faiss")
        index: FaissIndex
        if self.binary:
            length = min(32, 8 * columns // params.get("nhash", 1))
            index = faiss.index_binary_factory(8 * columns, self.factory.format(**params, length=length))
        else:
            parts = params["M"] if "PQ" in self.factory else 1
            bits = int(min(8, max(1, np.log2(rows))))
            index = faiss.index_factory(
                -(-columns // parts) * parts, self.factory.format(**params, bits=bits)
            )
        if "ef_construction" in params:
            index.hnsw.efConstruction = params["ef_construction"]
        if self.sample is not None:
            index.cp.min_points_per_centroid = 1  # suppress the warning about few training points
        if "PQ" in self.factory:
            index.pq.cp.min_points_per_centroid = 1
            index.do_polysemous_training = False  # orders centroids for a filter that is not used here
        return index


@contextlib.contextmanager
def _one_line_errors(what: object) -> Iterator[None]:
    """Turn a multi-line C++ exception of faiss into a one-line `LimbeckError` that names ``what``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        cause = str(error).strip().splitlines()[-1][-120:]
        raise LimbeckError(
            f"{what}: faiss failed ({cause}); build the engine again", code="E-ENGINE-DAMAGED"
        ) from None


class FaissEngine:
    """Searches a memory-mapped faiss index; `faiss_engine` makes a subclass for each kind.

    Filters are applied to what faiss returns, because several of its indexes have none: if a share s of the
    rows is allowed, 1/s times as many candidates are fetched.
    """

    name: ClassVar[str]
    kind: ClassVar[Kind]

    def __init__(self, folder: Path, rows: int) -> None:
        faiss = require("faiss")
        read = faiss.read_index_binary if self.kind.binary else faiss.read_index
        with _one_line_errors(folder / FILE):
            self.index: FaissIndex = read(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        self._all = rows
        if (found := type(self.index).__name__) != self.kind.cls:
            raise LimbeckError(
                f"{folder / FILE}: holds {found}, expected {self.kind.cls}; build it again",
                code="E-ENGINE-DAMAGED",
            )
        if self.index.ntotal != rows:
            raise LimbeckError(
                f"{folder / FILE}: {self.index.ntotal} points, expected {rows}; build it again",
                code="E-ENGINE-DAMAGED",
            )

    @classmethod
    def build_params(cls, rows: int, columns: int) -> list[BuildParam]:
        """Return the build parameters of its kind."""
        return cls.kind.build_params(rows, columns)

    @classmethod
    def write(cls, folder: Path, points: Points, params: Mapping[str, int]) -> None:
        """Train on a sample if the kind needs it, add all points, and write the file."""
        faiss = require("faiss")
        index = cls.kind.empty(points.rows, points.columns, params)
        if cls.kind.sample is not None:
            index.train(_fitted(index, points.sample(max(cls.kind.sample, _SAMPLE * params["nlist"]))))
        for piece in points.pieces():
            index.add(_fitted(index, piece))
        (faiss.write_index_binary if cls.kind.binary else faiss.write_index)(index, str(folder / FILE))

    def search_params(self) -> list[SearchParams]:
        """Return the search parameters of its kind."""
        return self.kind.search_params(self.index)

    def search(
        self, queries: np.ndarray, count: int, params: SearchParams, allowed: RowMask | None
    ) -> Candidates:
        """Return up to ``count`` allowed candidates for each query; see `Engine.search`."""
        count = min(count, self._all)
        fetched = widened(count, allowed, self._all)
        self.kind.apply(self.index, params, fetched, allowed)
        with _one_line_errors(self.name):
            distances, rows = self.index.search(_fitted(self.index, queries), fetched)
        if rows.size and (rows.min() < -1 or rows.max() >= self._all):  # -1 marks a missing answer
            raise LimbeckError(
                f"{self.name}: returns rows that do not exist; build the engine again",
                code="E-ENGINE-DAMAGED",
            )
        if allowed is not None:
            rows = np.where((rows >= 0) & allowed.mask[rows], rows, -1)
        rows, distances = (array[:, :count] for array in packed_left(rows, distances))
        rows = rows.astype(np.int64, copy=False)
        if self.kind.binary:
            return Candidates(rows, distances)
        lossy = "PQ" in self.kind.factory  # then the distances are those of quantized points
        return Candidates(rows, squares=None if lossy else distances)


def _fitted(index: FaissIndex, points: np.ndarray) -> np.ndarray:
    """Append columns of zeros to vectors, so that the parts of a product quantizer have the same width."""
    missing = 0 if points.dtype == np.uint8 else index.d - points.shape[1]
    return np.ascontiguousarray(np.pad(points, ((0, 0), (0, missing))) if missing else points)


def _nlist(rows: int, most: int) -> BuildParam:
    """Return the number of inverted lists, by default about 4·√rows."""
    return BuildParam("nlist", min(most, 2 ** round(np.log2(4 * np.sqrt(rows)))), 1, rows)


def _graph_params(rows: int, columns: int) -> list[BuildParam]:
    """Return the build parameters of a graph: neighbours per point, and candidates during the build."""
    return [BuildParam("M", 16, 2, 128), BuildParam("ef_construction", 80, 4, 2000)]


def _nprobes(
    index: FaissIndex, lengths: tuple[int, ...], steps: Sequence[int] = _STEPS
) -> list[SearchParams]:
    """Return values of nprobe up to half of the lists, each with every length of the short list."""
    probes = [number for number in steps if number <= max(1, index.nlist // 2)]
    return [{"nprobe": number, "shortlist": length} for number in probes for length in lengths]


def _set_nprobe(index: FaissIndex, params: SearchParams, count: int, allowed: RowMask | None) -> None:
    index.nprobe = widened(params["nprobe"], allowed, index.nlist)


def _set_ef(index: FaissIndex, params: SearchParams, count: int, allowed: RowMask | None) -> None:
    index.hnsw.efSearch = max(count, widened(params["ef_search"], allowed, index.ntotal))


def _set_nflip(index: FaissIndex, params: SearchParams, count: int, allowed: RowMask | None) -> None:
    """Set nflip; a filter that allows a tenth of the rows adds one flip (ten times the codes)."""
    more = 0 if allowed is None else round(-np.log10(allowed.share))
    index.nflip = min(params["nflip"] + more, index.b, _MOST_FLIPS)


def _set_nothing(index: FaissIndex, params: SearchParams, count: int, allowed: RowMask | None) -> None:
    """Set nothing, because every point is compared."""


KINDS: dict[Literal["codes", "vectors"], dict[str, Kind]] = {
    "codes": {
        "faiss-flat": Kind(
            "IndexBinaryFlat", "BFlat", lambda rows, columns: [], lambda index: [{}], _set_nothing
        ),
        "faiss-ivf": Kind(
            "IndexBinaryIVF",
            "BIVF{nlist}",
            lambda rows, columns: [_nlist(rows, rows)],
            lambda index: [{"nprobe": one["nprobe"]} for one in _nprobes(index, (0,))],
            _set_nprobe,
            sample=0,
        ),
        "faiss-hnsw": Kind(
            "IndexBinaryHNSW",
            "BHNSW{M}",
            _graph_params,
            lambda index: [{"ef_search": ef} for ef in _EF],
            _set_ef,
        ),
        "faiss-multihash": Kind(
            "IndexBinaryMultiHash",
            "BHash{nhash}x{length}",
            lambda rows, columns: [BuildParam("nhash", max(1, columns // 2), 1, 8 * columns)],
            lambda index: [{"nflip": flips} for flips in range(min(4, index.b))],
            _set_nflip,
        ),
    },
    "vectors": {
        "faiss-flat": Kind(
            "IndexFlatL2",
            "Flat",
            lambda rows, columns: [],
            lambda index: [{"shortlist": length} for length in (20, 50, 200)],
            _set_nothing,
        ),
        "faiss-ivf": Kind(
            "IndexIVFScalarQuantizer",
            "IVF{nlist},SQfp16",
            lambda rows, columns: [_nlist(rows, rows)],
            lambda index: _nprobes(index, _SHORTLISTS),
            _set_nprobe,
            sample=0,
        ),
        "faiss-hnsw": Kind(
            "IndexHNSWFlat",
            "HNSW{M},Flat",
            _graph_params,
            lambda index: [{"ef_search": ef, "shortlist": min(ef, 256)} for ef in _EF],
            _set_ef,
        ),
        "faiss-ivfpq": Kind(
            "IndexIVFPQ",
            "IVF{nlist},PQ{M}x{bits}",
            lambda rows, columns: [
                _nlist(rows, max(1, rows // 4)),
                BuildParam("M", -(-columns // 4), 1, columns),
            ],
            lambda index: _nprobes(index, _SHORTLISTS, [2**power for power in range(10)]),
            _set_nprobe,
            sample=1 << 14,
        ),
    },
}


def faiss_engine(storage: Literal["codes", "vectors"], name: str) -> type[Engine]:
    """Return the engine class of a name in `KINDS`."""
    return type(name, (FaissEngine,), {"name": name, "kind": KINDS[storage][name]})
