"""Two stages through the command line: files of queries, and embeddings that `limbeck encode` keeps."""

from __future__ import annotations

import json

import numpy as np
import pytest

import limbeck
from limbeck.codes import sign_codes
from limbeck.encoding import parts as encode_parts
from limbeck.index.embeddings import embeddings_at
from limbeck.index.encoded import Encoded
from limbeck.pictures.decoding import decoded_batches
from limbeck.search import SearchOptions, Term, add_items, answer_file
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures

N = 30


@pytest.fixture
def encoder():
    return pixel_encoder(bits=16)


@pytest.fixture
def photos(tmp_path):
    write_pictures(tmp_path / "photos", range(N))
    return tmp_path / "photos"


@pytest.fixture
def index(photos, encoder, tmp_path):
    return limbeck.Index.build(tmp_path / "ix", photos, model=encoder, embeddings=True)


def write_queries(file, *queries):
    file.write_text("".join(json.dumps(query) + "\n" for query in queries))
    return file


def test_a_file_is_answered_as_its_queries_alone(run, index, photos, tmp_path):
    asked = [
        {"text": "red"},
        {"like": "0003.png"},
        {"image": "photos/0007.png"},
        {"text": "unheard"},
        {"like": "no"},
    ]
    file = write_queries(tmp_path / "q.jsonl", *asked)
    out = tmp_path / "answers.jsonl"
    status, _, err = run(
        "search", index.store.path, "--queries", file, "-k", 4, "--rerank", 12, "--json", out
    )
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert status == 1 and "2 queries failed" in err and len(lines) == 5
    alone = [
        index.search("red", 4, rerank=12),
        index.search(like="0003.png", k=4, rerank=12),
        index.search(image=photos / "0007.png", k=4, rerank=12),
    ]
    for line, hits in zip(lines, alone, strict=False):
        assert [hit["id"] for hit in line["hits"]] == [hit.id for hit in hits]
        assert [hit["score"] for hit in line["hits"]] == pytest.approx([hit.score for hit in hits])
        assert "embedding" not in line["hits"][0]["metadata"]
    assert "0003.png" not in [hit["id"] for hit in lines[1]["hits"]]
    assert "unheard" in lines[3]["error"] and "'no'" in lines[4]["error"]
    # the second stage orders by the product, highest first
    query, embedding = index.encode_terms([Term(id="0003.png")])
    row = index.store.row_of("0003.png")
    shortlist = [hit.row for hit in index.search_many(query, SearchOptions(12, exclude=row))[0]]
    products = embeddings_at(index.store, np.array(shortlist)).astype(float) @ embedding[0].astype(float)
    best = np.array(shortlist)[np.argsort(-products, kind="stable")][:4]
    assert [hit["id"] for hit in lines[1]["hits"]] == [index.store.metadata([r])[0]["id"] for r in best]


def test_filters_engines_and_the_default_k(run, index, tmp_path):
    file = write_queries(tmp_path / "q.jsonl", {"like": "0001.png"}, {"text": "blue"})
    where = "path startswith '000'"
    status, text, _ = run(
        "search", index.store.path, "--queries", file, "--rerank", 10, "--where", where, "--engine", "auto"
    )
    lines = [json.loads(line) for line in text.splitlines()]
    assert status == 0 and [len(line["hits"]) for line in lines] == [9, 10]
    alone = [
        index.search(like="0001.png", rerank=10, where=where),
        index.search("blue", rerank=10, where=where),
    ]
    assert [[hit["id"] for hit in line["hits"]] for line in lines] == [
        [hit.id for hit in hits] for hits in alone
    ]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--radius", 3], 2, "exclude each other"),
        (["--rerank", 0], 1, "rerank: 0 is below k = 10"),
        (["--rerank", 3], 1, "rerank: 3 is below k = 10"),
        (["--rerank", 3, "-k", 4], 1, "rerank: 3 is below k = 4"),
        (["-k", 0], 1, "k: 0 is not a whole number of at least 1"),
    ],
)
def test_errors_are_those_of_a_single_query(run, index, tmp_path, words, status, message):
    file = write_queries(tmp_path / "q.jsonl", {"like": "0001.png"})
    options = words if "--rerank" in words else ["--rerank", 20, *words]
    for query in (["--queries", file], ["--like", "0001.png"]):
        found, _, err = run("search", index.store.path, *query, *options)
        assert found == status and message in err


def test_an_index_without_embeddings_and_points(run, photos, encoder, index, tmp_path):
    file = write_queries(tmp_path / "q.jsonl", {"like": "0001.png"})
    plain = limbeck.Index.build(tmp_path / "plain", photos, model=encoder)
    for query in (["--queries", file], ["red"]):
        status, _, err = run("search", plain.store.path, *query, "--rerank", 20)
        assert status == 1 and "keeps no embeddings; build it with --keep-embeddings" in err
    np.save(tmp_path / "p.npy", plain.store.point(0))
    assert run("search", index.store.path, "--codes", tmp_path / "p.npy", "--rerank", 20)[0] == 2
    with raises_code("E-OPTION-CONFLICT", "rerank:"):
        list(answer_file(index, file, SearchOptions(radius=3, rerank=20)))
    with raises_code("E-OPTION-CONFLICT", "rerank:"):
        index.search("red", radius=3, rerank=20)


def test_an_item_without_embedding_fails_only_the_queries_that_meet_it(tmp_path):
    floats = np.random.default_rng(0).standard_normal((60, 64)).astype(np.float32)
    items = {"id": [f"i{i}" for i in range(60)]}
    limbeck.Index.build(tmp_path / "ix", sign_codes(floats), items=items, embeddings=floats)
    add_items(tmp_path / "ix", sign_codes(floats[4:5]), items={"id": ["bare"]})
    grown = limbeck.Index.open(tmp_path / "ix")
    far = grown.search(like="i4", k=60)[-1].id
    assert grown.search(like="i4", k=3)[0].id == "bare"
    assert "bare" not in [hit.id for hit in grown.search(like=far, k=3)]
    file = write_queries(tmp_path / "q.jsonl", {"like": "i4"}, {"like": far}, {"like": "bare"})
    first, second, third = answer_file(grown, file, SearchOptions(2, rerank=3))
    assert "item 'bare' has no embedding; add it again" in first["error"] and "'bare'" in third["error"]
    assert [hit["id"] for hit in second["hits"]] == [hit.id for hit in grown.search(like=far, k=2, rerank=3)]


def test_encode_keeps_embeddings_for_build(run, photos, encoder, tmp_path, monkeypatch):
    encoder.save(tmp_path / "model")
    words = ["encode", tmp_path / "model", photos, "--out", tmp_path / "e", "--batch-size", 4]
    calls = []

    def stopping(*arguments):
        for number, step in enumerate(decoded_batches(*arguments)):
            if not calls and number == 4:
                calls.append(1)
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(encode_parts, "PART_ITEMS", 8)
    monkeypatch.setattr("limbeck.encoding.encode.decoded_batches", stopping)
    run(*words, "--keep-embeddings")
    assert calls and not (tmp_path / "e").exists() and (tmp_path / "e.part").exists()
    status, _, err = run(*words)  # another choice does not go on with it
    assert status == 1 and "unfinished encoding with another embeddings; remove it" in err
    status, text, err = run(*words, "--keep-embeddings")
    assert status == 0 and "30 items in" in text, err
    encoded = Encoded.open(tmp_path / "e")
    wanted = encoder.encode_image([photos / f"{i:04}.png" for i in range(N)], output="embeddings")
    kept = np.stack(encoded.items().column("embedding").to_pylist())
    np.testing.assert_allclose(kept, wanted, atol=3e-4)
    np.testing.assert_array_equal(encoded.points, sign_codes(kept.astype(np.float32)))

    status, text, err = run(
        "index", "build", tmp_path / "e", "--model", tmp_path / "model", "--out", tmp_path / "built"
    )
    assert status == 0, err
    folder = ["index", "build", photos, "--model", tmp_path / "model", "--out", tmp_path / "folder"]
    assert run(*folder, "--keep-embeddings")[0] == 0
    hits = {}
    for name in ("built", "folder"):
        file = tmp_path / f"{name}.json"
        status, text, err = run("search", tmp_path / name, "red", "--rerank", 20, "--json", file)
        assert status == 0 and "product" in text, err
        hits[name] = [hit["id"] for hit in json.loads(file.read_text())["results"][0]["hits"]]
    assert hits["built"] == hits["folder"] and len(hits["built"]) == 10
    run(*["encode", tmp_path / "model", photos, "--out", tmp_path / "without"])
    status, _, err = run(
        "index", "build", tmp_path / "without", "--out", tmp_path / "no", "--keep-embeddings"
    )
    assert status == 1 and "encode it again with --keep-embeddings" in err
