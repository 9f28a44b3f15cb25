"""Contains the user's view of an index: build, search and change it by text, picture, point or file."""

from limbeck.index.query import SearchOptions
from limbeck.search.batch import answer_file
from limbeck.search.encoders import replace_query_encoder
from limbeck.search.index import Hit, Index
from limbeck.search.queries import Term, describe_query
from limbeck.search.rows import add_items, open_rows
from limbeck.search.searcher import modality

__all__ = [
    "Hit",
    "Index",
    "SearchOptions",
    "Term",
    "add_items",
    "answer_file",
    "describe_query",
    "modality",
    "open_rows",
    "replace_query_encoder",
]
