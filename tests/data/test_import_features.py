"""Feature files of hashing papers and lists of deep hashing, written here in their layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from caption_trees import import_as, run
from data_samples import picture
from scipy.io import savemat

from limbeck.data.protocols import open_splits
from raising import raises_code

Arrays = dict[str, np.ndarray]


def matlab5(file: Path, arrays: Arrays) -> None:
    savemat(file, arrays)


def matlab73(file: Path, arrays: Arrays) -> None:
    """As MATLAB writes it: axes in the order of its memory, the class in an attribute."""
    with h5py.File(file, "w", userblock_size=512) as opened:
        for name, values in arrays.items():
            opened.create_dataset(name, data=values.T).attrs["MATLAB_class"] = np.bytes_(b"double")


def hdf5(file: Path, arrays: Arrays) -> None:
    with h5py.File(file, "w") as opened:
        for name, values in arrays.items():
            opened.create_dataset(name, data=values)


WRITERS = (matlab5, matlab73, hdf5)


def matrices(rows: int = 30, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of 6, words of 9, labels of 3; every row has a label."""
    rng = np.random.default_rng(seed)
    labels = rng.random((rows, 3)) < 0.3
    labels[np.arange(rows), np.arange(rows) % 3] = True
    words = rng.integers(1, 4, (rows, 9)) * (rng.random((rows, 9)) < 0.3)
    return rng.standard_normal((rows, 6)), words.astype(float), labels.astype(np.uint8)


def parts(**changes: Any) -> Arrays:
    """20 rows of the database, of which 8 are train, and 10 queries."""
    x, y, labels = matrices()
    rows = {"tr": slice(0, 8), "db": slice(0, 20), "te": slice(20, 30)}
    own = {f"{k}_{p}": v[at] for k, v in zip("ITL", (x, y, labels), strict=True) for p, at in rows.items()}
    return {name: values for name, values in (own | changes).items() if values is not None}


@pytest.mark.parametrize("write", WRITERS)
def test_parts(tmp_path: Path, write: Callable[[Path, Arrays], None]) -> None:
    write(tmp_path / "coco.mat", parts())
    pairs, report = run("mat", tmp_path / "coco.mat", tmp_path / "out")
    x, y, labels = matrices()
    assert report.counts == {"train": 8, "test": 10, "database": 12, "features": 6, "classes": 3}
    assert "8 rows of the database are train rows" in report.notes[0]
    order = [*range(8), *range(20, 30), *range(8, 20)]
    np.testing.assert_allclose(pairs.features("matrix", np.arange(30)), x[order], rtol=1e-6)
    assert pairs.labels(np.arange(30)).astype(int).tolist() == labels[order].tolist()
    assert pairs.tags[0] == [f"tag{n + 1}" for n in np.flatnonzero(y[0])]
    splits = open_splits("features/split", pairs, "--protocol")
    assert (len(splits.query), len(splits.database)) == (10, 20)


def test_parts_in_several_files_with_names(tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    own = {name.replace("I_", "V_"): values for name, values in parts().items() if "db" not in name}
    for part in ("tr", "te"):
        matlab73(src / f"{part}.mat", {name: own[name] for name in own if name.endswith(part)})
    (tmp_path / "labels.txt").write_text("sky\nsea\nsand\n")
    (tmp_path / "words.txt").write_text("\n".join("abcdefghi"))
    named = {"label_names": tmp_path / "labels.txt", "tag_names": tmp_path / "words.txt"}
    pairs, _ = run("mat", src, tmp_path / "out", **named)
    assert pairs.label_names == ["sky", "sea", "sand"] and set(pairs.tags[0]) <= set("abcdefghi")
    assert pairs.split_names == ["test", "train"]
    bare, _ = run("mat", src, tmp_path / "bare", texts=False, variables=("V_{}", "T_{}", "L_{}"))
    assert bare.tags[0] == [] and len(bare) == 18
    (tmp_path / "labels.txt").write_text("sky\nsea\n")
    with raises_code("E-ARRAY-ROWS", "labels.txt", "2 different names for 3 columns"):
        import_as("mat", src, tmp_path / "none", **named)


@pytest.mark.parametrize("write", WRITERS)
def test_whole(tmp_path: Path, write: Callable[[Path, Arrays], None]) -> None:
    write(tmp_path / "all.h5", dict(zip(("XAll", "YAll", "LAll"), matrices(), strict=True)))
    pairs, _ = run("mat", tmp_path / "all.h5", tmp_path / "out")
    assert len(pairs) == 30 and not pairs.split_names
    np.testing.assert_allclose(pairs.features("matrix", np.arange(30)), matrices()[0], rtol=1e-6)
    run("mat", tmp_path / "all.h5", tmp_path / "out", replace=True)


def test_classes_as_numbers(tmp_path: Path) -> None:
    x, y, _ = matrices(4)
    savemat(tmp_path / "wiki.mat", {"XAll": x, "YAll": y, "LAll": np.array([[1], [3], [2], [3]])})
    pairs, _ = run("mat", tmp_path / "wiki.mat", tmp_path / "out")
    assert pairs.labels_text == [["label1"], ["label3"], ["label2"], ["label3"]]


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"T_tr": None}, "E-IMPORT-MISSING", ("texts for train", "I_db, I_te, I_tr, L_db")),
        ({name: None for name in ("I_te", "T_te", "L_te")}, "E-IMPORT-MISSING", ("for test", "I_te")),
        ({"L_te": np.ones((10, 4))}, "E-IMPORT-CONFLICT", ("labels", "3 columns in train, 4 in test")),
        ({"L_tr": np.full((8, 3), 0.5)}, "E-IMPORT-LAYOUT", ("L_tr holds 0.5",)),
        ({"T_te": np.full((10, 9), -1.0)}, "E-IMPORT-LAYOUT", ("T_te is no bag", "--no-texts")),
        ({"T_te": np.ones((11, 7))}, "E-ARRAY-ROWS", ("T_te (11, 7)", "L_te (10, 3)")),
        ({"I_te": np.full((10, 6), 1e300)}, "E-ARRAY-VALUES", ("I_te, row 0", "float32")),
        ({"L_te": np.full((10, 1), 1e9)}, "E-IMPORT-LAYOUT", ("class number 1,000,000,000", "65,536")),
        ({"I_te": np.ones((10, 2, 2, 3))}, "E-ARRAY-SHAPE", ("I_te has shape (10, 2, 2, 3)",)),
    ],
)
def test_faults_are_one_line(tmp_path: Path, changes: Arrays, code: str, said: tuple[str, ...]) -> None:
    savemat(tmp_path / "some.mat", parts(**changes))
    with raises_code(code, "some.mat", *said):
        import_as("mat", tmp_path / "some.mat", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "torn.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with raises_code("E-IMPORT-LAYOUT", "torn.mat"):
        import_as("mat", tmp_path / "torn.mat", tmp_path / "out")
    savemat(tmp_path / "other.mat", {"net": np.ones((2, 2))})
    with raises_code("E-IMPORT-MISSING", "other.mat", "I_tr", "it has net"):
        import_as("mat", tmp_path / "other.mat", tmp_path / "out")


def lists(place: Path, **lines: str) -> Path:
    """Train is a part of the database; two queries."""
    (place / "images").mkdir(parents=True)
    for at in range(5):
        picture(at).save(place / f"images/{at}.png")
    given = {
        "train": "images/0.png 1 0 0\nimages/1.png 0 1 1\n",
        "database": "images/0.png 1 0 0\nimages/1.png 0 1 1\nimages/2.png 0 0 1\n",
        "test": "images/3.png 1 0 0\nimages/4.png 0 1 0\n",
    }
    for name, text in (given | lines).items():
        (place / f"{name}.txt").write_text(text)
    return place


@pytest.mark.parametrize("write", WRITERS)
def test_a_cut_or_foreign_file_is_one_line(tmp_path: Path, write: Callable[[Path, Arrays], None]) -> None:
    write(tmp_path / "whole.mat", parts())
    stored = (tmp_path / "whole.mat").read_bytes()
    for kept in (stored[:-20], stored[:40], b"hello", b""):
        (tmp_path / "cut.mat").write_bytes(kept)
        with raises_code("E-IMPORT-LAYOUT", "cut.mat", "restore the file") as found:
            run("mat", tmp_path / "cut.mat", tmp_path / "out")
        assert "\n" not in str(found.value) and not (tmp_path / "out").exists()


def test_lists(tmp_path: Path) -> None:
    src = lists(tmp_path / "nuswide_21")
    (tmp_path / "names.txt").write_text("sky\nsea\nsand\n")
    pairs, report = run("lists", src, tmp_path / "out", label_names=tmp_path / "names.txt")
    assert dict(zip(pairs.ids, pairs.labels_text, strict=True)) == {
        "0": ["sky"], "1": ["sea", "sand"], "3": ["sky"], "4": ["sea"], "2": ["sand"]
    }  # fmt: skip
    assert report.counts["train"] == 2 and report.counts["test"] == 2 and report.counts["database"] == 1
    assert "2 rows of the database are train rows" in report.notes[0]
    splits = open_splits("features/lists", pairs, "--protocol")
    assert (len(splits.query), len(splits.database)) == (2, 3)
    apart = tmp_path / "apart"
    (src / "images").rename(apart)
    run("lists", src, tmp_path / "moved", images=apart)


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"test": "images/3.png 1 0\n"}, "E-IMPORT-LAYOUT", ("test.txt line 1", "3 labels", "2 values")),
        ({"test": "images/3.png 1 0 2\n"}, "E-IMPORT-LAYOUT", ("test.txt line 1",)),
        ({"test": "images/0.png 1 0 0\n"}, "E-ID-REPEATED", ("images/0.png", "train and test")),
        ({"database": "images/0.png 0 0 1\n"}, "E-IMPORT-CONFLICT", ("images/0.png", "database.txt")),
        (
            {"train": "x/8.png 1 0 0\n", "database": "", "test": "x/9.png 0 0 1\n"},
            "E-PICTURE-MISSING",
            ("x/8.png",),
        ),
    ],
)
def test_lists_with_faults(tmp_path: Path, changes: dict[str, str], code: str, said: tuple[str, ...]) -> None:
    src = lists(tmp_path / "src", **changes)
    with raises_code(code, *said):
        import_as("lists", src, tmp_path / "out")


def test_lists_that_are_missing(tmp_path: Path) -> None:
    src = lists(tmp_path / "src")
    (src / "test.txt").unlink()
    with raises_code("E-IMPORT-MISSING", "test.txt"):
        import_as("lists", src, tmp_path / "out")
