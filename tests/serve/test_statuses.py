"""Each status of an error, two indexes in one service, and what the service says about itself."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import limbeck
from limbeck.error_codes import CODES
from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.index.writer import EncoderSource, StoreMeta
from limbeck.search.calibrate import calibrate
from limbeck.serve.app import create_app
from limbeck.serve.errors import STATUS
from limbeck.serve.guard import Guard
from limbeck.serve.settings import Settings

KEY = "0123456789abcdef"


def answer_of(client: TestClient, method: str, path: str, **sent: object) -> tuple[int, str]:
    answer = client.request(method, path, **sent)  # type: ignore[arg-type]
    return answer.status_code, answer.json()["error"]["code"]


def test_faults_of_a_body(client: TestClient):
    for sent, expected in [
        ({"json": {"terms": [{"image": "?"}]}}, (400, "E-REQUEST-FORM")),
        ({"json": {"terms": [{"text": "red", "id": "a"}]}}, (422, "E-REQUEST-FORM")),
        ({"json": {"terms": [{"text": "red", "weight": 0}]}}, (422, "E-OPTION-RANGE")),
        ({"json": {"terms": []}}, (422, "E-QUERY-FORM")),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, (422, "E-REQUEST-FORM")),
        ({"content": b"red"}, (415, "E-REQUEST-TYPE")),
        ({"files": {"image": b"no picture"}}, (415, "E-REQUEST-TYPE")),
        ({"data": {"request": "[]"}, "files": {"image": b""}}, (422, "E-REQUEST-FORM")),
        ({"json": {"terms": [{"text": "red"}], "rerank": 5, "k": 1}}, (409, "E-INDEX-EMBEDDINGS")),
        ({"json": {"terms": [{"text": "red"}], "rerank": 5, "radius": 1}}, (422, "E-OPTION-CONFLICT")),
    ]:
        assert answer_of(client, "POST", "/search", **sent) == expected, sent


def test_faults_of_method_and_address(client: TestClient):
    assert answer_of(client, "DELETE", "/search") == (405, "E-REQUEST-METHOD")
    assert answer_of(client, "GET", "/search/") == (404, "E-REQUEST-PATH")
    assert answer_of(client, "GET", "/thumbnails/0007.png?size=5000") == (422, "E-REQUEST-FORM")


def test_faults_that_the_guard_finds(pictures: Path):
    guard = Guard(keys=(KEY,), body_bytes=1000, rate=1.0, burst=4)
    with TestClient(create_app([pictures], Settings(guard=guard)), "http://localhost") as client:
        assert answer_of(client, "GET", "/search?q=red") == (401, "E-REQUEST-KEY")
        client.headers["Authorization"] = f"Bearer {KEY}"
        assert client.get("/search?q=red").status_code == 200
        assert answer_of(client, "POST", "/search", content=b" " * 2000) == (413, "E-REQUEST-SIZE")
        assert answer_of(client, "GET", "/info", headers={"Host": "evil.example"}) == (421, "E-REQUEST-HOST")
        statuses = {answer_of(client, "GET", "/items/none") for _ in range(5)}
        assert (429, "E-REQUEST-RATE") in statuses


def test_not_ready_before_the_start_and_while_it_stops(pictures: Path):
    app = create_app([pictures])
    assert answer_of(TestClient(app, "http://localhost"), "GET", "/ready") == (503, "E-SERVER-BUSY")
    with TestClient(app, "http://localhost") as client:
        assert client.get("/ready").status_code == 200
        app.state.service.draining = True
        assert answer_of(client, "GET", "/ready") == (503, "E-SERVER-BUSY")
        assert client.get("/health").status_code == 200


def test_an_index_without_a_model_says_so(tmp_path: Path):
    codes = np.arange(3, dtype=np.uint8)[:, None]
    limbeck.Index.build(tmp_path / "codes", codes, items={"id": ["a", "b", "日本/語 ?#%"]})
    with TestClient(create_app([tmp_path / "codes"]), "http://localhost") as client:
        assert answer_of(client, "GET", "/search?q=red") == (409, "E-INDEX-MODEL")
        info = client.get("/info").json()["indexes"][0]
        assert (info["text"], info["pictures"], info["has_media"], info["bits"]) == (False, False, False, 8)
        hits = client.get("/similar/a").json()["hits"]
        assert [(hit["id"], hit["thumbnail"]) for hit in hits] == [("b", None), ("日本/語 ?#%", None)]
        assert (
            client.get("/similar/%E6%97%A5%E6%9C%AC%2F%E8%AA%9E%20%3F%23%25").json()["hits"][0]["id"] == "a"
        )


def test_two_indexes_answer_by_name(pictures: Path, tmp_path: Path):
    codes = np.arange(3, dtype=np.uint8)[:, None]
    limbeck.Index.build(tmp_path / "codes", codes, items={"id": ["a", "b", "c"]})
    with TestClient(create_app([pictures, tmp_path / "codes"]), "http://localhost") as client:
        assert [one["name"] for one in client.get("/info").json()["indexes"]] == ["pictures", "codes"]
        assert client.get("/search?q=red").json()["index"] == "pictures"
        assert client.get("/similar/a?index=codes").json()["index"] == "codes"
        assert answer_of(client, "GET", "/similar/a") == (404, "E-ID-UNKNOWN")
        text = client.get("/metrics").text
        assert 'limbeck_index_items{index="codes"} 3.0' in text
    with pytest.raises(limbeck.LimbeckError, match="second index of the name 'pictures'"):
        create_app([pictures, pictures])


def test_answers_under_a_prefix_carry_it(pictures: Path):
    with TestClient(create_app([pictures], Settings(root_path="/deep")), "http://localhost") as client:
        hit = client.get("/items/0007.png").json()
    assert hit["thumbnail"] == "/deep/thumbnails/0007.png?index=pictures"


def test_facets_count_values_and_give_their_filters(tmp_path: Path):
    codes = np.arange(4, dtype=np.uint8)[:, None]
    items = {"id": list("abcd"), "labels": [["sea"], ["sea", "sky"], ["sky"], ["sea"]]}
    limbeck.Index.build(tmp_path / "labelled", codes, items=items)
    with TestClient(create_app([tmp_path / "labelled"]), "http://localhost") as client:
        (column,) = client.get("/facets").json()["columns"]
        assert (column["name"], column["list"]) == ("labels", True)
        assert [(one["value"], one["count"]) for one in column["values"]] == [("sea", 3), ("sky", 2)]
        where = column["values"][1]["where"]
        found = client.get("/similar/a", params={"where": where}).json()["hits"]
        assert [hit["id"] for hit in found] == ["b", "c"]
        (filtered,) = client.get("/facets", params={"where": where}).json()["columns"]
        assert [(one["value"], one["count"]) for one in filtered["values"]] == [("sky", 2), ("sea", 1)]
        assert answer_of(client, "GET", "/facets?where=(") == (422, "E-FILTER-SYNTAX")


def test_metadata_that_json_lacks_is_written_as_everywhere(tmp_path: Path):
    codes = np.arange(2, dtype=np.uint8)[:, None]
    items = {"id": ["a", "b"], "size": [float("nan"), 1.5], "text": ["ä\u2028", "b"]}
    limbeck.Index.build(tmp_path / "odd", codes, items=items)
    with TestClient(create_app([tmp_path / "odd"]), "http://localhost") as client:
        found = json.loads(client.get("/items/a").content)["metadata"]
        assert found == {"size": None, "text": "ä\u2028"}


def test_the_description_has_every_address_and_an_example(client: TestClient):
    described = client.get("/openapi.json").json()
    addresses = {"/search", "/similar/{id}", "/items/{id}", "/thumbnails/{id}", "/pictures/{id}", "/facets"}
    addresses |= {
        "/examples",
        "/traverse",
        "/hierarchy",
        "/v1/embeddings",
        "/info",
        "/health",
        "/ready",
        "/metrics",
    }
    assert described["paths"].keys() == addresses
    search = described["paths"]["/search"]["get"]
    names = {parameter["name"] for parameter in search["parameters"]}
    assert {"q", "like", "not", "k", "where", "fold", "bits", "min_confidence", "index"} <= names
    assert search["responses"]["200"]["content"]["application/json"]["example"]["hits"]
    assert "multipart/form-data" in described["paths"]["/search"]["post"]["requestBody"]["content"]


def test_statuses_are_of_codes_that_exist():
    assert STATUS.keys() <= CODES.keys()
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    written = {int(number) for line in page.splitlines() for number in re.findall(r"\b[45]\d\d\b", line)}
    assert {*STATUS.values()} - {500} <= written


def test_hits_have_the_confidence_of_the_index(tmp_path: Path, client: TestClient):
    draw = np.random.default_rng(0)
    kinds = draw.integers(0, 12, 900)
    points = draw.standard_normal((12, 12))[kinds] + draw.standard_normal((900, 12)) * 0.5
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    items = {"id": [str(number) for number in range(900)], "labels": [[f"kind{kind}"] for kind in kinds]}
    index = limbeck.Index.build(tmp_path / "sure", points, items=items)
    calibrate(index)
    expected = index.search(like="5", k=30)
    assert expected[0].confidence is not None
    with TestClient(create_app([tmp_path / "sure"]), "http://localhost") as sure:
        assert "image" in sure.get("/info").json()["indexes"][0]["confidence"]
        hits = sure.get("/similar/5?k=30").json()["hits"]
        assert [hit["confidence"] for hit in hits] == [round(hit.confidence or 0, 4) for hit in expected]
        least = np.median([hit.confidence or 0 for hit in expected])
        some = sure.get(f"/similar/5?k=30&min_confidence={least}").json()["hits"]
        assert some == [
            hit for hit, one in zip(hits, expected, strict=True) if (one.confidence or 0) >= least
        ]
        body = {"terms": [{"id": "5"}, {"id": "6"}], "min_confidence": 0.5}
        assert answer_of(sure, "POST", "/search", json=body) == (409, "E-INDEX-CONFIDENCE")
    assert not client.get("/info").json()["indexes"][0]["confidence"]
    assert answer_of(client, "GET", "/search?q=red&min_confidence=0.5") == (409, "E-INDEX-CONFIDENCE")


def test_an_encoder_without_graphs_needs_torch_and_says_so(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    store = limbeck.Index.open(pictures).store
    folder, entry = store.encoder_for("text")
    skip = shutil.ignore_patterns("onnx")
    encoder = EncoderSource(
        lambda at: shutil.copytree(folder, at, dirs_exist_ok=True, ignore=skip),
        entry.space_id,
        entry.modalities,
    )
    meta = StoreMeta(store.space, store.manifest.space_id, encoders=[encoder])
    IndexStore.build(tmp_path / "plain", store.live_batches(), meta)
    with TestClient(create_app([tmp_path / "plain"]), "http://localhost") as client:
        assert "torch is loaded" in capsys.readouterr().err  # at the start, not at the first query
        expected = [hit.id for hit in limbeck.Index.open(pictures).search("red")]
        assert [hit["id"] for hit in client.get("/search?q=red").json()["hits"]] == expected

    def no_torch(name: str) -> None:
        raise LimbeckError(f"{name} is not installed", code="E-PACKAGE-MISSING")

    monkeypatch.setattr("limbeck.search.encoders.require", no_torch)
    with TestClient(create_app([tmp_path / "plain"]), "http://localhost") as client:
        assert client.get("/ready").status_code == 200
        assert answer_of(client, "GET", "/search?q=red") == (409, "E-PACKAGE-MISSING")
        assert client.get("/similar/0007.png").status_code == 200
