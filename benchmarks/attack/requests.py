"""Hostile requests to ``limbeck serve``, as bytes on a socket."""

from __future__ import annotations

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

LONG = 100_000_000  # bytes of the longest body
BLOCK = b"\0" * (1 << 16)


@dataclass(frozen=True)
class Attack:
    """A request.

    Attributes:
        name: what is odd.
        parts: gives its bytes, or seconds to wait.
        expected: the statuses with which it may be refused; 0 is a closed connection without answer.
    """

    name: str
    parts: Callable[[], Iterator[bytes | float]]
    expected: tuple[int, ...]


def attacks() -> list[Attack]:
    return [*uploads(), *bodies(), *targets(), *heads()]


def head(method: str, target: str, *headers: str, host: str = "127.0.0.1") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def whole(name: str, data: bytes, *expected: int) -> Attack:
    return Attack(name, lambda: iter((data,)), expected)


def post(name: str, kind: str, body: bytes, *expected: int, target: str = "/search") -> Attack:
    return whole(
        name, head("POST", target, f"Content-Type: {kind}", f"Content-Length: {len(body)}") + body, *expected
    )


def upload(name: str, data: bytes, media: str, *expected: int, file: str = "x") -> Attack:
    body = (
        f'--b\r\nContent-Disposition: form-data; name="image"; filename="{file}"\r\nContent-Type: {media}\r\n\r\n'
    ).encode() + data
    return post(name, "multipart/form-data; boundary=b", body + b"\r\n--b--\r\n", *expected)


def made(name: str, make: Callable[[], bytes], media: str, *expected: int) -> Attack:
    """An upload whose picture is only made when it is sent."""
    return Attack(name, lambda: upload(name, make(), media).parts(), expected)


def in_json(name: str, value: object, *expected: int) -> Attack:
    return post(name, "application/json", json.dumps(value).encode(), *expected)


def encoded(form: str, size: tuple[int, int] = (64, 64), **options: object) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, form, **options)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes, real: bool = False) -> bytes:
    """A PNG of one colour, well compressed; its pixels are there if it is ``real``."""
    pack = zlib.compressobj(1)
    data = (
        b"".join(pack.compress(b"\0" * (1 + 3 * width)) for _ in range(height if real else 0)) + pack.flush()
    )
    size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + size + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def animation() -> bytes:
    """A GIF of 200 small frames on a screen of 7,000 × 7,000."""
    first, *others = (Image.new("P", (8, 8), number) for number in range(200))
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=others)
    made = out.getvalue()
    return made[:6] + struct.pack("<HH", 7_000, 7_000) + made[10:]


def many_pictures() -> bytes:
    large = base64.b64encode(png(6_000, 6_000, real=True)).decode()
    return json.dumps({"terms": [{"image": large}] * 20}).encode()


def uploads() -> Iterator[Attack]:
    jpeg, gif, webp = encoded("JPEG"), encoded("GIF"), encoded("WEBP")
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 50_000_000)
    svg = b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg>&a;</svg>'
    html = b"<html><script>alert(1)</script></html>"
    yield upload("zip bomb", zipped.getvalue(), "image/png", 415)
    yield upload("PNG bomb, 50,000 × 50,000", png(50_000, 50_000), "image/png", 413)
    yield made(
        "PNG bomb with its pixels, 7,000 × 7,000", lambda: png(7_000, 7_000, real=True), "image/png", 413
    )
    yield upload("PNG of 2³¹−1 pixels a side", png(2**31 - 1, 2**31 - 1), "image/png", 413)
    yield upload("PNG of width 0", png(0, 10), "image/png", 422)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 50_000_000, 1))
    yield upload(
        "PNG with 400 MB of compressed text", png(8, 8, *[text] * 8, real=True), "image/png", 422, 413
    )
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(b"\0" * 50_000_000, 1))
    yield upload(
        "PNG with a colour profile of 50 MB, cut", png(8, 8, profile, real=True)[:-30], "image/png", 422
    )
    yield upload("truncated JPEG", jpeg[: len(jpeg) // 2], "image/jpeg", 422)
    bomb = bytearray(jpeg)
    at = bomb.index(b"\xff\xc0")
    bomb[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    yield upload("JPEG that claims 65,500 × 65,500", bytes(bomb), "image/jpeg", 413)
    progressive = encoded("JPEG", (512, 512), progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    yield upload(
        "JPEG of thousands of scans", progressive[:-2] + scan * (8_000_000 // len(scan)), "image/jpeg", 413
    )
    exif = b"\xff\xe1\xff\xff" + b"Exif\0\0" + b"\xff" * 65_527
    yield upload("truncated JPEG with 6 MB of EXIF", jpeg[:2] + exif * 100 + jpeg[2:100], "image/jpeg", 422)
    yield upload("GIF that claims 65,535 × 65,535", gif[:6] + b"\xff" * 4 + gif[10:], "image/gif", 413)
    yield upload("truncated GIF", gif[:200], "image/gif", 422)
    yield upload("truncated WebP", webp[:60], "image/webp", 422)
    yield made("GIF of 200 frames of 49 megapixels", animation, "image/gif", 413)
    yield upload("GIF declared as JPEG", gif, "image/jpeg", 415)
    yield upload("SVG with an external entity", svg, "image/svg+xml", 415)
    yield upload("SVG as PNG", svg, "image/png", 415)
    yield upload("HTML as PNG", html, "image/png", 415)
    yield upload("HTML with the first bytes of a PNG", b"\x89PNG\r\n\x1a\n" + html, "image/png", 422)
    yield upload("HTML with the first bytes of a JPEG", b"\xff\xd8\xff\xe0" + html, "image/jpeg", 422)
    yield upload("TIFF", encoded("TIFF"), "image/tiff", 415)
    yield upload("TIFF without a type", encoded("TIFF"), "application/octet-stream", 415)
    yield upload("HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 500, "image/heic", 415)
    yield upload("PostScript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage", "image/png", 415)
    yield upload("zero bytes", b"", "image/png", 415)
    yield upload("file name that climbs", b"x", "image/png", 415, file="../../etc/passwd")
    parts = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n' + jpeg[:60] + b"\r\n"
        for _ in range(5000)
    )
    yield post("5,000 files", "multipart/form-data; boundary=b", parts + b"--b--\r\n", 400, 422)
    yield Attack(
        "20 pictures of 36 megapixels", lambda: post("", "application/json", many_pictures()).parts(), (413,)
    )
    yield in_json("a path as a picture", {"terms": [{"image": "../../etc/passwd"}]}, 400, 422)
    yield in_json("an address as a picture", {"terms": [{"image": "http://127.0.0.1:1/x.png"}]}, 400, 422)


def bodies() -> Iterator[Attack]:
    def flood(*headers: str, chunked: bool = False) -> Iterator[bytes]:
        yield head("POST", "/search", "Content-Type: application/json", *headers)
        for _ in range(LONG // len(BLOCK)):
            yield b"%x\r\n%s\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK

    def dribble() -> Iterator[bytes | float]:
        yield head("POST", "/search", "Content-Type: application/json", "Content-Length: 1000")
        for _ in range(1000):
            yield b" "
            yield 0.05

    yield Attack("100 MB with Content-Length", lambda: flood(f"Content-Length: {LONG}"), (413,))
    yield Attack(
        "100 MB without Content-Length", lambda: flood("Transfer-Encoding: chunked", chunked=True), (413,)
    )
    yield Attack("a body of a byte each 50 ms", dribble, (408,))
    lengths = ("Content-Length: 5", "Content-Length: 6")
    yield whole("two lengths", head("POST", "/search", *lengths) + b"12345", 400)
    yield whole(
        "length and chunks",
        head("POST", "/search", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
        415,
    )
    yield whole("negative length", head("POST", "/search", "Content-Length: -5"), 400, 413)
    yield whole("length of 10³⁰", head("POST", "/search", f"Content-Length: {10**30}"), 400, 413)
    yield whole(
        "chunks that are none",
        head("POST", "/search", "Content-Type: application/json", "Transfer-Encoding: chunked") + b"zz\r\n",
        400,
        408,
    )
    form = "multipart/form-data"
    yield post("multipart without a boundary", form, b"--b--", 400)
    yield post("multipart of another boundary", f"{form}; boundary=b", b"--c\r\n\r\nx\r\n--c--\r\n", 400, 422)
    yield post(
        "multipart that does not end",
        f"{form}; boundary=b",
        b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nx',
        400,
        422,
    )
    yield post("multipart with a long head", f"{form}; boundary=b", b"--b\r\n" + b"x" * 5_000_000, 400, 422)
    yield post("multipart with a boundary of 10 kB", f"{form}; boundary={'b' * 10_000}", b"--b--", 400, 422)
    kind = "application/json"
    yield post("JSON 1,000,000 deep", kind, b"[" * 1_000_000, 400, 422)
    yield post("objects 100,000 deep", kind, b'{"terms":' * 100_000, 400, 422)
    for name, text in (
        ("weight NaN", b'{"terms": [{"text": "red", "weight": NaN}]}'),
        ("weight infinity", b'{"terms": [{"text": "red", "weight": 1e999}]}'),
        ("k of 10³⁰⁰⁰", b'{"terms": [{"text": "red"}], "k": 1' + b"0" * 3000 + b"}"),
        ("radius NaN", b'{"terms": [{"text": "red"}], "radius": NaN}'),
        ("half a surrogate", b'{"terms": [{"text": "\\ud800"}]}'),
        ("not UTF-8", b'{"terms": [{"text": "\xff\xfe"}]}'),
        ("an unknown field", b'{"terms": [{"text": "red"}], "media": "/etc"}'),
        ("a list", b"[]"),
    ):
        yield post(name, kind, text, 400, 422)
    yield in_json("a filter of 4,000 brackets", {"terms": [{"text": "red"}], "where": "(" * 4000}, 422)
    yield in_json("a text of 1 MB", {"terms": [{"text": "red " * 250_000}]}, 422)
    yield in_json("10,000 terms", {"terms": [{"text": "red"}] * 10_000}, 422)
    yield in_json(
        "an engine on another machine", {"terms": [{"text": "red"}], "engine": "milvus://192.0.2.1:1/x"}, 422
    )
    yield post("XML", "application/xml", b"<a/>", 415)


def targets() -> Iterator[Attack]:
    for where in ("items", "similar", "thumbnails", "pictures", "page"):
        for name in ("../../etc/passwd", "..%2F..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "a%00b", "%2e%2e/%2e%2e/etc/passwd",
                     "..%5C..%5Cwindows%5Cwin.ini", "%ff%fe", "x" * 8000, "file:%2F%2F%2Fetc%2Fpasswd"):  # fmt: skip
            yield whole(f"/{where}/{name[:40]}", head("GET", f"/{where}/{name}"), 404, 400, 422)
    yield whole("index that climbs", head("GET", "/search?q=red&index=../../etc"), 404)
    yield whole("media from a request", head("GET", "/search?q=red&media=/etc"), 422)
    yield whole("5,000 parameters", head("GET", "/search?" + "&".join(["q=red"] * 5000)), 400, 422)
    yield whole("k that is no number", head("GET", "/search?q=red&k=NaN"), 422)
    yield whole("size of a thumbnail of 10⁹", head("GET", "/thumbnails/x?size=1000000000"), 404, 422)
    yield whole("target without a path", head("GET", "http://evil.example/"), 400, 404, 421)


def heads() -> Iterator[Attack]:
    yield whole(
        "200 kB of headers", head("GET", "/", *[f"X-{n}: {'x' * 1000}" for n in range(200)]), 400, 431
    )
    yield whole("a header of 200 kB", head("GET", "/", "X: " + "x" * 200_000), 400, 431)
    yield whole("line break in X-Request-ID", head("GET", "/nope", "X-Request-ID: a\r\n b: c"), 400, 404)
    yield whole("LF in X-Request-ID", head("GET", "/nope", "X-Request-ID: a\nSet-Cookie: b=c"), 400, 404)
    yield whole("NUL in a header", head("GET", "/", "X-Request-ID: a\0b"), 400)
    yield whole("another host", head("GET", "/", host="evil.example"), 421)
    yield whole("no host", head("GET", "/", host=""), 400)
    yield whole("two hosts", head("GET", "/", "Host: evil.example"), 400)
    yield whole("host with a line break", head("GET", "/", host="127.0.0.1\r\n evil"), 400)
    yield whole("a page of another site", head("GET", "/search?q=red", "Sec-Fetch-Site: cross-site"), 403)
    yield whole("an unknown method", head("BREW", "/search"), 405)
    yield whole("TRACE", head("TRACE", "/"), 405)
    yield whole("CONNECT", head("CONNECT", "evil.example:443"), 400, 404, 405)
    yield whole("no HTTP", b"\x16\x03\x01\x02\0\x01\0" + b"\xfc" * 512 + b"\r\n\r\n", 400)
    yield whole("HTTP/0.9", b"GET /\r\n\r\n", 400)
    yield whole("a web socket", head("GET", "/nope", "Connection: Upgrade", "Upgrade: websocket"), 400, 404)
