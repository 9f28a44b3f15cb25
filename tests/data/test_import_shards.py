"""Sound pictures of shards are read back by their places; faults are named, counted and left out."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from limbeck.cli.app import app
from limbeck.data.importers import ImportReport, ShardOptions, import_shards
from limbeck.data.importers.tar_members import TarDamaged, tar_members
from limbeck.data.pairs import Pairs
from limbeck.pictures import PictureError, parse_place
from raising import raises_code
from shards_made import add, jpeg, write_parquet, write_shards, write_tar


def imported(src: Path, **options: object) -> tuple[Pairs, ImportReport]:
    out = src.parent / "pairs"
    report = import_shards(src, out, ShardOptions(**options))  # type: ignore[arg-type]
    return Pairs.open(out), report


def refused(pairs: Pairs) -> dict[str, str]:
    lines = (pairs.path / "skipped.jsonl").read_text().splitlines()
    return {one["id"]: one["kind"] for one in map(json.loads, lines)}


def test_every_sample_is_read_back_by_its_place(tmp_path: Path) -> None:
    pairs, report = imported(write_shards(tmp_path / "shards"), fields=("url", "width"))
    assert pairs.ids == [f"{n:09d}" for n in range(12)]
    assert [pairs.image_bytes(row) for row in range(12)] == [jpeg(n) for n in range(12)]
    assert pairs.captions[7] == ["picture number 7"]
    assert pairs.table.column("url")[3].as_py() == "https://a.example/3"
    assert pairs.table.column("width").to_pylist() == [40] * 12
    assert pairs.open_image(5).tobytes() == Image.open(io.BytesIO(jpeg(5))).tobytes()
    assert (report.rows, report.counts["shards"], report.notes) == (12, 3, [])
    assert not (pairs.path / "skipped.jsonl").exists()


def test_parquet_rows_are_read_back_with_captions_and_class_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "hf" / "train-00000-of-00002.parquet", range(5))
    write_parquet(tmp_path / "hf" / "validation-00001-of-00002.parquet", range(5, 8))
    pairs, _ = imported(tmp_path / "hf")
    assert [pairs.image_bytes(row) for row in (6, 0, 4)] == [jpeg(n) for n in (6, 0, 4)]
    assert pairs.captions[2] == ["picture number 2", "number 2"]
    assert pairs.labels_text == [["even"], ["odd"]] * 4
    assert pairs.table.column("split").to_pylist() == ["train"] * 5 + ["val"] * 3
    assert pairs.ids[0] == "train-00000-of-00002/00000000"  # rows number anew in each file


def test_repeated_keys_name_their_shard_and_patterns_choose_shards(tmp_path: Path) -> None:
    for at in range(3):
        write_tar(tmp_path / "web" / f"part-{at:02d}.tar", [1, 2])
    pairs, report = imported(Path(f"{tmp_path}/web/part-{{00..01}}.tar"), name="two")
    assert pairs.ids == [f"part-0{at}/{n:09d}" for at in (0, 1) for n in (1, 2)]
    assert (report.name, report.rows) == ("two", 4)
    with raises_code("E-PATH-MISSING", "part-03.tar"):
        imported(Path(f"{tmp_path}/web/part-{{00..03}}.tar"))
    with raises_code("E-OPTION-FORM", "one range"):
        imported(Path(f"{tmp_path}/web/part-{{0..a}}.tar"))


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_of_each_tar_format(tmp_path: Path, format: int) -> None:
    (tmp_path / "web").mkdir()
    long = "a" * 90 + "/" + ("b" * 80 if format == tarfile.USTAR_FORMAT else "ü" * 120)
    with tarfile.open(tmp_path / "web" / "0.tar", "w", format=format) as tar:
        add(tar, f"{long}.jpg", jpeg(1))
        add(tar, f"{long}.txt", b"long")
        add(tar, "./short.jpg", jpeg(2))
    pairs, _ = imported(tmp_path / "web")
    assert pairs.ids == [long, "short"]
    assert [pairs.image_bytes(row) for row in (0, 1)] == [jpeg(1), jpeg(2)]
    assert pairs.captions == [["long"], []]


def test_faults_are_named_counted_and_left_out(tmp_path: Path) -> None:
    good, place = jpeg(1), tmp_path / "web"
    place.mkdir()
    with tarfile.open(place / "0.tar", "w") as tar:
        add(tar, "cut.jpg", good[: len(good) // 2])
        add(tar, "cut.txt", b"a text")
        add(tar, "text.txt", b"a text without a picture")
        add(tar, "empty.jpg", b"")
        add(tar, "words.jpg", b"not a picture at all")
        add(tar, "._good.jpg", b"of another system")
        add(tar, "good.jpg", good)
        add(tar, "good.json", b"{broken")
        add(tar, "good.bin", b"x")
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        add(tar, "../../up.jpg", jpeg(2))
    write_tar(place / "1.tar", [5, 6])
    whole = (place / "1.tar").read_bytes()
    (place / "1.tar").write_bytes(whole[: whole.index(b"000000006.jpg") + 700])
    (place / "2.tar").write_bytes(b"no tar" * 300)
    pairs, report = imported(place)
    assert pairs.ids == ["good", "../../up", "000000005"]
    assert pairs.captions == [[], [], ["picture number 5"]]
    assert refused(pairs) == {
        "0.tar/cut.jpg": "damaged",
        "0.tar/cut": "missing",
        "0.tar/text": "missing",
        "0.tar/empty.jpg": "missing",
        "0.tar/words.jpg": "not a picture",
        "0.tar/._good.jpg": "hidden",
        "0.tar/good.json": "unreadable",
        "0.tar/good.bin": "not a picture",
        "1.tar": "damaged",
        "2.tar": "damaged",
    }
    assert "3 damaged (0.tar/cut.jpg, 1.tar, 2.tar)" in report.notes[0]
    kept, _ = imported(place, checked=False, replace=True)
    assert "cut" in kept.ids
    with pytest.raises(PictureError, match=r"0\.tar/cut\.jpg"):
        kept.open_image(kept.ids.index("cut"))


def test_numbers_of_a_header_are_not_believed(tmp_path: Path) -> None:
    """A size beyond the file, a checksum that is wrong, a long name that never ends."""
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w") as tar:
        add(tar, "a.jpg", b"x" * 10)
    sound = bytearray(stream.getvalue())

    def forged(field: slice, value: bytes, checksum: bool = True) -> bytes:
        header = bytearray(sound[:512])
        header[field] = value
        if checksum:
            header[148:156] = b" " * 8
            header[148:156] = b"%06o\0 " % sum(header)
        return bytes(header) + bytes(sound[512:])

    size = slice(124, 136)
    for damaged in (
        forged(size, b"77777777777\0"),
        forged(size, b"\x80" + b"\xff" * 11),
        forged(size, b"\xff" * 12),
        forged(size, b"not a size\0\0"),
        forged(slice(0, 1), b"b", checksum=False),
        forged(slice(156, 157), b"L")[:512] + b"\0" * 9,
        bytes(sound[:512]) + b"x" * 7,
    ):
        with pytest.raises(TarDamaged):
            list(tar_members(io.BytesIO(damaged), len(damaged)))
    assert [m.name for m in tar_members(io.BytesIO(sound), len(sound))] == ["a.jpg"]


def test_random_bytes_never_break_the_reader() -> None:
    rng = np.random.default_rng(0)
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "ü" * 200 + ".jpg", b"x" * 600)
    sound = np.frombuffer(stream.getvalue(), np.uint8)
    for _ in range(300):
        changed = sound.copy()
        changed[rng.integers(0, 3000, 3)] = rng.integers(0, 256, 3)
        try:
            for member in tar_members(io.BytesIO(changed.tobytes()), len(changed)):
                assert 0 <= member.at <= member.at + member.size <= len(changed)
        except TarDamaged:
            pass


def test_a_shard_that_changed_since_the_import_is_refused(tmp_path: Path) -> None:
    pairs, _ = imported(write_shards(tmp_path / "shards", shards=1))
    place = parse_place(str(pairs.image_path(1)))
    assert place is not None
    write_tar(tmp_path / "shards" / "00000.tar", [8, 9, 1], text="longer than before {}")
    from limbeck.pictures import shards

    shards._FILES.clear()
    with pytest.raises(PictureError, match="changed since the import"):
        pairs.image_bytes(1)
    (tmp_path / "shards" / "00000.tar").unlink()
    shards._FILES.clear()
    with pytest.raises(PictureError, match=r"00000\.tar"):
        pairs.image_bytes(0)


def test_nothing_to_import_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with raises_code("E-IMPORT-MISSING", "empty"):
        imported(tmp_path / "empty")
    with tarfile.open(tmp_path / "empty" / "0.tar", "w") as tar:
        add(tar, "a.txt", b"a text")
    with raises_code("E-IMPORT-MISSING", "0.tar/a"):
        imported(tmp_path / "empty")
    assert not (tmp_path / "pairs").exists()
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        add(tar, "a.jpg", jpeg(1))
    with raises_code("E-IMPORT-MISSING", "compressed"):
        imported(tmp_path / "a.tar.gz")
    write_parquet(tmp_path / "hf" / "0.parquet", range(2))
    with raises_code("E-TABLE-COLUMN", "nope"):
        imported(tmp_path / "hf", image_column="nope")
    with raises_code("E-TABLE-COLUMN", "--image-column"):
        imported(tmp_path / "hf", image_column="label")


def test_command_and_features(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", shards=1)
    np.save(tmp_path / "f.npy", np.eye(4, dtype=np.float32))
    arguments = ["data", "import", "shards", str(shards), str(tmp_path / "pairs"), "--fields", "url"]
    result = CliRunner().invoke(app, [*arguments, "--features", f"f={tmp_path / 'f.npy'}", "--workers", "2"])
    assert result.exit_code == 0, result.output
    assert "4 pairs (1 shards, 4 captions" in result.output
    pairs = Pairs.open(tmp_path / "pairs")
    assert np.array_equal(pairs.features("f", [2]), np.eye(4)[2:3])
