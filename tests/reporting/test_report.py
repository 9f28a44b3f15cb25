from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limbeck import optional_deps as extra
from limbeck.evaluation import Result
from limbeck.reporting.disk import Disk
from limbeck.reporting.overview import overview_table
from limbeck.reporting.pictures import thumbnail
from limbeck.reporting.report import SearchExample, write_report
from limbeck.reporting.traversal_view import Station, Way
from limbeck.traversal import ROOT
from raising import raises_code

VOID = {"meta", "img", "br", "hr", "link", "input", "path", "circle", "rect", "use"}


class Outline(HTMLParser):
    """Collects tags, ids and addresses, and checks that tags nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def picture(seed: int, size: int = 96) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8))


@pytest.fixture
def page(
    tmp_path: Path,
    hashing_results: list[Result],
    retrieval_results: list[Result],
    training_curves: dict[str, list[dict[str, Any]]],
) -> str:
    nodes = {"a <node>": np.array([0.2, 0.1]), "leaf": np.array([-0.3, 0.5])}
    disk = Disk(np.full((3, 2), 0.6), ["leaf"] * 3, nodes, [("a <node>", "leaf")], {"leaf": "leaf"})
    stations = [Station("a <red> ring", 0.4, [picture(2), picture(3)]), Station(ROOT, 0.0)]
    hits = [(picture(i), "a <red> square & co", float(i), bool(i % 2) if i < 4 else None) for i in range(6)]
    path = write_report(
        tmp_path / "deep" / "report.html",
        title="A <title> & more",
        results=hashing_results,
        retrieval=retrieval_results,
        overview=[overview_table(retrieval_results)],
        curves=training_curves,
        searches=[
            SearchExample("a red square", "text", hits),
            SearchExample("row7", "picture", hits, query_image=picture(9)),
        ],
        ways=[Way(picture(1), "a small ring", "model <one>", 0.9, 7, 1200, True, stations)],
        disks={"one model": disk, "another model": disk},
        radii={"one model": {"pictures": np.ones(5), "texts": np.full(4, 0.5)}},
        facts={"pictures": "12,000"},
        commands=["limbeck search index 'a red square'"],
        notes=["One note."],
    )
    return path.read_text(encoding="utf-8")


def test_report_is_one_self_contained_page(page: str) -> None:
    outline = Outline()
    outline.feed(page)
    assert not outline.open
    assert len(page) < 3_000_000
    assert "http:" not in page and "https:" not in page and "//fonts" not in page
    assert not re.search(r"@import|url\((?!#)", page)
    assert all(address.startswith(("data:image/jpeg;base64,", "#")) for address in outline.addresses)
    assert "script" not in outline.tags and "link" not in outline.tags
    assert len(set(outline.ids)) == len(outline.ids)
    used = {address[1:] for address in outline.addresses if address.startswith("#")}
    assert used <= set(outline.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(outline.ids)


def test_report_shows_everything(page: str) -> None:
    for text in (
        "A &lt;title&gt; &amp; more", "a &lt;red&gt; square &amp; co", "One note.", "12,000",
        "16 bits", "64 bits", "continuous", "R@10", ".985", "3f5a9c000000", "prefers-color-scheme",
        "2 of 4 relevant", "it does not rank methods", "limbeck search index",
        "Poincaré", "a &lt;red&gt; ring", "a &lt;node&gt;", "another model", "the root", "model &lt;one&gt;",
        "0.90 from the root; 7 of 1,200 texts entail it", "1024",
    ):  # fmt: skip
        assert text in page, text
    for section in (
        "overview", "searches", "ways", "disk", "radii", "scores", "bits", "recall", "learning", "health",
        "made",
    ):  # fmt: skip
        assert f'id="{section}"' in page, section
    assert "best" not in page.lower()
    # stand-in colours became variables of the page
    assert "#010101" not in page and "var(--ink)" in page and "var(--s0, #0072b2)" in page


def test_empty_report_stands(tmp_path: Path) -> None:
    page = write_report(tmp_path / "report.html", title="Nothing yet").read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(page)
    assert not outline.open
    assert 'id="scores"' not in page


def test_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(extra.importlib, "import_module", absent)
    with raises_code("E-PACKAGE-MISSING", "'limbeck[report]'"):
        write_report(tmp_path / "report.html", title="x")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("mode", "size"), [("RGB", 300), ("L", 64), ("RGBA", 96), ("CMYK", 20)])
def test_thumbnails_are_square_jpegs(mode: str, size: int) -> None:
    source = picture(0, size).convert(mode).resize((size, size // 2))
    address = thumbnail(source, side=128)
    made = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert made.format == "JPEG" and made.size[0] == made.size[1] <= 128
