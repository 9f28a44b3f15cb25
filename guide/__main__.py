"""Draw the pictures of the documentation again: ``python -m guide``, in the repository's root."""

from __future__ import annotations

from guide import architecture, geometry

if __name__ == "__main__":
    for file in [*geometry.draw(), architecture.draw()]:
        print(file)
