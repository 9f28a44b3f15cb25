"""Resampled protocols: ``NAME@3`` draws the same sizes by the same rule with seed 3, ``NAME@fold2of5`` is one
of five folds. Both apply the rule of `limbeck.data.split_rules` to the rows of the fixed protocol."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from limbeck.data.split_rules import Draw
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.data.protocol import Protocol

FORM = "a number is a seed (NAME@1), foldIofK one of K folds (NAME@fold1of5)"
_NAME = re.compile(r"(?P<base>.+)@(?:(?P<seed>\d+)|fold(?P<fold>\d+)of(?P<of>\d+))")


def base_name(name: str) -> str | None:
    """Return ``NAME`` of ``NAME@3`` or ``NAME@fold2of5``; None for any other name."""
    match = _NAME.fullmatch(name)
    return None if match is None else match["base"]


def redraw(base: Protocol, name: str) -> tuple[dict[str, Json], list[str] | None, str]:
    """Return the changes to a protocol that resamples its splits.

    Redraws of a family are equally hard on average. A method's results may therefore be combined over them,
    paired by split and seed.

    Args:
        base: the fixed protocol.
        name: ``NAME@3`` or ``NAME@fold2of5``.

    Returns:
        Changed keys (``name``, ``splits``, ``validation``); the ids to draw from, or None where the rule
            itself selects the rows; and the family, a hash that the fixed protocol shares with its draws (its
            own hash), and that the folds of one number share.

    Raises:
        LimbeckError: the name ends in ``@0`` or an invalid fold, the protocol's splits are a column of the
            data set, or its train is not part of its database.
    """
    match = _NAME.fullmatch(name)
    assert match is not None
    own = f"{base.name}@{name.rpartition('@')[2]}"
    drawn: dict[str, Json]
    if match["seed"] is not None:
        if int(match["seed"]) == 0:
            raise LimbeckError(
                f"protocol {own}: draws count from 1; the fixed split is {base.name}",
                code="E-PROTOCOL-UNKNOWN",
            )
        drawn, family = {"seed": int(match["seed"])}, base.hash
    else:
        fold, of = int(match["fold"]), int(match["of"])
        if of < 2 or not 1 <= fold <= of:
            raise LimbeckError(
                f"protocol {own}: folds are numbered 1 to K, K at least 2; write {base.name}@fold1of5",
                code="E-PROTOCOL-UNKNOWN",
            )
        drawn, family = {"fold": [fold, of], "query": None}, sha256_json([base.hash, "folds", of])
    if base.splits.otherwise is not None:
        return redraw(base.by_rule(), name)
    rule = base.splits.draw
    if rule is not None:
        again = rule.model_dump(exclude={"sha256"}) | drawn
        return {"name": own, "splits": {"draw": again}}, None, family
    sizes, pool, held_out = _of_lists(base, own)
    draw = Draw.model_validate({"seed": 0, "need": []} | sizes | drawn)
    changes: dict[str, Json] = {"name": own, "splits": {"draw": draw.model_dump()}}
    if held_out:
        changes["validation"] = {"size": held_out}
    return changes, pool, family


def _of_lists(base: Protocol, own: str) -> tuple[dict[str, int | None], list[str], int]:
    """Return the sizes, all ids, and how many of them are in a validation list (then cut from train)."""
    lists = base.context.lists
    query, train, database = (lists.get(name) for name in ("query", "train", "database"))
    if query is None or train is None or (base.splits.database is not None and database is None):
        raise LimbeckError(
            f"protocol {own}: {base.name} takes its splits from a column of the data set; "
            "only id lists or splits.draw can be resampled",
            code="E-PROTOCOL-RESAMPLE",
        )
    held_out = lists.get("validation", ())
    if database is None:
        pool = [*query, *train, *held_out]
    elif set(train) <= set(database) and not held_out:
        pool = [*query, *database]
    else:
        raise LimbeckError(
            f"protocol {own}: {base.name} trains on ids outside its database; only lists whose database "
            "contains train, or splits.draw, can be resampled",
            code="E-PROTOCOL-RESAMPLE",
        )
    whole = len(train) + len(held_out) == len(pool) - len(query)
    sizes = {"query": len(query), "train": None if whole else len(train) + len(held_out)}
    return sizes, pool, len(held_out)
