"""Small shards as img2dataset and `datasets` write them, of pictures that each have one colour."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def jpeg(number: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A smooth picture whose colours depend on the number."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    stream = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_tar(
    path: Path, numbers: Sequence[int], *, text: str = "picture number {}", format: int = tarfile.GNU_FORMAT
) -> None:
    """Write a shard of these samples, whose keys are their numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for number in numbers:
            facts = {"caption": text.format(number), "url": f"https://a.example/{number}", "width": 40}
            add(tar, f"{number:09d}.jpg", jpeg(number))
            add(tar, f"{number:09d}.txt", facts["caption"].encode())  # type: ignore[attr-defined]
            add(tar, f"{number:09d}.json", json.dumps(facts).encode())


def write_shards(folder: Path, shards: int = 3, each: int = 4) -> Path:
    """Write some shards and what img2dataset leaves beside them."""
    for at in range(shards):
        write_tar(folder / f"{at:05d}.tar", range(at * each, (at + 1) * each))
        (folder / f"{at:05d}_stats.json").write_text("{}")
        pq.write_table(pa.table({"url": ["u"]}), folder / f"{at:05d}.parquet")
    return folder


def write_parquet(path: Path, numbers: Sequence[int], *, group: int = 2) -> None:
    """Write a Parquet shard with the layout of `datasets`: structs of bytes and path, and a class label."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {"label": {"names": ["even", "odd"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    columns = {
        "image": pa.array([{"bytes": jpeg(n), "path": None} for n in numbers],
                          pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "caption": [[f"picture number {n}", f"number {n}"] for n in numbers],
        "label": [n % 2 for n in numbers],
    }  # fmt: skip
    about = {"huggingface": json.dumps({"info": {"features": names}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(about), path, row_group_size=group)
