"""Train models: recipes, stages, the training loop, checkpoints. Only this package imports Fabric."""

from __future__ import annotations

from limbeck.training.run import train

__all__ = ["train"]
