"""What is kept beside codes: the embeddings of the model that they were made from, and its similarity."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import limbeck
from limbeck.codes import hamming_distances, sign_codes
from limbeck.encoders.config import BagConfig, FeaturesConfig, RunConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import BinaryConfig, HashConfig, SphereConfig, TangentConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.index.add import add_batches
from limbeck.index.embeddings import embeddings_at
from limbeck.index.manifest import newest_manifest
from limbeck.index.writer import StoreMeta
from limbeck.search import SearchOptions, add_items, answer_file
from limbeck.spaces import Hamming, Kept, Lorentz, Sphere
from raising import raises_code

WORDS = ["red", "green", "blue", "dark", "tall", "old"]
ROWS = np.random.default_rng(5).standard_normal((60, 12)).astype(np.float32)


def model(lift) -> DualEncoder:
    """Features of 12 numbers and a bag of words, in a space of 8 dimensions."""
    torch.manual_seed(3)
    towers = {
        "image": Tower(TowerConfig(backbone=FeaturesConfig(name="f")), "image"),
        "text": Tower(TowerConfig(backbone=BagConfig()), "text"),
    }
    towers["image"].fit(ROWS, seed=0)
    towers["text"].fit(WORDS * 3, seed=0)
    return DualEncoder(**towers, lift=build_lift(lift, {m: t.dim for m, t in towers.items()})).eval()


def coded(teacher: DualEncoder, output: str, lift=None, freeze: bool = False, hidden=()) -> DualEncoder:
    """Codes of a model trained before, as `binarize` makes them."""
    towers = {}
    for modality in ("image", "text"):
        config = TowerConfig(
            backbone=RunConfig(path="run", output=output), hidden=list(hidden), freeze_backbone=freeze
        )
        towers[modality] = Tower(config, modality)
        towers[modality].backbone.load_from(teacher)
        towers[modality].build_trunk()
    made = build_lift(lift or BinaryConfig(bits=8), {m: t.dim for m, t in towers.items()})
    found = DualEncoder(**towers, lift=made).eval()
    if lift is None:
        features = {
            "image": torch.from_numpy(found.encode_image(ROWS, output="features")),
            "text": torch.from_numpy(found.encode_text(WORDS, output="features")),
        }
        made.fit(features, 0)
    return found


SPHERE, TANGENT = SphereConfig(dim=8), TangentConfig(dim=8, curv=0.7)


@pytest.mark.parametrize(
    ("lift", "output"),
    [(SPHERE, "embeddings"), (SPHERE, "features"), (TANGENT, "tangent"), (TANGENT, "embeddings")],
)
def test_the_short_list_is_ranked_by_the_model_that_the_codes_were_made_from(tmp_path, lift, output):
    if output == "features":
        torch.manual_seed(0)
    teacher = model(lift)
    codes = coded(teacher, output) if output != "features" else None
    if codes is None:  # widths differ before the lift: a hash head on frozen towers
        codes = coded(teacher, output, HashConfig(bits=8), freeze=True, hidden=[10])
    assert codes.kept == Kept("model", teacher.space, 8)
    items = {"id": [f"i{i}" for i in range(60)]}
    points, floats = codes.encode("image", ROWS, "embeddings", "floats")
    np.testing.assert_allclose(floats, teacher.encode_image(ROWS, output="embeddings"), atol=1e-5)
    index = limbeck.Index.build(
        tmp_path / "ix", sign_codes(points), items=items, model=codes, embeddings=floats
    )
    teacher_points = teacher.encode_image(ROWS)
    for word in WORDS:
        order = np.argsort(-teacher.space.similarity(teacher.encode_text([word]), teacher_points)[0])
        hits = limbeck.Index.open(tmp_path / "ix").search(word, k=5, rerank=60)
        assert [hit.row for hit in hits] == order[:5].tolist()
        wanted = teacher.space.rescore(teacher.encode_text([word]), teacher_points[[hits[0].row]])
        assert hits[0].score == pytest.approx(float(wanted[0]), abs=5e-3)
    assert index.kept.score_name == teacher.space.score_name
    hits = index.search(features=ROWS[7], k=1, rerank=60)
    assert hits[0].id == "i7"


def test_a_hash_head_that_trained_its_towers_ranks_by_its_own_numbers():
    teacher = model(SPHERE)
    assert coded(teacher, "embeddings", HashConfig(bits=8)).kept == Kept("codes", None, 8)
    frozen = coded(teacher, "embeddings", HashConfig(bits=8), freeze=True)
    assert frozen.kept == Kept("model", Sphere(8), 8)
    assert frozen.prefix(8).kept == frozen.kept and model(SPHERE).kept == Kept("model", Sphere(8), 8)
    # a code of codes has no floats behind it but its own
    assert coded(frozen, "features", HashConfig(bits=8), freeze=True).kept.of == "codes"


def test_towers_of_two_models_share_no_space():
    one, two = model(SPHERE), model(SPHERE)
    with torch.no_grad():
        two.lift.heads["image"].weight.mul_(-1)
    codes = coded(one, "tangent")
    codes.towers["text"].backbone.load_from(two)
    assert codes.kept == Kept("model", Sphere(8), 8)  # their features by cosine, whatever these are
    embeddings, floats = codes.encode("text", ["red"], "embeddings", "floats")
    wanted = codes.encode_text(["red"], output="features")
    np.testing.assert_allclose(floats, wanted / np.linalg.norm(wanted), atol=1e-6)
    np.testing.assert_allclose(embeddings, codes.encode_text(["red"], output="embeddings"), atol=1e-6)


def test_built_added_and_searched_through_the_command_line(run, tmp_path):
    floats = np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)
    for name, array in {"c": sign_codes(floats), "f": floats}.items():
        np.save(tmp_path / f"{name}.npy", array[:30])
        np.save(tmp_path / f"{name}2.npy", array[30:])
    (tmp_path / "ids.txt").write_text("".join(f"i{i}\n" for i in range(30)))
    (tmp_path / "ids2.txt").write_text("".join(f"i{i}\n" for i in range(30, 40)))
    given = ["--codes", tmp_path / "c.npy", "--ids", tmp_path / "ids.txt", "--embeddings", tmp_path / "f.npy"]
    status, _, err = run("index", "build", *given, "--out", tmp_path / "ix")
    assert status == 0, err
    more = [str(word).replace(".npy", "2.npy").replace("ids.txt", "ids2.txt") for word in given]
    assert run("index", "add", tmp_path / "ix", *more)[0] == 0
    status, _, err = run(
        "search", tmp_path / "ix", "--codes", tmp_path / "c2.npy", "--embeddings", tmp_path / "f2.npy",
        "--rerank", 40, "-k", 3, "--json", tmp_path / "hits.json",
    )  # fmt: skip
    assert status == 0 and "ranked by the cosine of embeddings that were given with the codes" in err
    value = json.loads((tmp_path / "hits.json").read_text())
    unit = floats / np.linalg.norm(floats, axis=1, keepdims=True)
    for number, result in enumerate(value["results"]):
        wanted = np.argsort(-unit @ unit[30 + number])[:3]
        assert [hit["id"] for hit in result["hits"]] == [f"i{i}" for i in wanted]
    assert value["score"] == "similarity"
    status, out, _ = run("index", "info", tmp_path / "ix")
    assert "cosine of embeddings that were given" in " ".join(out.split())


def crowded(tmp_path, n=300, seed=1):
    """8-bit codes, so many of one distance, with embeddings that no code tells."""
    floats = np.random.default_rng(seed).standard_normal((n, 16)).astype(np.float32)
    codes = sign_codes(floats[:, :8])
    items = {"id": [f"i{i}" for i in range(n)], "even": [i % 2 == 0 for i in range(n)]}
    return limbeck.Index.build(tmp_path / "ix", codes, items=items, embeddings=floats), codes, floats


def by_hand(codes, floats, own, rows):
    """Rows in the order of (distance, kept cosine, row) for an item of the index."""
    unit = (floats / np.linalg.norm(floats, axis=1, keepdims=True)).astype(np.float16).astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    distances = hamming_distances(codes[own][None], codes)[0]
    similarity = unit @ unit[own]
    return [row for row in np.lexsort((np.arange(len(codes)), -similarity, distances)) if row in rows]


@pytest.mark.parametrize("k", [1, 7, 100, 299])
def test_of_equal_distance_the_nearer_embedding_comes_first(tmp_path, k):
    index, codes, floats = crowded(tmp_path)
    for row in (0, 17, 299):
        every = set(range(300)) - {row}
        wanted = by_hand(codes, floats, row, every)
        assert [hit.row for hit in index.search(like=f"i{row}", k=k)] == wanted[:k]
        asked = index.search_many(codes[row][None], SearchOptions(k), embeddings=floats[row][None])[0]
        assert asked[0].row == row  # itself, whatever lies at distance 0
        even = index.search(like=f"i{row}", k=k, where="even = true")
        assert [hit.row for hit in even] == [r for r in wanted if r % 2 == 0][:k]
        near = index.search(like=f"i{row}", radius=1)
        distances = hamming_distances(codes[row][None], codes)[0]
        assert [hit.row for hit in near] == [r for r in wanted if distances[r] <= 1]


def test_engines_settle_ties_alike(run, tmp_path):
    crowded(tmp_path, 2000)
    assert run("index", "engine", tmp_path / "ix", "--engine", "mih")[0] == 0
    index = limbeck.Index.open(tmp_path / "ix")
    for row in (3, 1999):
        exact = [(hit.id, hit.score) for hit in index.search(like=f"i{row}", k=10)]
        assert [(hit.id, hit.score) for hit in index.search(like=f"i{row}", k=10, engine="mih")] == exact
    file = tmp_path / "q.jsonl"
    file.write_text('{"like": "i3"}\n{"like": "i1999"}\n')
    answers = [[hit["id"] for hit in answer["hits"]] for answer in answer_file(index, file)]
    assert answers == [[hit.id for hit in index.search(like=f"i{row}", k=10)] for row in (3, 1999)]


def test_items_without_an_embedding_come_last_among_equals(tmp_path):
    _, codes, floats = crowded(tmp_path, 20)
    add_items(tmp_path / "ix", codes[:1], items={"id": ["bare"]})
    grown = limbeck.Index.open(tmp_path / "ix")
    hits = grown.search_many(codes[:1], SearchOptions(30), embeddings=floats[:1])[0]
    assert hits[0].id == "i0"
    last_at_0 = [hit.id for hit in hits if hit.score == 0][-1]
    assert last_at_0 == "bare"
    # asked by an item without one, the row decides
    rows = [hit.row for hit in grown.search(like="bare", k=20) if hit.score == hits[0].score]
    assert rows == sorted(rows)


def test_an_index_of_version_0_1_opens_and_says_what_it_ranks_by(run, tmp_path):
    """Single precision, the numbers before the signs, no word of them in the manifest."""
    import pyarrow as pa

    from limbeck.index.store import IndexStore

    floats = np.random.default_rng(0).standard_normal((30, 16)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(floats.ravel()), 16)
    table = pa.table({"id": pa.array([f"i{i}" for i in range(30)]), "embedding": column})
    IndexStore.build(tmp_path / "ix", [(sign_codes(floats), table)], StoreMeta(Hamming(16)))
    index = limbeck.Index.open(tmp_path / "ix")
    assert index.store.kept == Kept("unrecorded", None, 16) and index.kept.score_name == "product"
    np.testing.assert_array_equal(embeddings_at(index.store, np.arange(30)), floats)
    hits = index.search(like="i4", k=3, rerank=20)
    assert hits[0].score == pytest.approx(floats[hits[0].row] @ floats[4], rel=1e-6)
    status, _, err = run("search", tmp_path / "ix", "--like", "i4", "--rerank", 20)
    assert status == 0 and "earlier version; rebuild the index with --keep-embeddings" in " ".join(
        err.split()
    )
    add_items(tmp_path / "ix", sign_codes(floats[:1]), items={"id": ["new"]}, embeddings=floats[:1])
    assert embeddings_at(limbeck.Index.open(tmp_path / "ix").store, np.array([30])).dtype == np.float32


def test_what_does_not_belong_together_is_refused(tmp_path):
    _, codes, floats = crowded(tmp_path, 20)
    wrong = floats.copy()
    wrong[3] = 0
    items = {"id": [f"x{i}" for i in range(20)]}
    for array, message in [
        (wrong, "embeddings: row 3 is all zeros and has no direction"),
        (np.where(np.eye(20, 16) > 0, np.nan, floats), "row 0 holds NaN"),
        (floats[:, 0], r"embeddings: has shape \(20,\); give one float row per item"),
    ]:
        with pytest.raises(LimbeckError, match=message):
            limbeck.Index.build(tmp_path / "no", codes, items=items, embeddings=array)
    with raises_code("E-ARRAY-SHAPE", "width 16"):
        add_items(tmp_path / "ix", codes, items=items, embeddings=floats[:, :8])
    meta = StoreMeta(Hamming(8), embeddings=Kept("model", Lorentz(16, 1.0), 16))
    with raises_code("E-INDEX-OTHER-MODEL", "ix:"):
        add_batches(tmp_path / "ix", [], meta)
    big = floats.copy()
    big[2, 2] = 1e30
    with raises_code("E-ARRAY-VALUES", "row 2", "65504"):
        from limbeck.index.embeddings import with_embeddings

        with_embeddings(items, big, Kept("model", None, 16))
    assert newest_manifest(tmp_path / "ix").generation == 1
