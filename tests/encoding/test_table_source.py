"""What `TableSource` makes of tables: ids, types, paths and bytes, whatever the format."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck.cli import main
from limbeck.encoding import encode_source, open_source
from limbeck.errors import InputNote
from limbeck.index.encoded import Encoded, read_skipped
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures


@pytest.fixture
def place(tmp_path):
    write_pictures(tmp_path / "p", range(4))
    return tmp_path


def items(file, **options):  # type: ignore[no-untyped-def]
    source = open_source(file, **options)
    return source.items(range(len(source))).to_pylist()


IDS = ["NA", "null", "nan", "00123"]
COLUMNS = {
    "phone": ["+4912", "+4913", "+4914", "+4915"],
    "code": ["01069", "01070", "00001", "1"],
    "version": ["1.10", "1.9", "1.1", "2.0"],
    "big": ["18446744073709551615", "18446744073709551614", "1", "2"],
    "note": ["null", "NA", "nan", "café"],
    "year": [2001, 2002, 2003, 2004],
}
ROWS = [
    {"id": IDS[at], "path": f"p/{at:04}.png", **{name: values[at] for name, values in COLUMNS.items()}}
    for at in range(4)
]


@pytest.mark.filterwarnings("ignore::limbeck.errors.InputNote")
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_nothing_changes_on_the_way(place, mark, encoding):
    lines = [mark.join(ROWS[0]), *(mark.join(map(str, row.values())) for row in ROWS)]
    (place / "t.csv").write_bytes("\r\n".join(lines).encode(encoding))
    assert items(place / "t.csv") == ROWS


def test_json_and_parquet_alike(place):
    (place / "t.json").write_text(json.dumps(ROWS))
    assert items(place / "t.json") == ROWS
    table = pa.Table.from_pylist(ROWS)
    forms = {
        "dictionary": lambda column: column.dictionary_encode(),
        "view": lambda column: column.cast(pa.string_view()),
        "large": lambda column: column.cast(pa.large_string()),
    }
    for name, form in forms.items():
        columns = [form(column) if pa.types.is_string(column.type) else column for column in table.columns]
        stored = pa.table(columns, names=table.column_names)
        pq.write_table(stored, place / f"{name}.parquet", row_group_size=3)
        assert items(place / f"{name}.parquet") == ROWS


def test_what_was_guessed_is_said_and_types_are_declared(place):
    (place / "t.csv").write_text("id,path,price,year\n007,p/0001.png,1.10,2001\n")
    with pytest.warns(InputNote, match="types guessed: year int; the other columns are text"):
        assert items(place / "t.csv") == [{"id": "007", "path": "p/0001.png", "price": "1.10", "year": 2001}]
    declared = {"price": "float", "year": "text"}
    row = {"id": "007", "path": "p/0001.png", "price": 1.1, "year": "2001"}
    assert items(place / "t.csv", types=declared) == [row]
    with raises_code("E-TABLE-COLUMN", "'cost'", "id, path, price, year"):
        items(place / "t.csv", types={"cost": "float"})
    with raises_code("E-OPTION-UNUSED", "--types"):
        open_source(place / "p", types=declared)


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_no_quote_swallows_pictures(place, ending):
    mark = {"csv": ",", "tsv": "\t"}[ending]
    rows = [f"p/{at:04}.png{mark}" + ('"open' if at == 1 else "x") for at in range(4)]
    (place / f"t.{ending}").write_text("\n".join([f"path{mark}caption", *rows]))
    if ending == "tsv":
        assert [row["caption"] for row in items(place / "t.tsv")] == ["x", '"open', "x", "x"]
    else:
        with raises_code("E-TABLE-QUOTES", "t.csv", "line 3"):
            items(place / "t.csv")


def test_rows_with_bytes_and_rows_with_paths(place):
    pictures = [(place / f"p/{at:04}.png").read_bytes() for at in range(4)]
    rows = [
        {"bytes": None, "path": "p/0000.png"},
        {"bytes": pictures[1], "path": "elsewhere.png"},
        {"bytes": None, "path": None},
        {"bytes": pictures[3], "path": None},
    ]
    pq.write_table(pa.table({"image": pa.array(rows)}), place / "t.parquet", row_group_size=2)
    source = open_source(place / "t.parquet")
    assert source.media_root == str(place.resolve())
    wanted = [{"id": f"t/{at}", "path": "p/0000.png" if at == 0 else None} for at in range(4)]
    assert source.items(range(4)).to_pylist() == wanted
    for row in (0, 1, 3):
        assert source.open_image(row).tobytes() == open_source(place / "p").open_image(row).tobytes()
    with raises_code("E-PICTURE-MISSING", "t.parquet", "row 2"):
        source.open_image(2)


@pytest.mark.filterwarnings("default::limbeck.errors.InputNote")
def test_the_command_line(place, monkeypatch, capsys):
    pixel_encoder().save(place / "model")
    (place / "t.csv").write_text('path;price;text\np/0001.png;1.10;"a\nb"\n')
    words = ["encode", place / "model", place / "t.csv", "--out", place / "e"]

    def run(*more: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["limbeck", *map(str, words), *more])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().err

    status, _ = run("--types", "price=float", "--multiline")
    row = Encoded.open(place / "e").items().to_pylist()[0]
    assert status == 0 and row == {"id": "p/0001.png", "path": "p/0001.png", "price": 1.1, "text": "a\nb"}
    status, said = run("--types", "price")
    assert status == 1 and "'price' is not NAME=TYPE" in said
    status, said = run()
    assert status == 1 and "line 2: a quote" in said and "--multiline" in said


def test_skipped_items_of_any_name_are_listed(place):
    (place / "p/a\u2028b\u0085.png").write_bytes(b"no picture")
    (place / "t.csv").write_text("path\np/0001.png\np/a\u2028b\u0085.png\n")
    encode_source(pixel_encoder(), place / "t.csv", place / "e")
    assert [entry["id"] for entry in read_skipped(place / "e")] == ["p/a\u2028b\u0085.png"]
