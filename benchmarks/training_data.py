"""How training reads shards: order over processes and threads, decoding at 224 px, waiting, memory.

Pictures come from a zip (``--pictures``, any with JPEGs); shards are written from them as img2dataset does.
Processor seconds are measured where a busy machine would change the clock.

    python benchmarks/training_data.py --pictures coco.zip --order flickr8k.zip
"""

from __future__ import annotations

import argparse
import datetime
import io
import json
import os
import pickle
import random
import resource
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from claims import Claims
from limbeck.data.batches import Batches, InputReader
from limbeck.data.importers import ShardOptions, import_shards
from limbeck.data.inputs import Input
from limbeck.data.pairs import Pairs
from limbeck.data.subset import Subset
from limbeck.encoders.config import AugmentConfig, ClipImageConfig
from limbeck.encoders.image import ClipImageBackbone
from limbeck.encoders.transforms import random_crop
from limbeck.environment import environment
from limbeck.files import read_json, write_json
from limbeck.pictures import decode_picture

IMAGE = Input("image", "image")
PAIR_TFLOP = 581 / 2048 * 4 / 3
"""Of hmid_net/paper-vit-s's student by its dry run (docs/recipes.md), with ``chunk``."""
BAR = 0.02
PARTS = ("table", "order", "decode", "pools", "waiting")


def jpegs(file: Path, short: int | None = None) -> Iterator[bytes]:
    """Yield the JPEGs of a zip, perhaps resized to a short side in pixels."""
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            if name.endswith(".jpg"):
                data = archive.read(name)
                yield data if short is None else resized(data, short)


def resized(data: bytes, short: int) -> bytes:
    """Return a JPEG at another size."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    scale, stream = short / min(image.size), io.BytesIO()
    sides = (round(image.width * scale), round(image.height * scale))
    image.resize(sides, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def imported(folder: Path, pictures: Iterator[bytes], each: int = 1000) -> Subset:
    """Write shards, import them, and return all rows."""
    tar: tarfile.TarFile | None = None
    (folder / "web").mkdir(parents=True)
    for number, data in enumerate(pictures):
        if number % each == 0:
            if tar is not None:
                tar.close()
            tar = tarfile.open(folder / "web" / f"{number // each:05d}.tar", "w")  # noqa: SIM115
        facts = {"caption": f"picture {number}", "url": f"https://a.example/{number}"}
        texts = {"txt": facts["caption"].encode(), "json": json.dumps(facts).encode()}
        for ending, content in ({"jpg": data} | texts).items():
            info = tarfile.TarInfo(f"{number:09d}.{ending}")
            info.size = len(content)
            assert tar is not None
            tar.addfile(info, io.BytesIO(content))
    assert tar is not None
    tar.close()
    import_shards(folder / "web", folder / "pairs", ShardOptions())
    pairs = Pairs.open(folder / "pairs")
    return Subset(pairs, np.arange(len(pairs)), pairs.captions)


def tower(size: int, **more: Any) -> ClipImageBackbone:
    """Return an image tower with the crops of the papers' recipes."""
    crops = AugmentConfig(crop=[0.5, 1.0])
    return ClipImageBackbone(ClipImageConfig(image_size=size, augment=crops, **more))


def batches(view: Subset, backbone: ClipImageBackbone, size: int, **more: Any) -> Batches:
    """Return the batches of the papers' recipes, without texts."""
    sources = {"image": InputReader(view, IMAGE, backbone, None)}
    return Batches(view, sources, batch_size=size, seed=0, remainder="carry", **more)


def order(view: Subset, batch: int, epochs: int, decoded: int) -> dict[str, int]:
    """Compare processes, threads and restarts with one process that never stops."""
    small = tower(16, patch_size=8, width=8, layers=1, heads=2)
    alone = Batches(view, {}, batch_size=batch, seed=0, remainder="carry")
    steps, rng = alone.steps(epochs), random.Random(0)
    expected = [alone.at(step).ids for step in range(steps)]
    flat = [one for ids in expected for one in ids]
    found = {"pairs": len(view), "epochs": epochs, "steps": steps, "restarts": 0}
    found["not_once"] = sum(
        sorted(flat[at * len(view) : (at + 1) * len(view)]) != sorted(view.ids) for at in range(epochs)
    )
    found["twice_in_a_batch"] = sum(len(set(ids)) != len(ids) for ids in expected)
    found["other_order"] = found["other_pixels"] = 0
    part = view.take(np.arange(decoded))
    pixels = [
        batches(part, small, 96).at(step).inputs["image"]["pixels"] for step in range(decoded // 96 * 2)
    ]  # type: ignore[index]
    for world in (1, 2, 3):
        for threads in (1, 2, 3):
            stop = rng.randrange(1, steps)
            own: list[list[str]] = [[] for _ in range(steps)]
            for rank in range(world):
                for begin, end in ((0, stop), (stop, steps)):
                    share = Batches(
                        view, {}, batch_size=batch, seed=0, remainder="carry", rank=rank, world=world
                    )
                    for step, one in enumerate(share.iterate(begin, end), start=begin):
                        own[step] += one.ids
            found["restarts"] += world
            found["other_order"] += sum(a != b for a, b in zip(own, expected, strict=True))
            stop = rng.randrange(1, len(pixels))
            shares = [batches(part, small, 96, rank=r, world=world, workers=threads) for r in range(world)]
            both = zip(*(share.iterate(stop, len(pixels)) for share in shares), strict=True)
            for step, several in enumerate(both, start=stop):
                whole = torch.cat([one.inputs["image"]["pixels"] for one in several])
                found["other_pixels"] += not torch.equal(whole, pixels[step])
    return found


def milliseconds(work: Callable[[Any], Any], items: list[Any]) -> tuple[float, list[Any]]:
    """Return the processor milliseconds per item, the least of three rounds, and the results."""
    times = []
    for _ in range(3):
        began = time.process_time()
        done = [work(item) for item in items]
        times.append((time.process_time() - began) / len(items) * 1e3)
    return min(times), done


def decoding(pictures: list[bytes]) -> dict[str, float]:
    """Return processor milliseconds per picture of each step to 224 px, and of the whole."""
    backbone, generator = tower(224, patch_size=16, width=8, layers=1, heads=2), torch.Generator()
    pixels, augment = backbone.preprocessor, backbone.augment
    assert augment is not None
    opened = milliseconds(lambda data: decode_picture(io.BytesIO(data), "x", size=224), pictures)
    crops = milliseconds(lambda image: random_crop(image, 224, augment, generator, pixels.square), opened[1])
    normal = milliseconds(pixels.normalized, crops[1])
    own = [resized(data, 8) for data in pictures]
    tiny = tower(8, patch_size=8, width=8, layers=1, heads=2)

    def whole(data: bytes, size: int, by: ClipImageBackbone) -> Any:
        return by.collate([decode_picture(io.BytesIO(data), "x", size=size)], [generator])

    return {
        "bytes": float(np.mean([len(data) for data in pictures])),
        "decode": opened[0],
        "crop": crops[0],
        "normalise": normal[0],
        "whole": milliseconds(lambda data: whole(data, 224, backbone), pictures)[0],
        # What is left at 8 px is Python: an upper bound of what holds the interpreter's lock.
        "python": milliseconds(lambda data: whole(data, 8, tiny), own)[0],
    }


def pools(view: Subset, workers: int, steps: int = 6, size: int = 64) -> dict[str, float]:
    """Return processor milliseconds per picture with threads, and with processes that send their arrays."""
    backbone = tower(224, patch_size=16, width=8, layers=1, heads=2)
    source = batches(view, backbone, size, workers=workers)
    began = time.process_time()
    for _ in source.iterate(0, steps):
        pass
    threads = (time.process_time() - began) / (steps * size) * 1e3

    def spent() -> float:
        return sum(os.times()[:4])

    with ProcessPoolExecutor(workers, initializer=_begin, initargs=(view.pairs.path,)) as pool:
        list(pool.map(_read, range(2 * workers)))  # they are started and warm
        order = np.concatenate([source.order.batch(step)[0] for step in range(steps)]).tolist()
        began, own = spent(), time.process_time()
        for at in range(0, len(order), size):
            torch.cat([pickle.loads(one) for one in pool.map(_read, order[at : at + size])])
        parent = (time.process_time() - own) / len(order) * 1e3
    return {"threads": threads, "processes": (spent() - began) / len(order) * 1e3, "of_it_parent": parent}


def _begin(pairs: Path) -> None:
    global _source
    opened = Pairs.open(pairs)
    view = Subset(opened, np.arange(len(opened)), opened.captions)
    _source = InputReader(view, IMAGE, tower(224, patch_size=16, width=8, layers=1, heads=2), None)


def _read(position: int) -> bytes:
    inputs: Any = _source.inputs(np.array([position]), [position])
    return pickle.dumps(inputs["pixels"])


_source: InputReader


def waiting(view: Subset, workers: int, size: int, steps: int) -> dict[str, float]:
    """Train a ViT-S at 224 px on the processor, and return the share of the time that waits for data."""
    torch.manual_seed(0)
    backbone = tower(224, patch_size=16, width=384, layers=12, heads=6)
    optimizer = torch.optim.AdamW(backbone.parameters())
    source = batches(view, backbone, size, workers=workers)
    began = waited = 0.0
    for step, batch in enumerate(source.iterate(0, steps + 2)):
        if step == 2:
            began, waited = time.perf_counter(), source.waited
        inputs: Any = batch.inputs["image"]
        backbone(inputs).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - began
    return {
        "workers": workers,
        "share": (source.waited - waited) / seconds,
        "pairs_per_second": steps * size / seconds,
    }


def table(rows: int, folder: Path) -> dict[str, float]:
    """Return memory and time of a table per million rows, and the time of a batch without its pictures."""
    images = [f"{n // 10000:05d}.tar/{n:09d}.jpg#{n % 10000 * 65536 + 512}+48211" for n in range(rows)]
    columns = {
        "id": pa.array([f"{n:09d}" for n in range(rows)]),
        "image": pa.array(images),
        "captions": pa.array([[f"a caption of usual length of pair number {n}"] for n in range(rows)]),
    }
    media = {"kind": "shards", "root": str(folder)}
    Pairs.write(folder / "table", columns, {"name": "table", "label_names": [], "media": media})
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_opened, folder / "table", rows).result()


def _opened(path: Path, rows: int) -> dict[str, float]:
    before, began = _resident(), time.process_time()
    pairs = Pairs.open(path)
    view = Subset(pairs, np.arange(rows), pairs.captions)
    source = Batches(view, {}, batch_size=2048, seed=0, remainder="carry")
    source.at(0)
    seconds, grown = time.process_time() - began, _resident() - before
    began = time.process_time()
    for step in range(1, 41):
        source.at(step)
    return {
        "seconds_per_million": seconds / rows * 1e6,
        "bytes_per_row": grown / rows,
        "batch_microseconds_per_pair": (time.process_time() - began) / (40 * 2048) * 1e6,
    }


def _resident() -> int:
    with Path("/proc/self/statm").open(encoding="ascii") as stream:
        return int(stream.read().split()[1]) * resource.getpagesize()


def summary(found: dict[str, Any], command: str) -> dict[str, Any]:
    """Return the claims, and the cores that decode for a GPU."""
    total, each = found["order"], max(own["whole"] for own in found["decode"].values())
    wrong = total["not_once"] + total["twice_in_a_batch"] + total["other_order"] + total["other_pixels"]
    gpu = {
        str(tflops): {"pairs_per_second": tflops / PAIR_TFLOP, "cores": tflops / PAIR_TFLOP * each / 1e3}
        for tflops in (100, 400, 790)
    }
    claims = Claims()
    claims.add(
        "batches that differ, and epochs without every pair once, over 1, 2, 3 processes and threads", command,
        wrong, "batches", 0, below=True, seeds=[0],
        note=f"{total['pairs']:,} pairs, {total['steps']} steps, {total['restarts']} restarts",
    )  # fmt: skip
    for own in found.get("waiting", []):
        claims.add(
            f"waiting for data, share of a training step at 224 px, workers={own['workers']}", command,
            own["share"], "share", BAR, below=True, seeds=[0],
            note=f"ViT-S/16 forward, backward and AdamW on the CPU, {own['pairs_per_second']:.1f} pairs/s",
        )  # fmt: skip
    claims.add(
        "cores that decode for a GPU at 400 TFLOP/s (student of hmid_net/paper-vit-s)", command,
        gpu["400"]["cores"], "cores", 16, below=True, seeds=[0],
        note=f"{each:.2f} ms of a core per picture, {1e3 / each:,.0f} pictures/s per core",
    )  # fmt: skip
    return {"gpu": gpu, "claims": claims.rows}


def main() -> None:
    """Measure, and write the claims."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="zip with JPEGs of about 224 px")
    parser.add_argument("--order", type=Path, required=True, help="zip with thousands of JPEGs")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="others are kept")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/training-data.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    command = (
        f"python benchmarks/training_data.py --pictures {given.pictures.name} --order {given.order.name}"
    )
    found: dict[str, Any] = read_json(given.out) if given.out.is_file() else {}
    with tempfile.TemporaryDirectory() as place:
        if "table" in given.parts:
            found["table"] = table(given.rows, Path(place))
        if "order" in given.parts:
            found["order"] = order(imported(Path(place) / "order", jpegs(given.order)), 252, 2, 960)
        if "decode" in given.parts:
            found["decode"] = {
                str(short or "as they are"): decoding(list(islice(jpegs(given.pictures, short), 120)))
                for short in (None, 256, 480)
            }
        if {"pools", "waiting"} & set(given.parts):
            pictures = islice(cycle(list(jpegs(given.pictures))), 1200)
            view = imported(Path(place) / "decode", pictures, each=300)
            if "pools" in given.parts:
                found["pools"] = pools(view, 2)
            if "waiting" in given.parts:
                found["waiting"] = [waiting(view, n, given.batch, given.steps) for n in (1, 2, 4)]
    versions, machine = environment()
    about = {"date": datetime.date.today().isoformat(), "versions": versions, "machine": machine}
    write_json(given.out, found | about | summary(found, command) | {"load": round(os.getloadavg()[0], 2)})


if __name__ == "__main__":
    main()
