"""Writes an index as a static site: a folder, or one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import Kind, atomic_dir, atomic_file, check_apart, check_target, json_text
from limbeck.index.store import IndexStore
from limbeck.site.content import Content, SiteOptions
from limbeck.site.page import GENERATOR, Page, build_page, single_page

FORMAT = 1
SITE = Kind(
    "site",
    r"index\.html|site\.json|(page|engine)/[\w.-]+|data/[\w-]+\.js|thumbnails/\d+/\d+\.webp",
    "site.json",
    lambda told: told.get("kind") == "limbeck site",
)
_FOLDER = 1000  # thumbnails per folder
_FIRST = ("site", "points", "tower", "kept")  # the data that the first ranking needs


@dataclass(frozen=True)
class SiteReport:
    """What was written.

    Attributes:
        items: the number of items.
        bytes: the size of the site.
        first: the bytes that a visitor loads before the first ranking; with one page all of it.
        missing: the number of items with a path whose picture could not be read.
    """

    items: int
    bytes: int
    first: int
    missing: int


def write_site(
    index: Path,
    out: Path,
    options: SiteOptions | None = None,
    *,
    progress: bool = False,
) -> SiteReport:
    """Write an index as a static site; after an error or an interrupt nothing of it remains.

    Args:
        index: the index directory.
        out: the new folder, or with ``options.single`` the new page; an earlier site is replaced.
        options: what is published.
        progress: show a progress bar on standard error.

    Raises:
        LimbeckError: there is no such index, a column is unknown, the text tower does not run in a browser,
            no picture can be read, or ``out`` is something else.
    """
    options = options or SiteOptions()
    store = IndexStore.open(index)
    check_apart(out, index, options.media, store.manifest.media_root)
    if index.resolve() in out.resolve().parents:
        raise LimbeckError(f"{out}: is inside the index; choose another place", code="E-PATH-OVERLAP")
    if options.single:
        _check_page(out)
    content = Content(store, options, progress)
    page = build_page(options.title or index.resolve().name)
    if options.single:
        whole = single_page(page, dict(content.scripts())).encode()
        with atomic_file(out) as stream:
            stream.write(whole)
        size = first = len(whole)
    else:
        with atomic_dir(out, replaces=SITE) as aside:
            size, first = _write_folder(aside, page, content)
    return SiteReport(content.items, size, first, content.missing)


def _check_page(out: Path) -> None:
    """Refuse to replace a file that is not an earlier page."""
    if check_target(out).kind == "file" and out.exists() and out.stat().st_size:
        with out.open("rb") as stream:
            if GENERATOR.encode() not in stream.read(200):
                raise LimbeckError(
                    f"{out}: is not a page of limbeck site, so it is not replaced; choose another name",
                    code="E-PATH-EXISTS",
                )


def _write_folder(folder: Path, page: Page, content: Content) -> tuple[int, int]:
    """Write all files; return their size, and that of those which come before the first ranking."""
    size = first = 0

    def write(name: str, data: bytes, *, early: bool = False) -> None:
        nonlocal size, first
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        size += len(data)
        first += len(data) * early

    for row, small in content.thumbnails():
        write(f"thumbnails/{row // _FOLDER}/{row}.webp", small)
    for name, script in content.scripts():
        write(f"data/{name}.js", script.encode(), early=name in _FIRST)
    for name, text in {**page.files, "index.html": page.html}.items():
        write(name, text.encode(), early=True)
    write("site.json", (json_text({"kind": "limbeck site", "format": FORMAT}) + "\n").encode())
    return size, first
