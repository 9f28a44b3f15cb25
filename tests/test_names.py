"""The one resolver of picture names, rule by rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from call_count import counted
from limbeck.names import Resolved, clean_path, is_text, resolve, show

CATS_DOGS = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg"]
NFC, NFD = "caf\u00e9.jpg", "cafe\u0301.jpg"


def found(asked: list[str], known: list[str], **options: object) -> list[str | None]:
    return resolve(asked, known, **options).found  # type: ignore[arg-type]


def test_a_path_is_found_as_it_is_blanks_and_all():
    known = ["IMG 2.png", "IMG  2.png", "a\u202f1.jpg", "a\u00a01.jpg", "a 1.jpg", NFC, NFD]
    result = resolve(known[::-1], known)
    assert (result.found, result.by, result.notes("pictures")) == (known[::-1], {"path": 7}, [])


@pytest.mark.parametrize(
    "name",
    ["cats\\1.jpg", "./cats/1.jpg", "cats//1.jpg", "/cats/1.jpg", "dogs/../cats/1.jpg", ".\\cats\\.\\1.jpg"],
)
def test_separators_and_dots_say_the_same_path(name):
    result = resolve([name, "dogs/1.jpg"], CATS_DOGS)
    assert (result.found, result.by) == (["cats/1.jpg", "dogs/1.jpg"], {"path": 1, "separators": 1})
    assert "1 once separators and prefixes were normalised (first: " in result.notes("pictures")[0]


def test_two_spellings_of_one_path_are_one_picture():
    assert found(["cats/1.jpg", "./cats/1.jpg"], CATS_DOGS) == ["cats/1.jpg"] * 2


def test_the_folder_itself_may_stand_before_a_name(tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    asked = [f"{folder}/cats/1.jpg", "photos/dogs/1.jpg", "dogs/2.jpg"]
    assert found(asked[::2], CATS_DOGS, folder=folder) == ["cats/1.jpg", "dogs/2.jpg"]
    assert found(asked, CATS_DOGS, folder=folder) == ["cats/1.jpg", None, "dogs/2.jpg"]
    known = ["1.jpg", "cats/1.jpg"]
    assert found(["photos/1.jpg", "photos/cats/1.jpg"], known, folder=folder) == known
    inside = ["1.jpg", "photos/2.jpg"]
    assert found(["photos/1.jpg", "photos/2.jpg"], inside, folder=folder) == [None, "photos/2.jpg"]
    monkeypatch.chdir(tmp_path)
    assert found(["photos/1.jpg", "photos/2.jpg"], inside, folder=Path("photos")) == [None, "photos/2.jpg"]
    assert found(["x/photos/cats/1.jpg"], known, folder=Path("x/photos")) == ["cats/1.jpg"]


def test_a_prefix_of_either_side_leaves_the_end_of_the_path():
    below = [f"archive/images/{name}" for name in CATS_DOGS]
    assert found(CATS_DOGS, below) == below
    assert found([f"D:\\work\\{n}" for n in CATS_DOGS], CATS_DOGS) == CATS_DOGS
    assert resolve(CATS_DOGS, below).by == {"end": 4}


def test_a_prefix_counts_only_where_all_names_lack_the_same_one():
    mixed = resolve(["1.jpg", "a/b/1.jpg"], ["1.jpg", "b/1.jpg"])
    assert mixed.found == ["1.jpg", None] and "is below another folder" in mixed.why("a/b/1.jpg")
    assert found(["x/a/1.jpg", "y/b/1.jpg"], ["a/1.jpg", "b/1.jpg"]) == [None, None]
    assert found(["x/a/1.jpg", "y/b/2.jpg"], ["a/1.jpg", "b/2.jpg"]) == ["a/1.jpg", "b/2.jpg"]


def test_names_count_from_the_folder_of_their_list_as_well():
    known = ["set/im/1.jpg", "set/im/2.jpg"]
    assert found(["im/1.jpg", "../set/im/2.jpg"], known, base="set") == known
    both = resolve(["1.jpg"], ["1.jpg", "set/1.jpg"], base="set")
    assert both.found == [None] and both.why("1.jpg") == "1.jpg: fits 2 (1.jpg, set/1.jpg); write its path"


def test_unicode_forms_find_each_other_only_where_one_is_there():
    assert found([NFD], [NFC]) == [NFC] and found([NFC], [NFD]) == [NFD]
    assert resolve([NFD], [NFC]).by == {"form": 1}
    assert found([f"a/{NFD}"], [f"x/a/{NFC}", f"x/b/{NFC}"]) == [f"x/a/{NFC}"]
    # the file of one of them is gone: it never gets the other's
    gone = resolve([NFC, NFD], [NFC])
    assert gone.found == [NFC, None] and NFD in gone.unclear


def test_blanks_at_the_ends_of_a_cell():
    assert found([" 1.jpg "], ["1.jpg"]) == ["1.jpg"]
    assert found(["1.jpg ", "1.jpg"], ["1.jpg"]) == [None, "1.jpg"]
    assert found(["1 .jpg"], ["1.jpg"]) == [None]


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        (["train/1.jpg", "val/1.jpg"], ["train/1.jpg"]),  # both sides name train
        (["train/2.jpg", "val/1.jpg"], ["train/1.jpg", "train/2.jpg"]),
        (["val/1.jpg"], ["train/1.jpg", "val/2.jpg"]),  # val is there and has no 1.jpg
        (["val/1.jpg"], ["train/1.jpg"]),
        (["val2017/1.jpg"], ["data/train2017/1.jpg"]),
        (["x/cats/1.jpg"], ["1.jpg", "cats/2.jpg"]),
        (["2.jpg", "val/1.jpg"], ["1.jpg", "2.jpg"]),
    ],
)
def test_another_folder_of_that_name_does_not_count(asked, known):
    result = resolve(asked, known)
    assert result.found[-1] is None
    assert result.found[:-1] == [name if name in known else None for name in asked[:-1]]
    assert "another folder has" in result.why(asked[-1])


def test_a_file_name_alone_counts_where_it_is_the_only_one_on_both_sides():
    result = resolve(["flickr30k/1.jpg", "flickr30k/2.jpg"], ["images/1.jpg", "images/2.jpg"])
    assert result.found == ["images/1.jpg", "images/2.jpg"]
    assert result.notes("pictures") == [
        "pictures found: 2 by file name alone (first: flickr30k/1.jpg → images/1.jpg)"
    ]
    assert found(["1.jpg", "2.jpg"], ["a/1.jpg", "b/2.jpg"]) == ["a/1.jpg", "b/2.jpg"]
    two = resolve(["1.jpg"], ["cats/1.jpg", "dogs/1.jpg"])
    assert two.why("1.jpg") == "1.jpg: fits 2 (cats/1.jpg, dogs/1.jpg); write its path"
    assert found(["a/1.jpg", "b/1.jpg"], ["1.jpg"]) == [None, None]
    assert found(["a/1.jpg", "b/1.jpg"], ["images/1.jpg"]) == [None, None]


def test_a_folder_named_val_holds_the_rows_of_val():
    asked = ["train2017/1.jpg", "val2017/1.jpg"]
    assert found(asked, ["1.jpg"], folder=Path("/data/val2017")) == [None, "1.jpg"]


def test_names_without_ending_only_where_asked_for():
    assert found(["im1"], ["images/im1.jpg"]) == [None]
    result = resolve(["im1", "im2.npy"], ["images/im1.jpg", "images/im2.png"], endings=True)
    assert (result.found, result.by) == (["images/im1.jpg", "images/im2.png"], {"no ending": 2})
    two = resolve(["1"], ["1.jpg", "1.png"], endings=True)
    assert two.found == [None] and "fits 2" in two.unclear["1"]
    assert found(["1.jpg", "1.png"], ["1.jpg"], endings=True) == ["1.jpg", None]
    assert found(["1"], ["1.5"], endings=True) == [None]
    assert found(["cats/1"], CATS_DOGS, endings=True) == ["cats/1.jpg"]
    assert found(["1"], ["1.jpg", "1.dat"], endings=True, pictures=True) == [None]
    assert found(["1", "2.5"], ["1.dat", "2.5"], endings=True, pictures=True) == ["1.dat", "2.5"]
    assert found(["a.small"], ["a.large"], endings=True) == [None]


def test_one_picture_is_never_that_of_two_names():
    known = ["cats/1.jpg"]
    result = resolve(["cats/1.jpg", "photos/cats/1.jpg"], known)
    assert result.found == ["cats/1.jpg", None]
    assert found(["x/cats/1.jpg", "y/cats/1.jpg"], known) == [None, None]


def test_ten_thousand_names_of_one_base_name_take_no_square_of_steps():
    known = [f"zip/{i}/image.jpg" for i in range(10_000)]
    with counted() as work:
        assert found([f"{i}/image.jpg" for i in range(10_000)], known) == known
    assert work.calls < 1_000_000  # 60 a name; a square would be 100,000,000


def test_names_that_are_no_utf8_are_told_and_shown():
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert not is_text(name) and is_text(NFD)
    assert show("a\ud800") == "a\\ud800"
    assert show(name) == "caf\\xe9.jpg" and show("a\x1b[31m") == "a\\x1b[31m" and show(NFC) == NFC


def test_clean_path_and_an_empty_question():
    assert clean_path("a/./b//../c\\d.jpg") == "a/c/d.jpg" and clean_path("../../x") == "../../x"
    assert resolve([], ["a"]) == Resolved()


def test_letter_case_is_no_match_but_a_hint() -> None:
    found = resolve(["cats/1.JPG", "cats/2.jpg", "Dogs/3.jpg"], ["cats/1.jpg", "cats/2.jpg", "cats/3.jpg"])
    assert found.found == [None, "cats/2.jpg", None]
    assert found.why("cats/1.JPG") == (
        "cats/1.JPG; cats/1.jpg differs in letter case only, write it like that"
    )
    assert "letter case" not in found.why("Dogs/3.jpg")
    below = resolve(["A.jpg"], ["in/a.jpg", "in/b.jpg"], base="in")
    assert below.found == [None] and below.cased == {"A.jpg": "in/a.jpg"}
