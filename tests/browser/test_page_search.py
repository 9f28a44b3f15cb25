"""Asking on the page: words, pictures, chips, filters, and what the answer shows."""

from __future__ import annotations

import base64
import io
from urllib.parse import parse_qs, unquote

import httpx
import pytest
from chromium import Page
from collection import ODD_IDS, Served
from PIL import Image
from selenium.webdriver.common.keys import Keys

from limbeck.search import Term

RED = "q=a+red+circle"


def answer(served: Served, **body: object) -> list[dict]:
    body.setdefault("terms", [{"text": "a red circle"}])
    return (
        httpx.post(f"{served.url}/search", json={"k": 24, "fold": True} | body)
        .raise_for_status()
        .json()["hits"]
    )


def test_the_start_page_offers_questions_of_the_collection(page: Page, served: Served):
    examples = httpx.get(f"{served.url}/examples").json()
    page.open()
    assert page.texts(".example") == examples["texts"]
    assert len(page.all(".example-picture img")) == len(examples["items"])
    assert f"{len(served.index())} items in scenes" in page.one(".about-index").text
    page.click(".example")
    page.settled()
    assert page.one("#words").get_attribute("value") == examples["texts"][0]
    assert page.ids() == [hit["id"] for hit in answer(served, terms=[{"text": examples["texts"][0]}])]
    page.click("#home")
    page.until(lambda: page.all(".example-picture"))
    page.click(".example-picture")
    page.settled()
    assert parse_qs(page.query())["like"] == [examples["items"][0]["id"]]


def test_slash_focuses_enter_searches_escape_clears(page: Page, served: Served):
    page.open()
    page.press("/")
    assert page.focused() == "words"
    page.press("a red circle / x", Keys.ENTER)  # a slash among the words is one of them
    page.settled()
    assert parse_qs(page.query())["q"] == ["a red circle / x"]
    assert page.one("#words").get_attribute("value") == "a red circle / x"
    page.press(Keys.ESCAPE)
    page.until(lambda: page.query() == "")
    assert page.one("#words").get_attribute("value") == ""
    assert page.one("body").get_attribute("class") == "starting"


@pytest.mark.slow
def test_slash_can_be_switched_off(page: Page):
    page.open()
    page.click("#show-keys")
    page.click("#slash")
    page.press(Keys.ESCAPE, "/")
    assert page.focused() != "words"
    page.open()
    page.press("/")
    assert page.focused() != "words"


def test_every_hit_has_its_score_and_confidence(page: Page, served: Served):
    hits = answer(served)
    page.open(RED)
    assert page.ids() == [hit["id"] for hit in hits]
    assert page.texts(".score") == [f"distance {hit['score']}" for hit in hits]
    assert page.texts(".sure") == [f"{int(100 * hit['confidence'] + 0.5)} % sure" for hit in hits]
    assert page.said() == f"{len(hits)} hits for a red circle"
    assert page.until(lambda: page.js("return document.querySelector('.hit img').naturalWidth"))


def test_hits_below_the_cut_off_are_greyed_and_stay(page: Page, served: Served):
    hits = answer(served)
    cut = sorted(hit["confidence"] for hit in hits)[len(hits) // 2]
    percent = int(100 * cut) + 1
    below = [hit["id"] for hit in hits if hit["confidence"] < percent / 100]
    page.open(RED)
    page.slide("#cut", percent)
    code = "return [...document.querySelectorAll('.hit.below')].map((hit) => hit.dataset.id)"
    assert page.js(code) == below and 0 < len(below) < len(hits)
    assert len(page.ids()) == len(hits)
    assert [word.text for word in page.all(".unsure") if word.is_displayed()] == ["unsure"] * len(below)
    assert page.one(".status").text.endswith(f"{len(below)} below the cut-off")
    assert page.said() == f"{len(below)} below the cut-off"
    assert parse_qs(page.query())["cut"] == [str(percent / 100)]
    assert "it looks right" in page.one("#cut").get_attribute("title")
    page.open(f"index=cones&{RED}")  # is not calibrated
    assert page.ids() and not page.all("#cut") and not page.all(".sure")


def test_near_duplicates_are_folded_and_unfolded(page: Page, served: Served):
    like = {"terms": [{"id": "scene000000"}]}
    hits = answer(served, **like)
    folded = next(hit for hit in hits if hit["alike"])
    page.open("like=scene000000")
    card = f".hit[data-id='{folded['id']}'] .alike"
    assert page.one(card).text == f"{len(folded['alike'])} alike"
    page.click(card)
    page.until(lambda: page.all(".folded"))
    assert page.ids()[page.ids().index(folded["id"]) + 1 :][: len(folded["alike"])] == folded["alike"]
    assert page.one(card).get_attribute("aria-expanded") == "true"
    page.click(card)
    assert not page.all(".folded") and len(page.ids()) == len(hits)
    page.click("#fold")
    page.until(lambda: not page.all(".alike"))
    page.settled()
    assert page.ids() == [hit["id"] for hit in answer(served, fold=False, **like)]


def test_more_like_this_on_every_hit(page: Page, served: Served):
    page.open(RED)
    ids = page.ids()
    assert len(page.all(".hit [data-act=more]")) == len(ids)
    page.click(f".hit[data-id='{ids[2]}'] [data-act=more]")
    page.settled()
    assert parse_qs(page.query()) == {"like": [ids[2]]}
    assert page.texts(".chip-name") == [f"like {ids[2]}"]
    assert (
        page.ids() == [hit["id"] for hit in answer(served, terms=[{"id": ids[2]}])]
        and ids[2] not in page.ids()
    )
    page.until(lambda: page.all(".chip img"))


def test_chips_add_subtract_weigh_and_leave(page: Page, served: Served):
    index = served.index()

    def expected(*terms: Term) -> list[str]:
        return [hit.id for hit in index.search(terms=list(terms), k=24, fold=True)]

    page.open(RED)
    box = page.one("#words")
    box.clear()
    box.send_keys("a green square")
    page.click("[data-sign='-1']")
    page.settled()
    page.type("a red circle")
    red, green = Term("a red circle"), Term("a green square", weight=-1)
    assert page.texts(".chip-name") == ["a green square"]
    assert page.ids() == expected(red, green)
    assert parse_qs(page.query()) == {"q": ["a red circle"], "not": ["a green square"]}

    page.js("arguments[0].value = '2'; arguments[0].dispatchEvent(new Event('change'))", page.one(".weight"))
    page.settled()
    assert page.ids() == expected(red, Term("a green square", weight=-2))
    assert parse_qs(page.query())["w"] == ["2"]

    first = page.ids()[0]
    page.click(f".hit[data-id='{first}']")
    page.until(lambda: page.one("#detail").is_displayed())
    page.click("#detail [data-act=plus]")
    page.settled()
    three = [red, Term("a green square", weight=-2), Term(id=first)]
    assert page.ids() == expected(*three)

    page.click(".chip .sign")
    page.settled()
    assert page.ids() == expected(red, Term("a green square", weight=2), Term(id=first))
    page.click(".chip .remove")
    page.settled()
    assert page.ids() == expected(red, Term(id=first))
    page.click("#chips .link")
    page.until(lambda: page.all(".start"))


def test_filters_offer_the_metadata_with_counts(page: Page, served: Served):
    index = served.index()
    labels = [label for hit in index.search("a red circle", k=len(index)) for label in hit.metadata["labels"]]
    page.open(RED)
    boxes = page.all("[data-column=labels]")
    values = [box.get_attribute("data-value").strip('"') for box in boxes]
    numbers = page.js(
        "return [...document.querySelectorAll('[data-column=labels]')]"
        ".map((box) => box.parentNode.lastChild.textContent)"
    )
    assert [labels.count(value) for value in values] == [int(number) for number in numbers]
    for value in values[:2]:
        page.click(f"[data-column=labels][data-value='\"{value}\"']")
        page.settled()
    where = f"labels has ({values[0]}, {values[1]})"
    assert page.ids() == [hit.id for hit in index.search("a red circle", k=24, where=where, fold=True)]
    assert page.one("#side-title").text == "Filters (2)"
    assert unquote(page.query()).count("f.labels=") == 2
    page.click("#clear-filters")
    page.settled()
    assert page.ids() == [hit["id"] for hit in answer(served)]


@pytest.mark.slow
def test_a_filter_in_words(page: Page, served: Served):
    page.open(RED)
    page.one("#where").send_keys("id like '*7'" + Keys.ENTER)
    page.settled()
    assert page.ids() == [hit["id"] for hit in answer(served, where="id like '*7'")]
    assert all(name.endswith("7") for name in page.ids())
    page.one("#where").clear()
    page.one("#where").send_keys("colour = red" + Keys.ENTER)
    page.until(lambda: page.all(".message.error"))
    assert "E-FILTER-COLUMN" in page.one(".trace").text and "colour" in page.one(".message").text


NASTY = ["it's", 'say "x"', "a\\b", "ends'", "😀", "§ß", "x` or y", "", "(a, b)"]


@pytest.mark.slow
def test_any_value_becomes_a_filter_that_parses(page: Page):
    import pyarrow as pa

    from limbeck.index.filter_parser import Where

    table = pa.table({"a column": NASTY, "list": [[value] for value in NASTY]})
    page.open()
    for column, is_list in (("a column", False), ("list", True)):
        for row, value in enumerate(NASTY):
            filters = [{"column": column, "list": is_list, "values": [value]}]
            text = page.js("return limbeck.whereOf(arguments[0], '')", filters)
            assert Where(text, table.schema).mask(table).nonzero()[0].tolist() == [row], text
    both = [
        {"column": "n", "list": False, "values": [1, 2]},
        {"column": "ok", "list": False, "values": [True]},
    ]
    assert page.js("return limbeck.whereOf(arguments[0], 'n > 0 or n < 9')", both) == (
        "`n` in (1, 2) and `ok` in (true) and (n > 0 or n < 9)"
    )


def picture_of(served: Served, item: str) -> bytes:
    file = io.BytesIO()
    index = served.index()
    index.picture(index.search(where=f"id = {item}", like="scene000000", k=1)[0]).save(file, "PNG")
    return file.getvalue()


GIVE = """
const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "x.png", {type: "image/png"}));
const fire = (target, kind) => target.dispatchEvent(
  kind === "paste" ? new ClipboardEvent(kind, {clipboardData: data, bubbles: true, cancelable: true})
                   : new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true}));
"""


SLOWLY = [pytest.param(way, marks=pytest.mark.slow) for way in ("file", "paste", "zone")]


@pytest.mark.parametrize("way", ["drop", *SLOWLY])
def test_a_picture_as_the_query(page: Page, served: Served, tmp_path, way: str):
    data = picture_of(served, "scene000007")
    page.open("" if way == "file" else RED)
    encoded = base64.b64encode(data).decode()
    if way == "file":
        (tmp_path / "x.png").write_bytes(data)
        page.one("#file").send_keys(str(tmp_path / "x.png"))
    elif way == "paste":
        page.js(GIVE + "fire(document.body, 'paste')", encoded)
    else:
        page.js(GIVE + "fire(document.body, 'dragenter')", encoded)
        assert page.texts(".zone") == ["Search with this picture", "Add it to the query"]
        zone = "document.querySelectorAll('.zone')[1]" if way == "zone" else "document.querySelector('.zone')"
        page.js(GIVE + f"fire({zone}, 'drop')", encoded)
    page.until(lambda: page.texts(".chip-name") == ["your picture"])
    page.settled()
    term = Term(image=Image.open(io.BytesIO(data)))
    terms = [Term("a red circle"), term] if way == "zone" else [term]
    assert page.ids() == [hit.id for hit in served.index().search(terms=terms, k=24, fold=True)]
    assert not page.one("#drop").is_displayed()


@pytest.mark.slow
def test_a_link_cannot_hold_an_uploaded_picture_and_says_so(page: Page, served: Served, tmp_path):
    (tmp_path / "x.png").write_bytes(picture_of(served, "scene000003"))
    page.open()
    page.one("#file").send_keys(str(tmp_path / "x.png"))
    page.until(lambda: page.all(".chip"))
    page.settled()
    ids, query = page.ids(), page.query()
    page.type("a red circle")
    page.browser.back()  # within the visit the picture is still there
    page.until(lambda: page.query() == query)
    page.settled()
    page.until(lambda: page.ids() == ids)
    page.open(query)
    assert "A link cannot hold it" in page.one("#notice").text and not page.all(".chip")


@pytest.mark.slow
def test_a_file_that_is_no_picture_is_refused(page: Page, tmp_path):
    (tmp_path / "x.txt").write_text("words")
    page.open()
    page.one("#file").send_keys(str(tmp_path / "x.txt"))
    page.until(lambda: "cannot open that file as a picture" in page.one("#notice").text)
    assert page.query() == "" and "cannot open that file as a picture" in page.said()


@pytest.mark.slow
def test_other_and_large_pictures_are_sent_as_jpeg(page: Page, tmp_path):
    Image.effect_noise((3000, 2000), 90).convert("RGB").save(tmp_path / "x.bmp")
    page.open()
    page.one("#file").send_keys(str(tmp_path / "x.bmp"))
    page.until(page.ids)
    sent = (
        "const [{image}] = limbeck.state.get().terms;"
        "return createImageBitmap(image).then((bitmap) => [image.type, bitmap.width, bitmap.height])"
    )
    assert page.js(sent) == ["image/jpeg", 2048, 1365]


@pytest.mark.slow
def test_show_more(page: Page, served: Served):
    page.open(RED + "&k=6")
    page.click(".more")
    page.until(lambda: len(page.ids()) > 6)
    assert page.ids() == [hit["id"] for hit in answer(served, k=12)]


def test_shorter_codes_show_the_moved_ranks(page: Page, served: Served):
    index = served.index()
    whole = [hit.id for hit in index.search("a red circle", k=24, fold=True)]
    short = [hit.id for hit in index.search("a red circle", k=24, bits=16, fold=True)]
    lengths = httpx.get(f"{served.url}/info").json()["indexes"][0]["prefixes"]
    page.open(RED)
    page.slide("#bits", lengths.index(16))
    page.until(lambda: page.all(".move"))
    assert page.ids() == short
    marks = page.js(
        "return [...document.querySelectorAll('.hit')].map((hit) => "
        "hit.querySelector('.move [aria-hidden]')?.textContent || '')"
    )
    for rank, (name, mark) in enumerate(zip(short, marks, strict=True)):
        up = whole.index(name) - rank if name in whole else None
        assert mark == ("new" if up is None else "" if up == 0 else f"▲ {up}" if up > 0 else f"▼ {-up}")
    assert parse_qs(page.query())["bits"] == ["16"]


@pytest.mark.slow
def test_an_index_of_codes_alone_with_odd_ids(page: Page, served: Served):
    page.console()
    page.open("index=bare")
    assert page.one("#hero").text == "Search by example" and not page.one("#ask").is_displayed()
    assert set(page.texts(".example-picture")) <= set(ODD_IDS) and not page.all(".example")
    page.click(".example-picture")
    page.settled()
    first = parse_qs(page.query())["like"][0]
    assert page.ids() == [hit.id for hit in served.index("bare").search(like=first, k=24, fold=True)]
    page.click(".hit")
    page.until(lambda: page.one("#detail").is_displayed())
    assert page.one("#detail-title").text == page.ids()[0]
    page.press(Keys.ESCAPE)
    page.click("[data-column=kept][data-value=true]")
    page.until(lambda: len(page.ids()) <= 10)
    kept = served.index("bare").search(like=first, k=24, fold=True, where="kept = true")
    page.until(lambda: page.ids() == [hit.id for hit in kept])
    assert page.console() == []
