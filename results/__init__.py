"""Recorded rows of the grids, and the pages in ``docs/results`` that are rendered from them."""
