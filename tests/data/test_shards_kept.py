"""Row groups of Parquet are read once for neighbours; a resume sees changed shards."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from limbeck.data.contents import Contents
from limbeck.data.importers import ShardOptions, import_shards
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.pictures import PictureError, Place, file_of, parse_place, picture_bytes, shards
from shards_made import jpeg, write_parquet, write_shards


@pytest.mark.parametrize(
    "place",
    [
        Place("a/b.tar", "x/y.jpg", 512, 7),
        Place("/a.tar/b.tar", "c#1+2.jpg", 1024, 9),
        Place("t.parquet", "image", 3),
    ],
)
def test_a_place_is_written_and_read_alike(place: Place) -> None:
    assert parse_place(str(place)) == place
    assert file_of(str(place)) == Path(place.shard)


@pytest.mark.parametrize("path", ["a.jpg", "a.tar", "b.tar/a.jpg", "b.tar/a.jpg#1", "c.parquet#4", "#1+2"])
def test_ordinary_paths_are_no_places(path: str) -> None:
    assert parse_place(path) is None
    assert file_of(path) == Path(path)


def test_a_row_group_is_read_once_by_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "0.parquet", range(12), group=4)
    read: list[int] = []
    column = shards.ParquetPictures._column

    def counted(own: shards.ParquetPictures, name: str, group: int) -> object:
        read.append(group)
        return column(own, name, group)

    monkeypatch.setattr(shards.ParquetPictures, "_column", counted)
    places = [str(Place(str(tmp_path / "0.parquet"), "image", row)) for row in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(picture_bytes, places)) == [jpeg(n) for n in range(12)]
    assert sorted(read) == [0, 1, 2]
    shards._GROUPS.clear()
    monkeypatch.setattr(shards._GROUPS, "_most", 1)  # room for the newest group only
    assert [picture_bytes(places[row]) for row in (0, 5, 1)] == [jpeg(0), jpeg(5), jpeg(1)]
    assert sorted(read) == [0, 0, 0, 1, 1, 2]
    for odd in ("0.parquet/image#12", "0.parquet/nothing#0", "1.parquet/image#0", "\0.parquet/image#0"):
        with pytest.raises(PictureError):
            picture_bytes(tmp_path / odd)


def test_a_place_of_a_foreign_table_stays_in_the_folder(tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", shards=1)
    import_shards(tmp_path / "shards", tmp_path / "pairs", ShardOptions())
    own = Pairs.open(tmp_path / "pairs")
    (tmp_path / "in").mkdir()
    columns = {"id": ["a", "b"], "image": [f"../shards/{own.image_path(0)}", str(own.image_path(0))]}
    media = {"kind": "shards", "root": str(tmp_path / "in")}
    Pairs.write(tmp_path / "other", columns, {"name": "other", "media": media})
    for row, reason in ((0, "is outside"), (1, "No such file")):
        with pytest.raises(PictureError, match=reason):
            Pairs.open(tmp_path / "other").image_bytes(row)
    huge = Place(str(tmp_path / "shards" / "00000.tar"), "a.jpg", 512, 1 << 40)
    with pytest.raises(PictureError, match="is larger than"):
        picture_bytes(str(huge))


def test_a_resume_sees_changed_shards_but_not_copies(tmp_path: Path) -> None:
    write_shards(tmp_path / "shards", shards=2)
    import_shards(tmp_path / "shards", tmp_path / "pairs", ShardOptions())
    protocol = load_protocol("folder/retrieval")

    def look() -> Contents:
        return Contents.of(Pairs.open(tmp_path / "pairs"), protocol, [np.arange(8)])

    before = look()
    assert len(before.pictures) == 2 + 8
    assert before.changes(look()).files == []
    file = tmp_path / "shards" / "00001.tar"
    os.utime(file, ns=(1, 1))
    assert before.changes(look()).files == ["00001.tar"]
    os.utime(tmp_path / "shards" / "00000.tar", ns=(1, 1))  # all have new dates: a copy
    assert (before.changes(look()).files, before.changes(look()).copied) == ([], 2)
    content = bytearray(file.read_bytes())
    content[content.index(jpeg(6)) + 300] ^= 1
    file.write_bytes(content)
    shards._FILES.clear()
    changed = before.changes(look()).files
    assert [name for name in changed if "000000006.jpg" in name]
