"""Uses Milvus as a search engine, for indexes that are too large for the exact scan on one machine.

The index itself does not change. `push_index` loads a copy of its codes or vectors, ids and metadata into a
collection of a Milvus server. `MilvusSearch` queries the collection and computes scores and order locally.
pymilvus is imported only to connect to a server.
"""
