"""Expecting errors by their code and the facts that they name, whatever the wording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from limbeck.error_codes import CODES
from limbeck.errors import LimbeckError


@contextmanager
def raises_code(code: str, *facts: object) -> Iterator[pytest.ExceptionInfo[LimbeckError]]:
    """Expect a `LimbeckError` of this code, on one line that contains each fact (file, field, number)."""
    assert code in CODES
    with pytest.raises(LimbeckError) as caught:
        yield caught
    message = str(caught.value)
    assert (caught.value.code, message.count("\n")) == (code, 0), message
    missing = [fact for fact in map(str, facts) if fact not in message]
    assert not missing, f"{missing} not in {message!r}"
