"""A static site in Chromium: its bytes, its answers against `limbeck search`, and its speed.

    python benchmarks/site.py INDEX QUERIES.txt --media PICTURES --json docs/results/parts/site.json

INDEX holds codes and a text tower, QUERIES one text per line. The site is written as a folder and as one page, and each
is opened from http and from file://. Speed is that of random codes with the tower of INDEX: a text to its 50 nearest.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import random
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from limbeck.environment import environment
from limbeck.errors import LimbeckError
from limbeck.files import write_json
from limbeck.search import Index, Term
from limbeck.site import SiteOptions, write_site

QUERIES, K, ITEMS = 200, 20, (100_000, 1_000_000)
SWITCHES = (
    "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update "
    "disable-sync disable-dev-shm-usage"
)
ANSWER = """
const [texts, k, done] = arguments;
(async () => {
  const answers = [];
  for (const text of texts) {
    const { hits } = await limbeck.backend.search({ terms: [{ text, weight: 1 }], k });
    answers.push(hits.map(({ id, score }) => [id, score]));
  }
  return answers;
})().then(done, (error) => done(String(error.stack)));
"""
SPEED = """
const [texts, count, k, done] = arguments, site = limbeck.site;
(async () => {
  const { settings, weights } = await site.load("tower");
  const tower = new site.text.TextTower(settings, site.bytes(weights).buffer);
  const words = new Uint32Array(2 * count);
  for (let start = 0; start < words.length; start += 16384) crypto.getRandomValues(words.subarray(start, start + 16384));
  const codes = new site.scan.Codes(new Uint8Array(words.buffer), 64), encode = [], scan = [];
  for (const text of texts) {
    const begun = performance.now(), query = site.scan.signCode(tower.encode(text).embedding), middle = performance.now();
    codes.nearest(query, k);
    encode.push(middle - begun);
    scan.push(performance.now() - middle);
  }
  return { encode, scan };
})().then(done, (error) => done(String(error.stack)));
"""
LOADED = """
const [text, done] = arguments;
limbeck.backend.search({ terms: [{ text, weight: 1 }], k: 20 }).then(() => {
  const own = performance.getEntriesByType("navigation")[0], all = performance.getEntriesByType("resource");
  const scripts = all.filter(({ name }) => !name.includes("/thumbnails/"));
  done({ bytes: own.encodedBodySize + scripts.reduce((sum, one) => sum + one.encodedBodySize, 0),
         requests: 1 + scripts.length, ms: performance.now() });
});
"""


def browser(profile: str) -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for switch in (*SWITCHES.split(), f"user-data-dir={profile}"):
        options.add_argument(f"--{switch}")
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_script_timeout(300)
    return driver


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def serve(folder: Path) -> str:
    """Serve a folder on loopback until the end; returns its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def asked(driver: webdriver.Chrome, code: str, *values: Any) -> Any:
    answer = driver.execute_async_script(code, *values)
    if isinstance(answer, str):
        raise RuntimeError(answer)
    return answer


def known(index: Index, text: str) -> bool:
    try:
        index.check([Term(text)])
    except LimbeckError:
        return False
    return True


def equal(answers: Sequence[Any], expected: Sequence[Any]) -> int:
    """The number of queries whose ids and distances are all equal, in order."""
    return sum(answer == wanted for answer, wanted in zip(answers, expected, strict=True))


def percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"p50": ordered[len(ordered) // 2], "p95": ordered[int(0.95 * len(ordered))]}


def sizes(folder: Path) -> dict[str, int]:
    """Bytes by part of a site."""
    found: dict[str, int] = {}
    for file in folder.rglob("*"):
        if file.is_file():
            part = file.relative_to(folder).parts[0]
            part = file.stem.split("-")[0] if part == "data" else part
            found[part] = found.get(part, 0) + file.stat().st_size
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--media", type=Path)
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/site.json"))
    options = parser.parse_args()
    index = Index.open(options.index)
    lines = dict.fromkeys(options.queries.read_text(encoding="utf-8").splitlines())
    texts = random.Random(0).sample([line for line in lines if known(index, line)], QUERIES)
    expected = [[[hit.id, hit.score] for hit in index.search(text, K)] for text in texts]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        kinds: dict[str, Any] = {}
        site = write_site(options.index, folder / "site", SiteOptions(media=options.media))
        one = write_site(options.index, folder / "one.html", SiteOptions(media=options.media, single=True))
        found = {
            "items": site.items,
            "bytes": sizes(folder / "site"),
            "single": one.bytes,
            "queries": QUERIES,
        }
        address = serve(folder)
        for name, url in {
            "folder, http": f"{address}/site/index.html",
            "folder, file": (folder / "site/index.html").as_uri(),
            "single, http": f"{address}/one.html",
            "single, file": (folder / "one.html").as_uri(),
        }.items():
            driver = browser(tempfile.mkdtemp(dir=scratch))
            try:
                driver.get(url)
                first = asked(driver, LOADED, texts[0])
                kinds[name] = {"first": first, "equal": equal(asked(driver, ANSWER, texts, K), expected)}
                if name == "folder, http":
                    speed = {count: asked(driver, SPEED, texts, count, 50) for count in ITEMS}
            finally:
                driver.quit()
        found["kinds"] = kinds
        found["ms"] = {
            count: {part: percentiles(times) for part, times in one.items()} for count, one in speed.items()
        }
    versions, machine = environment()
    write_json(options.json, found | {"versions": versions, "machine": machine})
    print({name: found[name] for name in ("items", "bytes", "single", "kinds", "ms")})


if __name__ == "__main__":
    main()
