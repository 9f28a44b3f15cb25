"""Show results as tables, charts and an HTML report. Charts need the extra ``limbeck[report]``."""

from __future__ import annotations
