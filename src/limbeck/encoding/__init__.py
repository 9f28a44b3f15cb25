"""From a collection to an encoded set: sources, a dual encoder, parts that survive a stop."""

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
