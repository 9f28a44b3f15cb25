"""The processor time of one question from the shell and of a build, and what the base install weighs.

    python benchmarks/cold_search.py --demo demo [--base OTHER/src] [--venv VENV]

``--demo`` is the folder of `limbeck demo`, whose run soda-64 holds ONNX graphs; ``--base`` is the source of the version to
compare with, which builds its own index (without it, its recorded figures stay); ``--venv`` is an environment with the base
install. Processor time is user plus system of the process and its threads, since a shared machine's clock says little. The
answer is written to docs/results/parts/lean.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs/results/parts/lean.json"
QUERY, RUNS, BUILDS, TEXTS, PICTURES = "a red ring at night", 9, 5, 3000, 2000


def processor_seconds(
    source: Path | None, python: str, *words: str, call: str = "from limbeck.cli import main; main()"
) -> tuple[float, float]:
    """Processor seconds and seconds of one command; ``source`` is its PYTHONPATH."""
    unwanted = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")  # the first run compiles the modules
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [python, "-c", call, *words],
        env=kept | ({} if source is None else {"PYTHONPATH": str(source)}),
        check=True,
        capture_output=True,
        cwd="/",
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - start


def searches(source: Path | None, python: str, index: Path) -> dict[str, Any]:
    """Processor seconds of cold searches, after one that fills the caches."""
    processor_seconds(source, python, "search", str(index), QUERY)
    runs = [processor_seconds(source, python, "search", str(index), QUERY)[0] for _ in range(RUNS)]
    return {"median": statistics.median(runs), "runs": runs}


def builds(source: Path | None, python: str, run: Path, pictures: Path, out: Path) -> dict[str, Any]:
    """Processor seconds and seconds of `limbeck index build` over the pictures, after one that fills the caches."""
    words = ["index", "build", str(pictures), "--model", str(run), "--out", str(out)]
    runs = []
    for _ in range(1 + BUILDS):
        shutil.rmtree(out, ignore_errors=True)
        runs.append(processor_seconds(source, python, *words))
    used, whole = zip(*runs[1:], strict=True)
    return {"median": statistics.median(used), "runs": used, "seconds": whole}


def stages(run: Path, pictures: Path) -> dict[str, float]:
    """Processor microseconds per picture of the stages of a build, and of starting up, in this process."""
    start = time.process_time()
    import numpy as np

    from limbeck.encoding import open_source
    from limbeck.search.encoders import open_model

    encoder = open_model(run)
    source, rows = open_source(pictures), range(512)
    first = encoder.collate("image", [source.open_image(0)])
    encoder.compute("image", first, "points")
    found: dict[str, float] = {"start_seconds": time.process_time() - start}
    if "torch" in sys.modules:
        raise RuntimeError(f"{run}: has no ONNX graphs")

    def timed(name: str, work: Any) -> Any:
        start = time.process_time()
        result = work()
        found[name] = 1e6 * (time.process_time() - start) / len(rows)
        return result

    images = timed("decode", lambda: [source.open_image(row) for row in rows])
    inputs = timed("collate", lambda: [encoder.collate("image", [image]) for image in images])
    batches = [
        {name: np.concatenate([one[name] for one in inputs[at : at + 64]]) for name in inputs[0]}
        for at in range(0, len(rows), 64)
    ]
    timed("forward", lambda: [encoder.compute("image", batch, "points") for batch in batches])
    return found


def equal_codes(demo: Path, pictures: Path, index: Path) -> dict[str, int]:
    """Of so many captions, how many get the same code from ONNX and from torch; and of the index's pictures."""
    import numpy as np

    import limbeck
    from limbeck.onnx import OnnxEncoder
    from limbeck.search import Index

    pairs = limbeck.Pairs.open(demo / "scenes")
    texts = list(dict.fromkeys(text for own in pairs.texts("captions") for text in own))[:TEXTS]
    found = Index.open(index).store.encoder_for("text")
    assert found is not None
    ours = OnnxEncoder.open(found[0])
    assert ours is not None
    torch = limbeck.load(demo / "runs/soda-64")
    codes, wanted = ours.encode_text(texts), torch.encode_text(texts)
    store = Index.open(index).store
    built = store.points_at(np.arange(store.rows))
    files = [pictures / item["id"] for item in store.metadata(range(store.rows))]
    return {
        "pictures": len(files),
        "picture_bits": 8 * built.size,
        "equal_picture_bits": int(8 * built.size - np.bitwise_count(built ^ torch.encode_image(files)).sum()),
        "texts": len(texts),
        "equal": int((codes == wanted).all(axis=1).sum()),
        "bits": 8 * codes.size,
        "equal_bits": int(8 * codes.size - np.bitwise_count(codes ^ wanted).sum()),
    }


def installed(venv: Path, index: Path, run: Path, pictures: Path) -> dict[str, Any]:
    """What a base install weighs, whether torch is there, and what a search and a build cost with it."""
    python = str(venv / "bin/python")
    packages = next((venv / "lib").glob("python3*/site-packages"))
    sizes: dict[str, float] = {}
    for file in packages.rglob("*"):
        if file.is_file() and file.suffix != ".pyc":
            name = file.relative_to(packages).parts[0].removesuffix(".libs")
            sizes[name] = sizes.get(name, 0) + file.stat().st_size / 1e6
    tools = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
    sizes = {name: size for name, size in sizes.items() if not name.startswith(tools)}
    torch = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    largest = dict(sorted(sizes.items(), key=lambda item: -item[1])[:6])
    return {
        "megabytes": sum(sizes.values()),
        "largest": largest,
        "torch": torch,
        "search": searches(None, python, index),
        "build": builds(None, python, run, pictures, index.with_name("base-install")),
    }


def main() -> None:
    """Measure and write the part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--venv", type=Path)
    given = parser.parse_args()
    demo = given.demo.resolve()
    recorded = json.loads(OUT.read_text())
    with tempfile.TemporaryDirectory() as place:
        pictures, index = Path(place) / "pictures", Path(place) / "index"
        shutil.unpack_archive(demo / "scenes/images.zip", pictures)
        for file in sorted(pictures.iterdir())[PICTURES:]:
            file.unlink()
        run, plain = demo / "runs/soda-64", Path(place) / "plain"
        shutil.copytree(run / "model", plain, ignore=shutil.ignore_patterns("onnx"))
        source = ROOT / "src"
        answer: dict[str, Any] = {"pictures": PICTURES}
        answer["build"] = builds(source, sys.executable, run, pictures, index)
        answer["torch_build"] = builds(source, sys.executable, plain, pictures, Path(place) / "by-torch")
        answer["search"] = searches(source, sys.executable, index)
        if given.venv is not None:
            shutil.move(index, index.with_name("copied"))  # an index stands alone
            index = index.with_name("copied")
            answer["base_install"] = installed(given.venv.resolve(), index, run, pictures)
        if given.base is None:
            answer |= {name: recorded[name] for name in ("base_build", "base_search")}
        else:
            base, own = given.base.resolve(), Path(place) / "base"
            answer["base_build"] = builds(base, sys.executable, plain, pictures, own)
            answer["base_search"] = searches(base, sys.executable, own)
        answer["stages"] = stages(run, pictures)
        answer["codes"] = equal_codes(demo, pictures, index)
    from limbeck.environment import environment
    from limbeck.files import write_json

    versions, machine = environment()
    write_json(OUT, answer | {"versions": versions, "machine": machine})
    print(answer)


if __name__ == "__main__":
    main()
