"""Turn texts, pictures and feature rows into the arrays that towers read. Nothing here imports torch."""

from limbeck.preprocess.base import Arrays, Preprocessor, Reads, preprocessor_from_json

__all__ = ["Arrays", "Preprocessor", "Reads", "preprocessor_from_json"]
