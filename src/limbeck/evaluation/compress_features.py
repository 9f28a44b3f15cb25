"""Floats of a collection to fit codes to, and held-out queries to choose them by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from limbeck.data.everyday import EVERYDAY
from limbeck.data.prompts import label_prompt
from limbeck.encoders.dual import DualEncoder
from limbeck.encoding import encode_batches, open_source
from limbeck.errors import LimbeckError
from limbeck.evaluation.ranking_kept import Held
from limbeck.index.encoded import Encoded, is_encoded
from limbeck.spaces import Space

FEWEST, SHARE, QUERIES, DATABASE = 20, 0.2, 500, 10_000


@dataclasses.dataclass(frozen=True)
class Collection:
    """Encoded pictures with what is known of them.

    Attributes:
        points: float32 (N, width) of the model's space.
        texts: the texts of each picture, N lists; empty where there are none.
        text_kind: "captions", "tags", "labels", or "everyday": built-in texts, which belong to no picture.
        labels: bool (N, C); C is 0 without labels.
    """

    points: np.ndarray
    texts: list[list[str]]
    text_kind: str
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Features:
    """Floats of pictures and texts to fit codes to, and held-out queries of both kinds to choose by.

    ``labels``, bool by modality (N, C), are those of the rows to fit to; None without labels.
    """

    space: Space
    image: np.ndarray
    text: np.ndarray
    database: np.ndarray
    queries: dict[str, np.ndarray]
    held: dict[str, Held]
    labels: dict[str, np.ndarray] | None = None


def read_collection(
    model: DualEncoder, source: Path, on_skip: Callable[[str, str], object] | None = None
) -> Collection:
    """Encode the pictures of a source, or open an encoded set of the model.

    Raises:
        LimbeckError: there are fewer than 20 pictures, or the encoded set is of another model.
    """
    if is_encoded(source):
        encoded = Encoded.open(source)
        if encoded.meta.space_id != model.space_id:
            raise LimbeckError(
                f"{source}: was encoded by another model; encode it again with this one",
                code="E-INDEX-OTHER-MODEL",
            )
        batches = list(encoded.batches())
    else:
        opened = open_source(source)
        batches = list(encode_batches(model, opened, on_skip=on_skip, progress=True))
    points = np.concatenate([part for part, _ in batches])
    if len(points) < FEWEST:
        raise LimbeckError(
            f"{source}: holds {len(points)} pictures; codes need at least {FEWEST} to be fitted and measured",
            code="E-ARRAY-ROWS",
        )

    def column(name: str) -> list[list[str]]:
        return [
            list(value or [])
            for _, items in batches
            for value in (
                items.column(name).to_pylist() if name in items.column_names else [None] * len(items)
            )
        ]

    labels = column("labels")
    names = sorted({name for own in labels for name in own})
    matrix = np.array([[name in own for name in names] for own in labels], bool).reshape(len(points), -1)
    captions, tags = column("captions"), column("tags")
    if any(captions):
        return Collection(points, captions, "captions", matrix)
    if any(tags):
        return Collection(points, [[", ".join(own)] if own else [] for own in tags], "tags", matrix)
    if names:
        return Collection(points, [[label_prompt(own)] if own else [] for own in labels], "labels", matrix)
    return Collection(points, [], "everyday", matrix)


def held_out(model: DualEncoder, collection: Collection, seed: int) -> Features:
    """Take a fifth of the pictures (at most 500) and their texts as queries, and the rest for the fit.

    Without texts of its own the built-in texts are halved the same way. Queries rank at most 10,000 pictures.
    """
    points, rng = collection.points, np.random.default_rng(seed)
    order = rng.permutation(len(points))
    count = min(QUERIES, max(1, round(SHARE * len(points))))
    asking, fitting = np.sort(order[:count]), np.sort(order[count:])
    rest = np.sort(order[count:DATABASE])
    database = np.concatenate([asking, rest])
    own: np.ndarray | None = None
    writers = np.zeros(0, np.int64)  # the pictures of the texts to fit to
    if model.text_input != "text":
        fitted_texts, asked = np.zeros((0, points.shape[1]), np.float32), None
    elif collection.text_kind == "everyday":
        texts = model.encode_text([label_prompt([name]) for name in EVERYDAY])
        fitted_texts, asked = texts[::2], texts[1::2]
    else:
        fitted_texts = model.encode_text([text for row in fitting for text in collection.texts[row]])
        writers = np.repeat(fitting, [len(collection.texts[row]) for row in fitting])
        rows = [(text, i) for i, row in enumerate(asking) for text in collection.texts[row]]
        asked = model.encode_text([text for text, _ in rows])
        own = np.array([i for _, i in rows], np.int64)
    features = features_of(
        model.space,
        points[fitting],
        fitted_texts,
        points[database],
        asked_texts=asked,
        own=own if collection.text_kind in ("captions", "tags") else None,
        asked_images=count,
        labels=collection.labels[database] if collection.labels.shape[1] else None,
        text_rows=own,
    )
    if not collection.labels.any():
        return features
    known = collection.labels
    text_labels = np.zeros((len(features.text), known.shape[1]), bool)  # built-in texts have none
    text_labels[: len(writers)] = known[writers]
    return dataclasses.replace(features, labels={"image": known[fitting], "text": text_labels})


def features_of(
    space: Space,
    image: np.ndarray,
    text: np.ndarray,
    database: np.ndarray,
    *,
    asked_texts: np.ndarray | None,
    own: np.ndarray | None,
    asked_images: int,
    labels: np.ndarray | None = None,
    text_rows: np.ndarray | None = None,
) -> Features:
    """Score held-out queries: texts (Q, D), and the first ``asked_images`` pictures of the database.

    Args:
        space: compares the floats.
        image: pictures (N, D) to fit to.
        text: texts (M, D) to fit to; none leaves the mean of the texts at that of the pictures.
        database: pictures (K, D) that queries rank.
        asked_texts: held-out texts (Q, D), or None.
        own: the database row (Q,) of each text's picture, for recall.
        asked_images: the number of pictures of the database that are queries.
        labels: bool (K, C) of the database.
        text_rows: the database row (Q,) whose labels a text shares.
    """
    queries, held = {}, {}
    if asked_texts is not None and len(asked_texts):
        relevant = None if labels is None or text_rows is None else labels[text_rows] @ labels.T
        queries["text"] = asked_texts
        held["text"] = Held(space.similarity(asked_texts, database).astype(np.float32), own, relevant)
    if asked_images:
        asked = database[:asked_images]
        scores = space.similarity(asked, database).astype(np.float32)
        itself = np.arange(asked_images)
        scores[itself, itself] = -np.inf
        relevant = None if labels is None else labels[:asked_images] @ labels.T
        if relevant is not None:
            relevant[itself, itself] = False
        queries["image"], held["image"] = asked, Held(scores, None, relevant)
    return Features(
        space, image, text if len(text) else image.mean(0, keepdims=True), database, queries, held
    )
