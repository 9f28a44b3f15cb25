"""Moving in the results, the dialog, the URL, the states of the page, and how it looks to everyone."""

from __future__ import annotations

from urllib.parse import parse_qs

import httpx
import pytest
from chromium import Page
from collection import Served
from selenium.webdriver.common.keys import Keys

RED = "q=a+red+circle"
VIEWS = {
    "start": "",
    "results": f"{RED}&not=square&like=scene000001&cut=0.6",
    "dialog": f"{RED}&open=scene000001",
    "hierarchy": f"index=cones&{RED}&view=disk",
    "beside": f"{RED}&beside=cones",
    "error": "q=xyzzy",
}


def test_the_grid_is_one_tab_stop(page: Page):
    page.open(RED)
    ids = page.ids()
    page.js("document.querySelector('#fold').focus()")
    page.press(Keys.TAB)
    assert page.focused() == ids[0]
    page.press(Keys.TAB)
    assert page.focused() not in ids
    page.tab_back()
    assert page.focused() == ids[0]


def test_arrows_home_and_end_move_in_the_grid(page: Page):
    page.open(RED)
    ids = page.ids()
    tops = page.js("return [...document.querySelectorAll('.hit')].map((hit) => hit.offsetTop)")
    columns = tops.count(tops[0])
    assert 1 < columns < len(ids)
    page.js("document.querySelector('.hit').focus()")
    right, left, up, down = Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.ARROW_DOWN
    moves = [(right, 1), (down, columns + 1), (left, columns), (up, 0), (left, 0)]
    moves += [(Keys.END, -1), (right, -1), (Keys.HOME, 0)]
    for key, at in moves:
        page.press(key)
        assert page.focused() == ids[at], key
    stops = page.js(
        "return [...document.querySelectorAll('.hit')].filter((hit) => hit.tabIndex === 0).length"
    )
    assert stops == 1


@pytest.mark.slow
def test_space_selects_and_the_selection_is_a_query(page: Page):
    page.open(RED)
    ids = page.ids()
    page.js("document.querySelector('.hit').focus()")
    page.press(Keys.SPACE, Keys.ARROW_RIGHT, Keys.SPACE)
    assert page.one("#selection strong").text == page.said() == "2 selected"
    assert [hit.get_attribute("data-id") for hit in page.all(".hit[aria-selected=true]")] == ids[:2]
    page.press(Keys.SPACE)
    assert page.one("#selection strong").text == "1 selected"
    page.press(Keys.SPACE)
    page.click("#selection button")
    page.settled()
    assert parse_qs(page.query()) == {"like": ids[:2]}
    assert not page.one("#selection").is_displayed()


@pytest.mark.slow
def test_keys_of_a_hit(page: Page):
    page.open(RED)
    ids = page.ids()
    page.js("document.querySelector('.hit').focus()")
    page.press("-")
    page.settled()
    assert parse_qs(page.query()) == {"q": ["a red circle"], "unlike": [ids[0]]}
    page.js("document.querySelector('.hit').focus()")
    first = page.ids()[0]
    page.press("m")
    page.settled()
    assert parse_qs(page.query()) == {"like": [first]}


def test_enter_opens_the_dialog(page: Page, served: Served):
    page.open(RED)
    ids = page.ids()
    page.js("document.querySelector('.hit').focus()")
    page.press(Keys.ENTER)
    page.until(lambda: page.one("#detail").is_displayed())
    item = httpx.get(f"{served.url}/items/{ids[0]}").json()
    shown = page.one("#detail").text
    assert item["metadata"]["captions"][0] == page.one("#detail-title").text
    for words in [ids[0], *item["metadata"]["captions"], *item["metadata"]["labels"]]:
        assert words in shown
    assert page.until(lambda: page.js("return document.querySelector('.large img').naturalWidth"))
    page.press(Keys.ARROW_RIGHT)
    page.until(lambda: ids[1] in page.one("#detail dl").text)
    assert parse_qs(page.query())["open"] == [ids[1]]
    page.press(Keys.ESCAPE)
    page.until(lambda: "open" not in parse_qs(page.query()))
    assert not page.one("#detail").is_displayed()
    page.until(lambda: page.focused() == ids[1])  # the hit that was shown last
    page.open(f"{RED}&open={ids[1]}")  # a link to an item
    page.until(lambda: page.one("#detail").is_displayed())
    page.click("#detail [data-act=more]")
    page.until(lambda: parse_qs(page.query()) == {"like": [ids[1]]})
    assert not page.one("#detail").is_displayed()


def test_the_url_holds_everything_and_back_goes_back(page: Page):
    terms = f"{RED}&plus=sky&not=a+square&like=scene000001&w=1+2+0.5"
    query = f"{terms}&f.labels=%22sky%22&k=12&cut=0.7&fold=0&beside=cones"
    page.open(query)
    assert page.texts(".chip-name") == ["sky", "a square", "like scene000001"]
    assert [w.get_attribute("value") for w in page.all(".weight")] == ["1", "2", "0.5"]
    assert page.one("#cut").get_attribute("value") == "70" and not page.one("#fold").is_selected()
    assert page.one("[data-column=labels][data-value='\"sky\"']").is_selected()
    assert len(page.all(".pane")) == 2 and len(page.ids()) <= 12
    round_trip = page.js("return limbeck.state.toQuery(limbeck.state.fromQuery(arguments[0]))", query)
    assert parse_qs(round_trip) == parse_qs(query)
    page.open(RED)
    first = page.ids()
    page.type("a green square")
    second = page.ids()
    page.browser.back()
    page.until(lambda: page.ids() == first)
    assert page.one("#words").get_attribute("value") == "a red circle"
    page.browser.forward()
    page.until(lambda: page.ids() == second)


@pytest.mark.slow
@pytest.mark.parametrize(
    "query", ["k=-3&cut=nine&w=x&bits=1e9&fold=&view=z&hierarchy=no", "f.a={&w=&plus=", "%F0%28=1"]
)
def test_an_odd_url_is_read_as_far_as_it_makes_sense(page: Page, query: str):
    page.open(query)
    assert page.all(".start") or page.all(".pane")
    assert page.js("return limbeck.state.get().k") == 24


@pytest.mark.slow
def test_two_indexes_side_by_side(page: Page, served: Served):
    page.open(RED)
    page.js(
        "arguments[0].value = 'cones'; arguments[0].dispatchEvent(new Event('change'))", page.one("#beside")
    )
    page.until(lambda: len(page.all(".pane")) == 2)
    page.settled()
    assert page.texts(".pane h2") == ["scenes", "cones"]
    for at, name in enumerate(["scenes", "cones"]):
        hits = served.index(name).search("a red circle", k=24, fold=True)
        assert page.ids(at) == [hit.id for hit in hits]
    assert page.all(".pane:nth-child(2) .move") and not page.all(".pane:nth-child(1) .move")
    stops = page.js(
        "return [...document.querySelectorAll('.hit')].filter((hit) => hit.tabIndex === 0).length"
    )
    assert stops == 2
    page.click(".pane:nth-child(2) .hit")
    page.until(lambda: page.one("#detail").is_displayed())
    assert parse_qs(page.query())["at"] == ["beside"]


def test_the_hierarchy_view(page: Page, served: Served):
    index = served.index("cones")
    page.open(f"index=cones&{RED}")
    page.click(".segments button:nth-child(2)")
    page.until(lambda: page.all(".disk"))
    points = httpx.get(f"{served.url}/hierarchy", params={"index": "cones", "q": "a red circle"}).json()[
        "points"
    ]
    assert len(page.all(".disk .point")) == len(page.all(".points li")) == len(points)
    assert "Poincaré disk" in page.one(".disk").get_attribute("aria-label")
    item = next(point["id"] for point in points if point["kind"] == "item")
    row = next(row for row in page.all("button.point-row") if item in row.text)
    page.js("arguments[0].click()", row)
    page.until(lambda: parse_qs(page.query()).get("way") == [item])
    steps = [step.text for step in index.traverse(like=item).chain]
    page.until(lambda: [text.split("\n")[0] for text in page.texts(".steps .step")] == steps)
    page.browser.back()
    steps = [step.text for step in index.traverse("a red circle").chain]
    page.until(lambda: [text.split("\n")[0] for text in page.texts(".steps .step")] == steps)


@pytest.mark.slow
def test_more_general_and_more_specific(page: Page, served: Served):
    index = served.index("cones")
    page.open(f"index=cones&{RED}")
    for number, name in ((3, "more-specific"), (2, "more-general")):
        page.click(f".segments:nth-child(2) button:nth-child({number})")
        page.until(lambda name=name: parse_qs(page.query())["hierarchy"] == [name])
        page.settled()
        hits = index.search("a red circle", k=24, hierarchy=name, fold=True)
        found = page.ids() if hits else []
        assert found == [hit.id for hit in hits]
        assert bool(page.all(".message")) == (not hits)


@pytest.mark.slow
def test_nothing_found_an_error_and_no_connection(page: Page, served: Served):
    page.open(f"{RED}&where=id+%3D+nothing")
    assert (
        "Nothing in this collection fits" in page.one(".message").text and page.said() == "No hits in scenes"
    )
    page.click(".message button")
    page.until(page.ids)
    page.type("xyzzy")
    told = httpx.post(f"{served.url}/search", json={"terms": [{"text": "xyzzy"}]}).json()["error"]
    assert told["message"] in page.one(".message.error").text
    assert told["code"] in page.one(".trace").text and " id " in page.one(".trace").text
    assert not page.all(".message button")  # to ask the same again helps nobody
    page.network(offline=True)
    page.type("a red circle")
    assert page.one(".message.offline").text.startswith("Offline. The service does not answer.")
    page.network()
    if page.all(".message.offline"):  # the page asks again by itself once the browser is online
        page.until(lambda: not page.all(".message.offline") or page.click(".message button"))
    page.until(page.ids)


@pytest.mark.slow
def test_a_slow_answer_shows_that_it_is_awaited(page: Page):
    page.open()
    page.network(latency=400)
    page.press("/", "a red circle", Keys.ENTER)
    page.until(lambda: page.all(".bone"))
    assert (
        page.one(".pane").get_attribute("aria-busy") == "true" and page.one(".status").text == "Searching …"
    )
    page.settled()
    assert page.ids()


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(page: Page, served: Served):
    page.console()
    page.open(f"index=cones&{RED}&view=disk")
    page.open(f"{RED}&beside=cones")
    loaded = page.js("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert loaded and all(name.startswith(served.url) for name in loaded)
    assert page.console() == []
    policy = httpx.get(served.url).headers["content-security-policy"]
    assert "unsafe" not in policy and "script-src 'self'" in policy


@pytest.mark.slow
def test_colours_follow_the_system_or_the_button(page: Page):
    page.open()
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = page.js(ground)
    page.media(prefers_color_scheme="dark")
    dark = page.js(ground)
    assert light != dark
    page.click("#theme")
    assert page.js(ground) == light and "light" in page.one("#theme").get_attribute("aria-label")
    page.open(RED)
    assert page.js(ground) == light
    page.click("#theme")
    page.media(prefers_color_scheme="light")
    assert page.js(ground) == dark


@pytest.mark.slow
def test_reduced_motion_stops_the_animation(page: Page):
    page.open()
    moving = "const b = document.createElement('i'); b.className = 'bone'; document.body.append(b); "
    for wish, name in (("no-preference", "breathe"), ("reduce", "none")):
        page.media(prefers_reduced_motion=wish)
        assert page.js(moving + "return getComputedStyle(b).animationName") == name


@pytest.mark.slow
def test_the_labels_of_the_disk_are_not_cut_off_on_a_phone(page: Page):
    page.size(360, 740)
    page.open(VIEWS["hierarchy"])
    page.until(lambda: page.all(".disk .point"))
    inside = page.js(
        "const old = document.querySelector('.disk'), text = 'a red dotted square below a green one';"
        "const points = [-0.3, 0.3].map((x, i) => ({ kind: 'text', text, x, y: i / 3, radius: 1 }));"
        "const root = { kind: 'root', x: 0, y: 0, radius: 0 };"
        "const far = { kind: 'item', x: 0, y: 0.9, radius: 2 };"
        "const { drawing } = window.limbeck.disk.draw([root, far, ...points], 1, () => 0);"
        "old.replaceWith(drawing); const box = drawing.getBoundingClientRect();"
        "return [...drawing.querySelectorAll('.point.text text')].map((n) => n.getBoundingClientRect())"
        ".map((r) => r.left >= box.left && r.right <= box.right)"
    )
    assert inside == [True, True]


@pytest.mark.parametrize(
    "view", ["results", *(pytest.param(view, marks=pytest.mark.slow) for view in VIEWS if view != "results")]
)
def test_a_phone_needs_no_sideways_scrolling(page: Page, view: str):
    page.size(360, 740)
    page.open(VIEWS[view])
    assert page.js("return document.documentElement.scrollWidth") == 360
    small = page.js(
        "return [...document.querySelectorAll('button, select, input:not(.unseen), summary, .option')]"
        ".filter((n) => n.offsetParent).map((n) => [n.getBoundingClientRect(), n.outerHTML])"
        ".filter(([r, h]) => (r.width < 24 || r.height < 24) && !h.includes('checkbox')).map(([, h]) => h)"
    )
    assert small == []


AXE = [("results", 1280, "light")]
REST = [(v, w, c) for v in VIEWS for w in (1280, 360) for c in ("light", "dark") if (v, w, c) not in AXE]


@pytest.mark.parametrize(
    ("view", "width", "colours"), [*AXE, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)]
)
def test_axe_finds_nothing(page: Page, view: str, width: int, colours: str):
    page.size(width, 800)
    page.media(prefers_color_scheme=colours)
    page.open(VIEWS[view])
    if view == "dialog":
        page.until(lambda: page.one("#detail").is_displayed())
    assert page.violations() == []


@pytest.mark.slow
def test_axe_would_find_a_fault(page: Page):
    page.open(RED)
    page.js("document.body.append(document.createElement('button'))")
    assert any(line.startswith("button-name") for line in page.violations())
