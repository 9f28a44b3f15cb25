"""Writes data as classic scripts, which a browser also loads from file://."""

from __future__ import annotations

import base64
import json

from limbeck.files import plain_json


def data_script(name: str, value: object) -> str:
    """Return a script that hands a value to ``static/data.js``; it can stand inside a page as it is."""
    told = json.dumps(plain_json(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # An HTML parser ends a script at </script> and changes its mode at <!--.
    told = told.replace("<", "\\u003c")
    return f"limbeck.site.data({json.dumps(name)},{told});\n"


def base64_text(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode("ascii")
