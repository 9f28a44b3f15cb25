"""Puts the search page and the engine together: as files, or all in one page."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import limbeck
from limbeck.errors import LimbeckError

GENERATOR = '<meta name="generator" content="limbeck site">'
PAGE = Path(limbeck.__file__).parent / "serve" / "page"
ENGINE = Path(__file__).parent / "static"
SCRIPTS = ("data.js", "graph.js", "text.js", "scan.js", "confidence.js", "search.js")  # in this order
BACKEND = "backend-static.js"
_SERVICE = "backend-http.js"
_PLACE = f'<script src="page/{_SERVICE}"></script>'
_STYLE = re.compile(r'<link rel="stylesheet" href="(page/[\w.-]+)">')
_SCRIPT = re.compile(r'<script src="([\w./-]+)"></script>')
_IMAGE = re.compile(r'(href|src)="(page/[\w-]+\.svg)"')


@dataclass(frozen=True)
class Page:
    """The page of a site.

    Attributes:
        html: index.html, which loads the files by relative addresses.
        files: the other files by their path in the site.
    """

    html: str
    files: Mapping[str, str]


def build_page(title: str) -> Page:
    """Return the page with the static backend in the place of the one that asks the service."""
    files = {
        f"page/{file.name}": file.read_text(encoding="utf-8")
        for file in sorted(PAGE.iterdir())
        if file.name not in (_SERVICE, "index.html")
    }
    files |= {f"engine/{name}": (ENGINE / name).read_text(encoding="utf-8") for name in (*SCRIPTS, BACKEND)}
    own = [*(f"engine/{name}" for name in SCRIPTS), "data/site.js", f"engine/{BACKEND}"]
    shell = (PAGE / "index.html").read_text(encoding="utf-8")
    if shell.count(_PLACE) != 1 or "<title>limbeck</title>" not in shell:
        raise LimbeckError("serve/page/index.html: has no place for a backend or a title", code="E-BUG")
    shell = shell.replace(_PLACE, "\n    ".join(f'<script src="{name}"></script>' for name in own))
    shell = shell.replace("<title>limbeck</title>", f"<title>{html.escape(title)}</title>")
    return Page(_with_policy(shell, "'self'", "'self'", "'self' data:"), files)


def single_page(page: Page, data: Mapping[str, str]) -> str:
    """Return the page with all its files and all data in it.

    Args:
        page: from `build_page`.
        data: the data scripts by name; ``site`` is among them.
    """
    files = {**page.files, "data/site.js": "".join(data.values())}
    digests: dict[str, list[str]] = {"script": [], "style": []}

    def inline(tag: str, name: str) -> str:
        text = f"\n{files[name]}"
        if f"</{tag}" in text:
            raise LimbeckError(f"{name}: holds </{tag}, which would end it within a page", code="E-BUG")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        digests[tag].append(f"'sha256-{digest}'")
        return f"<{tag}>{text}</{tag}>"

    def image(match: re.Match[str]) -> str:
        encoded = base64.b64encode(files[match[2]].encode()).decode()
        return f'{match[1]}="data:image/svg+xml;base64,{encoded}"'

    shell = page.html.replace("<head>", f"<head>\n    {GENERATOR}", 1)
    shell = _IMAGE.sub(image, shell)
    shell = _STYLE.sub(lambda match: inline("style", match[1]), shell)
    shell = _SCRIPT.sub(lambda match: inline("script", match[1]), shell)
    return _with_policy(shell, " ".join(digests["script"]), " ".join(digests["style"]), "data:")


def _with_policy(shell: str, scripts: str, styles: str, images: str) -> str:
    """Set the content security policy of a page, before everything that it rules."""
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src {images}; base-uri 'none'; "
        "form-action 'none'"
    )
    tag = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy, quote=True)}">'
    shell = re.sub(r'\n *<meta http-equiv="Content-Security-Policy"[^>]*>', "", shell, count=1)
    return shell.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n    {tag}', 1)
