"""Geometry of the hyperboloid: pure torch functions on points; they know no model, no method and no data."""
