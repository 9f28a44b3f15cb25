"""Sources of pretrained models: a directory, an installed package, or the hub; and what is refused.

Every source is read from a local folder after that folder was checked. No code of it is executed, and the hub
is asked only for a name that the user gave.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import cache_directory, read_json
from limbeck.onnx.encoder import FOLDER, SETTINGS

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_WANTED = ["*.json", "*.txt", "*.model", "config.yaml", "model*.safetensors", "*/model.safetensors"]
_WANTED += [f"{FOLDER}/{modality}/model.onnx" for modality in ("image", "text")]  # of limbeck's own models
_UNWANTED = ["openvino/*"]
# Asked for only where a hub id has no weights by the names above.
_ELSE = [
    "open_clip_model*.safetensors",
    "textual/*",
    "visual/*",
    "onnx/vision_model.onnx*",
    "onnx/text_model.onnx*",
]
_CODE_FILES = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")


PATIENCE = 2.5
"""The seconds in which the hub must answer."""
STARTER = "starter"
_STARTER_VERSION = 1  # of the kept model; raised when `limbeck.encoders.starter` makes another one


@dataclass(frozen=True)
class Place:
    """A pretrained model on this machine: its name as the user gave it, and its folder (or file)."""

    name: str
    path: Path

    def refuse(self, why: str, code: str = "E-MODEL-UNSUPPORTED") -> LimbeckError:
        """Return the error of a model that cannot be loaded."""
        return LimbeckError(f"{self.name}: {why}", code=code)


def starter_folder() -> Path:
    """Return the place of the starter model, which exists once the model was made."""
    return cache_directory() / f"{STARTER}-{_STARTER_VERSION}"


def names_starter(source: str) -> bool:
    """Return whether a name means the starter model, and not a folder of that name."""
    return source == STARTER and not Path(source).exists()


def model_folder(source: str) -> Path | None:
    """Return the model directory that a name means: itself, a run's, the starter's, or one of the hub.

    It holds ``model.json``, or ONNX graphs only. The result is None for a name of another format.

    Raises:
        LimbeckError: there is nothing by this name, or only an unfinished run.
    """
    folder = Path(source)
    if is_hub_id(source):
        places = [local_folder(source)]
    elif names_starter(source):
        places = [starter_folder()]
    else:
        places = [folder, folder / "model"]
    for place in places:
        if (place / "model.json").is_file() or (place / FOLDER / SETTINGS).is_file():
            return place
    if (folder / "recipe.yaml").is_file():
        raise LimbeckError(
            f"{folder}: holds no model, as the run is unfinished; continue it with: limbeck train --resume",
            code="E-MODEL-MISSING",
        )
    if not folder.exists() and not is_hub_id(source) and source != STARTER:
        raise LimbeckError(
            f"{folder}: there is no such run or model directory, nor a hub id (OWNER/NAME)",
            code="E-MODEL-MISSING",
        )
    return None


def local_folder(source: str, *, network: bool = True) -> Path:
    """Return the place of a source: a directory, a ``.pth`` file, ``package:NAME`` (pip), or a hub id.

    Args:
        source: the source as a recipe or the user names it.
        network: False reads a hub id from the local cache only.

    Raises:
        LimbeckError: there is no such directory, package or hub id, or the hub cannot be reached.
    """
    if source.startswith("package:"):
        return _package(source)
    folder = Path(source).expanduser()
    if source and (folder.is_dir() or (folder.suffix == ".pth" and folder.is_file())):
        return folder
    if not is_hub_id(source):
        kind = "is a file" if folder.exists() else "there is no such directory"
        raise LimbeckError(
            f"{source}: {kind}; use the directory of a model, or a hub id (OWNER/NAME)",
            code="E-MODEL-MISSING",
        )
    return _from_hub(source, network)


def is_hub_id(source: str) -> bool:
    """Return True for OWNER/NAME that is not a path: neither it nor its parent exists here."""
    parts = source.split("/")
    dotted = source.startswith((".", "~")) or any(part in (".", "..") for part in parts)
    return bool(_HUB_ID.fullmatch(source)) and not dotted and not Path(parts[0]).exists()


def lasting(source: str | None) -> str | None:
    """Return the source as it is stored: a local directory or file by its absolute path."""
    if source is None or not Path(source).expanduser().exists():
        return source
    return str(Path(source).expanduser().resolve())


def shown(path: Path) -> str:
    """Name the first entries of a folder, for messages."""
    names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else [path.name]
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "no file"


def incomplete(where: Path | str, lacks: str) -> LimbeckError:
    """Return the error of a model whose directory lacks some of its files."""
    return LimbeckError(
        f"{where}: the directory is incomplete, it lacks {lacks}; copy or download the whole model again",
        code="E-MODEL-DAMAGED",
    )


def transformer_folder(folder: Path) -> Path:
    """Return the folder of the transformer: the given one, or the subfolder that ``modules.json`` names."""
    if (folder / "config.json").is_file() or not (folder / "modules.json").is_file():
        return folder
    kinds = ("Transformer", "CLIPModel")
    modules = read_json(folder / "modules.json")
    paths = [str(one.get("path", "")) for one in modules if str(one["type"]).endswith(kinds)]
    return inside(folder, paths[0]) if paths else folder


def inside(folder: Path, path: str) -> Path:
    """Return a subfolder that ``modules.json`` names; any other place is refused."""
    if path in (".", "..") or "/" in path.rstrip("/") or "\\" in path:
        raise LimbeckError(
            f"{folder / 'modules.json'}: path {path!r} is not a folder of this model; restore it",
            code="E-MODEL-DAMAGED",
        )
    return folder / path


def check_code(folder: Path, source: str) -> None:
    """Refuse a folder with its own code (``auto_map``)."""
    for name in _CODE_FILES:
        if (folder / name).is_file():
            check_no_code(f"{source}: {name}", read_json(folder / name))


def check_no_code(where: Path | str, stored: object) -> None:
    """Refuse a configuration that names its own code."""
    if _has_key(stored, "auto_map"):
        raise LimbeckError(
            f"{where}: names its own code (auto_map), and limbeck never runs the code of a model; "
            "use a model of a class that transformers has",
            code="E-MODEL-UNSUPPORTED",
        )


def check_weights(folder: Path, source: str) -> None:
    """Refuse missing or pickled weights, even if only their index names them, and adapters next to them."""
    # A library may apply an adapter or leave it out without a word; either changes the embeddings.
    if list(folder.glob("adapter_config.json")) or list(folder.glob("adapter_model.*")):
        raise LimbeckError(
            f"{source}: holds an adapter (adapter_config.json, adapter_model), which limbeck does not apply; "
            "merge it into the weights first (merge_and_unload of peft) and save the merged model, or remove "
            "the adapter's files to use the model without it",
            code="E-MODEL-UNSUPPORTED",
        )
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        _check_index(index)
    elif not list(folder.glob("*.safetensors")) and (pickled := sorted(folder.glob("*.bin"))):
        raise LimbeckError(
            f"{source}: contains only pickled weights (.bin), which are never loaded; convert them, in its "
            f"folder: {conversion(pickled[0].name, 'model.safetensors')}",
            code="E-FILE-PICKLE",
        )
    elif not list(folder.glob("*.safetensors")):
        raise incomplete(source, "its weights (model.safetensors)")


def conversion(pickled: str, out: str) -> str:
    """Return the command that turns a state dict from a pickle into safetensors."""
    return (
        f"python -c \"import torch, safetensors.torch as s; w = torch.load('{pickled}', weights_only=True); "
        f"s.save_file({{k: v.clone().contiguous() for k, v in w.items()}}, '{out}', {{'format': 'pt'}})\""
    )


@contextlib.contextmanager
def hub_closed() -> Iterator[None]:
    """Stop every library from reaching the hub in this context, whatever a configuration names."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _package(source: str) -> Path:
    name = source.removeprefix("package:").replace("-", "_")
    # A dotted name would import its parent, which runs it.
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise LimbeckError(
            f"{source}: the package is not installed; run: pip install {name.replace('_', '-')}",
            code="E-PACKAGE-MISSING",
        )
    root = Path(next(iter(spec.submodule_search_locations)))
    folders = sorted(path.parent for path in root.rglob("modules.json")) or sorted(
        path.parent for path in root.rglob("config.json") if list(path.parent.glob("*.safetensors"))
    )
    if not folders:
        raise LimbeckError(
            f"{source}: the package has no folder with config.json and safetensors weights",
            code="E-MODEL-MISSING",
        )
    return folders[0]


def _from_hub(source: str, network: bool) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    closed = not network or constants.HF_HUB_OFFLINE
    silent = not closed and not _answers(f"{constants.ENDPOINT}/api/models/{source}")
    offline = closed or silent
    fetch = functools.partial(snapshot_download, source, local_files_only=offline, etag_timeout=5)
    try:
        found = Path(fetch(allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
        if not offline and not list(found.rglob("*.safetensors")):
            _check_checkpoints(source)
            found = Path(fetch(allow_patterns=_ELSE, ignore_patterns=["*.rknn", "*.armnn"]))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        if not network:
            raise LimbeckError(
                f"{source}: these weights from the hub are not on this machine, and loading a saved model "
                f"downloads nothing; fetch them with: hf download {source}",
                code="E-MODEL-DOWNLOAD",
            ) from error
        why = f"it was silent for {PATIENCE} s" if silent else _first_line(error)
        why = "the hub is switched off by HF_HUB_OFFLINE" if closed else why
        raise LimbeckError(
            f"{source}: cannot be loaded: there is no such directory, and the hub did not return it ({why}); "
            "use a local directory or a reachable hub id",
            code="E-MODEL-DOWNLOAD",
        ) from error
    return found


def _answers(address: str) -> bool:
    """Return False where a request still waits after `PATIENCE`; the hub's own client retries for minutes."""

    def ask() -> None:
        with contextlib.suppress(Exception):  # any answer will do, also a refusal
            urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=60).close()

    waiting = threading.Thread(target=ask, daemon=True)
    waiting.start()
    waiting.join(PATIENCE)
    return not waiting.is_alive()


def _check_checkpoints(source: str) -> None:
    """Refuse a hub id of checkpoints: the user chooses one, and it needs a tokenizer (MERU, HyCoCLIP)."""
    from huggingface_hub import HfApi

    names = [name for name in HfApi().list_repo_files(source) if name.endswith(".pth")]
    if names:
        raise LimbeckError(
            f"{source}: holds checkpoints ({', '.join(names[:4])}), which limbeck does not fetch by itself; "
            f"run: hf download {source} {names[0]} --local-dir DIR, add CLIP's tokenizer.json, give DIR",
            code="E-MODEL-DOWNLOAD",
        )


def _check_index(index: Path) -> None:
    stored = read_json(index)
    named = stored.get("weight_map") if isinstance(stored, dict) else None
    if not isinstance(named, dict) or not named:
        raise LimbeckError(f"{index}: names no weights; restore it", code="E-MODEL-DAMAGED")
    for name in sorted({str(name) for name in named.values()}):
        if not name.endswith(".safetensors") or Path(name).name != name or "\\" in name:
            raise LimbeckError(
                f"{index}: names {json.dumps(name)}, which is not a safetensors file in the same folder; "
                "convert the weights to safetensors",
                code="E-MODEL-DAMAGED",
            )


def _has_key(value: object, key: str) -> bool:
    if isinstance(value, dict):
        return bool(value.get(key)) or any(_has_key(inner, key) for inner in value.values())
    return isinstance(value, list) and any(_has_key(inner, key) for inner in value)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].removeprefix("Got: ")[:160]
