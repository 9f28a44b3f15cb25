"""`limbeck.Index` over points of the hyperboloid: built, searched and read as over any other space."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers_index import build_parts
from test_refine import assert_nearest, clustered, geodesic

import limbeck
from limbeck.cli import main
from limbeck.errors import LimbeckError
from limbeck.index.encoded import EncodedMeta, write_encoded
from limbeck.spaces import Lorentz
from number_encoder import NumberEncoder
from raising import raises_code

SPACE = Lorentz(12, 0.5)
POINTS = clustered(400, 12, 0.5)
ITEMS = {"id": [f"id-{i}" for i in range(400)], "captions": [[f"caption {i}"] for i in range(400)]}
DISTANCES = geodesic(POINTS, POINTS, 0.5)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    path = tmp_path_factory.mktemp("lorentz") / "i"
    return limbeck.Index.build(path, POINTS, items=ITEMS, space=SPACE, model=NumberEncoder(POINTS, SPACE))


def test_every_way_to_ask(index, tmp_path):
    from PIL import Image

    assert index.score_name == "distance" and index.space == SPACE and len(index) == 400
    want = np.sort(DISTANCES[17])[:5]
    Image.new("RGB", (17, 3)).save(tmp_path / "17.png")
    for arguments in ({"query": "17"}, {"points": POINTS[17]}, {"image": tmp_path / "17.png"}):
        hits = index.search(**arguments, k=5)
        assert hits[0].id == "id-17" and hits[0].score == 0 and hits[0].metadata["captions"] == ["caption 17"]
        np.testing.assert_allclose([hit.score for hit in hits], want, atol=1e-9)
        assert all(type(hit.score) is float for hit in hits)
    alike = index.search(like="id-17", k=4)
    assert [hit.id for hit in alike] == [hit.id for hit in index.search("17", 5)[1:]]
    assert_nearest(index.search_points(POINTS, 10), DISTANCES, 10)


def test_segments_and_a_reopened_index_answer_alike(index, tmp_path):
    whole = index.search_points(POINTS[:40], 30)
    parts = limbeck.Index(build_parts(tmp_path / "p", POINTS, [1, 150, 390], SPACE))
    again = limbeck.Index.open(index.store.path)
    assert len(parts.store.segments) == 4 and again.space == SPACE
    for other in (parts, again):
        for left, right in zip(other.search_points(POINTS[:40], 30), whole, strict=True):
            np.testing.assert_array_equal(left, right)
    rows = np.array([399, 0, 0, 149, 150, 1])
    np.testing.assert_array_equal(parts.store.points_at(rows), POINTS[rows])
    assert parts.store.points_at(rows[:0]).shape == (0, 12)


def test_the_store_keeps_space_parts(index):
    assert index.store.info()["space"] == {"name": "lorentz", "dim": 12, "curv": 0.5}
    np.testing.assert_array_equal(np.concatenate(index.store.points), POINTS)
    assert index.store.verify() == 4


def test_an_encoded_set_of_the_hyperboloid(tmp_path):
    with write_encoded(tmp_path / "e", EncodedMeta(SPACE, "numbers")) as writer:
        writer.append(POINTS[:300], {"id": ITEMS["id"][:300]})
        writer.append(POINTS[300:], {"id": ITEMS["id"][300:]})
    index = limbeck.Index.build(tmp_path / "i", tmp_path / "e", model=NumberEncoder(POINTS, SPACE))
    assert_nearest(index.search_points(POINTS[:9], 7), DISTANCES[:9], 7)
    with raises_code("E-INDEX-OTHER-MODEL", "e:"):
        limbeck.Index.build(
            tmp_path / "j", tmp_path / "e", model=NumberEncoder(POINTS, SPACE, space_id="else")
        )


def test_the_command_line_prints_distances(index, tmp_path, monkeypatch, capsys):
    np.save(tmp_path / "q.npy", POINTS[5])
    for words in (["--codes", str(tmp_path / "q.npy")], ["--like", "id-5"]):
        hits = tmp_path / "hits.json"
        monkeypatch.setattr(
            "sys.argv", ["limbeck", "search", str(index.store.path), *words, "--json", str(hits)]
        )
        with pytest.raises(SystemExit) as end:
            main()
        out = capsys.readouterr().out
        assert not end.value.code and "distance" in out and "caption" in out
        value = json.loads(hits.read_text())
        assert value["score"] == "distance" and value["space"]["curv"] == 0.5
        first = value["results"][0]["hits"][0]
        np.testing.assert_allclose(
            first["score"], 0 if "--codes" in words else np.sort(DISTANCES[5])[1], atol=1e-9
        )
    monkeypatch.setattr("sys.argv", ["limbeck", "index", "info", str(index.store.path)])
    with pytest.raises(SystemExit):
        main()
    assert "lorentz (12 dim, 0.5 curv)" in capsys.readouterr().out


def test_bad_input_is_one_line(index, tmp_path):
    far = POINTS.copy()
    far[3] *= 1e6
    for call, message in [
        (lambda: index.search(points=POINTS[0, :5]), "query: has width 5, expected 12-d vectors"),
        (lambda: index.search(points=POINTS[0] * np.nan), "query: row 0 holds NaN"),
        (lambda: index.search(points=far[3]), "query: row 0 is .* from the origin"),
        (lambda: index.search("words"), "the model knows none of its words"),
        (lambda: index.search_points(POINTS, 0), "k: 0 is not"),
        (
            lambda: limbeck.Index.build(tmp_path / "i", far, items=ITEMS, space=SPACE),
            "row 3 is .* from the origin",
        ),
        (lambda: limbeck.Index.build(tmp_path / "i", POINTS, items=ITEMS), "row 0 has length .*, not 1"),
        (
            lambda: limbeck.Index.build(tmp_path / "i", POINTS.astype(int), items=ITEMS, space=SPACE),
            "holds int64, Lorentz",
        ),
    ]:
        with pytest.raises(LimbeckError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
