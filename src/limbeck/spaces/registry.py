"""Read spaces from JSON by their names."""

from __future__ import annotations

from collections.abc import Callable

from limbeck.errors import LimbeckError
from limbeck.spaces.base import Space
from limbeck.spaces.euclid import Euclid
from limbeck.spaces.hamming import Hamming
from limbeck.spaces.lorentz import Lorentz
from limbeck.spaces.lorentz_angle import LorentzAngle
from limbeck.spaces.sphere import Sphere

_SPACES: dict[str, Callable[..., Space]] = {
    "sphere": Sphere,
    "lorentz": Lorentz,
    "lorentz-angle": LorentzAngle,
    "euclid": Euclid,
    "hamming": Hamming,
}


def space_from_json(value: object) -> Space:
    """Read a space from the object that `Space.to_json` returned.

    Raises:
        LimbeckError: the name is unknown, or a field is unknown, missing or invalid.
    """
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise LimbeckError(
            f'space: {value!r} is not an object such as {{"name": "hamming", "bits": 64}}',
            code="E-SPACE-FORM",
        )
    fields = {key: item for key, item in value.items() if key != "name"}
    try:
        return _SPACES[value["name"]](**fields)
    except (KeyError, TypeError) as error:
        if value["name"] in _SPACES:
            raise LimbeckError(
                f"space: {value!r} has wrong or missing fields; restore the file", code="E-SPACE-FORM"
            ) from error
        raise LimbeckError(
            f"space: the name {value['name']!r} is unknown; choose from {', '.join(sorted(_SPACES))}",
            code="E-SPACE-FORM",
        ) from None
