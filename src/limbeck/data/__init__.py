"""Data sets: the pairs table, importers, protocols, pictures, prompts, checks and generated scenes."""
