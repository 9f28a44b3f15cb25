"""Check options that name a file to write before any work; keep standard output free for ``-``."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from limbeck.console import output_taken

P = ParamSpec("P")
R = TypeVar("R")


def writes(*names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a verb whose parameters ``names`` are files to write, or None.

    A file that cannot be written is refused before the verb runs. If one file is standard output, the verb's
    messages go to standard error.

    Raises:
        LimbeckError: (when the verb is called) several files are ``-``, or one cannot be written.
    """

    def decorate(verb: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(verb)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            with contextlib.ExitStack() as stack:
                if any(options.get(name) is not None for name in names):
                    from limbeck.errors import LimbeckError
                    from limbeck.files import check_target

                    paths = [options[name] for name in names if options.get(name) is not None]
                    taken = sum(check_target(str(path)).kind == "stdout" for path in paths)
                    if taken > 1:
                        raise LimbeckError(
                            "-: only one file can go to standard output; give the others a name",
                            code="E-PATH-STDOUT",
                        )
                    if taken:
                        stack.enter_context(output_taken())
                return verb(*args, **options)

        return checked

    return decorate
