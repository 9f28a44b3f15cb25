"""Hooks of MkDocs: pages made from the code, pages of the repository's root, links between both."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

from guide import code_map, commands, library

ROOT = Path(__file__).resolve().parents[1]
# files outside docs/ that the site shows, and where
OUTSIDE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "README.md": "readme.md",
    "results/README.md": "results/data.md",
    "benchmarks/hamming/README.md": "hamming-benchmark.md",
    "LICENSE": "files/LICENSE.txt",
    "CITATION.cff": "files/CITATION.cff",
}
FOLDERS = ("deploy",)  # every file of them, under files/
WORKER = "files/worker.js"
_REMOTE = "https://unpkg.com/iframe-worker/shim"
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not files of docs/."""
    made = {"reference/commands.md": commands.page(), "code-map.md": code_map.page()}
    made[WORKER] = Path(__file__).with_name("worker.js").read_text(encoding="utf-8")
    made |= {f"reference/{name}.md": library.page(name) for name in library.PAGES}
    for inside, text in made.items():
        files.append(File.generated(config, inside, content=text))
    for source, inside in _outside().items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, inside, content=text))
    return files


def _outside() -> dict[str, str]:
    here = {source: inside for source, inside in OUTSIDE.items() if (ROOT / source).is_file()}
    for folder in FOLDERS:
        found = sorted(file for file in (ROOT / folder).rglob("*") if file.is_file())
        here |= {
            str(PurePosixPath(file.relative_to(ROOT))): f"files/{file.relative_to(ROOT)}" for file in found
        }
    return here


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links of the repository at the places that their files have in the site."""
    inside = page.file.src_uri
    source = {place: file for file, place in _outside().items()}.get(inside, f"docs/{inside}")
    return _LINK.sub(lambda match: match[1] + relink(match[2], source, inside) + match[3], markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Replace the script that the theme takes from the network."""
    here = os.path.relpath(WORKER, PurePosixPath(page.file.dest_uri).parent)
    return output.replace(_REMOTE, here)


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    """Do the same for the page of errors."""
    return output_content.replace(_REMOTE, WORKER)


def relink(target: str, source: str, inside: str) -> str:
    """Return a link of the repository's file ``source`` as one of the site's page ``inside``."""
    if re.match(r"[a-z]+:|/", target):
        return target
    file = os.path.normpath(PurePosixPath(source).parent / target)
    place = file.removeprefix("docs/") if file.startswith("docs/") else _outside().get(file)
    if file in FOLDERS:
        place = min(inside for source, inside in _outside().items() if source.startswith(f"{file}/"))
    return os.path.relpath(place, PurePosixPath(inside).parent) if place else target
