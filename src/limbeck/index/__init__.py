"""Contains the index on disk, the encoded set, exact and approximate search, without torch."""
