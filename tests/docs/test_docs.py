"""The pages are true: commands parse, recipes resolve, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main
import yaml
from docs_markdown import PAGES, ROOT, Block, anchors, blocks, links
from pydantic import BaseModel

from limbeck.cli.app import app
from limbeck.data.classes import Classification
from limbeck.data.protocol import Metric, Protocol, Text, Validation
from limbeck.data.protocols import load_protocol
from limbeck.data.splits import Split, Splits
from limbeck.encoders import config as towers
from limbeck.grid import plan as grids
from limbeck.grid import read_grid
from limbeck.grid.tasks import expand
from limbeck.methods import METHODS
from limbeck.training import recipe as recipes
from limbeck.training.recipe import load_recipe, parse_override

BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language in ("console", "bash", "sh")]
YAML = [block for block in BLOCKS if block.language == "yaml"]


# ------------------------------------------------------------------------------ commands
@pytest.mark.parametrize("block", [b for b in SHELL if b.commands], ids=str)
def test_commands_parse(block: Block) -> None:
    for arguments in block.commands:
        context = _parse(arguments)
        if context.command.name == "train":
            for text in context.params["overrides"] or []:
                parse_override(text)


def _parse(arguments: list[str]) -> Any:
    """Through the parser of the command line, down to the verb, without running it."""
    command: Any = typer.main.get_command(app)
    context = None
    name: str | None = "limbeck"
    while True:
        # A group keeps what follows its own options for its verb.
        rest = list(arguments)
        context = command.make_context(name, rest, parent=context)
        if not hasattr(command, "resolve_command"):
            return context
        left = [*getattr(context, "_protected_args", []), *context.args]
        name, command, arguments = command.resolve_command(context, left)


def test_wrong_commands_are_found() -> None:
    for wrong in (
        ["serach", "index"],
        ["search", "index", "--nearest", "3"],
        ["index", "biuld", "--out", "x"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such"):
            _parse(wrong)


@pytest.mark.parametrize("block", [b for b in SHELL if b.commands], ids=str)
def test_named_recipes_and_protocols_exist(block: Block) -> None:
    kept = {b.file for b in YAML if b.file}
    for arguments in block.commands:
        params = _parse(arguments).params
        if params.get("recipe") and params["recipe"] not in kept:
            load_recipe(params["recipe"], _overrides(params["overrides"]))
        if params.get("protocol") and params["protocol"].partition("@")[0] not in kept:
            load_protocol(params["protocol"])


def _overrides(texts: list[str] | None) -> dict[str, Any]:
    """Overrides as a shell would hand them on, its variables filled in."""
    return dict(parse_override(re.sub(r"\$\w+", "0", text)) for text in texts or [])


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = [line.split()[1] for block in SHELL for line in block.lines if line.startswith("make ")]
    assert set(asked) <= targets
    readme = [line for block in blocks(ROOT / "README.md") for line in block.lines]
    assert "make demo" in readme
    assert "make test" in readme


def test_extras_exist() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    for page in PAGES:
        for named in re.findall(r"'\.\[([\w,]+)\]'", page.read_text()):
            assert set(named.split(",")) <= extras, page


# ------------------------------------------------------------------------------ recipes and protocols
@pytest.mark.parametrize("block", YAML, ids=str)
def test_yaml_resolves(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in BLOCKS:
        if kept.page == block.page and kept.file:
            (tmp_path / kept.file).write_text(kept.body)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / (block.file or "block.yaml")
    file.write_text(block.body)
    if "task" in yaml.safe_load(block.body):
        assert load_protocol(file).hash
    elif "rows" in yaml.safe_load(block.body):
        assert expand(read_grid(file))
    else:
        assert load_recipe(file).stages


def _fields(*models: Any) -> set[str]:
    return {name for model in models for name in model.model_fields}


def test_every_key_is_described() -> None:
    own = [m for m in vars(recipes).values() if _is_model(m, recipes)]
    parts = [m for m in vars(towers).values() if _is_model(m, towers)]
    text = (ROOT / "docs/recipes.md").read_text()
    wanted = _fields(*own, *parts, *(method.Config for method in METHODS.values()))
    assert not {key for key in wanted if not re.search(rf"\b{key}\b", text)}
    assert not {name for name in METHODS if name not in (ROOT / "README.md").read_text()}
    text = (ROOT / "docs/grids.md").read_text()
    models = [m for m in vars(grids).values() if _is_model(m, grids)]
    assert not {key for key in _fields(*models) if not re.search(rf"\b{key}\b", text)}
    text = (ROOT / "docs/data.md").read_text()
    keys = _fields(Protocol, Text, Split, Splits, Metric, Validation, Classification)
    assert not {key for key in keys if not re.search(rf"\b{key}\b", text)}


def _is_model(thing: object, module: ModuleType) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseModel) and thing.__module__ == module.__name__


# ------------------------------------------------------------------------------ links
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        file, _, anchor = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


def test_pictures_are_small() -> None:
    for file in (ROOT / "docs").rglob("*.png"):
        assert file.stat().st_size < 300_000, file.name
