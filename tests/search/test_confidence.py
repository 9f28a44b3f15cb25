"""The confidence of hits: the fit against oracles, held-out queries, and its upkeep."""

from __future__ import annotations

import json

import numpy as np
import pytest

import limbeck
from limbeck.encoding import open_source
from limbeck.errors import LimbeckError
from limbeck.index.confidence import DEPTH, Calibration, Curve, features, place
from limbeck.index.store import IndexStore
from limbeck.search import SearchOptions, Term
from limbeck.search.calibrate import Asked, _rising, _upper_tail, calibrate, fit_logistic
from limbeck.search.relevance import Relevance
from limbeck.spaces import Sphere
from number_encoder import NumberEncoder
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures

DIM, KINDS = 12, 12


def collection(count: int, seed: int, columns: bool = True) -> tuple[np.ndarray, dict[str, list]]:
    """Unit vectors around twelve centres, some near and some far; the centre is the label."""
    centres = np.random.default_rng(99).standard_normal((KINDS, DIM))
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, KINDS, count)
    noise = rng.standard_normal((count, DIM)) * rng.uniform(0.1, 1.4, (count, 1))
    points = Sphere(DIM).restored(centres[kinds] + noise)
    items: dict[str, list] = {"id": [f"{seed}-{n}" for n in range(count)]}
    if columns:
        items |= {"labels": [[f"kind{kind}"] for kind in kinds], "tags": [[str(n)] for n in range(count)]}
    return points, items


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index of 900 items whose encoder reads the number of an item as a text near it."""
    points, items = collection(900, 0)
    rng = np.random.default_rng(5)
    texts = Sphere(DIM).restored(points + rng.standard_normal(points.shape) * 0.05)
    encoder = NumberEncoder(texts, Sphere(DIM))
    folder = tmp_path_factory.mktemp("sure") / "i"
    limbeck.Index.build(folder, points, items=items, model=encoder)
    return folder, encoder


def opened(made) -> limbeck.Index:
    return limbeck.Index(IndexStore.open(made[0]), encoder=made[1])


def test_a_logistic_regression_is_at_its_optimum():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(6000), rng.standard_normal((6000, 3)) * [3, 0.5, 1] + [5, 1, 2]])
    truth = np.array([-4.0, 0.6, 2.0, -0.5])
    y = (rng.random(6000) < 1 / (1 + np.exp(-(x @ truth)))).astype(float)
    weights = fit_logistic(x, y)
    p = 1 / (1 + np.exp(-(x @ weights)))
    assert p.sum() == pytest.approx(y.sum(), rel=1e-6)  # the constant is not penalised
    slopes = (x - x.mean(axis=0)).T @ (p - y) / 6000
    np.testing.assert_allclose(
        slopes[1:], -1e-3 * weights[1:] * x.std(axis=0)[1:] ** 2, atol=1e-7
    )  # the ridge
    np.testing.assert_allclose(weights, truth, rtol=0.15)
    flipped = x * [1, -1, 1, 1]  # nearer hits are right less often: no curve may use that
    assert fit_logistic(flipped, y)[1] == 0 and (fit_logistic(flipped, y)[[2, 3]] * [1, -1] > 0).all()


def test_the_rising_sequence_is_that_of_the_min_max_formula():
    rng = np.random.default_rng(1)
    for _ in range(20):
        values, weights = rng.random(9), rng.uniform(0.1, 3, 9)
        mean = np.array(
            [[np.average(values[a : b + 1], weights=weights[a : b + 1]) if a <= b else 2 for b in range(9)]
             for a in range(9)]
        )  # fmt: skip
        wanted = [max(mean[a, i:].min() for a in range(i + 1)) for i in range(9)]
        np.testing.assert_allclose(_rising(values, weights), wanted)


def test_a_curve_reads_nearness_margin_and_rank():
    curve = Curve(
        "relevance", "", None, 1, 0.5, [0.1, 2.0, 3.0, -0.2], [[-1.0, 0.1], [4.0, 0.6], [20.0, 0.9]]
    )
    near = np.array([0.9, 0.5, 0.7, 0.2])
    margins = (near - 0.1) / 0.2
    ranks = np.log1p([0, 2, 1, 3])
    sums = 0.1 + 2 * near + 3 * margins - 0.2 * ranks
    wanted = np.where(sums < 4, 0.1 + (sums + 1) / 5 * 0.5, 0.6 + (sums - 4) / 16 * 0.3)
    np.testing.assert_allclose(curve.of(near, margins), wanted)
    assert (np.diff(curve.of(near, margins)[[0, 2, 1, 3]]) < 0).all()
    assert features(np.ones(200), np.ones(200))[-1, 3] == np.log1p(DEPTH)  # later ranks were not seen


def test_held_out_queries_are_right_as_often_as_promised(made):
    index = opened(made)
    calibration = index.calibration
    assert {name: curve.kind for name, curve in calibration.curves.items()} == {
        "image": "relevance",
        "text": "relevance",
    }
    assert calibration.curves["text"].encoder == index.store.manifest.encoders[0].name
    points, items = collection(600, 1)
    found = index.find(points, SearchOptions(DEPTH), modalities=["image"] * len(points))
    labels = np.array([item["labels"][0] for item in index.store.metadata(range(900))])
    asked = np.array([label for [label] in items["labels"]])
    right = np.concatenate([labels[one.rows] == asked[q] for q, one in enumerate(found)])
    sure = np.concatenate([one.confidence for one in found])
    for low, high in [(0, 0.5), (0.5, 0.85), (0.85, 0.95), (0.95, 1)]:
        within = (sure >= low) & (sure < high)
        assert within.sum() > 300
        assert right[within].mean() == pytest.approx(sure[within].mean(), abs=0.05)


def test_hits_have_the_confidence_and_are_cut_by_it(made):
    index = opened(made)
    hits = index.search("17", k=30)
    sure = [hit.confidence for hit in hits]
    assert all(0 <= p <= 1 for p in sure) and sure == sorted(sure, reverse=True) and sure[0] > 0.9
    assert len(set(sure)) > 5
    limit = sure[10]
    kept = [hit for hit in hits if hit.confidence >= limit]
    assert index.search("17", k=30, min_confidence=limit) == kept
    assert index.search("17", k=30, min_confidence=1.0) == []
    folded = index.search("17", k=5, fold=True, min_confidence=0.0)
    assert len(folded) == 5 and folded[0].confidence == sure[0]
    assert index.search(like="0-17", k=3)[0].confidence > 0.5
    assert index.search(points=index.store.point(3), k=3)[0].confidence is None
    pair = [Term("17"), Term("18")]
    assert index.search(terms=pair, k=3)[0].confidence is None
    with raises_code("E-INDEX-CONFIDENCE", "not for this query"):
        index.search(terms=pair, min_confidence=0.5)


def test_the_calibration_does_not_use_the_order_of_rows_and_repeats_itself(made):
    index = opened(made)
    again = calibrate(index)
    assert again == index.calibration
    assert json.loads(place(made[0]).read_text())["format"] == 1


def test_without_columns_chance_is_the_measure(tmp_path):
    """Half of the items lie in tight groups of twenty; the others are noise that nothing is near to."""
    rng = np.random.default_rng(0)
    groups = np.repeat(rng.standard_normal((30, 32)), 20, axis=0) + rng.standard_normal((600, 32)) * 0.25
    points = Sphere(32).restored(np.concatenate([groups, rng.standard_normal((600, 32))]))
    encoder = NumberEncoder(points, Sphere(32))
    items = {"id": [f"i{n}" for n in range(1200)]}
    index = limbeck.Index.build(tmp_path / "i", points, items=items, model=encoder)
    assert list(index.calibration.curves) == ["image"]  # its encoder knows none of the phrases
    curve = index.calibration.curves["image"]
    assert curve.kind == "chance" and curve.share is None
    near = [hit.confidence for row in (0, 41, 599) for hit in index.search(like=f"i{row}", k=10)]
    far = [hit.confidence for row in (700, 900, 1199) for hit in index.search(like=f"i{row}", k=10)]
    assert min(near) > 0.95 and max(far) < 0.5
    assert _upper_tail(1.959964) == pytest.approx(0.025, abs=1e-6)


def test_right_by_captions():
    """Words of 2 % to a third of 100 items: dog (30), boat (10), cat (3); zebra is too rare, a too usual."""
    items = [{"id": str(n), "captions": ["a dog" if n < 30 else "a thing", "a"]} for n in range(100)]
    for n in (0, 1, 2, 3, 4, 40, 41, 42, 43, 44):
        items[n]["captions"] = [items[n]["captions"][0] + " boats", "a"]
    for n in (50, 51, 52):
        items[n]["captions"] = ["a cat", "a cat again"]
    items[60]["captions"] = ["a zebra"]
    judge, rng = Relevance(items), np.random.default_rng(0)
    assert judge.basis == "captions" and "more than half" in judge.right
    asked = {judge.text(items[0], rng) for _ in range(200)}
    assert asked == {"dog", "boats", "dog boats", None}  # None: the second caption has no such word
    assert judge.text(items[60], rng) is None and judge.text({"id": "x"}, rng) is None
    right = judge.judge(items[0], "dog boat", items)
    assert np.flatnonzero(right).tolist() == [
        0,
        1,
        2,
        3,
        4,
        40,
        41,
        42,
        43,
        44,
    ]  # log 10 is more than log 100/30
    assert np.flatnonzero(judge.judge(items[0], "dogs", items)).tolist() == list(range(30))
    pictured = judge.judge(items[50], None, items)  # "a cat" is in both captions, "again" in one of two
    assert np.flatnonzero(pictured).tolist() == [50, 51, 52]


def test_right_by_labels_and_by_tags():
    labels = [
        {"id": "a", "labels": ["x", "plant_life"], "tags": ["t", "u"]},
        {"id": "b", "labels": ["plant_life"]},
        {"id": "c", "labels": []},
    ]
    judge = Relevance(labels)
    assert judge.basis == "labels" and judge.text(labels[0], np.random.default_rng(0)) == "t u"
    assert judge.text(labels[1], np.random.default_rng(0)) == "plant life"
    assert judge.text(labels[2], np.random.default_rng(0)) is None
    for text in (None, "t u"):
        assert judge.judge(labels[0], text, labels).tolist() == [True, True, False]
    tags = [
        {"id": str(n), "tags": ["boat"] if n < 20 else ["sea", "boats"] if n < 25 else ["sky"]}
        for n in range(100)
    ]
    judge = Relevance(tags)
    assert judge.basis == "tags" and np.flatnonzero(judge.judge(tags[24], None, tags)).tolist() == list(
        range(20, 25)
    )
    assert {judge.text(tags[24], np.random.default_rng(n)) for n in range(20)} == {
        "sea",
        "boats",
        "sea boats",
    }
    assert Relevance([{"id": "a"}, {"id": "b", "labels": None}]).basis is None


def test_items_that_are_not_in_the_index_can_be_asked(run, tmp_path):
    write_pictures(tmp_path / "photos", range(10))
    write_pictures(tmp_path / "others", range(100, 120))
    encoder = pixel_encoder()
    index = limbeck.Index.build(tmp_path / "i", tmp_path / "photos", model=encoder)
    asked = Asked.of_source(index.store, open_source(tmp_path / "others"), None)
    assert len(asked.items) == 20 and (asked.rows == -1).all()
    pictures = [tmp_path / "others" / item["path"] for item in asked.items]
    np.testing.assert_allclose(asked.points, encoder.encode_image(pictures), atol=1e-5)
    status, _, err = run("index", "calibrate", tmp_path / "i", tmp_path / "others")
    assert status == 1 and "needs at least 200" in err


def test_hits_that_do_not_stand_out_have_no_confidence(run, tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, (300, 8), dtype=np.uint8)
    limbeck.Index.build(tmp_path / "i", codes, items={"id": [f"i{n}" for n in range(300)]})
    status, _, err = run("index", "calibrate", tmp_path / "i")
    assert status == 1 and "hardly stand out" in err and not place(tmp_path / "i").exists()


def test_what_is_outgrown_is_fitted_again(made, tmp_path, monkeypatch):
    monkeypatch.setattr("limbeck.search.calibrate.QUERIES", 120)
    points, items = collection(300, 0)
    index = limbeck.Index.build(tmp_path / "i", points, items=items, model=made[1])
    assert index.calibration.items == 300
    more, others = collection(140, 2)
    grown = index.add(more, items=others, model=NumberEncoder(more, Sphere(DIM)))
    assert grown.calibration.items == 300
    more, others = collection(20, 3)
    assert grown.add(more, items=others, model=NumberEncoder(more, Sphere(DIM))).calibration.items == 460
    small, few = collection(50, 4)
    rebuilt = limbeck.Index.build(tmp_path / "i", small, items=few, model=made[1], replace=True)
    assert rebuilt.calibration is None and not place(tmp_path / "i").exists()
    with raises_code("E-INDEX-EMPTY", "needs at least 200"):
        calibrate(rebuilt)


def test_an_index_that_cannot_be_calibrated_is_built_all_the_same(tmp_path, monkeypatch, capsys):
    def fail(index):
        raise LimbeckError("no numbers today", code="E-BUG")

    monkeypatch.setattr("limbeck.search.calibrate.calibrate", fail)
    points, items = collection(200, 0)
    built = limbeck.Index.build(tmp_path / "i", points, items=items, model=NumberEncoder(points, Sphere(DIM)))
    assert len(built) == 200 and built.calibration is None
    assert "not calibrated" in (said := capsys.readouterr().err) and "no numbers today" in said


def test_a_calibration_of_another_encoder_or_a_damaged_one(made, tmp_path):
    index = opened(made)
    store, known = index.store, index.calibration
    value = json.loads(place(store.path).read_text())
    try:
        for change, found in [
            ({"space_id": "other"}, None),
            ({"curves": {"text": value["curves"]["text"] | {"encoder": "0" * 32}}}, None),
        ]:
            place(store.path).write_text(json.dumps(value | change))
            assert Calibration.load(store) is found
        for change, code in [
            ({"format": 2}, "E-FILE-VERSION"),
            ({"curves": []}, "E-FILE-FIELD"),
            ({"curves": {"text": value["curves"]["text"] | {"weights": [1.0]}}}, "E-FILE-FIELD"),
        ]:
            place(store.path).write_text(json.dumps(value | change))
            with raises_code(code, "confidence.json"):
                Calibration.load(store)
    finally:
        known.save(store.path)
    assert Calibration.load(store) == known


def test_the_command_line_calibrates_and_says_so(made, run, tmp_path):
    import shutil

    folder = tmp_path / "i"
    shutil.copytree(made[0], folder)
    place(folder).unlink()
    status, out, _ = run("index", "info", folder)
    assert status == 0 and "limbeck index calibrate" in out
    status, _, err = run("search", folder, "--like", "0-3", "--min-confidence", 0.5)
    assert status == 1 and "limbeck index calibrate" in err
    codes, ids = tmp_path / "codes.npy", tmp_path / "ids.txt"
    grouped = np.repeat(np.random.default_rng(0).integers(0, 256, (30, 8), dtype=np.uint8), 10, axis=0)
    np.save(codes, grouped)
    ids.write_text("".join(f"i{n}\n" for n in range(300)))
    status, _, err = run("index", "build", "--codes", codes, "--ids", ids, "--out", tmp_path / "c")
    assert status == 0 and not place(tmp_path / "c").exists()  # it has no query encoder
    status, out, err = run("index", "calibrate", tmp_path / "c")
    assert status == 0 and out.startswith(
        "image: chance, a hit is right if it is nearer than chance explains"
    )
    status, out, _ = run("index", "info", tmp_path / "c")
    assert status == 0 and "image: chance" in out
    file = tmp_path / "hits.json"
    status, out, _ = run("search", tmp_path / "c", "--like", "i3", "--min-confidence", 0, "--json", file)
    hit = json.loads(file.read_text())["results"][0]["hits"][0]
    assert status == 0 and "confidence" in out and 0 <= hit["confidence"] <= 1
    assert run("index", "calibrate", folder, "--protocol", "x")[0] == 2
