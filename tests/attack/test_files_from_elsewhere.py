"""Files from elsewhere: names that lead outside, headers that lie, bombs, queries of any content."""

from __future__ import annotations

import json
import os
import shutil
import struct
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from few import one_fast
from PIL import Image

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.errors import LimbeckError
from limbeck.evaluation.codes_file import read_codes
from limbeck.files import sha256_file
from tiny import write_pairs, write_protocol

posix = pytest.mark.skipif(sys.platform == "win32", reason="links and resource limits")
# A file that a payload would make if it ran.
OWNED = Path(tempfile.gettempdir()) / "limbeck-owned"
CODES = np.random.default_rng(0).integers(0, 256, (80, 8), dtype=np.uint8)
OUTSIDE = (
    "../outside.txt",
    "/etc/passwd",
    "a/../../outside.txt",
    "..\\outside.txt",
    "C:\\outside.txt",
    "\x00",
    "a\x00b",
)


ALIASES = "c0: &c0 [x, x]\n" + "".join(f"c{i}: &c{i} [*c{i - 1}, *c{i - 1}]\n" for i in range(1, 40))


@pytest.fixture
def outside(tmp_path):
    """A file beside everything, which must stay as it is and never be shown."""
    file = tmp_path / "outside.txt"
    file.write_text("SECRET\n" * 50)
    yield file
    assert file.read_text() == "SECRET\n" * 50


@pytest.fixture
def index(tmp_path):
    ids = [f"i{i}" for i in range(80)]
    return limbeck.Index.build(
        tmp_path / "ix" / "i", CODES, items={"id": ids, "path": [f"{i}.jpg" for i in ids]}
    )


def one_line(call, *words: object) -> str:
    status, out, err = call(*words)
    assert status in (1, 2), (words, out[-300:], err[-300:])
    assert "Traceback" not in err and "SECRET" not in err + out
    assert status == 2 or err.count("\n") == 1, err[-500:]
    return err


@pytest.mark.parametrize("name", one_fast(OUTSIDE))
def test_pairs_whose_files_lie_outside(tmp_path, outside, name):
    pairs = write_pairs(tmp_path / "data", pictures=8)
    file = pairs / "pairs.json"
    meta = json.loads(file.read_text())
    for change in (
        {"features": {"cnn": {"file": name, "scale": 1.0}}},
        {"media": {"kind": "folder", "root": name}},
        {"media": {"kind": "zip", "root": name}},
        {"features": {"cnn": {"file": "cnn.npy", "scale": name}}},
        {"features": {"cnn": [name]}},
        {"features": name},
        {"media": name},
    ):
        file.write_text(json.dumps(meta | change))
        with pytest.raises(LimbeckError) as caught:
            opened = Pairs.open(pairs)
            opened.open_image(0)
            opened.features("cnn")
        assert "\n" not in str(caught.value) and "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", one_fast(OUTSIDE))
def test_pictures_whose_paths_lead_outside_the_media(tmp_path, outside, name):
    pairs = write_pairs(tmp_path / "data", pictures=8)
    Image.new("RGB", (8, 8)).save(tmp_path / "data" / "outside.png")
    table, name = pq.read_table(pairs / "pairs.parquet"), name.replace("outside.txt", "outside.png")
    at = table.column_names.index("image")
    pq.write_table(table.set_column(at, "image", pa.array([name] * len(table))), pairs / "pairs.parquet")
    meta = json.loads((pairs / "pairs.json").read_text())
    meta["sha256"] = sha256_file(pairs / "pairs.parquet")
    (pairs / "pairs.json").write_text(json.dumps(meta))
    opened = Pairs.open(pairs)
    for read in (opened.open_image, opened.image_bytes):
        with pytest.raises(LimbeckError) as caught:
            read(0)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", one_fast(OUTSIDE))
def test_protocols_whose_lists_lie_outside(tmp_path, outside, name):
    file = write_protocol(tmp_path / "p" if (tmp_path / "p").mkdir() is None else tmp_path)
    content = yaml.safe_load(file.read_text())
    content["splits"]["query"] = {"ids": name}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(LimbeckError) as caught:
        load_protocol(file)
    assert "\n" not in str(caught.value) and "SECRET" not in str(caught.value)


@posix
@pytest.mark.parametrize("name", one_fast(["segments", "tombstones", "derived", "encoders"], 1))
def test_links_in_an_index_write_and_delete_nothing_outside(tmp_path, index, name, run):
    path, place = index.store.path, tmp_path / "elsewhere"
    place.mkdir()
    (place / "keep.txt").write_text("mine")
    if (path / name).exists():
        shutil.move(str(path / name), str(place / name))
        place = place / name
    (path / name).symlink_to(place)
    before = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    np.save(tmp_path / "new.npy", CODES[:1] ^ 1)
    (tmp_path / "new.txt").write_text("new\n")
    for words in (
        ("index", "add", path, "--codes", tmp_path / "new.npy", "--ids", tmp_path / "new.txt"),
        ("index", "remove", path, "--where", "id like 'i1*'"),
        ("index", "compact", path),
        ("index", "engine", path, "--engine", "ivf"),
    ):
        run(*words)
    after = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    assert {file: after.get(file) for file in before} == before
    assert set(after) == set(before)


@pytest.mark.parametrize(
    "text",
    one_fast([
        ALIASES,
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 50_000 + "x",
        "a: " + "9" * 5000,
        f"!!python/object/apply:os.system ['touch {OWNED}']",
        "a: *unknown",
        "a: \x00",
        "\ufeff" + "a" * 1_000_000 + ": 1",
        "a: 1\na: 2",
        "? [1, 2]\n: 3",
    ], 4),
    ids=range(11),
)  # fmt: skip
def test_yaml_of_any_content(tmp_path, text, run):
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    for words in (("train", tmp_path / "r.yaml", "--out", tmp_path / "o"), ("grid", tmp_path / "r.yaml")):
        one_line(run, *words)
    with pytest.raises(LimbeckError) as caught:
        load_protocol(tmp_path / "r.yaml")
    assert "\n" not in str(caught.value)
    assert not OWNED.exists() and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "header",
    [
        {"query_image": {"dtype": "U8", "shape": [10**12, 8], "data_offsets": [0, 64]}},
        {"query_image": {"dtype": "U8", "shape": [-8, 8], "data_offsets": [0, 64]}},
        {"query_image": {"dtype": "U8", "shape": [8, 8], "data_offsets": [0, 2**63]}},
        {"query_image": {"dtype": "U8", "shape": [2**32, 2**32], "data_offsets": [0, 0]}},
        {"query_image": {"dtype": "X9", "shape": [8, 8], "data_offsets": [0, 64]}},
        {"query_image": {"dtype": "F8_E8M0", "shape": [8, 8], "data_offsets": [0, 64]}},
        {"query_image": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}},
        {"query_image": 3},
        [],
    ],
    ids=range(9),
)
def test_safetensors_headers_that_lie(tmp_path, header):
    from limbeck.encoders.tensors import load_tensors

    text = json.dumps(header).encode()
    for size in (len(text), 2**63, 2**40, 3, 0):
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", size) + text + bytes(64))
        for reader in (read_codes, load_tensors):
            try:
                reader(tmp_path / "a.safetensors")
            except LimbeckError as error:
                assert "\n" not in str(error) and "a.safetensors" in str(error)
            else:
                assert reader is load_tensors  # a type that torch knows


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_arrow_and_parquet_that_lie(tmp_path, kind, run):
    """Every length in the file made extreme, one after another: read rightly or refused, never a crash."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    table = pa.table({"image": ["a.png"] * 3, "caption": ["x", "y", "z"], "n": [1, 2, 3]})
    good = tmp_path / f"t.{'parquet' if kind == 'parquet' else 'arrow'}"
    if kind == "parquet":
        pq.write_table(table, good)
    else:
        with pa.ipc.new_file(str(good), table.schema) as writer:
            writer.write_table(table)
    content = good.read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for at in rng.integers(0, len(content) - 8, 60):
        bad = bytearray(content)
        bad[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80"])
        good.write_bytes(bad)
        from limbeck.tables import read_table

        try:
            read_table(good)
        except LimbeckError as error:
            refused += 1
            assert "\n" not in str(error), error
    assert refused > 10


@pytest.mark.slow
def test_zip_names_that_leave_and_bombs(tmp_path, outside, run):
    archive = tmp_path / "in" / "z.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        for name in (
            "../../outside.txt",
            "/etc/limbeck-owned.png",
            "..\\..\\outside.png",
            "a/../../x.png",
            "ok.png",
        ):
            Image.new("RGB", (8, 8)).save(tmp_path / "p.png")
            stream.writestr(name, (tmp_path / "p.png").read_bytes())
        stream.writestr("captions.csv", "image,caption\n" + "ok.png,x\n" * 3_000_000)
    before = sorted(file.name for file in tmp_path.iterdir())
    run("data", "import", "folder", archive, tmp_path / "out")
    assert sorted(file.name for file in tmp_path.iterdir() if file.name != "out") == before
    assert not Path("/etc/limbeck-owned.png").exists()
    np.savez_compressed(tmp_path / "bomb.npz", query_image=np.zeros((1 << 22, 80), np.uint8))
    with pytest.raises(LimbeckError, match="unpacks to"):
        read_codes(tmp_path / "bomb.npz")


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "a\x00b", "\ud800", "\x1b[31m", " ", "\u202e", "🦊" * 5000, "-" * 90]
)
def test_queries_of_any_content(tmp_path, text, run):
    from tiny_encoder import pixel_encoder, write_pictures

    write_pictures(tmp_path / "p", range(4))
    path = tmp_path / "ix"
    limbeck.Index.build(path, tmp_path / "p", model=pixel_encoder())
    index = limbeck.Index.open(path)
    for ask in (
        lambda: index.search(text),
        lambda: index.search(f"red {text}"),
        lambda: index.search(like=text),
        lambda: index.search("red", where=text),
        lambda: index.search("red", where=f"id = '{text}'"),
        lambda: index.search(image=text),
        lambda: index.search("red", engine=text),
    ):
        try:
            hits = ask()
        except LimbeckError as error:
            assert "\n" not in str(error), error
        else:
            assert len(hits) <= 4
    (tmp_path / "q.txt").write_bytes(text.encode("utf-8", "surrogatepass") + b"\nred\n")
    status, out, err = run("search", path, "--queries", tmp_path / "q.txt", "-k", 1)
    assert "Traceback" not in err and '"red"' in out, err[-300:]
    assert status in (0, 1)


@pytest.mark.skipif(os.name == "nt", reason="links")
def test_loading_a_model_directory_executes_nothing(tmp_path, monkeypatch):
    from tiny_encoder import pixel_encoder

    folder = tmp_path / "model"
    pixel_encoder().save(folder)
    marker = tmp_path / "owned"
    code = f"open({str(marker)!r}, 'w').write('x')"
    for name in ("__init__.py", "model.py", "conftest.py", "sitecustomize.py", "torch.py", "tokenizer.py"):
        (folder / name).write_text(code)
    import pickle

    class Bomb:
        def __reduce__(self):
            return exec, (code,)

    for name in ("pytorch_model.bin", "model.pkl", "model.pt", "optimizer.pt"):
        (folder / name).write_bytes(pickle.dumps(Bomb()))
    about = json.loads((folder / "model.json").read_text())
    about |= {"auto_map": {"AutoModel": "model.Model"}, "python": "model.py:Model"}
    monkeypatch.chdir(folder)
    limbeck.load(folder)
    (folder / "model.json").write_text(json.dumps(about))
    try:
        limbeck.load(folder)
    except LimbeckError as error:
        assert "\n" not in str(error)
    shutil.copy(folder / "pytorch_model.bin", folder / "model.safetensors")
    with pytest.raises(LimbeckError, match=r"model\.safetensors"):
        limbeck.load(folder)
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("initializer_factor", [[]]),
        ("hidden_size", "x" * 5000),
        ("hidden_size", -1),
        ("num_attention_heads", 0),
        ("num_attention_heads", 5),
        ("patch_size", 0),
        ("image_size", 2**40),
        ("num_hidden_layers", 1_000_000),
        ("hidden_act", "os.system"),
    ],
)
def test_a_tower_whose_numbers_are_odd_is_refused_in_one_line(tmp_path, key, value):
    from tiny_encoder import pixel_encoder

    pixel_encoder().save(tmp_path / "m")
    file = tmp_path / "m" / "image" / "image.json"
    stored = json.loads(file.read_text())
    place = stored if key in stored else next(v for v in stored.values() if isinstance(v, dict) and key in v)
    place[key] = value
    file.write_text(json.dumps(stored))
    with pytest.raises(LimbeckError) as caught:
        limbeck.load(tmp_path / "m")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
