"""The site: what is made from the code is whole, its links are right, its pictures show what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from docs_markdown import ROOT

from limbeck.spaces.lorentz import Lorentz

pytest.importorskip("mkdocs")
pytest.importorskip("matplotlib")
sys.path.insert(0, str(ROOT))

from guide import architecture, code_map, commands, geometry, hooks, library

CONFIG = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def named(entry: object) -> list[str]:
    """The pages below an entry of ``nav``."""
    if isinstance(entry, str):
        return [entry]
    below = entry.values() if isinstance(entry, dict) else entry
    return [page for part in below for page in named(part)]  # type: ignore[attr-defined]


def test_every_page_is_in_the_navigation_once() -> None:
    nav = named(yaml.safe_load(CONFIG)["nav"])
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    made = {"reference/commands.md", "code-map.md"} | {f"reference/{name}.md" for name in library.PAGES}
    assert len(nav) == len(set(nav))
    assert pages <= set(nav)
    assert set(nav) - pages - made <= set(hooks.OUTSIDE.values())


def test_links_of_the_repository_lead_to_places_of_the_site() -> None:
    assert hooks.relink("../CHANGELOG.md", "docs/search.md", "search.md") == "changelog.md"
    assert hooks.relink("docs/data.md", "README.md", "readme.md") == "data.md"
    assert hooks.relink("../search.md", "docs/papers/soda.md", "papers/soda.md") == "../search.md"
    assert (
        hooks.relink("../../CONTRIBUTING.md", "docs/tutorials/a.md", "tutorials/a.md") == "../contributing.md"
    )
    assert hooks.relink("../deploy/nginx.conf", "docs/a.md", "a.md") == "files/deploy/nginx.conf"
    assert hooks.relink("https://example.org/a.md", "README.md", "readme.md") == "https://example.org/a.md"
    assert (
        hooks.relink("missing.md", "README.md", "readme.md") == "missing.md"
    )  # which the strict build refuses


def test_the_reference_has_every_command_and_option() -> None:
    page = commands.page()
    for name, command in commands.verbs():
        assert f"\n## {name}\n" in page
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for param in command.params:
            if param.param_type_name == "option" and not param.hidden:
                assert f"`{param.opts[0]}`" in section, (name, param.opts)
    assert "## limbeck index build" in page


@pytest.mark.slow
def test_the_code_map_has_every_module() -> None:
    page = code_map.page()
    for file in (ROOT / "src/limbeck").rglob("*.py"):
        if file.stem not in ("__init__", "__main__"):
            assert f"| `{file.stem}` | " in page
    assert "|  |" not in page  # a docstring is missing
    assert "## limbeck.index.engines" in page


@pytest.mark.slow
def test_the_library_reference_names_what_exists() -> None:
    from importlib import import_module

    for _, objects in library.PAGES.values():
        for path in objects:
            try:
                import_module(path)
            except ModuleNotFoundError:
                module, _, name = path.rpartition(".")
                assert hasattr(import_module(module), name), path


def test_imports_that_a_longer_way_implies_are_left_out() -> None:
    known = {"a": ["b", "c", "d"], "b": ["c"], "c": ["d"], "d": []}
    assert architecture.needed(known) == {"a": ["b"], "b": ["c"], "c": ["d"], "d": []}


@pytest.mark.slow
def test_the_picture_of_the_architecture_is_that_of_the_code() -> None:
    assert architecture.FILE.read_text(encoding="utf-8") == architecture.svg(), "run python -m guide"


def test_places_on_the_disk() -> None:
    points = geometry.at(np.array([0.0, 0.5, 2.0]), np.array([0.0, 1.0, 4.0]))
    places = geometry.on_disk(points)
    np.testing.assert_allclose(
        np.linalg.norm(places, axis=1), np.tanh(np.array([0.0, 0.5, 2.0]) / 2), atol=1e-12
    )
    np.testing.assert_allclose(geometry.from_disk(places), points, atol=1e-12)
    np.testing.assert_allclose(Lorentz(2, 1.0).radius(points.astype(np.float32)), [0, 0.5, 2.0], atol=1e-6)


@pytest.mark.slow
def test_pictures_of_the_spaces_are_drawn(tmp_path: Path) -> None:
    files = geometry.draw(tmp_path)
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    assert {file.name for file in files} == {
        file.name for file in (ROOT / "docs/images").glob("geometry-*.svg")
    }
    assert "cosine 0.83" in texts["geometry-spaces.svg"]  # cos(0.6)
    assert "caption 5" in texts["geometry-radii.svg"]
    assert "cone at distance 0.4" in texts["geometry-cones.svg"]


def test_messages_of_the_troubleshooting_page_exist() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    source = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "src/limbeck").rglob("*.py"))
    quoted = [
        part
        for row in re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
        for part in re.findall(r"`(.+?)`", row)
    ]
    assert len(quoted) >= 6
    for message in quoted:
        if not message.startswith("limbeck "):
            assert message in source, message


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_without_the_network(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*src=\"?(https?:)", page.read_text(encoding="utf-8"))
        styles = re.findall(
            r"<link[^>]*rel=\"?(?:stylesheet|preconnect)[^>]*href=\"?https?:",
            page.read_text(encoding="utf-8"),
        )
        assert not loaded and not styles, page.name
    assert "encode_text" in (tmp_path / "site/reference/python.html").read_text(encoding="utf-8")
