"""Whatever the folder, the table and the names: each row has its own picture and text, or is named."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from import_property import Case, cases, check


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(cases())
def test_each_row_has_its_own_picture_text_and_features_or_is_named(case: Case) -> None:
    with tempfile.TemporaryDirectory() as place:
        check(case, Path(place))
