"""Replaces the query encoder of an index without changing its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.index.lock import WAIT_SECONDS
from limbeck.index.manifest import Manifest
from limbeck.index.transaction import changing
from limbeck.index.writer import EncoderSource, write_encoder


def replace_encoder(
    path: Path | str, source: EncoderSource, *, model: str | None = None, lock_timeout: float = WAIT_SECONDS
) -> Manifest:
    """Publish a generation with the same rows and another query encoder; an error leaves the index unchanged.

    Args:
        path: the index directory.
        source: the encoder; its space must be the index's.
        model: where the encoder came from, for people to read; by default the manifest's entry stays.
        lock_timeout: seconds to wait for another writer.

    Returns:
        The new manifest.

    Raises:
        LimbeckError: there is no index, its points are of no known model, the encoder's space differs, the
            disk is full, or another writer holds the lock.
    """
    with changing(path, lock_timeout) as change:
        manifest = change.store.manifest
        _check_space(change.path, manifest, source)
        entry, files = write_encoder(change.path, source, change.written)
        change.files |= files
        model = model or manifest.model
        return change.publish(replace(manifest, encoders=[entry], model=model, asymmetric=source.asymmetric))


def _check_space(path: Path, manifest: Manifest, source: EncoderSource) -> None:
    if manifest.space_id is None:
        raise LimbeckError(
            f"{path}: does not record the model of its points; build it with --model", code="E-INDEX-MODEL"
        )
    if source.space_id != manifest.space_id:
        raise LimbeckError(
            f"{path}: the model's points are not the index's (space {source.space_id[:8]}, index "
            f"{manifest.space_id[:8]}); make it from the index's model (limbeck distil-text), or train it "
            f"with init: {{image: {path}}}, freeze: [image] and its lift",
            code="E-INDEX-OTHER-MODEL",
        )
