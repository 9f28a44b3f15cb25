"""Milvus as an engine behind the same search: for indexes that one machine no longer scans fast enough.

The index stays what it is, with its points, items and query encoder. `push_index` loads a copy of its codes
or vectors, ids and metadata into a collection of a Milvus server; `MilvusSearch` asks it and settles scores
and order here. pymilvus is imported when a server is spoken to, never before.
"""
