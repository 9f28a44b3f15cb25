"""Find and check the towers and lifts of a stage that are the user's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from limbeck.encoders.config import ConcatConfig, OwnConfig, Strict
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from limbeck.training.recipe import StageConfig


def own_parts(stage: StageConfig) -> dict[str, OwnConfig]:
    """Return the configurations of towers and lift that name a user's class, by dotted key."""
    configs: dict[str, Strict] = {"lift": stage.lift}
    for modality in ("image", "text"):
        backbone = getattr(stage.towers, modality).backbone
        configs[f"towers.{modality}.backbone"] = backbone
        parts = backbone.parts if isinstance(backbone, ConcatConfig) else []
        configs |= {f"towers.{modality}.backbone.parts.{i}": part for i, part in enumerate(parts)}
    return {key: config for key, config in configs.items() if isinstance(config, OwnConfig)}


def check_own_parts(stage: StageConfig, where: str) -> None:
    """Check each user's class and its options; print the names of their files, and run them.

    Raises:
        LimbeckError: a file or class is missing, or options are wrong; the message names ``where`` and key.
    """
    for key, config in own_parts(stage).items():
        from limbeck.encoders.backbone import Backbone
        from limbeck.encoders.lifts import Lift
        from limbeck.encoders.own import check_own

        base, what = (Lift, "lift") if key == "lift" else (Backbone, "tower")
        try:
            check_own(config, base, what)
        except LimbeckError as error:
            raise LimbeckError(f"{where}: stages.{stage.name}.{key}: {error}", code=error.code) from None
