"""What is measured and logged: routes, not what users wrote."""

from __future__ import annotations

import json
import logging

import pytest
from asgi_call import LOCAL, ask
from prometheus_client.parser import text_string_to_metric_families

from limbeck.serve.logs import LOG, Logged
from limbeck.serve.metrics import Measured, Metrics

SECRET = "a secret text"


class Route:
    path = "/items/{id:path}"


async def routed(scope, receive, send) -> None:
    scope["route"] = Route
    scope["state"]["query"] = SECRET
    await receive()
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b"none"})


async def failing(scope, receive, send) -> None:
    raise KeyError(SECRET)


async def failing_late(scope, receive, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise KeyError(SECRET)


def values(metrics: Metrics, *indexes: tuple[str, int, int]) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(metrics.text(indexes).decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    app = Measured(routed, metrics)
    for path in ("/items/a", f"/items/{SECRET}"):
        ask(app, path)
    ask(app, "/items/a", method="BREW")
    found = values(metrics)
    assert found["limbeck_requests_total", "GET", "/items/{id:path}", "404"] == 2
    assert found["limbeck_requests_total", "other", "/items/{id:path}", "404"] == 1
    assert found["limbeck_request_seconds_count", "/items/{id:path}"] == 3
    assert found["limbeck_requests_in_flight",] == 0
    assert SECRET not in metrics.text([]).decode()


def test_a_request_without_route_and_a_fault_are_counted() -> None:
    metrics = Metrics()
    with pytest.raises(KeyError):
        ask(Measured(failing, metrics), "/any/thing")
    assert values(metrics)["limbeck_requests_total", "GET", "none", "500"] == 1
    assert values(metrics)["limbeck_requests_in_flight",] == 0


def test_batches_cache_and_indexes() -> None:
    metrics = Metrics()
    for size in (1, 3, 32):
        metrics.batch(size)
    for hit in (True, False, True):
        metrics.cached(hit)
    found = values(metrics, ('a"b\n', 7, 2), ("c", 9, 1))
    assert (found["limbeck_batch_queries_count",], found["limbeck_batch_queries_sum",]) == (3, 36)
    assert found["limbeck_batch_queries_bucket", "4.0"] == 2
    assert found["limbeck_cache_lookups_total", "hit"] == 2
    assert found["limbeck_index_items", 'a"b\n'] == 7 and found["limbeck_index_generation", "c"] == 1
    assert ("limbeck_index_items", "c") not in values(metrics, ("d", 1, 1))
    assert found["process_resident_memory_bytes",] > 0


def logged(caplog, app, *, queries: bool, raises: bool = False) -> dict:
    LOG.propagate = True
    caplog.set_level(logging.INFO, "limbeck.serve")
    headers = [*LOCAL, (b"x-request-id", b"the-id")]
    scope = {"headers": headers, "query_string": b"q=secret", "method": "POST"}
    if raises:
        with pytest.raises(KeyError):
            ask(Logged(app, queries), "/items/secret", [b"picture"], **scope)
    else:
        ask(Logged(app, queries), "/items/secret", [b"picture"], **scope)
    (record,) = caplog.records
    return json.loads(record.getMessage())


def test_a_line_has_the_route_and_no_texts(caplog) -> None:
    line = logged(caplog, routed, queries=False)
    assert (line["id"], line["route"], line["status"]) == ("the-id", "/items/{id:path}", 404)
    assert (line["in"], line["out"], line["method"], line["client"]) == (7, 4, "POST", "192.0.2.1")
    assert "secret" not in json.dumps(line) and "picture" not in json.dumps(line)


def test_queries_are_logged_on_demand(caplog) -> None:
    line = logged(caplog, routed, queries=True)
    assert (line["path"], line["query"]) == ("/items/secret", SECRET)


def test_a_fault_is_500_with_the_id_and_its_place_in_the_log(caplog) -> None:
    line = logged(caplog, failing, queries=False)
    assert (line["status"], line["fault"]) == (500, "KeyError")
    assert any("test_metrics_and_logs.py" in place for place in line["trace"])
    assert SECRET not in json.dumps(line)


def test_the_client_of_a_fault_learns_the_id_only() -> None:
    got = ask(Logged(failing), headers=[*LOCAL, (b"x-request-id", b"the-id")])
    assert (got.status, got.code) == (500, "E-BUG")
    assert json.loads(got.body)["error"]["correlation_id"] == "the-id"
    assert SECRET.encode() not in got.body


def test_a_fault_in_the_middle_of_an_answer_ends_it(caplog) -> None:
    line = logged(caplog, failing_late, queries=True, raises=True)
    assert (line["status"], line["fault"]) == (200, "KeyError") and SECRET in line["message"]
