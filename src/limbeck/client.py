"""Defines `limbeck.Client`, which searches an index that ``limbeck serve`` serves."""

from __future__ import annotations

import base64
import http.client
import io
import json
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

import numpy as np

from limbeck.error_codes import CODES
from limbeck.errors import LimbeckError
from limbeck.index.query import RECALL
from limbeck.search.hit import Hit
from limbeck.typed import Json

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.search import Term

_Answer: TypeAlias = dict[str, Any]  # JSON of the service, whose schemas are in `limbeck.serve.schemas`
_LONGEST_WAIT = 30.0  # seconds between two tries
_LOST = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


class Client:
    """Searches like `limbeck.Index`, over HTTP. Threads may share it; each has a connection of its own.

    Args:
        url: the address of the service, such as ``http://127.0.0.1:8000``, with its prefix if it has one.
        api_key: the key, if the service has one.
        index: the name of the index; the first one by default.
        timeout: seconds to wait for the service at each step.
        retries: how often a GET is repeated, at the time that the service names, if it is too busy (503).
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        index: str | None = None,
        timeout: float = 30.0,
        retries: int = 3,
    ) -> None:
        parts = urlsplit(url)
        try:
            wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
        except ValueError:  # the port is no number
            wrong = True
        if wrong or parts.query or parts.fragment or parts.username is not None:
            raise LimbeckError(
                f"{url}: is not the address of a service; write http://HOST:PORT", code="E-OPTION-FORM"
            )
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise LimbeckError("api_key: is not plain ASCII; copy the key again", code="E-OPTION-FORM")
        self.url = url.rstrip("/")
        self.index, self.timeout, self.retries = index, timeout, retries
        self._parts, self._prefix = parts, parts.path.rstrip("/")
        self._headers = {"Accept": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._own = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection of this thread."""
        connection = self._own.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def search(
        self,
        query: str | None = None,
        k: int | None = None,
        *,
        image: Image.Image | Path | str | None = None,
        like: str | None = None,
        terms: Sequence[Term] | None = None,
        where: str | None = None,
        radius: float | None = None,
        hierarchy: str | None = None,
        engine: str = "exact",
        recall: float = RECALL,
        rerank: int | None = None,
        asymmetric: bool | None = None,
        bits: int | None = None,
        fold: bool = False,
        min_confidence: float | None = None,
    ) -> list[Hit]:
        """Return the items nearest to one query; see `limbeck.Index.search`.

        The hits have ``row`` −1, because only the service knows the rows.

        Raises:
            LimbeckError: the service reports an error or does not answer.
        """
        options = {
            "k": k,
            "where": where,
            "radius": radius,
            "hierarchy": hierarchy,
            "engine": engine,
            "recall": recall,
            "rerank": rerank,
            "asymmetric": asymmetric,
            "bits": bits,
            "fold": fold or None,
            "min_confidence": min_confidence,
        }
        given = [value for value in (query, image, like, terms) if value is not None]
        if len(given) != 1:
            raise LimbeckError(
                "search: give exactly one of query, image, like and terms", code="E-QUERY-FORM"
            )
        if query is not None or like is not None:
            answer = self._get("/search", {"q": query, "like": like, **options})
        else:
            parts = (
                [{"image": _encoded(image)}] if image is not None else [_term(term) for term in terms or ()]
            )
            answer = self._post("/search", {"terms": parts, **options})
        return [_hit(hit) for hit in answer["hits"]]

    def similar(self, item: str, k: int | None = None, **options: object) -> list[Hit]:
        """Return the items nearest to an item, without the item itself; ``options`` are those of `search`."""
        answer = self._get(f"/similar/{quote(item, safe='')}", {"k": k, **options})
        return [_hit(hit) for hit in answer["hits"]]

    def item(self, item: str) -> Hit:
        """Return an item; its score is NaN."""
        return _hit(self._get(f"/items/{quote(item, safe='')}"))

    def info(self) -> dict[str, Json]:
        """Return the version of the service and its indexes."""
        return self._get("/info")

    def embed(
        self,
        texts: Sequence[str] = (),
        *,
        images: Sequence[Image.Image | Path | str] = (),
    ) -> np.ndarray:
        """Return the embeddings of texts, then of pictures, float32 (N, D)."""
        inputs: list[object] = [*texts, *({"image": _encoded(image)} for image in images)]
        body = {"input": inputs, "encoding_format": "base64", "model": self.index}
        rows = self._post("/v1/embeddings", body, index=False)["data"]
        return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])

    def _get(self, path: str, params: Mapping[str, object] | None = None) -> _Answer:
        given = {"index": self.index, **(params or {})}
        query = urlencode({name: _shown(value) for name, value in given.items() if value is not None})
        target = f"{path}?{query}" if query else path
        for left in range(self.retries, -1, -1):
            status, wait, answer = self._ask("GET", target)
            if status != 503 or not left or wait is None:
                break
            time.sleep(min(wait, _LONGEST_WAIT))
        return self._checked(status, answer)

    def _post(self, path: str, value: Mapping[str, object], *, index: bool = True) -> _Answer:
        given = {"index": self.index, **value} if index else value
        body = json.dumps({name: part for name, part in given.items() if part is not None}).encode()
        status, _, answer = self._ask("POST", path, body)
        return self._checked(status, answer)

    def _ask(self, method: str, target: str, body: bytes | None = None) -> tuple[int, float | None, bytes]:
        """Return status, ``Retry-After`` in seconds and body; connect again if a kept connection is lost."""
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            while True:
                kept = hasattr(self._own, "connection")
                connection = self._connection()
                try:
                    connection.request(method, self._prefix + target, body, headers)
                    answer = connection.getresponse()
                    break
                except _LOST:
                    self.close()
                    if not kept:
                        raise
            return answer.status, _seconds(answer.getheader("Retry-After")), answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            reason = str(error) or type(error).__name__
            raise LimbeckError(
                f"{self.url}: the service does not answer ({reason}); check its address and that it runs",
                code="E-SERVER-CONNECTION",
            ) from None

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._own, "connection"):
            host, port = self._parts.hostname or "", self._parts.port
            if self._parts.scheme == "https":
                context = ssl.create_default_context()
                self._own.connection = http.client.HTTPSConnection(
                    host, port, timeout=self.timeout, context=context
                )
            else:
                self._own.connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        connection: http.client.HTTPConnection = self._own.connection
        return connection

    def _checked(self, status: int, answer: bytes) -> _Answer:
        """Return the JSON of an answer, or raise its error."""
        try:
            value = json.loads(answer)
            if status == 200 and isinstance(value, dict):
                return value
            error = value["error"]
            message, code, asked = error["message"], error["code"], error["correlation_id"]
        except (ValueError, TypeError, KeyError):
            raise LimbeckError(
                f"{self.url}: status {status} without limbeck's JSON; is this the address of limbeck serve?",
                code="E-SERVER-CONNECTION",
            ) from None
        code = code if code in CODES else "E-SERVER-CONNECTION"
        raise LimbeckError(f"{message} (request {asked} at {self.url})", code=code)


def _shown(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None


def _hit(value: _Answer) -> Hit:
    score = float("nan") if value["score"] is None else value["score"]
    return Hit(value["id"], score, value["metadata"], -1, value["confidence"], tuple(value["alike"]))


def _term(term: Term) -> dict[str, object]:
    parts = {"text": term.text, "id": term.id, "weight": term.weight}
    if term.features is not None:
        raise LimbeckError(
            "terms: the service takes no features; give text, image or id", code="E-QUERY-FORM"
        )
    if term.image is not None:
        parts["image"] = _encoded(term.image)
    return {name: part for name, part in parts.items() if part is not None}


def _encoded(image: Image.Image | Path | str) -> str:
    """Return a picture in Base64; a file of a format that services read is unchanged, the rest turns PNG."""
    from limbeck.pictures import media_type, open_picture, picture_bytes

    if isinstance(image, Path | str):
        data = picture_bytes(image)
        if media_type(data) is not None:
            return base64.b64encode(data).decode()
        image = open_picture(image)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return base64.b64encode(out.getvalue()).decode()
