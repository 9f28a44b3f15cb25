"""Training state on disk: safetensors and JSON, published by rename: a kill leaves the last whole one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir, read_json, write_json
from limbeck.methods import Method

FORMAT = 1
_LATER = {"teacher"}  # what checkpoints from before do not name


@dataclass
class Progress:
    """Position and selection of a stage: what, beside tensors, a resume needs."""

    step: int = 0
    best_score: float | None = None
    best_step: int | None = None
    seconds: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


def trainable_state(method: Method) -> dict[str, torch.Tensor]:
    """The method's weights and buffers, without frozen pretrained weights that their source still holds."""
    referenced = tuple(f"encoder.{prefix}" for prefix in method.encoder.referenced())
    return {
        name: tensor
        for name, tensor in method.state_dict().items()
        if not (referenced and name.startswith(referenced))
    }


class CheckpointFolder:
    """``state-<step>/`` directories of a stage; the newest counts, older ones go once the new one stands."""

    def __init__(self, folder: Path, *, identity: dict[str, Any]) -> None:
        """``identity`` (method, hashes of recipe, data and teacher) must agree between writer and reader."""
        self.folder, self.identity = folder, identity

    def latest(self) -> Path | None:
        """The newest whole checkpoint, or None."""
        found = sorted(self.folder.glob("state-*"), key=lambda p: int(p.name.split("-")[1]))
        return found[-1] if found else None

    def save(
        self, method: Method, optimizer: torch.optim.Optimizer, names: list[str], progress: Progress
    ) -> None:
        """Write everything that the next step depends on."""
        tensors = {f"method/{name}": tensor for name, tensor in trainable_state(method).items()}
        state = optimizer.state_dict()["state"]
        for index, entry in state.items():
            for key, value in entry.items():
                tensors[f"optimizer/{names[index]}/{key}"] = torch.as_tensor(value)
        tensors["random/cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        target = self.folder / f"state-{progress.step:08d}"
        with atomic_dir(target, replace=True) as aside:
            save_tensors(aside / "state.safetensors", tensors)
            write_json(aside / "state.json", {"format": FORMAT, **self.identity, **vars(progress)})
        for old in self.folder.glob("state-*"):
            if old != target:
                shutil.rmtree(old, ignore_errors=True)

    def restore(self, method: Method, optimizer: torch.optim.Optimizer, names: list[str]) -> Progress:
        """Load the newest checkpoint into method and optimizer; a fresh `Progress` when there is none.

        Raises:
            LimbeckError: truncated or damaged files, a checkpoint of another method or recipe, a curvature
                out of its bounds.
        """
        path = self.latest()
        if path is None:
            return Progress()
        stored = _read_state(path / "state.json")
        for key, value in self.identity.items():
            if stored.get(key, value if key in _LATER else None) != value:
                raise LimbeckError(
                    f"{path}: checkpoint of another {key} ({stored.get(key)!r}, wanted {value!r}); "
                    "choose another --out"
                )
        tensors = load_tensors(path / "state.safetensors")
        own = trainable_state(method)
        saved = {n.removeprefix("method/"): t for n, t in tensors.items() if n.startswith("method/")}
        if set(saved) != set(own):
            odd = sorted(set(saved) ^ set(own))[0]
            raise LimbeckError(
                f"{path / 'state.safetensors'}: does not hold this method's weights ({odd!r} differs); "
                "choose another --out"
            )
        try:
            method.load_state_dict(saved, strict=False)
            _load_optimizer(optimizer, names, tensors)
            torch.set_rng_state(tensors["random/cpu"])
            if "random/cuda" in tensors and torch.cuda.is_available():
                torch.cuda.set_rng_state(tensors["random/cuda"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1].strip()[:120]
            raise LimbeckError(
                f"{path / 'state.safetensors'}: damaged ({reason}); remove {path} to start the stage anew"
            ) from error
        method.encoder.lift.check(f"{path / 'state.safetensors'}")
        return Progress(**{k: stored[k] for k in vars(Progress())})

    def clear(self) -> None:
        """Remove all checkpoints (the stage is done)."""
        for old in self.folder.glob("state-*"):
            shutil.rmtree(old, ignore_errors=True)


def _load_optimizer(
    optimizer: torch.optim.Optimizer, names: list[str], tensors: dict[str, torch.Tensor]
) -> None:
    state = optimizer.state_dict()
    for index, name in enumerate(names):
        prefix = f"optimizer/{name}/"
        entry = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if entry:
            state["state"][index] = entry
    optimizer.load_state_dict(state)


def _read_state(file: Path) -> dict[str, Any]:
    stored = read_json(file)
    if not isinstance(stored, dict) or not vars(Progress()).keys() <= stored.keys():
        raise LimbeckError(f"{file}: damaged; remove {file.parent} to start the stage anew")
    if stored.get("format") != FORMAT:
        raise LimbeckError(
            f"{file}: format {stored.get('format')!r}, this limbeck reads {FORMAT}; upgrade it"
        )
    return stored
