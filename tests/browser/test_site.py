"""A static site in Chromium, from http and from the disk, as a folder and as one page."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from chromium import Page, webdriver
from collection import Served

from limbeck.search import Term
from limbeck.site import SiteOptions, write_site

KINDS = ["folder, file", "single, file", "folder, http", "single, http"]
ASK = """
const [queries, done] = arguments;
Promise.all(queries.map((query) => limbeck.backend.search(query)))
  .then((answers) => done(answers.map(({ hits }) => hits.map(({ id, score, alike }) => [id, score, alike]))))
  .catch((error) => done(String(error)));
"""


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Sites:
    """The addresses of the sites by kind."""

    urls: dict[str, str]


@pytest.fixture(scope="session")
def sites(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    folder = tmp_path_factory.mktemp("sites")
    write_site(served.folder / "scenes", folder / "scenes", SiteOptions(title="Scenes"))
    write_site(served.folder / "scenes", folder / "scenes.html", SiteOptions(title="Scenes", single=True))
    handler = functools.partial(Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        places = {"folder": "scenes/index.html", "single": "scenes.html"}
        urls = {f"{kind}, file": (folder / name).as_uri() for kind, name in places.items()}
        yield Sites(urls | {f"{kind}, http": f"{address}/{name}" for kind, name in places.items()})
        server.shutdown()


@pytest.fixture
def site(browser: webdriver.Chrome) -> Iterator[Page]:
    page = Page(browser, "")
    page.size(1280, 900)
    page.console()
    yield page
    page.network()


def visit(page: Page, url: str, query: str = "") -> Page:
    page.browser.get(f"{url}?{query}" if query else url)
    return page.settled()


@pytest.mark.parametrize("kind", KINDS)
def test_a_site_answers_as_the_index_and_shows_its_pictures(
    site: Page, sites: Sites, served: Served, kind: str
) -> None:
    visit(site, sites.urls[kind], "q=a+red+circle&not=square")
    index = served.index()
    wanted = index.search(terms=[Term("a red circle"), Term("square", weight=-1)], k=24, fold=True)
    assert site.ids() == [hit.id for hit in wanted]
    shown = "return [...document.querySelectorAll('.hit img')].filter((one) => one.naturalWidth > 0).length"
    site.until(lambda: site.js(shown) == len(wanted))
    assert "Scenes" in site.js("return document.body.innerText")
    site.click(".hit [data-act='more']")
    site.settled()
    assert site.ids()[:5] == [hit.id for hit in index.search(like=wanted[0].id, k=5, fold=True)]
    site.browser.back()
    site.settled()
    assert site.ids() == [hit.id for hit in wanted]
    assert site.console() == []


def test_every_query_of_the_collection_has_the_hits_of_the_index(
    site: Page, sites: Sites, served: Served
) -> None:
    index = served.index()
    texts = sorted({text for hit in index.search("red", k=60) for text in hit.metadata["captions"]})[:60]
    visit(site, sites.urls["folder, file"])
    queries = [{"terms": [{"text": text, "weight": 1}], "k": 10} for text in texts]
    answers = site.browser.execute_async_script(ASK, queries)
    expected = [[[hit.id, hit.score, list(hit.alike)] for hit in index.search(text, k=10)] for text in texts]
    assert answers == expected


def test_filters_narrow_the_hits(site: Page, sites: Sites, served: Served) -> None:
    visit(site, sites.urls["folder, file"], "q=a+red+circle")
    (facet, *_) = site.js("return limbeck.backend.facets()")
    column, value = facet["name"], facet["values"][0]["value"]
    asked = {"terms": [{"text": "a red circle", "weight": 1}], "k": 60}
    filters = [{"column": column, "list": True, "values": [value]}]
    (answer,) = site.browser.execute_async_script(ASK, [asked | {"filters": filters}])
    hits = served.index().search("a red circle", k=60, where=f"{column} has '{value}'")
    assert [one[0] for one in answer] == [hit.id for hit in hits] and len(hits) < 60


def test_a_site_works_offline_once_it_is_loaded(site: Page, sites: Sites) -> None:
    visit(site, sites.urls["single, http"])
    site.network(offline=True)
    site.type("a blue square")
    assert len(site.ids()) == 24


def test_the_start_page_offers_queries_of_the_collection(site: Page, sites: Sites) -> None:
    visit(site, sites.urls["folder, file"])
    assert site.js("return document.title").startswith("Scenes")
    assert len(site.all(".start img")) == 12
    site.js("document.querySelector('.start button, .start a').click()")
    site.settled()
    assert site.ids()


def test_an_unknown_word_is_said_in_the_page(site: Page, sites: Sites) -> None:
    visit(site, sites.urls["folder, file"], "q=xyzzy")
    assert "knows none of its words" in site.js("return document.body.innerText")


@pytest.mark.slow
@pytest.mark.parametrize("query", ["", "q=a+red+circle", "q=a+red+circle&open=scene000001"])
def test_a_site_keeps_wcag(site: Page, sites: Sites, query: str) -> None:
    visit(site, sites.urls["folder, file"], query)
    assert site.violations() == []
