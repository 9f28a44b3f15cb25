"""Render pages and their claims files: ``python -m results [PAGE …] [--check]``, in the repository's root."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from limbeck.files import write_atomic
from results.data import DOCS
from results.render import Page, pages


def main(arguments: list[str] | None = None) -> int:
    """Write the pages that are named, or all; with ``--check`` only compare them with the files.

    Returns:
        1 where ``--check`` finds a page or claims file that differs, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m results", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("page", nargs="*", choices=[[], *pages()], help="default: all")
    parser.add_argument("--check", action="store_true", help="write nothing, say which files differ")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder to write to, default docs/results")
    options = parser.parse_args(arguments)
    stale = []
    for name in options.page or pages():
        page = Page(name)
        texts = {options.out / f"{name}.md": page.text(), options.out / f"{name}.json": page.json()}
        for file, text in texts.items():
            if not options.check:
                write_atomic(file, text)
            elif not file.is_file() or file.read_text(encoding="utf-8") != text:
                stale.append(file)
        if not options.check:
            page.draw(options.out)
        for line in page.void:
            print(f"{name}: void: {line}", file=sys.stderr)
        print(f"{name}: {sum(row['met'] for row in page.claims)} of {len(page.claims)} met")
    for file in stale:
        print(f"{file}: differs from the data; run python -m results", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
