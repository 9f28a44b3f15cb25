"""The directory of a saved model: written completely or not at all, and read without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from limbeck.encoders.lifts import lift_from_json
from limbeck.encoders.lora import merged
from limbeck.encoders.onnx_export import export_onnx
from limbeck.encoders.references import referenced_weights, references_to
from limbeck.encoders.sources import hub_closed, incomplete
from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.files import Kind, atomic_dir, read_json, write_json
from limbeck.notices import say
from limbeck.onnx.encoder import FOLDER, SETTINGS

if TYPE_CHECKING:
    from limbeck.encoders.dual import DualEncoder

FORMAT = 1
# Each tower has a folder of assets: vocabularies, tokenizers, settings.
MODEL = Kind(
    "model directory",
    r"model\.(json|safetensors)|(image|text|onnx)/(.+/)?[^/]+\.(json|txt|model|safetensors|onnx)",
    "model.json",
    lambda value: value.get("kind") == "dual-encoder",
)


def write_model(
    model: DualEncoder, folder: Path | str, *, bundle: bool = False, graphs: bool = False
) -> None:
    """Write ``model.json``, ``model.safetensors`` and the towers' assets, completely or not at all.

    Unchanged pretrained weights are stored by reference (source and SHA-256) unless ``bundle`` is set.
    Adapters (LoRA) are merged into the weights. A model at ``folder`` is replaced.

    Args:
        model: the model.
        folder: the model directory.
        bundle: store all weights, so that the model needs no other files.
        graphs: also write ONNX graphs (`export_onnx`), but not of weights that are stored by reference. A
            tower that ONNX cannot express is reported.

    Raises:
        LimbeckError: ``folder`` contains anything but a model that limbeck wrote, or cannot be written.
    """
    with merged(model), atomic_dir(folder, replaces=MODEL) as aside:
        references = {} if bundle else model.referenced()
        space_id, tensors = model.space_id, model.state_dict()
        for modality, tower in model.towers.items():
            (aside / modality).mkdir()
            tower.backbone.save_assets(aside / modality)
        own = {name: x for name, x in tensors.items() if not name.startswith(tuple(references))}
        save_tensors(aside / "model.safetensors", own)
        write_json(
            aside / "model.json",
            {
                "format": FORMAT,
                "kind": "dual-encoder",
                "towers": {m: t.describe() for m, t in model.towers.items()},
                "lift": model.lift.describe(),
                "space": model.space.to_json(),
                "space_id": space_id,
                "image_input": model.image_input,
                "references": references_to(references),
            },
        )
        if graphs and not references:
            try:
                export_onnx(model, aside, space_id)
            except LimbeckError as error:
                say(f"{error}; so torch is loaded to encode")


def read_model(cls: type[DualEncoder], folder: Path, *, bundled: bool = False) -> DualEncoder:
    """Read a saved model, ready for inference: eval mode, no gradients.

    Nothing is executed and nothing is downloaded: weights that are referenced by a hub id come from the local
    cache.

    Args:
        cls: the class to make.
        folder: the model directory.
        bundled: True refuses references, as in an index, which contains its whole model.

    Raises:
        LimbeckError: there is no model, it is damaged, or referenced weights are missing or changed.
    """
    has_config = (folder / "model.json").exists()
    if not has_config and (folder / "model.safetensors").exists():
        raise incomplete(folder, "model.json")
    if not has_config and (folder / FOLDER / SETTINGS).exists():
        raise LimbeckError(
            f"{folder}: holds only ONNX graphs, which limbeck index and limbeck encode read; "
            "give the model that was exported",
            code="E-MODEL-MISSING",
        )
    stored = read_json(folder / "model.json")
    if not isinstance(stored, dict) or stored.get("kind") != "dual-encoder":
        raise LimbeckError(
            f"{folder / 'model.json'}: is not a limbeck model; use a run or a model directory",
            code="E-MODEL-MISSING",
        )
    if isinstance(stored.get("format"), int) and stored["format"] > FORMAT:
        raise LimbeckError(
            f"{folder / 'model.json'}: format {stored['format']} is newer than this version; upgrade limbeck",
            code="E-FILE-VERSION",
        )
    try:
        references = dict(stored["references"])
        with hub_closed():
            towers = {m: Tower.restore(stored["towers"][m], m, folder / m) for m in ("image", "text")}
        model = cls(towers["image"], towers["text"], lift_from_json(stored["lift"]))
    except LimbeckError as error:
        if error.code == "E-PATH-MISSING":  # a file of a tower
            missing = Path(str(error).partition(": there is no such file")[0])
            raise incomplete(folder, missing.relative_to(folder).as_posix()) from None
        raise
    except Exception as error:  # torch and transformers refuse odd values in many ways
        raise LimbeckError(
            f"{folder}: is damaged or of another version ({_reason(error)}); train again",
            code="E-MODEL-DAMAGED",
        ) from error
    if not (folder / "model.safetensors").is_file():
        raise incomplete(folder, "its weights (model.safetensors)")
    elsewhere = referenced_weights(model, references, folder, bundled=bundled)
    tensors = load_tensors(folder / "model.safetensors") | elsewhere
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise LimbeckError(
            f"{folder / 'model.safetensors'}: does not fit model.json ({reason[:120]}); restore both",
            code="E-MODEL-DAMAGED",
        ) from error
    model.lift.check(f"{folder / 'model.safetensors'}")
    return model.eval().requires_grad_(False)


def _reason(error: Exception) -> str:
    """Shorten an error; for a configuration, name the first field that is wrong."""
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())[:120]
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    return f"{field}: {first['msg']}" if field else str(first["msg"])
