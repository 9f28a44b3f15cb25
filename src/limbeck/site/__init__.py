"""Writes an index as static files that search in a browser, without a server."""
