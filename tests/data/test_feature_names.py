"""Features by name: each row gets its own picture's features, or is named."""

from __future__ import annotations

import pytest

from limbeck.data.row_names import match_rows
from raising import raises_code

IMAGES = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg"]
IDS = ["cats/1", "cats/2", "dogs/1", "dogs/2"]


def rows(names: list[str], ids: list[str] = IDS, images: list[str | None] | None = None, **options):  # type: ignore[no-untyped-def]
    return match_rows(names, ids, images or list(IMAGES), where="names.txt", **options)


@pytest.mark.parametrize("prefix", ["", "./", "photos/", "/somewhere/photos/", ".\\"])
def test_names_of_the_cats_only_leave_the_dogs_without_features(prefix):
    found = rows([f"{prefix}cats/2.jpg", f"{prefix}cats/1.jpg"])
    assert found.rows == [1, 0, None, None]
    assert "2 rows have no features: dogs/1, dogs/2" in found.notes


def test_bare_names_that_fit_two_pictures_are_refused_with_the_mend():
    with raises_code("E-NAME-UNMATCHED", "2 names", "1.jpg", "cats/1.jpg"):
        rows(["1.jpg", "2.jpg"])


def test_absolute_paths_count_from_the_folder_of_the_pictures(tmp_path):
    names = [f"{tmp_path}/{name}" for name in IMAGES[::-1]]
    assert rows(names, folder=tmp_path).rows == [3, 2, 1, 0]


def test_ids_names_without_ending_and_files_of_other_folders():
    assert rows(IDS[::-1]).rows == [3, 2, 1, 0]
    assert rows([f"{item}.npy" for item in IDS[::-1]]).rows == [3, 2, 1, 0]
    assert rows(["b", "a"], ["x", "y"], ["im/a.jpg", "im/b.jpg"]).rows == [1, 0]
    assert rows(["y", "x"], ["x", "y"], ["im/a.jpg", "im/b.jpg"]).rows == [1, 0]
    assert rows(["y", "x"], ["x", "y"], [None, None]).rows == [1, 0]


def test_features_of_more_pictures_than_the_table_has():
    found = rows([*IMAGES, "birds/1.jpg"], IDS[:2], list(IMAGES[:2]))
    assert found.rows == [0, 1]
    assert found.notes == ["3 names of names.txt belong to no row: dogs/1.jpg, dogs/2.jpg, birds/1.jpg"]


def test_rows_of_one_picture_share_its_features():
    assert rows(["a.jpg"], ["1", "2"], ["a.jpg", "a.jpg"]).rows == [0, 0]


def test_ids_and_pictures_that_contradict_each_other_are_refused():
    with raises_code("E-NAME-AMBIGUOUS", "1.jpg"):
        rows(["1", "2"], ["1", "2"], ["2.jpg", "1.jpg"])
    with raises_code("E-NAME-AMBIGUOUS", "a.jpg"):
        rows(["x", "a.jpg"], ["x"], ["a.jpg"])
    with raises_code("E-NAME-UNMATCHED", "names.txt:"):
        rows(["val/1.jpg"], ["1"], ["train/1.jpg"])
    assert rows(["b.npy", "z"], ["a", "b"], ["x.jpg", "y.jpg"]).rows == [None, 0]
