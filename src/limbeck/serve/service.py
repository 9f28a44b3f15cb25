"""Holds the opened indexes of a service, answers queries, and takes over new generations."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from limbeck.errors import LimbeckError
from limbeck.index.confidence import place as calibration_file
from limbeck.index.manifest import generations, manifest_path
from limbeck.search import Index
from limbeck.serve.answering import Opened
from limbeck.serve.batching import Batcher
from limbeck.serve.cache import Cache
from limbeck.serve.logs import LOG
from limbeck.serve.metrics import Metrics
from limbeck.serve.query import Query
from limbeck.serve.settings import Settings

T = TypeVar("T")
_PICTURES = 4  # requests whose decoded pictures are in memory; each has `Guard.pixels` at most


@dataclass
class Served:
    """An index of the service: its current generation and the batch that collects queries for it."""

    path: Path
    current: Opened
    version: object
    batcher: Batcher[Query, tuple[Opened, bytes]]
    failed: object = None  # the version that could not be opened, which is not tried again


class Service:
    """Answers queries on several indexes with one worker thread.

    Attributes:
        settings: as given.
        indexes: by name, in the order given.
        cache: stored answers.
        thumbnails: stored thumbnails and pictures.
        metrics: what is counted.
        draining: whether the service stops and takes no further requests.
        pictures: what a request holds while its pictures are in memory.
    """

    def __init__(self, paths: Sequence[Path | str], settings: Settings) -> None:
        """Open the indexes.

        Raises:
            LimbeckError: there is no index, two have one name, or one is damaged.
        """
        if not paths:
            raise LimbeckError("serve: give at least one index", code="E-OPTION-MISSING")
        self.settings, self.draining, self.ready = settings, False, False
        self.metrics = Metrics()
        self.cache: Cache[bytes] = Cache(settings.cache_bytes)
        self.thumbnails: Cache[bytes] = Cache(settings.cache_bytes)
        self.pictures = asyncio.Semaphore(_PICTURES)
        self._worker = ThreadPoolExecutor(1, "limbeck-search")
        self._decoder = ThreadPoolExecutor(2, "limbeck-pictures")
        self.indexes: dict[str, Served] = {}
        for path in map(Path, paths):
            name = path.resolve().name
            if name in self.indexes:
                raise LimbeckError(
                    f"{path}: a second index of the name {name!r}; rename its directory",
                    code="E-OPTION-REPEATED",
                )
            self.indexes[name] = self._served(name, path)

    def _served(self, name: str, path: Path) -> Served:
        version = version_of(path)
        opened = self._open(name, path)

        def answer(queries: Sequence[Query]) -> list[tuple[Opened, bytes] | LimbeckError]:
            now = served.current
            answers = now.answer(queries)
            return [one if isinstance(one, LimbeckError) else (now, one) for one in answers]

        most, wait = self.settings.batch, self.settings.wait_ms
        batcher = Batcher(self._worker, answer, most=most, wait_ms=wait)
        served = Served(path, opened, version, batcher)
        return served

    def _open(self, name: str, path: Path) -> Opened:
        index = Index.open(path)
        root = self.settings.media or index.store.manifest.media_root
        media = Path(root) if root is not None and Path(root).exists() else None
        return Opened(name, index, media, self.metrics, self.settings.root_path)

    def at(self, name: str | None) -> Served:
        """Return the index of a name; the first one for None.

        Raises:
            LimbeckError: there is none.
        """
        if name is None:
            return next(iter(self.indexes.values()))
        if name not in self.indexes:
            raise LimbeckError(
                f"index: there is no {name!r}; give one of {', '.join(self.indexes)}", code="E-REQUEST-INDEX"
            )
        return self.indexes[name]

    def public(self, message: str) -> str:
        """Return the message of an error with names in place of the paths of indexes and pictures."""
        for name, served in self.indexes.items():
            store = served.current.index.store
            for path, shown in (
                (store.path, name),
                (self.settings.media or store.manifest.media_root, "pictures"),
            ):
                if path is not None and message.startswith(f"{path}:"):
                    message = shown + message.removeprefix(str(path))
                if path is not None and Path(path).is_absolute():
                    message = message.replace(f"{path}/", f"{shown}/")
        return message

    async def ask(self, name: str | None, query: Query) -> bytes:
        """Return the answer to a query, JSON without its last field ``ms``.

        Raises:
            LimbeckError: the query failed.
        """
        served = self.at(name)
        version, words = served.version, query.key
        if words is None:
            return (await served.batcher.ask(query))[1]
        key = (served.current.name, version, words)
        found = self.cache.get(key)
        self.metrics.cached(found is not None)
        if found is None:
            opened, found = await served.batcher.ask(query)
            if opened is served.current and version == served.version:
                self.cache.put(key, found)
        return found

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function on the worker thread, between the batches."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    async def aside(self, work: Callable[[], T]) -> T:
        """Run a function that decodes pictures or takes long, in a thread that no search waits for."""
        return await asyncio.get_running_loop().run_in_executor(self._decoder, work)

    async def start(self) -> None:
        """Load the encoders, so that the first query need not wait."""
        for served in self.indexes.values():
            try:
                await self.run(served.current.load)
            except LimbeckError as error:
                if error.code != "E-PACKAGE-MISSING":
                    raise
                LOG.warning("%s: cannot encode queries: %s", served.current.name, error.line())
        self.ready = True

    async def watch(self) -> None:
        """Take over new generations until cancelled."""
        while True:
            await asyncio.sleep(self.settings.reload_seconds)
            for name, served in self.indexes.items():
                try:
                    await self.aside(functools.partial(self.reload, served))
                except Exception:  # a fault of ours, which must not end the watch
                    LOG.exception("%s: is not reloaded", name)

    def reload(self, served: Served) -> bool:
        """Take over a new generation of an index, if there is one, and return whether there was.

        Requests in flight keep the old generation, whose files stay mapped. If the new one cannot be opened,
        the old one stays and the log says why.
        """
        version: object = None
        try:
            version = version_of(served.path)
            if version in (served.version, served.failed):
                return False
            opened = self._open(served.current.name, served.path)
            opened.load()
        except LimbeckError as error:
            fault = version or error.message
            if fault != served.failed:  # say it once
                LOG.error("%s: is not reloaded: %s", served.current.name, error.line())
            served.failed = fault
            return False
        served.current, served.version = opened, version
        LOG.info("%s: generation %d", opened.name, opened.generation)
        return True

    def close(self) -> None:
        """Stop the threads after their last work."""
        self._worker.shutdown()
        self._decoder.shutdown()


def version_of(path: Path) -> object:
    """Return what changes with every new state of an index: its last manifest, and its calibration.

    Raises:
        LimbeckError: there is no index.
    """
    published = generations(path)
    if not published:
        raise LimbeckError(
            f"{path}: there is no such index; make one with limbeck index build", code="E-INDEX-MISSING"
        )
    return published[-1], *map(_state_of, (manifest_path(path, published[-1]), calibration_file(path)))


def _state_of(file: Path) -> tuple[int, int] | None:
    try:
        about = file.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns
