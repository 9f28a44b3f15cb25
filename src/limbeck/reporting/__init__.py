"""Tables, plots and the report: results made readable. Charts need the extra ``limbeck[report]``."""

from __future__ import annotations
