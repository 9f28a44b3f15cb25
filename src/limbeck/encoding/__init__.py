"""Encodes a collection into an encoded set with a dual encoder; an interrupted encoding can be resumed."""

from limbeck.encoding.encode import Batch, OnSkip, encode_batches, encode_source
from limbeck.encoding.sources import PairsSource, PictureFolder, Source, open_source, split_rows
from limbeck.encoding.tables import TableSource

__all__ = [
    "Batch",
    "OnSkip",
    "PairsSource",
    "PictureFolder",
    "Source",
    "TableSource",
    "encode_batches",
    "encode_source",
    "open_source",
    "split_rows",
]
