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
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from limbeck.files import atomic_file

LIMIT = 100_000  # texts per encoder, about 150 MB; later ones are computed again
_DAMAGED = (OSError, ValueError, KeyError, zipfile.BadZipFile)


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

    def recall(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        compute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        """Return ``compute(ids, mask)`` (B, dim); only the rows of unknown texts are computed.

        Args:
            ids: token ids, int64 (B, L).
            mask: 1 at tokens, int64 (B, L).
            compute: a deterministic function of each row.
        """
        keys = [
            hashlib.blake2b(own[:n].tobytes(), digest_size=16).digest()
            for own, n in zip(ids.cpu().numpy(), mask.sum(1).tolist(), strict=True)
        ]
        missing = [place for place, key in enumerate(keys) if key not in self.rows]
        found: dict[int, np.ndarray] = {}
        if missing:
            rows = compute(ids[missing], mask[missing]).float().cpu().numpy()
            found = dict(zip(missing, rows, strict=True))
        for place, row in found.items():
            if len(self.rows) < LIMIT and keys[place] not in self.rows:
                self.rows[keys[place]] = row
                self.fresh.append(keys[place])
        known = [found[place] if place in found else self.rows[key] for place, key in enumerate(keys)]
        return torch.from_numpy(np.stack(known)).to(ids.device)

    def save(self) -> None:
        """Write the new rows as one segment."""
        if self.fresh:
            keys = np.frombuffer(b"".join(self.fresh), np.uint8).reshape(len(self.fresh), -1)
            file = self.folder / f"{uuid.uuid4().hex[:16]}.npz"
            with atomic_file(file) as stream:
                np.savez(stream, keys=keys, rows=np.stack([self.rows[key] for key in self.fresh]))
            self.read.add(file.name)
            self.fresh = []
