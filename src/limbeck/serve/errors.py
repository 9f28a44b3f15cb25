"""Turns errors into the one JSON form of the service, with an HTTP status by the error's code."""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import Response

from limbeck.errors import LimbeckError
from limbeck.serve.asgi import error_body, request_id
from limbeck.serve.logs import LOG

_STATUS = {
    400: "E-REQUEST-FORM",
    404: (
        "E-ID-UNKNOWN E-ENGINE-MISSING E-ENGINE-UNKNOWN E-INDEX-MEDIA E-PICTURE-MISSING E-REQUEST-INDEX "
        "E-REQUEST-PATH"
    ),
    405: "E-REQUEST-METHOD",
    409: (
        "E-PACKAGE-MISSING E-SPACE-CONES E-INDEX-MODEL E-INDEX-OTHER-MODEL E-INDEX-EMBEDDINGS E-MODEL-INPUT "
        "E-ENGINE-CANNOT E-ENGINE-STALE E-DATA-TEXT E-INDEX-EMPTY E-INDEX-CONFIDENCE"
    ),
    413: "E-PICTURE-SIZE E-REQUEST-SIZE",
    415: "E-REQUEST-TYPE",
    500: "E-BUG",
    503: (
        "E-INDEX-DAMAGED E-INDEX-MISSING E-ENGINE-DAMAGED E-MODEL-DAMAGED E-FILE-DAMAGED E-FILE-VERSION "
        "E-PATH-READ E-SERVER-BUSY"
    ),
}
STATUS = {code: status for status, codes in _STATUS.items() for code in codes.split()}
"""The HTTP status of each code; other codes are faults of the request's values: 422."""
_CODES = {404: "E-REQUEST-PATH", 405: "E-REQUEST-METHOD", 413: "E-REQUEST-SIZE", 415: "E-REQUEST-TYPE"}


def status_of(code: str) -> int:
    """Return the HTTP status of an error's code."""
    return STATUS.get(code, 422)


def install(app: FastAPI, public: Callable[[str], str]) -> None:
    """Make an application answer every error in one form; `limbeck.serve.logs` answers unexpected errors.

    Args:
        app: the application.
        public: removes from a message what clients must not learn, such as paths.
    """

    def answer(
        request: Request, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        headers = {**(headers or {}), **({"Retry-After": "1"} if status == 503 else {})}
        body = error_body(request.scope, code, message)
        return Response(body, status, headers, media_type="application/json")

    @app.exception_handler(LimbeckError)
    async def limbeck_error(request: Request, error: LimbeckError) -> Response:
        status = status_of(error.code)
        if status >= 500:
            LOG.error("%s %s", request_id(request.scope), error.line())
        return answer(request, status, error.code, public(error.message))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return answer(request, 422, "E-REQUEST-FORM", first_fault(error.errors()))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "E-REQUEST-FORM")
        phrase = http.HTTPStatus(error.status_code).phrase
        message = f"{request.method} {request.url.path}: {phrase}; see /openapi.json"
        return answer(request, error.status_code, code, message, error.headers)


def first_fault(faults: Sequence[ErrorDetails]) -> str:
    """Return one line about the first fault that pydantic found."""
    fault = faults[0]
    if fault["type"] == "json_invalid":
        return f"body: is not valid JSON ({fault['ctx']['error']})"
    place = ".".join(str(part) for part in fault["loc"] if part not in ("query", "body", "path", "header"))
    return f"{place or 'request'}: {fault['msg'].removeprefix('Value error, ')}"
