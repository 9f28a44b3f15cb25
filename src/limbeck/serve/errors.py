"""Turns errors into the one JSON form of the service, with an HTTP status by the error's code."""

from __future__ import annotations

import http
import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from limbeck.errors import LimbeckError
from limbeck.serve.request_id import request_id

log = logging.getLogger("limbeck.serve")

_STATUS = {
    400: "E-REQUEST-FORM",
    404: (
        "E-ID-UNKNOWN E-ENGINE-MISSING E-ENGINE-UNKNOWN E-INDEX-MEDIA E-PICTURE-MISSING E-REQUEST-INDEX "
        "E-REQUEST-PATH"
    ),
    405: "E-REQUEST-METHOD",
    409: (
        "E-PACKAGE-MISSING E-SPACE-CONES E-INDEX-MODEL E-INDEX-OTHER-MODEL E-INDEX-EMBEDDINGS E-MODEL-INPUT "
        "E-ENGINE-CANNOT E-ENGINE-STALE E-DATA-TEXT E-INDEX-EMPTY"
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


def error_json(code: str, message: str, identifier: str) -> dict[str, Any]:
    """Return the JSON value of an error."""
    return {"error": {"code": code, "message": message, "correlation_id": identifier}}


def install(app: FastAPI) -> None:
    """Make an application answer every error in the one form."""

    def answer(
        request: Request, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> JSONResponse:
        if status == 503:
            headers = {"Retry-After": "1", **(headers or {})}
        return JSONResponse(error_json(code, message, request_id(request.scope)), status, headers)

    @app.exception_handler(LimbeckError)
    def limbeck_error(request: Request, error: LimbeckError) -> JSONResponse:
        status = status_of(error.code)
        if status >= 500:
            log.error("%s %s", request_id(request.scope), error.line())
        return answer(request, status, error.code, error.message)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(request, 422, "E-REQUEST-FORM", first_fault(error.errors()))

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "E-REQUEST-FORM")
        phrase = http.HTTPStatus(error.status_code).phrase
        message = f"{request.method} {request.url.path}: {phrase}; see /openapi.json"
        return answer(request, error.status_code, code, message, dict(error.headers or {}))

    @app.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s", request_id(request.scope), request.url.path, exc_info=error)
        return answer(request, 500, "E-BUG", "the service failed; its log has the correlation id")


def first_fault(faults: Sequence[Any]) -> str:
    """Return one line about the first fault that pydantic found."""
    fault = faults[0]
    place = ".".join(str(part) for part in fault["loc"] if part not in ("query", "body", "path", "header"))
    return f"{place or 'request'}: {fault['msg'].removeprefix('Value error, ')}"
