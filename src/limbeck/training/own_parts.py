"""The towers and lifts of a stage that are classes of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limbeck.encoders.config import ConcatConfig, OwnConfig
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from limbeck.training.recipe import StageConfig


def own_parts(stage: StageConfig) -> dict[str, OwnConfig]:
    """The configurations of such towers and of such a lift, by key."""
    found: dict[str, Any] = {"lift": stage.lift}
    for modality in ("image", "text"):
        backbone = getattr(stage.towers, modality).backbone
        found[f"towers.{modality}.backbone"] = backbone
        parts = backbone.parts if isinstance(backbone, ConcatConfig) else []
        found |= {f"towers.{modality}.backbone.parts.{i}": part for i, part in enumerate(parts)}
    return {key: config for key, config in found.items() if isinstance(config, OwnConfig)}


def check_own_parts(stage: StageConfig, where: str) -> None:
    """Look at each class and its options; their files are said and run.

    Raises:
        LimbeckError: no such file or class, wrong options; ``where`` and the key are named.
    """
    for key, config in own_parts(stage).items():
        from limbeck.encoders.backbone import Backbone
        from limbeck.encoders.lifts import Lift
        from limbeck.encoders.own import check_own

        base, what = (Lift, "lift") if key == "lift" else (Backbone, "tower")
        try:
            check_own(config, base, what)
        except LimbeckError as error:
            raise LimbeckError(f"{where}: stages.{stage.name}.{key}: {error}") from None
