"""Lifts by kind. A further space needs one file here, its configuration, and its numpy half."""

from __future__ import annotations

from typing import Any

from limbeck.encoders.config import OwnConfig
from limbeck.encoders.lift_config import (
    BinaryConfig,
    EuclidConfig,
    HashConfig,
    PolarConfig,
    SphereConfig,
    TangentConfig,
)
from limbeck.encoders.lifts.base import MODALITIES, Lift, LogitScale
from limbeck.encoders.lifts.euclid import EuclidLift
from limbeck.encoders.lifts.hamming import BinaryLift, HashLift
from limbeck.encoders.lifts.lorentz import LorentzLift, PolarLift, TangentLift
from limbeck.encoders.lifts.prefix import PrefixLift
from limbeck.encoders.lifts.sphere import SphereLift
from limbeck.plugins import own_name

_LIFTS: dict[str, tuple[type[Lift], Any]] = {
    "sphere": (SphereLift, SphereConfig),
    "tangent": (TangentLift, TangentConfig),
    "polar": (PolarLift, PolarConfig),
    "euclid": (EuclidLift, EuclidConfig),
    "hash": (HashLift, HashConfig),
    "binary": (BinaryLift, BinaryConfig),
}


def build_lift(config: Any, dims: dict[str, int]) -> Lift:
    """Build the lift of a configuration for towers of the given widths."""
    if isinstance(config, OwnConfig):
        from limbeck.encoders.own import build_own_lift

        return build_own_lift(config, dims, saved=False)
    return _LIFTS[config.kind][0](config, dims)


def lift_from_json(stored: dict[str, Any]) -> Lift:
    """Build the lift of a `Lift.describe` without its weights."""
    if own_name(stored["config"]["kind"]) is not None:
        from limbeck.encoders.own import build_own_lift

        found = build_own_lift(OwnConfig.model_validate(stored["config"]), stored["dims"], saved=True)
    else:
        lift, config = _LIFTS[stored["config"]["kind"]]
        found = lift(config.model_validate(stored["config"]), dict(stored["dims"]))
    return PrefixLift(found, stored["prefix"]) if "prefix" in stored else found


__all__ = [
    "MODALITIES",
    "BinaryLift",
    "EuclidLift",
    "HashLift",
    "Lift",
    "LogitScale",
    "LorentzLift",
    "PolarLift",
    "PrefixLift",
    "SphereLift",
    "TangentLift",
    "build_lift",
    "lift_from_json",
]
