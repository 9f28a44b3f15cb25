"""Choose the stage whose model is the run's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from limbeck.files import read_json
from limbeck.tables import split_lines
from limbeck.training.recipe import Recipe, StageConfig
from limbeck.typed import Json


@dataclass(frozen=True)
class Choice:
    """The chosen stage, and the validation score of each candidate by its name."""

    stage: StageConfig
    scores: dict[str, float | None]

    @property
    def score(self) -> float | None:
        """The score of the chosen stage."""
        return self.scores[self.stage.name]

    def to_json(self) -> dict[str, Json]:
        """Return what ``run.json`` records."""
        return {"stage": self.stage.name, "scores": dict(self.scores)}

    def __str__(self) -> str:
        told = [f"{name} {score:.4f}" for name, score in self.scores.items() if score is not None]
        return f"chosen by validation: {self.stage.name} ({', '.join(told)})"


def choose(run: Path, recipe: Recipe) -> Choice:
    """Return the last stage of a finished run, or the best of ``recipe.choose``, the earlier on a tie."""
    scores = {stage.name: stage_score(run, stage) for stage in recipe.candidates}
    best = max(recipe.candidates, key=lambda stage: _rank(scores[stage.name]))
    return Choice(best, scores)


def stage_score(run: Path, stage: StageConfig) -> float | None:
    """Return the validation score of the model that a stage saved; None without validation."""
    folder = run / "stages" / stage.name
    if stage.schedule.select == "best":
        best = read_json(folder / "done.json").get("best_score")
        return None if best is None else float(best)
    log = folder / "metrics.jsonl"
    rows = map(json.loads, split_lines(log.read_text(encoding="utf-8"))) if log.is_file() else ()
    scores = [row["val/score"] for row in rows if row.get("val/score") is not None]
    return float(scores[-1]) if scores else None


def _rank(score: float | None) -> float:
    return float("-inf") if score is None else score
