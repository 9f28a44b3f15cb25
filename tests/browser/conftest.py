"""The real service on a free port over two small indexes, and one browser for all tests."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import chromium
import pytest

pytest.importorskip("selenium", reason="the extra 'dev' is not installed")
pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")

if TYPE_CHECKING:
    from collection import Served


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = pytest.mark.skip(reason="no Chromium with chromedriver is installed")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if not (chromium.BROWSER and chromium.DRIVER):
                item.add_marker(missing)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import uvicorn
    from collection import Served as Running
    from collection import build_indexes

    from limbeck.serve.app import create_app

    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = create_app(build_indexes(folder))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the service ended"
            time.sleep(0.01)
        yield Running(f"http://127.0.0.1:{port}", folder)
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.webdriver.Chrome]:
    driver = chromium.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: chromium.webdriver.Chrome, served: Served) -> Iterator[chromium.Page]:
    """The page at desktop width, in light colours, with nothing stored."""
    page = chromium.Page(browser, served.url)
    page.size(1280, 900)
    page.media(prefers_color_scheme="light")
    yield page
    page.network()
    page.js("localStorage.clear()")
