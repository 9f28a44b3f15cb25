"""The routes that search: answers equal those of the index, errors have one form."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import limbeck
from limbeck.serve.app import create_app
from limbeck.serve.page_files import page_routes
from tiny_encoder import pixel_encoder, write_pictures


def test_get_search_gives_the_hits_of_the_index(client: TestClient, pictures: Path):
    answer = client.get("/search", params={"q": "red", "k": 5})
    assert answer.status_code == 200
    found = answer.json()
    expected = limbeck.Index.open(pictures).search("red", 5)
    assert [(hit["id"], hit["score"]) for hit in found["hits"]] == [(hit.id, hit.score) for hit in expected]
    assert found["hits"][0]["metadata"] == expected[0].metadata
    assert (found["index"], found["generation"], found["query"]) == ("pictures", 1, "red")


def test_the_model_of_an_index_decides_whether_its_queries_stay_numbers(tmp_path: Path):
    model = pixel_encoder(bits=16)
    model.lift.asymmetric = True
    write_pictures(tmp_path / "media", range(8))
    limbeck.Index.build(tmp_path / "ix", tmp_path / "media", model=model)
    with TestClient(create_app([tmp_path / "ix"]), "http://localhost") as client:
        asked: tuple[dict[str, bool], ...] = ({}, {"asymmetric": True}, {"asymmetric": False})
        answers = [client.get("/search", params={"q": "red", **more}).json() for more in asked]
    default, numbers, codes = ([hit["score"] for hit in answer["hits"]] for answer in answers)
    assert default == numbers != codes and all(isinstance(score, int) for score in codes)


def test_ids_with_slashes_blanks_and_other_letters(client: TestClient, pictures: Path):
    name = "größe a/0002.png"
    assert client.get("/items/größe a/0002.png").json()["id"] == name
    found = client.get("/similar/gr%C3%B6%C3%9Fe%20a%2F0002.png", params={"k": 3}).json()["hits"]
    expected = limbeck.Index.open(pictures).search(like=name, k=3)
    assert [hit["id"] for hit in found] == [hit.id for hit in expected]
    assert name not in [hit["id"] for hit in found]


def test_post_by_json_and_with_a_file(client: TestClient, pictures: Path):
    by_json = client.post("/search", json={"terms": [{"text": "green"}], "k": 4}).json()["hits"]
    assert by_json == client.get("/search", params={"q": "green", "k": 4}).json()["hits"]
    picture = pictures.parent / "media" / "0007.png"
    sent = client.post("/search", files={"image": picture.read_bytes()}, data={"request": '{"k": 3}'})
    expected = limbeck.Index.open(pictures).search(image=picture, k=3)
    assert [hit["id"] for hit in sent.json()["hits"]] == [hit.id for hit in expected]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/search", 422, "E-QUERY-FORM"),
        ("/search?q=red&k=0", 422, "E-REQUEST-FORM"),
        ("/search?q=red&nonsense=1", 422, "E-REQUEST-FORM"),
        ("/search?q=xyzzy", 422, "E-QUERY-WORDS"),
        ("/search?q=red&index=other", 404, "E-REQUEST-INDEX"),
        ("/search?q=red&engine=graph", 404, "E-ENGINE-MISSING"),
        ("/search?q=red&engine=milvus://10.0.0.1:1/x", 422, "E-OPTION-CHOICE"),
        ("/search?q=red&hierarchy=more-general", 409, "E-SPACE-CONES"),
        ("/search?q=red&where=nothing%20has%201", 422, "E-FILTER-COLUMN"),
        ("/items/none", 404, "E-ID-UNKNOWN"),
        ("/nowhere", 404, "E-REQUEST-PATH"),
        ("/page/../app.py", 404, "E-REQUEST-PATH"),
    ],
)
def test_errors_have_one_form(client: TestClient, path: str, status: int, code: str):
    answer = client.get(path, headers={"X-Request-ID": "my-1"})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["correlation_id"]) == (status, code, "my-1")
    assert "\n" not in error["message"]
    assert answer.headers["X-Request-ID"] == "my-1"


def test_a_body_that_is_not_json_is_told_so(client: TestClient):
    json = {"Content-Type": "application/json"}
    for sent in (
        client.post("/search", content=b'{"k": ', headers=json),
        client.post("/v1/embeddings", content=b"{nope", headers=json),
    ):
        assert sent.status_code == 422
        assert sent.json()["error"]["message"].startswith("body: is not valid JSON (")


def test_every_search_is_counted_under_its_route(client: TestClient):
    client.get("/search", params={"q": "red"})
    client.get("/search", params={"q": "xyzzy"})
    told = client.get("/metrics").text
    for status in (200, 422):
        assert f'limbeck_requests_total{{method="GET",route="/search",status="{status}"}} 1.0' in told
    assert 'route="none"' not in told


def test_the_description_of_every_address_has_an_example(client: TestClient):
    told = client.get("/openapi.json").json()

    def shows(part: object) -> bool:
        if isinstance(part, list):
            return any(shows(one) for one in part)
        if not isinstance(part, dict):
            return False
        if "example" in part or "examples" in part:
            return True
        if "$ref" in part:
            return shows(told["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]])
        return any(shows(one) for one in part.values())

    calls = {f"{verb} {path}": call for path, verbs in told["paths"].items() for verb, call in verbs.items()}
    bare = [
        name
        for name, call in calls.items()
        if not shows([call.get("parameters"), call.get("requestBody"), call["responses"]["200"]])
    ]
    assert bare == ["get /metrics"]


def test_status_routes(client: TestClient):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    info = client.get("/info").json()["indexes"][0]
    assert (info["name"], info["items"], info["bits"], info["text"], info["pictures"]) == (
        "pictures", 12, 16, True, True,
    )  # fmt: skip


def test_the_page_is_the_files_of_its_folder_and_nothing_else(tmp_path: Path):
    (tmp_path / "secret.txt").write_text("secret")
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<title>limbeck</title>")
    (page / "a.js").write_text("1")
    app = FastAPI()
    app.include_router(page_routes(page))
    client = TestClient(app)
    assert client.get("/").headers["content-type"].startswith("text/html")
    script = client.get("/page/a.js")
    assert script.content == b"1" and "javascript" in script.headers["content-type"]
    assert client.get("/page/a.js", headers={"If-None-Match": script.headers["ETag"]}).status_code == 304
    for name in ("../secret.txt", "%2e%2e/secret.txt", "..%2Fsecret.txt", "/etc/passwd", "b.js", ""):
        assert client.get(f"/page/{name}").status_code == 404
