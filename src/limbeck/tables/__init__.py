"""The one reader of tables and lists; notes report what it guesses, skips or repairs.

* `read_table`, `parse_table`: CSV, TSV, JSON lines, JSON, Parquet; `cell_lists`: lists in cells;
* `read_list`: a file of lines; `read_bytes`, `decode_text`, `split_lines`: its parts;
* `load_json`: JSON with one-line errors; `plain_table`: Arrow in plain types.
"""

from limbeck.tables.arrow import open_parquet, plain_schema, plain_table
from limbeck.tables.cells import CellLists, cell_lists, parse_cell
from limbeck.tables.guess import TYPES
from limbeck.tables.quotes import line_fields
from limbeck.tables.records import load_json
from limbeck.tables.table import ENDINGS, Table, parse_table, read_table
from limbeck.tables.text import Decoded, TextList, decode_text, read_bytes, read_list, split_lines, warn_notes

__all__ = [
    "ENDINGS",
    "TYPES",
    "CellLists",
    "Decoded",
    "Table",
    "TextList",
    "cell_lists",
    "decode_text",
    "line_fields",
    "load_json",
    "open_parquet",
    "parse_cell",
    "parse_table",
    "plain_schema",
    "plain_table",
    "read_bytes",
    "read_list",
    "read_table",
    "split_lines",
    "warn_notes",
]
