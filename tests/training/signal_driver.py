"""Runs the command line and sends itself a signal at the n-th call of a function.

Of several processes only those of the rank ``ONLY`` do so, if the environment has it.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from typing import Any

PLAN = "SIGNAL_DRIVER"


def main() -> None:
    if PLAN not in os.environ:  # processes that this one starts get only the arguments of the command line
        os.environ[PLAN] = " ".join(sys.argv[1:4])
        del sys.argv[1:4]
    name, target, count = os.environ[PLAN].split()
    module = importlib.import_module(target.rsplit(".", 1)[0])
    attribute = target.rsplit(".", 1)[1]
    original, calls = getattr(module, attribute), 0
    mine = os.environ.get("LOCAL_RANK", "0")

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == int(count) and os.environ.get("ONLY", mine) == mine:
            os.kill(os.getpid(), getattr(signal, name))
        return original(*given, **named)

    setattr(module, attribute, counted)
    from limbeck.cli import main as limbeck

    limbeck()


if __name__ == "__main__":
    main()
