"""Embeddings of single texts by unchanged pretrained encoders, kept across runs.

`BackboneCache` keeps the outputs of one list of items. Another split, a fold or an evaluation is another
list, and the fit (mean and scale over the training texts) belongs to none, yet their sentences are the same.
This memory encodes each sentence once: the key is the text's token ids, under a hash of the encoder's
weights.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import torch

from limbeck.encoders.hub import weights_digest
from limbeck.files import atomic_file

LIMIT = 100_000  # texts per encoder, about 150 MB; later ones are computed again
_DAMAGED = (OSError, ValueError, KeyError, zipfile.BadZipFile)
_OPEN: ContextVar[Path | None] = ContextVar("_OPEN", default=None)
KNOWN: dict[Path, TextMemory] = {}


class TextMemory:
    """A folder of segments, each with keys uint8 (n, 16) and rows float32 (n, dim), written atomically."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[bytes, np.ndarray] = {}
        self.fresh: list[bytes] = []
        self.read: set[str] = set()

    def refresh(self) -> None:
        """Read what other processes have added; skip damaged segments."""
        for file in sorted(self.folder.glob("*.npz")):
            if file.name not in self.read:
                self.read.add(file.name)
                with contextlib.suppress(*_DAMAGED), np.load(file) as found:
                    keys, rows = found["keys"], found["rows"]
                    self.rows |= {key.tobytes(): row for key, row in zip(keys, rows, strict=True)}

    def outputs(self, keys: list[bytes], compute: Callable[[list[int]], np.ndarray]) -> np.ndarray:
        """Return the rows (B, dim) of keys; ``compute`` gets the positions of the unknown ones."""
        missing = [place for place, key in enumerate(keys) if key not in self.rows]
        found = dict(zip(missing, compute(missing), strict=True)) if missing else {}
        for place, row in found.items():
            if len(self.rows) < LIMIT and keys[place] not in self.rows:
                self.rows[keys[place]] = row
                self.fresh.append(keys[place])
        return np.stack(
            [found[place] if place in found else self.rows[key] for place, key in enumerate(keys)]
        )

    def save(self) -> None:
        """Write the new rows as one segment."""
        if self.fresh:
            keys = np.frombuffer(b"".join(self.fresh), np.uint8).reshape(len(self.fresh), -1)
            file = self.folder / f"{uuid.uuid4().hex[:16]}.npz"
            with atomic_file(file) as stream:
                np.savez(stream, keys=keys, rows=np.stack([self.rows[key] for key in self.fresh]))
            self.read.add(file.name)
            self.fresh = []


@contextlib.contextmanager
def remembered(folder: Path | None) -> Iterator[None]:
    """Let unchanged sentence encoders look texts up in ``folder`` and add to it; None disables the memory."""
    for known in KNOWN.values():
        known.refresh()
    token = _OPEN.set(folder)
    try:
        yield
        for known in KNOWN.values():
            known.save()
    finally:
        _OPEN.reset(token)


def recall(
    model: torch.nn.Module,
    ids: torch.Tensor,
    mask: torch.Tensor,
    compute: Callable[..., torch.Tensor],
    variant: str = "",
) -> torch.Tensor:
    """Return ``compute(ids, mask)`` (B, dim), row by row from the memory where one is open (`remembered`).

    Args:
        model: the unchanged network, whose weights name the memory.
        ids: token ids, int64 (B, L).
        mask: 1 at tokens, int64 (B, L).
        compute: a deterministic function of each row.
        variant: names what ``compute`` does after the network; each variant has its own memory.
    """
    place = _OPEN.get()
    if place is None or torch.is_grad_enabled() or model.training:
        return compute(ids, mask)
    memory = _memory(place, model, variant)
    keys = [
        hashlib.blake2b(own[:n].tobytes(), digest_size=16).digest()
        for own, n in zip(ids.cpu().numpy(), mask.sum(1).tolist(), strict=True)
    ]
    found = memory.outputs(keys, lambda rows: compute(ids[rows], mask[rows]).float().cpu().numpy())
    return torch.from_numpy(found).to(ids.device)


def _memory(place: Path, model: torch.nn.Module, variant: str) -> TextMemory:
    digest = getattr(model, "_digest", None)
    if digest is None:
        digest = weights_digest(model)[:32]
        object.__setattr__(model, "_digest", digest)
    folder = place / "-".join(["texts", digest, *([variant] if variant else [])])
    if folder not in KNOWN:
        KNOWN[folder] = TextMemory(folder)
        KNOWN[folder].refresh()
    return KNOWN[folder]
