"""What keeps a service to its own page: the key, the policy of the page, and pages of other sites."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from chromium import Page, webdriver
from collection import Served

KEY = "0123456789abcdef"
FOREIGN = """<!doctype html><title>foreign</title><img id=i src="{url}/thumbnails/{id}">
<iframe id=f src="{url}/"></iframe>"""
ASKING = """
const [url, done] = arguments;
const tried = (how) => fetch(`${url}/search?q=red`, how).then((r) => r.type + r.status, () => 'failed');
const form = {mode: 'no-cors', method: 'POST', body: '{}'};
Promise.all([tried({}), tried({mode: 'no-cors'}), tried(form)]).then(done);
"""


@contextmanager
def serving(index: Path, *keys: str) -> Iterator[int]:
    import uvicorn

    from limbeck.serve.app import create_app
    from limbeck.serve.guard import Guard
    from limbeck.serve.settings import Settings

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        app = create_app([index], Settings(guard=Guard(keys=keys)))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        while httpx.get(f"http://127.0.0.1:{port}/ready").status_code != 200:
            pass
        yield port
        server.should_exit = True
        thread.join(10)


def test_a_browser_gives_the_key_for_searches_and_pictures(
    browser: webdriver.Chrome, served: Served, page: Page
) -> None:
    with serving(served.folder / "scenes", KEY) as port:
        asked = httpx.get(f"http://127.0.0.1:{port}/")
        assert asked.status_code == 401 and asked.headers["www-authenticate"].startswith("Basic ")
        browser.get(f"http://any:{KEY}@127.0.0.1:{port}/info")  # as from the browser's form
        keyed = Page(browser, f"http://127.0.0.1:{port}").open("q=a+red+circle")
        assert keyed.ids()
        loaded = "return [...document.querySelectorAll('.hit img')].every((one) => one.naturalWidth > 0)"
        keyed.until(lambda: keyed.all(".hit img") and keyed.js(loaded))
        page.open()


def test_the_policy_stops_scripts_and_connections_that_are_not_the_page(page: Page) -> None:
    page.open()
    page.js(
        "window.stopped = []; document.addEventListener('securitypolicyviolation',"
        "(event) => window.stopped.push(event.effectiveDirective));"
        "const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
        "document.body.append(script);"
        "document.body.insertAdjacentHTML('beforeend', '<img src=x: onerror=\"window.ran = 1\">');"
        "fetch('http://localhost:9/').catch(() => 0);"
        "const image = new Image(); image.src = 'http://localhost:9/x.png';"
    )
    wanted = {"script-src-elem", "script-src-attr", "connect-src", "img-src"}
    page.until(lambda: wanted <= set(page.js("return window.stopped")))
    assert page.js("return window.ran === undefined")


def test_a_page_of_another_site_gets_nothing(browser: webdriver.Chrome, served: Served, page: Page) -> None:
    url = served.url
    hit = httpx.get(f"{url}/search?q=a+red+circle&k=1").json()["hits"][0]

    class Foreign(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = FOREIGN.format(url=url, id=hit["id"]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    def refused() -> int:
        lines = httpx.get(f"{url}/metrics").text.splitlines()
        return sum(
            int(float(line.split()[-1])) for line in lines if "requests_total" in line and '"403"' in line
        )

    assert httpx.get(f"{url}{hit['thumbnail']}").status_code == 200
    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as foreign:
        threading.Thread(target=foreign.serve_forever, args=(0.01,), daemon=True).start()
        before = refused()
        browser.get(f"http://localhost:{foreign.server_address[1]}/")
        answers = browser.execute_async_script(ASKING, url)
        assert set(answers) <= {"failed", "opaque0"}
        seen = Page(browser, url)
        assert seen.js("return document.getElementById('i').naturalWidth") == 0
        assert seen.js("return document.getElementById('f').contentDocument") is None
        assert refused() >= before + 4  # the picture and three requests
        foreign.shutdown()
