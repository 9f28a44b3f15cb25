from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from data_samples import columns, picture
from PIL import Image, ImageEnhance

from limbeck.data.check import check_pairs
from limbeck.data.duplicates import MAX_DISTANCE, _candidates
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol


def findings(pairs_dir, protocol=None):  # type: ignore[no-untyped-def]
    report = check_pairs(Pairs.open(pairs_dir, strict=False), protocol)
    json.dumps(report.to_json(), allow_nan=False)
    return {finding.kind: finding for finding in report.findings}, report


def change_meta(pairs_dir, **values):  # type: ignore[no-untyped-def]
    meta = json.loads((pairs_dir / "pairs.json").read_text()) | values
    (pairs_dir / "pairs.json").write_text(json.dumps(meta))


def test_a_sound_data_set_has_no_findings(pairs_dir):
    calls: list[tuple[int, int]] = []
    report = check_pairs(Pairs.open(pairs_dir), progress=lambda done, total: calls.append((done, total)))
    assert report.findings == [] and calls[-1] == (6, 6)
    assert report.lines() == ["small: 6 pairs, nothing found"]


def test_missing_and_unreadable_pictures(pairs_dir):
    media = pairs_dir.parent / "media"
    (media / "p0.png").unlink()
    (media / "p1.png").write_bytes((media / "p1.png").read_bytes()[:100])
    found, report = findings(pairs_dir)
    assert [item["id"] for item in found["missing_pictures"].items] == ["p0"]
    assert [item["id"] for item in found["unreadable_pictures"].items] == ["p1"]
    assert report.number("error") == 2 and report.lines()[1].startswith("error")


def test_exact_and_near_duplicates_and_leaks(pairs_dir):
    media = pairs_dir.parent / "media"
    (media / "p2.png").write_bytes((media / "p0.png").read_bytes())
    darker = ImageEnhance.Brightness(picture(1, (400, 300))).enhance(0.7).resize((60, 45))
    darker.convert("RGB").save(media / "p3.png", "JPEG", quality=60)
    protocol = load_protocol("folder/retrieval")
    splits = {"query": {"column_value": "query"}, "train": {"column_value": "train"}}
    protocol = protocol.model_copy(update={"splits": protocol.splits.model_validate(splits)})
    found, report = findings(pairs_dir, protocol)
    assert found["exact_duplicates"].items == [["p0", "p2"]]
    assert [item["ids"] for item in found["near_duplicates"].items] == [["p1", "p3"]]
    assert found["leaks_train"].items == [["p0", "p2"], ["p1", "p3"]]
    assert report.protocol == "folder/retrieval" and report.number("error") == 0


def test_flat_pictures_are_no_near_duplicates(pairs_dir):
    media = pairs_dir.parent / "media"
    for i in range(4):
        Image.new("RGB", (40, 30), (i, i, i)).save(media / f"p{i}.png")
    found, _ = findings(pairs_dir)
    assert "near_duplicates" not in found and "exact_duplicates" not in found


def test_empty_texts_labels_and_feature_faults(pairs_dir):
    rows = columns() | {"captions": [[], [" "], ["x"], ["x"], ["x"], ["x"]], "tags": [[]] * 6}
    rows["labels"] = [["sky"]] * 5 + [[]]
    rows["feature_row"] = [0, 0, 1, 2, None, 3]
    meta = json.loads((pairs_dir / "pairs.json").read_text())
    Pairs.write(
        pairs_dir,
        rows,
        {key: meta[key] for key in ("name", "label_names", "media", "features")},
        replace=True,
    )
    change_meta(pairs_dir, label_names=["tree"])
    np.save(pairs_dir.parent / "f.npy", np.zeros((3, 2)))
    found, _ = findings(pairs_dir)
    assert found["empty_captions"].items == ["p0", "p1"]
    assert found["no_tags"].level == "note" and "empty_tags" not in found
    assert found["unlabeled"].items == ["p5"]
    assert found["unknown_labels"].items == ["sky"] and found["unused_labels"].items == ["tree"]
    assert "3 rows" in found["features"].items[0]
    assert found["no_features"].items == ["p4"] and found["shared_features"].items == [0]


def test_labels_that_nothing_is_trained_on(pairs_dir):
    rows = columns() | {"labels": [["tree"], ["sky"]] + [["sky"]] * 4}
    meta = json.loads((pairs_dir / "pairs.json").read_text())
    kept = {key: meta[key] for key in ("name", "label_names", "media", "features")}
    Pairs.write(pairs_dir, rows, kept, replace=True)
    file = pairs_dir.parent / "p.yaml"
    splits = "{query: {column_value: query}, database: {column_value: train}, train: {column_value: train}}"
    file.write_text(
        f"name: p\ntask: hashing\ntext: {{column: tags}}\nsplits: {splits}\nrelevance: shared_label\n"
        "metric: {k: null}\nvalidation: {size: 1, seed: 0}\n"
    )
    found, _ = findings(pairs_dir, load_protocol(file))
    assert found["untrained_labels"].items == ["tree"] and found["untrained_labels"].level == "warning"
    assert "unused_labels" not in found
    assert found["query_without_relevant"].items == ["p0"] and "nothing_relevant" not in found
    Pairs.write(pairs_dir, columns() | {"labels": [["tree"]] * 2 + [["sky"]] * 4}, kept, replace=True)
    found, report = findings(pairs_dir, load_protocol(file))
    assert found["nothing_relevant"].level == "error" and report.number("error") == 1


def test_a_protocol_that_does_not_fit_is_a_finding(pairs_dir):
    found, report = findings(pairs_dir, load_protocol("mirflickr15k/dcmh"))
    assert "10000 of 10000 train ids are not in" in found["splits"].items[0]
    assert report.number("error") == 3


@pytest.mark.parametrize("n", [1, 2, 300])
def test_candidates_are_all_pairs_within_the_distance_each_once(n):
    rng = np.random.default_rng(n)
    seeds = rng.integers(0, 2**63, 20, dtype=np.uint64)
    noise = np.bitwise_or.reduce(np.uint64(1) << rng.integers(0, 64, (6, n), dtype=np.uint64), axis=0)
    hashes = rng.choice(seeds, n) ^ noise
    got = [
        tuple(sorted(pair))
        for r, c in _candidates(hashes)
        for pair in zip(r.tolist(), c.tolist(), strict=True)
    ]
    expected = [
        (i, j)
        for i, j in itertools.combinations(range(n), 2)
        if int(hashes[i] ^ hashes[j]).bit_count() <= MAX_DISTANCE
    ]
    assert sorted(got) == expected


def test_the_known_duplicates_of_mirflickr(shared_data, tmp_path):
    ids = ["im6602", "im6921", "im17730", "im17775", "im13268", "im13739", "im1643", "im15977", "im1", "im2"]
    rows = {"id": ids, "image": [f"mirflickr/{name}.jpg" for name in ids]}
    media = {"kind": "zip", "root": str(shared_data / "mirflickr_96.zip")}
    Pairs.write(tmp_path / "pairs", rows, {"name": "few", "media": media})
    found, _ = findings(tmp_path / "pairs")
    assert found["exact_duplicates"].items == [["im6602", "im6921"]]
    assert [item["ids"] for item in found["near_duplicates"].items] == [["im17730", "im17775"]]
