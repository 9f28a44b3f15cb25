"""The example for nginx, run by a real nginx on loopback: TLS, prefix, limits, cached thumbnails."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from live import live

from limbeck import Client
from limbeck.serve.guard import Guard

EXAMPLE = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"
NAME, KEY = "search.example.org", "0123456789abcdef"
MAIN = """
{user}
worker_processes 1;
daemon off;
pid {work}/pid;
error_log {work}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/f;
    uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
    {example}
}}
"""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return listening.getsockname()[1]


@dataclass
class Proxy:
    port: int
    plain: int
    service: int
    context: ssl.SSLContext

    def ask(self, target: str, method: str = "GET", body: bytes | None = None, **headers: str):
        """Send a target as it is; gives the status, the headers and the body."""
        with closing(socket.create_connection(("127.0.0.1", self.port), 20)) as plain:
            wrapped = self.context.wrap_socket(plain, server_hostname=NAME)
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.sock = wrapped
            given = {"Host": NAME, "X-API-Key": KEY} | {k.replace("_", "-"): v for k, v in headers.items()}
            connection.request(method, target, body, given)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


@pytest.fixture(scope="module")
def proxy(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin")
    openssl = shutil.which("openssl")
    if nginx is None or openssl is None:
        pytest.skip("nginx or openssl is not installed")
    work = tmp_path_factory.mktemp("nginx")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", work / "key.pem", "-out", work / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    guard = Guard(keys=(KEY,), allow_hosts=(NAME,))
    options = {"proxy_headers": True, "forwarded_allow_ips": "127.0.0.1", "root_path": "/photos"}
    with live([pictures], guard, **options) as service:
        tls, plain = free_port(), free_port()
        example = EXAMPLE.read_text()
        for old, new in (
            ("listen 443", f"listen 127.0.0.1:{tls}"),
            ("listen 80", f"listen 127.0.0.1:{plain}"),
            ("127.0.0.1:8000", f"127.0.0.1:{service}"),
            ("/var/cache/nginx/limbeck", f"{work}/cache"),
            (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", f"{work}/cert.pem"),
            (f"/etc/letsencrypt/live/{NAME}/privkey.pem", f"{work}/key.pem"),
        ):
            assert old in example
            example = example.replace(old, new)
        (work / "nginx.conf").write_text(
            MAIN.format(user="user root;" if os.geteuid() == 0 else "", work=work, example=example)
        )
        command = [nginx, "-p", str(work), "-e", str(work / "error.log"), "-c", str(work / "nginx.conf")]
        with subprocess.Popen(command) as process:
            try:
                wait_for(tls, process, work)
                context = ssl.create_default_context(cafile=work / "cert.pem")
                yield Proxy(tls, plain, service, context)
            finally:
                process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes], work: Path) -> None:
    until = time.monotonic() + 20
    while True:
        assert process.poll() is None and time.monotonic() < until, (work / "error.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)


def test_the_page_and_a_search_work_under_the_prefix(proxy: Proxy) -> None:
    status, headers, body = proxy.ask("/photos/")
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert headers["content-security-policy"] and headers["strict-transport-security"]
    script = re.search(rb'src="(page/[a-z-]+\.js)"', body)
    assert script and proxy.ask(f"/photos/{script[1].decode()}")[0] == 200
    status, _, body = proxy.ask("/photos/search?q=red&k=3")
    hits = json.loads(body)["hits"]
    assert status == 200 and len(hits) == 3
    for hit in hits:
        assert hit["thumbnail"].startswith("/photos/thumbnails/")
        assert proxy.ask(hit["thumbnail"])[0] == 200 and proxy.ask(hit["picture"])[0] == 200
    assert proxy.ask("/photos")[1]["location"] == f"https://{NAME}/photos/"


def test_ids_pass_as_they_were_sent(proxy: Proxy) -> None:
    assert (
        json.loads(proxy.ask("/photos/items/gr%C3%B6%C3%9Fe%20a%2F0002.png")[2])["id"] == "größe a/0002.png"
    )
    for odd, name in (("a%2F%2Fb", "a//b"), ("a%252Fb", "a%2Fb"), ("a%2F..%2Fb", "a/../b")):
        status, _, body = proxy.ask(f"/photos/items/{odd}")
        error = json.loads(body)["error"]
        assert (status, error["code"]) == (404, "E-ID-UNKNOWN") and repr(name) in error["message"]
    assert proxy.ask("/photos/items/..%2F..%2Fetc%2Fpasswd")[0] == 404
    assert proxy.ask("/photos/../search?q=red")[0] == 404
    assert proxy.ask("/x/../photos/search?q=red")[0] in (400, 404)


def test_thumbnails_are_cached_for_those_who_have_the_key(proxy: Proxy) -> None:
    target = "/photos/thumbnails/0007.png?size=64"
    first, second = proxy.ask(target), proxy.ask(target)
    assert (first[1]["x-cache"], second[1]["x-cache"]) == ("MISS", "HIT")
    assert first[2] == second[2] != b""
    assert proxy.ask(target, X_API_Key="f" * 16)[0] == 401
    assert proxy.ask(target, X_API_Key="")[0] == 401


def test_long_bodies_and_metrics_stop_at_the_proxy(proxy: Proxy) -> None:
    assert proxy.ask("/photos/search", "POST", b" " * 17_000_000, Content_Type="application/json")[0] == 413
    assert proxy.ask("/photos/metrics")[0] == 403


def test_the_service_knows_client_and_request(proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
    import logging

    from limbeck.serve.logs import LOG

    LOG.propagate = True
    caplog.set_level(logging.INFO, "limbeck.serve")
    _, headers, _ = proxy.ask("/photos/health", X_Forwarded_For="192.0.2.99")
    line = json.loads(caplog.records[-1].getMessage())
    assert line["client"] == "127.0.0.1" and line["id"] == headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", line["id"])


def test_plain_http_is_sent_to_tls(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.plain)
    connection.request("GET", "/photos/?q=red", headers={"Host": NAME})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (301, f"https://{NAME}/photos/?q=red")
    connection.close()


def test_the_client_takes_the_prefix(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limbeck.client.ssl.create_default_context", lambda: proxy.context)
    real = socket.create_connection
    monkeypatch.setattr(
        socket,
        "create_connection",
        lambda address, *more, **named: real(("127.0.0.1", address[1]), *more, **named),
    )
    with Client(f"https://{NAME}:{proxy.port}/photos", KEY) as client:
        assert len(client.search("red", 4)) == 4
