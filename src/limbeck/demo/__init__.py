"""The whole chain on generated data: scenes, teacher, student, codes, index, search, report."""

from __future__ import annotations

from limbeck.demo.chain import run_demo

__all__ = ["run_demo"]
