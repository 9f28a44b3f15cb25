"""Turn texts, pictures and feature rows into the arrays that towers read. Nothing here imports torch."""

from limbeck.preprocess.base import Arrays, Preprocessor, preprocessor_from_json

__all__ = ["Arrays", "Preprocessor", "preprocessor_from_json"]
