"""Count the files of limbeck that a label passes on its way to the mAP, in one hashing evaluation of a tiny set.

    PYTHONPATH=SRC python benchmarks/label_path.py [--steps]

The counting rule. `sys.setprofile` sees every call of a Python function of limbeck inside `evaluate(model, pairs,
protocol)`, from the opened data set and the loaded protocol to the return of the first `hamming_map`.

* A call is a step of the path if its result carries rows, texts, labels, embeddings or scores: an array, texts per
  row, or an object that holds one of these. A call that only checks, counts, names or formats is no step.
* The path stops at three doors: a method of `Pairs` (how a column is read), `encode_pictures` and `encode_texts` (the
  path of a picture to its embedding), and `hamming_map` (the metric). What lies behind a door is not counted.
* A step that is taken again from the same line counts once. Files are counted in the order of the calls; a step
  within one file is no move. A move into a file that was visited before is a return.

The script also counts the steps with those behind the doors, and all calls to the end of the evaluation.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.evaluation.run import evaluate
from limbeck.spaces import Hamming

ROOT = f"{Path(limbeck.__file__).parent}/"
DOORS = ("Pairs.", "encode_pictures", "encode_texts", "hamming_map")
ROWS = 40
RULES = {
    "name": "tiny", "task": "hashing", "text": {"column": "tags", "join": " "}, "relevance": "shared_label",
    "metric": {}, "validation": {"size": 2},
    "splits": {part: {"column_value": part} for part in ("query", "database", "train")},
}  # fmt: skip


class Coder:
    """A stand-in for a model: signs of features, random codes of texts."""

    space, space_id, image_input = Hamming(16), "tiny", "features:tiny"

    def encode_image(self, images: np.ndarray, **_: Any) -> np.ndarray:
        return np.packbits(images > 0, axis=1)

    def encode_text(self, texts: list[str], **_: Any) -> np.ndarray:
        return np.random.default_rng(0).integers(0, 256, (len(texts), 2), dtype=np.uint8)


@dataclasses.dataclass
class Call:
    """One call: the line that it comes from, its function, and what is known at its end."""

    file: str
    function: str
    line: tuple[str, int] | None
    behind: bool  # a door
    late: bool  # after the first mAP
    holds: bool = False


def tiny(folder: Path) -> Pairs:
    """A data set of `ROWS` rows with two labels, features, and the split column that `RULES` names."""
    np.save(folder / "tiny.npy", np.random.default_rng(0).standard_normal((ROWS, 16)).astype(np.float32))
    columns = {
        "id": [f"row{n}" for n in range(ROWS)],
        "tags": [["tag", str(n)] for n in range(ROWS)],
        "labels": [["even" if n % 2 == 0 else "odd"] for n in range(ROWS)],
        "split": [("query", "database", "train")[n % 3] for n in range(ROWS)],
    }
    features = {"tiny": {"file": str(folder / "tiny.npy"), "scale": 1.0}}
    Pairs.write(
        folder / "pairs", columns, {"name": "tiny", "label_names": ["even", "odd"], "features": features}
    )
    return Pairs.open(folder / "pairs")


def holds_data(value: Any, depth: int = 3) -> bool:
    """Whether a result carries rows, texts, labels, embeddings or scores."""
    if isinstance(value, (np.ndarray, Pairs)):
        return True
    if depth == 0:
        return False
    if isinstance(value, list) and value and isinstance(value[0], list):
        return True
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, own.name) for own in dataclasses.fields(value)]
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, (tuple, list)) and any(holds_data(part, depth - 1) for part in value)


def record(pairs: Pairs) -> list[Call]:
    """Every call of limbeck in one evaluation, in order."""
    protocol, calls, open_calls, ended = Protocol.model_validate(RULES), [], [], []

    def hook(frame: FrameType, event: str, result: Any) -> None:
        if event not in ("call", "return") or not frame.f_code.co_filename.startswith(ROOT):
            return
        if event == "return":
            call = open_calls.pop()
            call.holds = holds_data(result)
            ended.extend([call] if call.function == "hamming_map" else [])
            return
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(ROOT):
            caller = caller.f_back
        line = None if caller is None else (caller.f_code.co_filename, caller.f_lineno)
        behind = any(call.function.startswith(DOORS) for call in open_calls)
        name = frame.f_code.co_filename.removeprefix(ROOT)
        open_calls.append(Call(name, frame.f_code.co_qualname, line, behind, bool(ended)))
        calls.append(open_calls[-1])

    sys.setprofile(hook)
    try:
        evaluate(Coder(), pairs, protocol, ceiling=False)  # type: ignore[arg-type]
    finally:
        sys.setprofile(None)
    return calls


def distinct(calls: list[Call]) -> list[Call]:
    """The calls without those that a line makes again, and without lambdas and comprehensions."""
    first: dict[object, Call] = {}
    for call in calls:
        if not call.function.endswith(">"):
            first.setdefault((call.line, call.function), call)
    return list(first.values())


def moves(calls: list[Call]) -> list[str]:
    """The files that are visited, in order."""
    files = [call.file for call in calls]
    return [file for n, file in enumerate(files) if n == 0 or file != files[n - 1]]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        calls = distinct(record(tiny(Path(folder))))
    steps = [call for n, call in enumerate(calls) if n == 0 or (call.holds and not call.late)]
    path = [call for call in steps if not call.behind]
    if "--steps" in sys.argv:
        print(*(f"{call.file}: {call.function}" for call in path), sep="\n")
    for name, chosen in (
        ("label to mAP", path),
        ("behind the doors, too", steps),
        ("whole evaluation", calls),
    ):
        visited = moves(chosen)
        files = dict.fromkeys(visited)
        print(f"{name}: {len(files)} files, {len(visited) - len(files)} returns")
        print(f"  {', '.join(files)}")


if __name__ == "__main__":
    main()
