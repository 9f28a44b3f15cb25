"""JSON, JSON lines and Parquet."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck.errors import LimbeckError
from limbeck.tables import parse_table, plain_table, read_table
from raising import raises_code


def parsed(content: str, name: str = "t.jsonl", **options):  # type: ignore[no-untyped-def]
    return parse_table(content.encode(), name, **options)


def test_json_keeps_its_own_types_and_ids_are_text():
    table = parsed(
        '{"id": 7, "n": 1, "x": 1.5, "ok": true, "t": "2020-01-01", "tags": ["a", "b"]}\n\n'
        '{"id": 1.10, "n": 2, "x": 2, "ok": null, "tags": null, "more": "00"}\n',
        text=("id",),
    )
    assert table.columns.to_pylist() == [
        {"id": "7", "n": 1, "x": 1.5, "ok": True, "t": "2020-01-01", "tags": ["a", "b"], "more": None},
        {"id": "1.10", "n": 2, "x": 2.0, "ok": None, "t": None, "tags": None, "more": "00"},
    ]
    assert table.where(1) == "t.jsonl: line 3"


def test_whole_numbers_are_never_rounded():
    table = parsed(
        '{"a": 18446744073709551615, "b": 9007199254740993}\n{"a": 18446744073709551614, "b": 0.5}\n'
    )
    assert table.columns.to_pylist() == [
        {"a": "18446744073709551615", "b": "9007199254740993"},
        {"a": "18446744073709551614", "b": "0.5"},
    ]
    assert "kept as text because of mixed types: a, b" in table.notes[0]


def test_lists_and_texts_in_one_column():
    table = parsed('{"tags": ["p, q", "r"]}\n{"tags": "x|y"}\n{"tags": null}\n', text=("tags",))
    assert table.columns.column("tags").to_pylist() == ['["p, q", "r"]', "x|y", None]


def test_half_surrogate_pairs_are_counted():
    table = parsed('{"caption": "a\\ud800b"}\n{"caption": "\\ud83d\\ude00"}\n', text=("caption",))
    assert table.columns.column("caption").to_pylist() == ["a\ufffdb", "😀"]
    assert "1 values of column 'caption' contain half a surrogate pair" in table.notes[0]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ('{"a": 1}\n{"a": \n', "t.jsonl", "line 2 is not JSON"),
        ("[1]\n", "t.jsonl", "line 1 is a list, not an object"),
        ('{"a": 1, "b": 2, "a": 3}\n', "t.jsonl", "line 1 has the field 'a' twice"),
        ("[" * 100_000, "t.jsonl", "line 1 is nested too deeply"),
        ("[" * 100_000, "t.json", "is nested too deeply"),
        ('{"a": 1}', "t.json", "contains an object, not a list of objects"),
        ('[{"a": 1},\n 2]', "t.json", "entry 2 is a number, not an object"),
        ('[{"a": 1},\n 2', "t.json", "line 2 is not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "t.jsonl", "line 1 is not readable"),
    ],
)
def test_faults_are_one_line(text, name, message):
    with pytest.raises(LimbeckError) as caught:
        parsed(text, name)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_json_list():
    assert parsed('[{"a": 1}, {"a": 2}]', "t.json").columns.to_pylist() == [{"a": 1}, {"a": 2}]


def test_parquet_in_plain_types(tmp_path):
    words = pa.array(["x", None, "x"])
    picture = pa.array([{"bytes": b"1", "path": "a"}, None, {"bytes": None, "path": "b"}])
    table = pa.table(
        {
            "id": pa.array([1, 2, 3]),
            "dictionary": words.dictionary_encode(),
            "view": words.cast(pa.string_view()),
            "large": words.cast(pa.large_string()),
            "half": pa.array([0.5, None, 1.0], pa.float16()),
            "tags": pa.array([["a"], None, []], pa.large_list(pa.large_string())),
            "coded": pa.ListArray.from_arrays([0, 1, 1, 3], words.dictionary_encode()),
            "picture": picture,
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", text=("id",))
    kinds = [str(field.type) for field in found.columns.schema]
    assert kinds[:7] == ["string"] * 4 + ["float"] + ["list<item: string>"] * 2
    assert found.columns.to_pylist() == [
        {**row, "id": str(row["id"])} for row in table.to_pylist()
    ]  # fmt: skip
    data = (tmp_path / "t.parquet").read_bytes()
    assert parse_table(data, "z.parquet", text=("id",)).columns.equals(found.columns)
    assert found.where(0).endswith("t.parquet: row 1")
    (tmp_path / "t.parquet").write_bytes(data[:-9])
    with raises_code("E-FILE-DAMAGED", "Parquet"):
        read_table(tmp_path / "t.parquet")


def test_slices_and_chunks_stay_right():
    table = pa.table({"t": pa.array([["a"], None, [], ["b", "c"]], pa.large_list(pa.string()))})
    joined = pa.concat_tables([table.slice(1, 2), table.slice(3)])
    assert plain_table(joined).to_pylist() == [{"t": None}, {"t": []}, {"t": ["b", "c"]}]
    assert plain_table(table.slice(0, 0)).num_rows == 0
