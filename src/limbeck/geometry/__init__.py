"""Compute the geometry of the hyperboloid in pure torch functions, without models, methods or data."""
