"""Encode the pictures and the texts of a split with a dual encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.pictures.decoding import default_workers, read_ahead
from limbeck.preprocess import Reads

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.data.pairs import Pairs
    from limbeck.encoders.dual import DualEncoder, Output

PICTURES_AT_ONCE, PIXELS_AT_ONCE = 512, 1 << 27


@dataclass(frozen=True)
class Side:
    """Embeddings of one modality of a split.

    Attributes:
        points: embeddings in the stored form of the space, (N, width).
        rows: row of the pairs table of each embedding, int64 (N,). A row with several texts appears several
            times.
        floats: the real numbers before the signs of codes, (N, bits), where they were asked for.
    """

    points: np.ndarray
    rows: np.ndarray
    floats: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)

    def where(self, keep: np.ndarray) -> Side:
        """Return the embeddings for which the bool (N,) ``keep`` is true."""
        floats = None if self.floats is None else self.floats[keep]
        return Side(self.points[keep], self.rows[keep], floats)


def encode_pictures(
    encoder: DualEncoder,
    pairs: Pairs,
    rows: np.ndarray,
    *,
    output: Output = "points",
    floats: bool = False,
    batch_size: int = 256,
) -> Side:
    """Encode the pictures of some rows, from a feature file or from image files in bounded memory.

    Args:
        encoder: its ``image_input`` is ``pixels`` or ``features:NAME``.
        pairs: the data set.
        rows: row numbers (N,).
        output: as for `DualEncoder.encode_image`.
        floats: also keep the embeddings before they are stored.
        batch_size: pictures per forward pass.

    Returns:
        The embeddings, one per row.

    Raises:
        LimbeckError: the data set lacks the feature file, or a picture is missing or unreadable.
    """
    rows = np.asarray(rows, np.int64)
    kind, name = Reads.of(encoder.image_input)
    outputs = _outputs(output, floats)
    if kind == "features":
        found = encoder.encode("image", pairs.features(name, rows), *outputs, batch_size=batch_size)
    else:
        blocks = _blocks(pairs, rows.tolist())
        parts = [encoder.encode("image", pictures, *outputs, batch_size=batch_size) for pictures in blocks]
        found = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Side(found[0], rows, *found[1:])


def _outputs(output: Output, floats: bool) -> list[Output]:
    return [output, "embeddings"] if floats else [output]


def _blocks(pairs: Pairs, rows: Sequence[int]) -> Iterator[list[Image.Image]]:
    """Yield the pictures of rows in blocks of bounded memory; threads open them."""
    block: list[Image.Image] = []
    with closing(read_ahead(rows, pairs.open_image, 2 * default_workers())) as coming:
        for _, picture in coming:
            block.append(picture.result())
            pixels = sum(picture.width * picture.height for picture in block)
            if len(block) == PICTURES_AT_ONCE or pixels >= PIXELS_AT_ONCE:
                yield block
                block = []
    if block:
        yield block


def encode_texts(
    encoder: DualEncoder,
    texts: Sequence[Sequence[str]],
    rows: np.ndarray,
    *,
    output: Output = "points",
    floats: bool = False,
    batch_size: int = 256,
) -> Side:
    """Encode the texts of some rows; the encoder sees each distinct text once.

    Args:
        encoder: the dual encoder.
        texts: the texts of each row under the protocol (`ResolvedSplit.texts`), length N.
        rows: row numbers (N,).
        output: as for `DualEncoder.encode_text`.
        floats: also keep the embeddings before they are stored.
        batch_size: texts per forward pass.

    Returns:
        The embeddings, one per text.

    Raises:
        LimbeckError: no row has a text.
    """
    flat = [text for row_texts in texts for text in row_texts]
    if not flat:
        raise LimbeckError(
            f"none of {len(texts)} rows has a text; import captions or tags, or choose another protocol",
            code="E-DATA-TEXT",
        )
    counts = [len(row_texts) for row_texts in texts]
    points, *more = encoder.encode("text", flat, *_outputs(output, floats), batch_size=batch_size)
    return Side(points, np.repeat(np.asarray(rows, np.int64), counts), *more)
