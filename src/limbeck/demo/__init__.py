"""Run the whole pipeline on generated data: scenes, teacher, students, codes, indexes, search, report."""

from __future__ import annotations

from limbeck.demo.chain import run_demo

__all__ = ["run_demo"]
