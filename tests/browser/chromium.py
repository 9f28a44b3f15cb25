"""Drives the page in Chromium: what a user does, and what a user sees."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
_SWITCHES = (
    "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking "
    "disable-component-update disable-sync disable-dev-shm-usage"
)


def start(profile: Path) -> webdriver.Chrome:
    """A browser with an empty profile that keeps its console's messages."""
    assert BROWSER and DRIVER
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in _SWITCHES.split():
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


class Page:
    """One page of the service in a browser."""

    def __init__(self, browser: webdriver.Chrome, url: str) -> None:
        self.browser, self.url = browser, url

    def open(self, query: str = "") -> Page:
        """Open the page at a query, and wait for its answer."""
        self.browser.get(f"{self.url}/?{query}" if query else f"{self.url}/")
        return self.settled()

    def settled(self) -> Page:
        """Wait until every pane shows an answer or a message."""
        done = (
            "const panes = [...document.querySelectorAll('.pane')];"
            "return Boolean(document.querySelector('.start')) || panes.length > 0 && "
            "panes.every((pane) => pane.getAttribute('aria-busy') === 'false')"
        )
        self.until(lambda: self.js(done))
        return self

    def until(self, true: Callable[[], Any], seconds: float = 10) -> Any:
        """Wait for a condition; elements that are gone meanwhile do not count."""
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

        gone = (NoSuchElementException, StaleElementReferenceException)
        return WebDriverWait(self.browser, seconds, 0.02, ignored_exceptions=gone).until(lambda _: true())

    def js(self, code: str, *values: Any) -> Any:
        return self.browser.execute_script(code, *values)

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        code = "return [...document.querySelectorAll(arguments[0])].map((node) => node.innerText.trim())"
        return self.js(code, selector)

    def ids(self, pane: int = 0) -> list[str]:
        """The ids of the hits of a pane, in order."""
        code = (
            "const pane = document.querySelectorAll('.pane')[arguments[0]];"
            "return pane ? [...pane.querySelectorAll('.hit')].map((hit) => hit.dataset.id) : []"
        )
        return self.js(code, pane)

    def click(self, selector: str) -> None:
        node = self.one(selector)
        self.js("arguments[0].scrollIntoView({block: 'center'})", node)
        node.click()

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def tab_back(self) -> None:
        ActionChains(self.browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()

    def type(self, text: str) -> None:
        """Write words into the search box, and search."""
        box = self.one("#words")
        box.clear()
        box.send_keys(text + Keys.ENTER)
        self.settled()

    def slide(self, selector: str, value: int) -> None:
        """Move a slider as a finger does."""
        code = (
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        )
        self.js(code, self.one(selector), value)
        self.settled()

    def query(self) -> str:
        """The query of the URL."""
        return urlsplit(self.browser.current_url).query

    def focused(self) -> str | None:
        """The id of the hit in focus, or the id of another element."""
        return self.js("return document.activeElement.dataset.id || document.activeElement.id")

    def said(self) -> str:
        """What the live region says."""
        return self.js("return document.getElementById('live').textContent")

    def size(self, width: int, height: int) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def media(self, **features: str) -> None:
        """Emulate preferences such as ``prefers_color_scheme="dark"``."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    def network(self, *, offline: bool = False, latency: int = 0) -> None:
        conditions = {
            "offline": offline,
            "latency": latency,
            "downloadThroughput": -1,
            "uploadThroughput": -1,
        }
        self.browser.execute_cdp_cmd("Network.enable", {})
        self.browser.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def console(self) -> list[str]:
        """The messages of the console since the last call."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def violations(self) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA and its best practices, one line an element."""
        import axe_core_python

        source = Path(axe_core_python.__file__).parent / "axe.min.js"
        if not self.js("return Boolean(window.axe)"):
            self.browser.execute_cdp_cmd("Runtime.evaluate", {"expression": source.read_text()})
        run = "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done)"
        found = self.browser.execute_async_script(run)["violations"]
        return [f"{rule['id']}: {json.dumps(node['html'])[:160]}: {node['failureSummary'][:200]}"
                for rule in found for node in rule["nodes"]]  # fmt: skip
