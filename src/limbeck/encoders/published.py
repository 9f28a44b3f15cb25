"""Publish a model: a directory with weights, ONNX graphs, a model card and checksums, here or on the hub."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.encoders.ancestry import ancestry
from limbeck.encoders.card import card
from limbeck.encoders.sources import is_hub_id
from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir, read_json, sha256_file, write_json
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.encoders.dual import DualEncoder

# Values of these keys name places of this machine.
_PLACES = ("path", "source", "tokenizer", "_name_or_path")
_ANSWER_S = 10.0  # the hub's client itself waits without limit


def save_pretrained(
    model: DualEncoder, folder: Path | str, *, license: str | None = None, place: str | None = None
) -> None:
    """Write a directory that needs no other file: model, ONNX graphs, ``README.md`` and ``SHA256SUMS``.

    The weights of earlier models are copied into it. Their paths on this machine are cut to their
    names, which changes `DualEncoder.space_id`: points stay equal, but an index of one refuses the other.

    Args:
        model: the model; `limbeck.load` tells where it comes from.
        folder: the new directory.
        license: the licence on the card, such as ``apache-2.0``.
        place: how the card names the model in its examples; by default the directory's name.

    Raises:
        LimbeckError: the directory exists or cannot be written.
    """
    from limbeck.encoders.dual import DualEncoder

    folder = Path(folder)
    made = ancestry(model.opened_from, [tower.describe()["config"] for tower in model.towers.values()])
    with atomic_dir(folder) as aside:
        model.save(aside, bundle=True)
        for file in aside.rglob("*.json"):
            if file.name != "tokenizer.json":  # its vocabulary is no configuration
                write_json(file, _without_places(read_json(file)))
        copy = DualEncoder.load(aside)
        write_json(aside / "model.json", read_json(aside / "model.json") | {"space_id": copy.space_id})
        onnx = _write_graphs(copy, aside)
        text = card(copy, made, place or folder.resolve().name, license, onnx=onnx)
        (aside / "README.md").write_text(text, encoding="utf-8", newline="\n")
        files = sorted(file for file in aside.rglob("*") if file.is_file())
        sums = "".join(f"{sha256_file(file)}  {file.relative_to(aside).as_posix()}\n" for file in files)
        (aside / "SHA256SUMS").write_text(sums, encoding="utf-8", newline="\n")


def push_to_hub(
    model: DualEncoder, repo_id: str, *, private: bool = False, license: str | None = None
) -> str:
    """Write the directory of `save_pretrained` and upload it; return its address.

    Args:
        model: the model.
        repo_id: OWNER/NAME; it is created where it does not exist.
        private: whether a new repository is private.
        license: the licence on the card.

    Raises:
        LimbeckError: there is no token, or the hub refuses or does not answer.
    """
    from huggingface_hub import HfApi, get_token

    if not is_hub_id(repo_id):
        raise LimbeckError(f"{repo_id}: is not a hub id; write OWNER/NAME", code="E-OPTION-FORM")
    if get_token() is None:
        raise _cannot_push(repo_id, "no token")
    api = HfApi(library_name="limbeck")
    _asked(repo_id, lambda: _in_time(api.whoami))
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        save_pretrained(model, folder, license=license, place=repo_id)
        _asked(repo_id, lambda: api.create_repo(repo_id, private=private, exist_ok=True))
        _asked(
            repo_id,
            lambda: api.upload_folder(
                repo_id=repo_id, folder_path=folder, commit_message="Upload by limbeck"
            ),
        )
    return f"{api.endpoint}/{repo_id}"


def _without_places(tree: Json) -> Json:
    """Shorten the paths in a stored configuration to their last part."""
    if isinstance(tree, list):
        return [_without_places(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    return {key: _name(value) if key in _PLACES else _without_places(value) for key, value in tree.items()}


def _name(value: Json) -> Json:
    if not isinstance(value, str):
        return _without_places(value)
    return Path(value).name if "/" in value and not is_hub_id(value) else value


def _write_graphs(model: DualEncoder, folder: Path) -> bool:
    try:
        model.save_onnx(folder)
    except LimbeckError as error:
        if error.code != "E-EXPORT-UNSUPPORTED":
            raise
        return False
    return True


def _asked(repo_id: str, call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:  # the client's errors have no common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".")
        raise _cannot_push(repo_id, reason) from error


def _cannot_push(repo_id: str, reason: str) -> LimbeckError:
    return LimbeckError(
        f"{repo_id}: cannot be pushed ({reason}); log in with `hf auth login` with a token that may write, "
        "or write the directory with --card DIR",
        code="E-MODEL-UPLOAD",
    )


def _in_time(call: Callable[[], object]) -> None:
    """Call in another thread and wait a few seconds for its end."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            call()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(_ANSWER_S)
    if thread.is_alive():
        raise TimeoutError(f"no answer of the hub within {_ANSWER_S:g} s")
    if failed:
        raise failed[0]
