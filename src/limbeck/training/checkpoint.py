"""Save and restore training state: safetensors and JSON with checksums, published by rename.

After a kill the last complete checkpoint remains. If a checkpoint is damaged, the newest sound one is used.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch

from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.errors import LimbeckError
from limbeck.files import Kind, atomic_dir, plain_json, read_json, sha256_file, sha256_json, write_json
from limbeck.methods import Method
from limbeck.training.processes import all_gather, rank, several
from limbeck.training.spikes import SpikeState
from limbeck.training.update import Update
from limbeck.typed import Json

FORMAT = 1
STATE = Kind("checkpoint", r"state\.(json|safetensors)")
_LATER = {"teacher"}  # older checkpoints lack this key
_TENSORS, _FACTS = "state.safetensors", "state.json"


class _Foreign(LimbeckError):
    """A sound checkpoint of another method, recipe, data set or format; older ones would not fit either."""


class _Best(TypedDict):
    folder: str
    sha256: str


class Extra(TypedDict, total=False):
    """State of parts of the loop, where they have some.

    Attributes:
        best: folder and checksum of the best model.
        training_seconds: time so far, without validation.
        scaler: the state of the scale of fp16.
        spikes: see `limbeck.training.spikes`.
        weights_at_start: the length of all trained weights.
    """

    best: _Best
    training_seconds: float
    scaler: dict[str, float]
    spikes: SpikeState
    weights_at_start: float


@dataclass
class Progress:
    """The position and best score of a stage: what a resume needs besides tensors.

    Attributes:
        step: training steps done.
        best_score: best validation score so far.
        best_step: the step of that score.
        seconds: wall-clock time so far, validation included.
        extra: further state.
    """

    step: int = 0
    best_score: float | None = None
    best_step: int | None = None
    seconds: float = 0.0
    extra: Extra = field(default_factory=Extra)


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of all files of a directory."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return sha256_json([[file.relative_to(folder).as_posix(), sha256_file(file)] for file in files])


class BestModel:
    """``best-<step>/``: the model of the best validated step; checkpoints name folder and checksum."""

    @staticmethod
    def save(method: Method, folder: Path, progress: Progress) -> None:
        """Write the model of ``progress.step`` and record it in ``progress``."""
        name = f"best-{progress.step:08d}"
        method.encoder.save(folder / name)
        progress.extra["best"] = {"folder": name, "sha256": folder_digest(folder / name)}

    @staticmethod
    def find(folder: Path, extra: Extra) -> Path | None:
        """Return the directory that ``Progress.extra`` names, or None if no best model was saved.

        Raises:
            LimbeckError: the directory is missing or damaged.
        """
        noted = extra.get("best")
        if noted is None:  # an older checkpoint, which does not name the best model
            return folder / "best" if (folder / "best").is_dir() else None
        place = folder / noted["folder"]
        if not place.is_dir():
            raise LimbeckError(f"{place}: the model of the best step is missing", code="E-RUN-DAMAGED")
        if folder_digest(place) != noted["sha256"]:
            raise LimbeckError(
                f"{place}: the model of the best step is damaged (its checksum differs)", code="E-RUN-DAMAGED"
            )
        return place


def trainable_state(method: Method) -> dict[str, torch.Tensor]:
    """Return the method's weights and buffers, without frozen pretrained weights that their source holds."""
    referenced = tuple(f"encoder.{prefix}" for prefix in method.encoder.referenced())
    return {
        name: tensor
        for name, tensor in method.state_dict().items()
        if not (referenced and name.startswith(referenced))
    }


class CheckpointFolder:
    """The checkpoints ``state-<step>/`` of a stage, of which the newest ones are kept."""

    def __init__(
        self,
        folder: Path,
        *,
        identity: dict[str, Json],
        also: Mapping[str, Sequence[object]] | None = None,
        keep: int = 2,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Name the folder; read nothing yet.

        Args:
            folder: directory of the stage.
            identity: method and the hashes of recipe, data and teacher; a checkpoint must have the same.
            also: further values per key of the identity that a checkpoint may have.
            keep: number of checkpoints to keep.
            say: receives one line per damaged checkpoint, and one for a checkpoint without checksums.
        """
        self.folder, self.identity, self.also, self.keep = folder, identity, also or {}, keep
        self.say = say or (lambda line: None)
        # The checkpoints that stay, the newest last, each with the best model that it names.
        self._kept: list[tuple[str, str | None]] = []

    def states(self) -> list[Path]:
        """Return the directories of all checkpoints, the newest first."""
        return sorted(self.folder.glob("state-*"), key=lambda p: int(p.name.split("-")[1]), reverse=True)

    def save(self, method: Method, update: Update, progress: Progress) -> None:
        """Write a checkpoint with everything that the next step depends on, and remove old ones.

        All processes call this, because each has its own random state; the first one writes.
        """
        random = _random_states(method.encoder.device)
        if rank():
            return
        tensors = {f"method/{name}": tensor for name, tensor in trainable_state(method).items()}
        state, names = update.optimizer.state_dict()["state"], update.names
        for index, entry in state.items():
            for key, value in entry.items():
                tensors[f"optimizer/{names[index]}/{key}"] = update.turned(
                    names[index], torch.as_tensor(value)
                )
        tensors |= random
        if update.average is not None:
            tensors |= {f"average/{name}": weight for name, weight in update.average.weights.items()}
        if update.scaler.is_enabled():
            progress.extra["scaler"] = update.scaler.state_dict()
        target = self.folder / f"state-{progress.step:08d}"
        with atomic_dir(target, replaces=STATE) as aside:
            save_tensors(aside / _TENSORS, tensors)
            facts = plain_json({"format": FORMAT, **self.identity, **vars(progress)})
            facts["sha256"] = sha256_file(aside / _TENSORS)
            write_json(aside / _FACTS, facts | {"check": sha256_json(facts)})
        self._kept = [*self._kept, (target.name, _best_folder(progress))][-self.keep :]
        for kind, names_kept in enumerate(zip(*self._kept, strict=True)):
            for old in self.folder.glob(("state-*", "best-*")[kind]):
                if old.name not in names_kept:
                    shutil.rmtree(old, ignore_errors=True)

    def restore(self, method: Method, update: Update) -> Progress:
        """Load the newest sound checkpoint.

        Args:
            method: receives weights and buffers.
            update: receives the optimizer's moments, the scale and the average.

        Returns:
            The stored progress; a new `Progress` if there is no checkpoint.

        Raises:
            LimbeckError: no checkpoint is sound, the newest is of another method or recipe, or a curvature
                is out of its bounds.
        """
        path, progress, tensors = self._newest_sound()
        if path is None:
            return progress
        current = trainable_state(method)
        saved = {n.removeprefix("method/"): t for n, t in tensors.items() if n.startswith("method/")}
        if set(saved) != set(current):
            odd = sorted(set(saved) ^ set(current))[0]
            raise LimbeckError(
                f"{path / _TENSORS}: does not hold this method's weights ({odd!r} differs); "
                "choose another --out",
                code="E-RUN-OTHER-SETTINGS",
            )
        try:
            method.load_state_dict(saved, strict=False)
            _load_optimizer(update, tensors)
            _restore_random(tensors)
            if update.average is not None:
                for name, weight in update.average.weights.items():
                    weight.copy_(tensors[f"average/{name}"])
            if update.scaler.is_enabled():
                update.scaler.load_state_dict(progress.extra["scaler"])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1].strip()[:120]
            raise LimbeckError(
                f"{path / _TENSORS}: is damaged ({reason}); remove {path} to resume from an older checkpoint",
                code="E-RUN-DAMAGED",
            ) from error
        method.encoder.lift.check(f"{path / _TENSORS}")
        self._kept = [(path.name, _best_folder(progress))]
        return progress

    def _newest_sound(self) -> tuple[Path | None, Progress, dict[str, torch.Tensor]]:
        damaged: list[str] = []
        for path in self.states():
            try:
                progress, tensors = self._read(path)
                BestModel.find(self.folder, progress.extra)
            except _Foreign:
                raise
            except LimbeckError as error:
                damaged.append(str(error))
                continue
            for line in damaged:
                self.say(f"{line}; resuming from the older {path.name}")
            return path, progress, tensors
        if damaged:
            raise LimbeckError(
                f"{damaged[0]}; no older checkpoint is sound; remove {self.folder} to restart the stage",
                code="E-RUN-DAMAGED",
            )
        return None, Progress(), {}

    def _read(self, path: Path) -> tuple[Progress, dict[str, torch.Tensor]]:
        stored = _read_facts(path / _FACTS)
        for key, value in self.identity.items():
            recorded = stored.get(key, value if key in _LATER else None)
            if recorded != value and recorded not in self.also.get(key, ()):
                raise _Foreign(
                    f"{path}: checkpoint of another {key} ({recorded!r}, expected {value!r}); "
                    "choose another --out",
                    code="E-RUN-OTHER-SETTINGS",
                )
        if "sha256" not in stored:
            self.say(f"{path}: has no checksums (an older limbeck wrote it); used unchecked")
        elif not (path / _TENSORS).is_file() or sha256_file(path / _TENSORS) != stored["sha256"]:
            raise LimbeckError(
                f"{path / _TENSORS}: is missing or damaged (its checksum differs)", code="E-RUN-DAMAGED"
            )
        progress = Progress(**{name: stored[name] for name in vars(Progress())})
        return progress, load_tensors(path / _TENSORS)

    def clear(self) -> None:
        """Remove all checkpoints, once the stage is done."""
        for old in self.folder.glob("state-*"):
            shutil.rmtree(old, ignore_errors=True)


def _best_folder(progress: Progress) -> str | None:
    best = progress.extra.get("best")
    return None if best is None else best["folder"]


def _random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the random states of all processes by name; those of the first have no number."""
    own = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        own["random/cuda"] = torch.cuda.get_rng_state()
    return {
        _numbered(name, number): state.cpu()
        for name, mine in own.items()
        for number, state in enumerate(all_gather(mine.to(device) if several() else mine))
    }


def _restore_random(tensors: Mapping[str, torch.Tensor]) -> None:
    torch.set_rng_state(tensors[_numbered("random/cpu", rank())])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_numbered("random/cuda", rank())])


def _numbered(name: str, process: int) -> str:
    return f"{name}/{process}" if process else name


def _load_optimizer(update: Update, tensors: dict[str, torch.Tensor]) -> None:
    state = update.optimizer.state_dict()
    for index, name in enumerate(update.names):
        prefix = f"optimizer/{name}/"
        entry = {
            n.removeprefix(prefix): update.turned(name, t) for n, t in tensors.items() if n.startswith(prefix)
        }
        if entry:
            state["state"][index] = entry
    update.optimizer.load_state_dict(state)


def _read_facts(file: Path) -> dict[str, Any]:
    stored = read_json(file)
    if not isinstance(stored, dict) or not vars(Progress()).keys() <= stored.keys():
        raise LimbeckError(f"{file}: is damaged; remove its folder", code="E-RUN-DAMAGED")
    if stored.get("format") != FORMAT:
        raise _Foreign(
            f"{file}: format {stored.get('format')!r}, but this limbeck reads {FORMAT}; upgrade limbeck",
            code="E-FILE-VERSION",
        )
    check = stored.pop("check", None)
    if check is not None and sha256_json(stored) != check:
        raise LimbeckError(f"{file}: is damaged (its checksum differs)", code="E-RUN-DAMAGED")
    return stored
