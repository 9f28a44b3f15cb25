"""Training: recipes, the loop, stages, checkpoints. The only package that imports Fabric."""

from __future__ import annotations

from limbeck.training.run import train

__all__ = ["train"]
