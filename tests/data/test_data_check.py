from __future__ import annotations

import io
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from data_samples import columns, picture
from PIL import Image, ImageDraw, ImageEnhance

from limbeck.data.check import Report, check_pairs, find_duplicates
from limbeck.data.duplicates import MAX_DISTANCE, Print, _candidates, alike_groups, fingerprint
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
    # All six rows share a label, which stands in the way of a hashing protocol and of nothing else.
    assert [finding.kind for finding in report.findings] == ["relevant_pairs"] and calls[-1] == (6, 6)
    report.findings.clear()
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
    assert "2000 of 2000 query ids are not in" in found["splits"].items[0]
    assert report.number("error") == 1


def test_no_readable_picture_is_a_finding(pairs_dir):
    for file in (pairs_dir.parent / "media").iterdir():
        file.write_bytes(b"none")
    found, report = findings(pairs_dir)
    assert found["unreadable_pictures"].count == 6 and "near_duplicates" not in found
    assert report.number("error") == 1


def test_thousands_of_equal_pictures_are_one_group_not_millions_of_pairs():
    thumb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    equal = [Print(b"same", 7, thumb)] * 20_000
    resaved = [Print(bytes([n]), 7, thumb) for n in range(200)]  # the same pixels in other bytes
    pairs = SimpleNamespace(ids=[str(n) for n in range(20_200)], name="many")
    report = Report("many", "many", 20_200)
    groups = find_duplicates(pairs, list(range(20_200)), equal + resaved, report)
    assert groups == [list(range(20_200))]
    exact, near = report.findings
    assert (exact.count, len(exact.items[0])) == (1, 20_000)
    assert (near.count, len(near.items[0]["ids"]), near.items[0]["likeness"]) == (1, 201, 1.0)
    line = report.lines()[1]
    assert line.endswith("groups of identical pictures: 0 = 1 = 2 = 3 = … (19,996 more)")
    assert "groups of pictures that look alike: 0 = 20000 = 20001 = 20002 = …" in report.lines()[2]


def test_thousands_of_near_equal_pictures_are_one_group_without_a_look_at_each_pair():
    rng = np.random.default_rng(0)
    thumb = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    thumbs = np.repeat(thumb[None], 2_500, axis=0)
    thumbs.reshape(2_500, -1)[np.arange(2_500), np.arange(2_500)] ^= 1
    other = Print(b"other", 7, rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    groups, cut_off = alike_groups([Print(bytes([n % 256]), 7, t) for n, t in enumerate(thumbs)] + [other])
    assert [group.members for group in groups] == [list(range(2_500))]
    assert not cut_off and groups[0].likeness > 0.99


def on_white(seed: int, outline: str, dark: float = 1.0) -> Image.Image:
    """A thing of its own pattern in a common outline, on white."""
    pattern = ImageEnhance.Brightness(picture(seed, (200, 200))).enhance(dark)
    mask = Image.new("L", (200, 200), 0)
    draw = ImageDraw.Draw(mask)
    if outline == "oval":
        draw.ellipse((50, 40, 150, 170), fill=255)
    else:
        draw.rectangle((60, 30, 140, 180), fill=255)
    ground = Image.new("RGB", (200, 200), "white")
    ground.paste(pattern, (0, 0), mask)
    return ground


def seen(*pictures: Image.Image, quality: int = 95) -> list[list[int]]:
    """Groups of the pictures that look alike, as `data check` finds them."""
    prints = []
    for image in pictures:
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality)
        prints.append(fingerprint(data.getvalue(), "x"))
    pairs = SimpleNamespace(ids=[str(n) for n in range(len(prints))], name="some")
    return find_duplicates(pairs, list(range(len(prints))), prints, Report("", "", 0))


@pytest.mark.parametrize("outline", ["oval", "box"])
@pytest.mark.parametrize("dark", [1.0, 0.3])
def test_different_things_on_white_do_not_look_alike_and_a_copy_does(outline, dark, monkeypatch):
    monkeypatch.setattr(
        "limbeck.data.duplicates.MAX_DISTANCE", 64
    )  # every pair that shares a byte is looked at
    things = [on_white(seed, outline, dark) for seed in range(12)]
    if dark < 1:  # as whole grey pictures nearly all of them are above the limit
        small = [thing.convert("L").resize((32, 32), Image.Resampling.BOX) for thing in things]
        correlation = np.corrcoef([np.asarray(grey).ravel() for grey in small])
        assert np.quantile(correlation[np.triu_indices(12, 1)], 0.1) > 0.96
    assert seen(*things) == []
    copies = [thing.resize((150, 150)) for thing in things[:2]]
    assert seen(*things, *copies) == [[0, 12], [1, 13]]


def test_colours_tell_what_grey_does_not():
    shape = Image.new("L", (64, 64), 0)
    ImageDraw.Draw(shape).polygon([(5, 60), (60, 50), (20, 3)], fill=255)
    red, green = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64))
    red.paste((201, 0, 0), (0, 0), shape)
    green.paste((0, 102, 0), (0, 0), shape)
    assert np.abs(np.asarray(red.convert("L"), int) - np.asarray(green.convert("L"), int)).max() <= 1
    assert seen(red, green) == [] and seen(red, red.resize((50, 50))) == [[0, 1]]


def test_plain_things_look_alike_only_if_outline_and_colour_do():
    def plain(colour: tuple[int, int, int], radius: int) -> Image.Image:
        image = Image.new("RGB", (128, 128), "white")
        ImageDraw.Draw(image).ellipse((64 - radius, 64 - radius, 64 + radius, 64 + radius), fill=colour)
        return image

    black, small, brown = plain((0, 0, 0), 40), plain((0, 0, 0), 33), plain((60, 30, 0), 40)
    assert seen(black, small, brown) == []
    assert seen(black, black.resize((100, 100))) == [[0, 1]]


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
