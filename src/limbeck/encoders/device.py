"""Chooses the device of a model that encodes; training uses Fabric instead (`compute`)."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from limbeck.encoders.chosen import asked_device
from limbeck.errors import LimbeckError
from limbeck.notices import say

_Model = TypeVar("_Model", bound=nn.Module)
_KINDS = ("cuda", "mps", "cpu")
SAID: set[str] = set()  # devices that were reported in this process; each is reported once


def placed(model: _Model, name: str | None = None) -> _Model:
    """Move a model to a device, by default that of `on_device`; report a device other than the CPU once.

    Raises:
        LimbeckError: this machine has no such device.
    """
    device = find_device(asked_device() if name is None else name)
    if device.type != "cpu" and str(device) not in SAID:
        SAID.add(str(device))
        say(f"encodes on {_described(device)}; --device cpu keeps it on the CPU")
    return model.to(device)


def find_device(name: str | None) -> torch.device:
    """Return a device by name (``cuda``, ``cuda:1``, ``mps``, ``cpu``); None is the best of the machine.

    Raises:
        LimbeckError: this machine has no such device.
    """
    counts = devices_found()
    if name is None:
        return torch.device(next(kind for kind in _KINDS if counts[kind]))
    kind, colon, number = name.partition(":")
    if kind not in counts or (colon and not number.isdecimal()):
        raise LimbeckError(
            f"device {name!r}: choose one of {', '.join(_KINDS)}, or cuda:1 for the second",
            code="E-OPTION-CHOICE",
        )
    if int(number or 0) >= counts[kind]:
        have = [f"{count} {own}" for own, count in counts.items() if count]
        raise LimbeckError(
            f"device {name!r}: this machine has {', '.join(have)}; leave it out for the best",
            code="E-DEVICE-MISSING",
        )
    return torch.device(name)


def devices_found() -> dict[str, int]:
    """Count the devices of each kind, the best kind first."""
    return {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }


def _described(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
