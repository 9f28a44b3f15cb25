"""The index as its users see it: build, search, change; queries from text, pictures, points and files."""

from limbeck.search.batch import answer_file
from limbeck.search.index import Hit, Index
from limbeck.search.queries import replace_query_encoder
from limbeck.search.rows import add_items, open_rows

__all__ = ["Hit", "Index", "add_items", "answer_file", "open_rows", "replace_query_encoder"]
