"""The splits of a protocol: from a split column, id lists, or a rule that draws them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from limbeck.data.split_rules import Draw


class Strict(BaseModel):
    """Base of the protocol's sections: unknown keys and wrong types are refused; values are frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Split(Strict):
    """Ids from a list file (checked by SHA-256), or the rows with one of some values in the split column.

    ``or_value`` replaces ``column_value`` in data sets whose split column has none of its values.
    """

    file: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    column_value: str | list[str] | None = None
    or_value: str | list[str] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.file is None) == (self.column_value is None):
            raise ValueError("give either file (with sha256) or column_value")
        if (self.file is None) != (self.sha256 is None):
            raise ValueError("give file and sha256 together, or neither")
        if self.or_value is not None and self.column_value is None:
            raise ValueError("or_value needs column_value; give both")
        return self

    def on(self, there: list[str]) -> Split:
        """Return the split for the given values of the split column, with ``or_value`` resolved."""
        other = Split(column_value=self.or_value).values if self.or_value is not None else []
        instead = not set(self.values) & set(there) and set(other) & set(there)
        changes = {"or_value": None} | ({"column_value": self.or_value} if instead else {})
        return self.model_copy(update=changes)

    @property
    def values(self) -> list[str]:
        """The values of the split column, as a list."""
        value = self.column_value or []
        return [value] if isinstance(value, str) else list(value)


class Splits(Strict):
    """Query, database and train, or a rule that draws all three.

    Without a database, the queries search among themselves. ``otherwise`` is the rule for data sets without a
    split column; it also gives a train that the split column lacks (`on`).
    """

    query: Split | None = None
    train: Split | None = None
    database: Split | None = None
    draw: Draw | None = None
    otherwise: Draw | None = None

    @model_validator(mode="after")
    def _lists_or_rule(self) -> Self:
        given = [split is not None for split in (self.query, self.train)]
        if self.draw is not None and (any(given) or self.database is not None):
            raise ValueError("give either draw or query, database and train")
        if self.draw is None and not all(given):
            raise ValueError("give query and train, or draw")
        columns = [own for own in (self.query, self.train, self.database) if own is not None]
        if self.otherwise is not None and not all(own.values for own in columns):
            raise ValueError("otherwise replaces a split column; give every split by column_value")
        if self.otherwise is not None and self.otherwise.database is not (self.database is not None):
            raise ValueError(
                "otherwise: its database must be true where splits.database is given, else false"
            )
        return self

    @property
    def has_database(self) -> bool:
        """Whether there is a database apart from the queries."""
        return self.draw.database if self.draw is not None else self.database is not None

    def on(self, there: list[str]) -> tuple[Splits, bool]:
        """Return the splits for the given values of the split column, and whether train joins the database.

        By the rule ``otherwise``, train is the whole database where the data set has no train.
        """
        query, train, database = (own and own.on(there) for own in (self.query, self.train, self.database))
        joined = bool(
            (self.otherwise is not None and self.otherwise.train is None and train and database)
            and not set(train.values) & set(there)
            and set(database.values) & set(there)
        )
        return Splits(query=query, train=database if joined else train, database=database), joined

    @property
    def depends(self) -> bool:
        """Whether the splits depend on the split column of the data set."""
        given = (self.query, self.train, self.database)
        return self.otherwise is not None or any(
            own is not None and own.or_value is not None for own in given
        )
