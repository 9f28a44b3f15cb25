"""Evaluate a model or external codes by a protocol into a `Result`, and compare results over seeds."""

from __future__ import annotations

from limbeck.environment import environment
from limbeck.evaluation.compare import Comparison, compare
from limbeck.evaluation.external_codes import evaluate_codes
from limbeck.evaluation.results import Result
from limbeck.evaluation.run import evaluate

__all__ = ["Comparison", "Result", "compare", "environment", "evaluate", "evaluate_codes"]
