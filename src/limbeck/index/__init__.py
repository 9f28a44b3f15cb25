"""The index on disk (manifests, segments, store), the encoded set, and exact search; numpy only, no torch."""
