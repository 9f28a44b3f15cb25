"""Queries of several terms: the points they give, their hits, and the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

import limbeck
from limbeck.codes import sign_codes
from limbeck.encoders.config import BagConfig, ClipImageConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import LiftConfig, TangentConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.search import SearchOptions, Term, describe_query
from raising import raises_code
from tiny_encoder import WORDS, pixel_encoder, write_pictures

N = 24


@pytest.fixture(scope="module", params=["sphere", "codes", "codes and floats", "lorentz"])
def made(request, tmp_path_factory):
    """An encoder and an index of pictures."""
    folder = tmp_path_factory.mktemp("terms")
    write_pictures(folder / "photos", range(N))
    encoder = pixel_encoder(bits=16 if "codes" in request.param else None)
    if request.param == "lorentz":
        encoder = lorentz_encoder()
    index = limbeck.Index.build(
        folder / "ix", folder / "photos", model=encoder, embeddings="floats" in request.param
    )
    return encoder, index, folder / "photos"


def lorentz_encoder() -> DualEncoder:
    image = ClipImageConfig(image_size=16, patch_size=8, width=16, layers=1, heads=2)
    towers = {
        "image": Tower(TowerConfig(backbone=image), "image"),
        "text": Tower(TowerConfig(backbone=BagConfig()), "text"),
    }
    towers["text"].fit(WORDS * 3, seed=0)
    lift: LiftConfig = TangentConfig(dim=8)
    return DualEncoder(
        towers["image"], towers["text"], build_lift(lift, {m: t.dim for m, t in towers.items()})
    ).eval()


def numbers(encoder, text) -> np.ndarray:
    """What a sum adds: points, or the numbers before the signs."""
    output = "embeddings" if encoder.space.storage == "codes" else "points"
    return encoder.encode("text", [text], output)[0]


def test_a_sum_is_the_combination_of_its_terms(made):
    encoder, index, _ = made
    space = encoder.space
    vectors = np.concatenate([numbers(encoder, text) for text in ("red", "blue")])
    total = space.combine([1.0, -0.5], vectors)[None]
    wanted = sign_codes(total) if space.storage == "codes" else total
    terms = [Term("red"), Term("blue", weight=-0.5)]
    points, floats = index.encode_terms(terms)
    np.testing.assert_array_equal(points, wanted) if space.storage == "codes" else np.testing.assert_allclose(
        points, wanted, atol=1e-6
    )
    assert (floats is None) == (index.store.kept is None)
    assert index.search(terms=terms, k=5) == index.search(terms=terms[::-1], k=5)
    if space.storage == "codes":
        asked = index.encode_terms(terms, asymmetric=True)[0]
        assert asked.shape == (1, 16) and (sign_codes(asked) == points).all()


def test_one_term_equals_the_plain_query(made):
    _, index, photos = made
    for plain, term in [
        ({"query": "red"}, Term("red")),
        ({"like": "0003.png"}, Term(id="0003.png")),
        ({"image": photos / "0003.png"}, Term(image=photos / "0003.png")),
        ({"query": "red"}, Term("red", weight=3)),
    ]:
        assert index.search(**plain, k=N) == index.search(terms=[term], k=N)


def test_a_stored_item_counts_as_its_point_and_is_not_a_hit(made):
    _, index, photos = made
    space = index.space
    terms = [Term(id="0003.png"), Term(id="0007.png", weight=2)]
    rows = np.array([index.store.row_of("0003.png"), index.store.row_of("0007.png")])
    hits = index.search(terms=terms, k=N)
    assert len(hits) == N - 2 and not {"0003.png", "0007.png"} & {hit.id for hit in hits}
    vectors = index.store.points_at(rows)
    vectors = space.coordinates(vectors) if space.storage == "codes" else vectors
    total = space.combine([1, 2], vectors)[None]
    np.testing.assert_allclose(
        index.encode_terms(terms)[0], sign_codes(total) if space.storage == "codes" else total, atol=1e-6
    )
    mixed = index.search(terms=[Term("red"), Term(image=photos / "0001.png"), Term(id="0003.png", weight=-1)])
    assert len(mixed) == 10 and "0003.png" not in [hit.id for hit in mixed]


def test_many_queries_are_encoded_with_one_call_per_kind(made, monkeypatch):
    _, index, photos = made
    queries = [
        [Term("red")],
        [Term("green"), Term("red", weight=-1)],
        [Term(id="0003.png")],
        [Term(image=photos / "0001.png"), Term("red")],
    ]
    calls = []
    encoder = index._queries.reading("text")
    encode = encoder.encode
    monkeypatch.setattr(
        encoder, "encode", lambda *args, **how: calls.append(args[:2]) or encode(*args, **how)
    )
    together = index.search_queries(queries, SearchOptions(N))
    assert [(modality, len(items)) for modality, items in calls] == [("text", 2), ("image", 1)]
    for query, hits in zip(queries, together, strict=True):
        alone = index.search(terms=query, k=N)
        assert [hit.id for hit in hits] == [hit.id for hit in alone]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-5)


def test_sums_rank_by_the_sum_of_the_kept_embeddings(made):
    _, index, _ = made
    if index.store.kept is None:
        return
    terms = [Term("red"), Term("blue", weight=-1)]
    _, floats = index.encode_terms(terms, ranked=True)
    assert floats is not None and floats.shape == (1, index.store.kept.width)
    single = np.concatenate([index.encode_terms([Term(text)])[1] for text in ("red", "blue")])
    single = single / np.linalg.norm(single, axis=1, keepdims=True)
    wanted = single[0] - single[1]
    np.testing.assert_allclose(floats[0] / np.linalg.norm(floats), wanted / np.linalg.norm(wanted), atol=1e-5)
    assert len(index.search(terms=terms, k=3, rerank=12)) == 3


def test_bad_terms_are_refused_before_anything_is_encoded(made):
    _, index, photos = made
    for arguments, code in [({}, "E-QUERY-FORM"), ({"text": "red", "id": "x"}, "E-QUERY-FORM")]:
        with raises_code(code, "give one of text, image, id and features"):
            Term(**arguments)
    for weight in (0, float("nan"), True, "1"):
        with raises_code("E-OPTION-RANGE", "weight"):
            Term("red", weight=weight)
    with raises_code("E-QUERY-FORM", "a term is one row"):
        Term(features=np.zeros((2, 3), np.float32))
    for terms, code in [
        ([], "E-QUERY-FORM"),
        ([Term("unheard")], "E-QUERY-WORDS"),
        ([Term("red"), Term(id="none")], "E-ID-UNKNOWN"),
        ([Term(features=np.zeros(3))], "E-MODEL-INPUT"),
    ]:
        with raises_code(code, ""):
            index.check(terms)
        with raises_code(code, ""):
            index.encode_queries([[Term("red")], terms])
    index.check([Term("red"), Term(image=photos / "none.png"), Term(id="0003.png")])
    with raises_code("E-SPACE-POINTS", "cancel out"):
        index.search(terms=[Term("red"), Term("red", weight=-1)])


def test_terms_compare_by_value_but_pictures_by_identity():
    assert {Term("red"), Term(id="red")} == {Term(id="red"), Term("red", weight=1.0)}
    row = np.zeros(3)
    assert Term(features=row) == Term(features=row) != Term(features=row.copy())
    assert Term("red") != Term("red", weight=2)


def test_a_query_reads_as_it_was_asked():
    terms = [Term("a beach"), Term("people", weight=-1), Term(id="7", weight=0.5), Term(image="x.png")]
    assert describe_query(terms) == "a beach − people + 0.5 · like 7 + x.png"


def test_plus_and_minus_on_the_command_line(made, run, tmp_path):
    _, index, photos = made
    file = tmp_path / "hits.json"
    words = ["red", "--plus", "green", "--plus", "dark", "--minus", "blue", "--image", photos / "0001.png"]
    status, _, err = run("search", index.store.path, *words, "-k", 3, "--json", file)
    assert status == 0, err
    found = json.loads(file.read_text())["results"][0]
    assert found["query"].startswith("red + green + dark + ") and found["query"].endswith(" − blue")
    terms = [
        Term("red"),
        Term("green"),
        Term("dark"),
        Term(image=photos / "0001.png"),
        Term("blue", weight=-1),
    ]
    assert [hit["id"] for hit in found["hits"]] == [hit.id for hit in index.search(terms=terms, k=3)]
    status, _, err = run("search", index.store.path, "red", "--minus", "red")
    assert status == 1 and "cancel out" in err
