"""Dual encoders as ONNX files: they answer queries without torch."""

from limbeck.onnx.encoder import FOLDER, OnnxEncoder

__all__ = ["FOLDER", "OnnxEncoder"]
