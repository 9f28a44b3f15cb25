"""A new query encoder for an index: one manifest more, not one row touched."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import fsync_path
from limbeck.index.garbage import collect_garbage
from limbeck.index.lock import WAIT_SECONDS, writer_lock
from limbeck.index.manifest import Manifest, manifest_path, newest_manifest, publish
from limbeck.index.writer import EncoderSource, write_encoder


def replace_encoder(
    path: Path | str, source: EncoderSource, *, model: str | None = None, lock_timeout: float = WAIT_SECONDS
) -> Manifest:
    """Publish a generation with the same rows and another query encoder; on any error the old one stands.

    Args:
        path: an index.
        source: the encoder, of the index's own space.
        model: where it came from, for people to read; what the manifest says is kept otherwise.
        lock_timeout: seconds to wait for another writer.

    Raises:
        LimbeckError: no index, points of no known model, an encoder of another space, a full disk, a held
            lock.
    """
    path = Path(path)
    newest_manifest(path)  # before a lock file is put into what is no index
    try:
        with writer_lock(path, lock_timeout):
            manifest = newest_manifest(path)
            _check_space(path, manifest, source)
            found = _publish(path, manifest, source, model)
            collect_garbage(path)
            return found
    except OSError as error:
        cause = error.strerror or str(error)
        raise LimbeckError(f"{path}: cannot write ({cause}); free space or choose another place") from error


def _check_space(path: Path, manifest: Manifest, source: EncoderSource) -> None:
    if manifest.space_id is None:
        raise LimbeckError(
            f"{path}: its points come from elsewhere, of no known model; build it with --model"
        )
    if source.space_id != manifest.space_id:
        raise LimbeckError(
            f"{path}: the model's codes are not the index's (space {source.space_id[:8]}, index "
            f"{manifest.space_id[:8]}); train it with init: {{image: {path}}}, freeze: [image], the same lift"
        )


def _publish(path: Path, manifest: Manifest, source: EncoderSource, model: str | None) -> Manifest:
    written: list[Path] = []
    generation = manifest.generation + 1
    try:
        entry, files = write_encoder(path, source, written)
        fsync_path(path / "encoders")
        kept = {name: file for name, file in manifest.files.items() if not name.startswith("encoders/")}
        found = dataclasses.replace(
            manifest,
            generation=generation,
            encoders=[entry],
            files=kept | files,
            model=model or manifest.model,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        publish(path, found)
    except BaseException:
        # Interrupted just after the link, the generation stands and its files must stay.
        if not manifest_path(path, generation).exists():
            for directory in written:
                shutil.rmtree(directory, ignore_errors=True)
        raise
    return found
