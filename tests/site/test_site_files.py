"""What a site publishes and what it does not, and how its files are written."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_site import pictures, small_index, write

from limbeck.search import Index
from limbeck.site import SiteOptions, write_site
from limbeck.site.scripts import data_script
from limbeck.site.thumbnails import Thumbnails
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">')
FEW = 12


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, with its pictures in ``media`` beside it; no test changes it."""
    folder = tmp_path_factory.mktemp("site")
    pictures(folder / "media", FEW)
    return small_index(folder / "index", count=FEW)


def everything(site: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(site.rglob("*")) if file.is_file())


def test_a_folder_holds_what_it_says_and_no_more(tmp_path: Path, index: Path) -> None:
    report = write_site(index, tmp_path / "site", SiteOptions(media=index.parent / "media", side=64))
    files = {file.relative_to(tmp_path / "site").as_posix(): file for file in (tmp_path / "site").rglob("*")}
    assert report.items == 9 and report.missing == 1  # three items are removed, one has no file
    assert report.bytes == sum(file.stat().st_size for file in files.values() if file.is_file())
    assert {name.split("/")[0] for name in files} == {
        "index.html",
        "site.json",
        "page",
        "engine",
        "data",
        "thumbnails",
    }
    assert "page/backend-http.js" not in files
    small = [file.read_bytes() for name, file in files.items() if name.endswith(".webp")]
    assert len(small) == 8
    for data in small:
        image = Image.open(io.BytesIO(data))
        assert (image.format, image.size, dict(image.getexif())) == ("WEBP", (64, 32), {})
        assert "exif" not in image.info and "icc_profile" not in image.info
    whole = everything(tmp_path / "site")
    for secret in (b"a secret place", b".jpg", str(tmp_path).encode()):
        assert secret not in whole
    assert b"red number 3" in whole and b"item 3" in whole


def test_columns_and_paths_are_published_as_asked(tmp_path: Path, index: Path) -> None:
    chosen = everything(write(index, tmp_path / "chosen", columns=("labels",)))
    assert b"red number 3" not in chosen and b'"l1"' in chosen
    assert b"3.jpg" in everything(write(index, tmp_path / "paths", paths=True))
    assert b'"labels"' not in everything(write(index, tmp_path / "none", columns=()))
    with raises_code("E-TABLE-COLUMN", "labels, kind"):
        write(index, tmp_path / "site", columns=("colour",))
    assert not (tmp_path / "site").exists()


def test_ids_that_are_names_of_files_stay_private(tmp_path: Path) -> None:
    write_pictures(tmp_path / "album/holiday", range(3))
    index = Index.build(tmp_path / "index", tmp_path / "album", model=pixel_encoder(bits=16)).store.path
    assert b"holiday" not in everything(write(index, tmp_path / "site"))
    assert 'data("ids",["1","2","3"])' in (tmp_path / "site/data/ids.js").read_text()
    write(index, tmp_path / "site", paths=True)
    assert 'data("ids",["holiday/0000.png"' in (tmp_path / "site/data/ids.js").read_text()


def test_the_policy_allows_own_files_only(tmp_path: Path, index: Path) -> None:
    page = (write(index, tmp_path / "site", title='<b>"Mine"') / "index.html").read_text()
    policy = POLICY.search(page)
    assert policy and page.index("<script") > policy.start() and page.index("<link") > policy.start()
    assert (
        "default-src &#x27;none&#x27;; script-src &#x27;self&#x27;; style-src &#x27;self&#x27;;" in policy[1]
    )
    assert "<title>&lt;b&gt;&quot;Mine&quot;</title>" in page
    assert not re.search(r'(src|href)="(?!page/|engine/|data/site\.js|\?|#)', page)


def test_one_page_holds_everything(tmp_path: Path, index: Path) -> None:
    report = write_site(index, tmp_path / "one.html", SiteOptions(media=index.parent / "media", single=True))
    page = (tmp_path / "one.html").read_text()
    assert report.bytes == len(page.encode())
    assert page.count('["UklGR') + page.count(',"UklGR') == 8  # thumbnails
    assert not re.search(r'(src|href)="(?!data:|\?|#)', page)
    policy = POLICY.search(page)
    assert policy
    for tag in ("script", "style"):
        for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"sha256-{digest}" in policy[1]


def test_data_cannot_end_a_script() -> None:
    script = data_script("x", {"</script><!--": ["<b>", "\u2028", float("nan")]})
    assert script == 'limbeck.site.data("x",{"\\u003c/script>\\u003c!--":["\\u003cb>","\u2028",null]});\n'


def test_only_an_earlier_site_is_replaced(tmp_path: Path, index: Path) -> None:
    site = write(index, tmp_path / "site")
    before = everything(site)
    assert everything(write(index, site)) == before
    (site / "notes.txt").write_text("mine")
    with raises_code("E-PATH-EXISTS", "notes.txt"):
        write(index, site)
    with raises_code("E-PATH-EXISTS", "holds no site"):
        write(index, index.parent / "media")
    with raises_code("E-PATH-OVERLAP", "is the source"):
        write(index, index)
    with raises_code("E-PATH-OVERLAP", "is inside the index"):
        write(index, index / "site")
    with raises_code("E-PATH-KIND", "is a directory"):
        write(index, index.parent / "media", single=True)
    page, mine = tmp_path / "page.html", tmp_path / "mine.jpg"
    assert write(index, page, single=True).read_bytes() == write(index, page, single=True).read_bytes()
    mine.write_text("mine")
    with raises_code("E-PATH-EXISTS", "mine.jpg: is not a page of limbeck site"):
        write(index, mine, single=True)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("single", [False, True])
def test_an_interrupt_leaves_nothing(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch, single: bool
) -> None:
    make, made = Thumbnails._thumbnail, []

    def interrupted(self: Thumbnails, path: str | None) -> bytes | None:
        made.append(path)
        if len(made) > 5:
            raise KeyboardInterrupt
        return make(self, path)

    monkeypatch.setattr(Thumbnails, "_thumbnail", interrupted)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        write_site(index, tmp_path / "out", SiteOptions(media=index.parent / "media", single=single))
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_missing_is_named(tmp_path: Path, index: Path) -> None:
    with raises_code("E-INDEX-MEDIA", "--media DIR, or --no-pictures"):
        write(index, tmp_path / "site", pictures=True)
    (tmp_path / "other").mkdir()
    with raises_code("E-INDEX-MEDIA", "holds none of the pictures"):
        write(index, tmp_path / "site", pictures=True, media=tmp_path / "other")
    with raises_code("E-INDEX-EMBEDDINGS", "keeps no embeddings"):
        write(index, tmp_path / "site", embeddings=True)
    with raises_code("E-INDEX-EMPTY", "has no items"):
        empty = Index.build(tmp_path / "empty", np.zeros((1, 2), np.uint8), items={"id": ["a"]})
        write(empty.remove(["a"]).store.path, tmp_path / "site")
    bare = Index.build(tmp_path / "bare", np.zeros((1, 2), np.uint8), items={"id": ["a"]}).store.path
    with raises_code("E-INDEX-MODEL", "--no-text"):
        write(bare, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_the_command(tmp_path: Path, index: Path, limbeck: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = limbeck(
        "site", index, tmp_path / "site", "--media", index.parent / "media", "--columns", "labels, kind"
    )
    assert status == 0 and "9 items" in out and "MB before the first answer" in out
    assert "note: 1 picture(s) could not be read" in err
    assert limbeck("site", index, tmp_path / "site.html", "--single", "--no-pictures", "--no-text")[0] == 0
    status, _, err = limbeck("site", tmp_path / "none", tmp_path / "x")
    assert status == 1 and "E-INDEX-MISSING" in err
