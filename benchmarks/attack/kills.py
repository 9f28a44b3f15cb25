"""Commands killed at random moments: what was acknowledged stays, what was not is there whole or not at all.

A child carries out one verb after another on a small index and says what it begins and what is done. It gets
SIGKILL after a random time. A ledger in the parent says what must be there. Afterwards the next command must work.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import limbeck
from limbeck.errors import LimbeckError
from limbeck.index.ann_index import derived_names, open_derived, write_derived
from limbeck.index.compact import compact_index
from limbeck.index.export import export_index
from limbeck.index.store import IndexStore, verify_index

VERBS = ("add", "remove", "compact", "engine", "replace", "export", "encode")
ENGINES = ("ivf", "mih", "prefix")
State = dict[str, tuple[bytes, int]]


def code_of(name: str, version: int) -> bytes:
    return random.Random(f"{name} {version}").randbytes(8)


def planned(state: State, verb: str, number: int) -> tuple[list[str], State]:
    """The ids that a verb is about, and the state after it."""
    rng = random.Random(number)
    if verb == "remove":
        names = rng.sample(sorted(state), min(len(state) - 1, rng.randint(1, 60)))
        return names, {name: value for name, value in state.items() if name not in set(names)}
    if verb in ("add", "replace"):
        names = [f"{number}-{i}" for i in range(rng.randint(1, 80))]
        new = {name: (code_of(name, number), number) for name in names}
        return names, new if verb == "replace" else state | new
    return [], state


def perform(work: Path, verb: str, names: list[str], number: int) -> None:
    """Carry out one verb."""
    path = work / "index"
    if verb in ("add", "replace"):
        codes = np.frombuffer(b"".join(code_of(name, number) for name in names), np.uint8).reshape(-1, 8)
        items = {"id": names, "version": [number] * len(names)}
        if verb == "add":
            limbeck.Index.open(path).add(codes, items=items)
        else:
            limbeck.Index.build(path, codes, items=items, replace=True)
    elif verb == "remove":
        limbeck.Index.open(path).remove(names)
    elif verb == "compact":
        compact_index(path)
    elif verb == "engine":
        write_derived(IndexStore.open(path), random.Random(number).choice(ENGINES))
    elif verb == "export":
        out = work / f"out-{number}{random.Random(number).choice(('.npy', '.parquet'))}"
        export_index(path, out)
    else:
        from limbeck.index.encoded import EncodedMeta, write_encoded
        from limbeck.spaces import Hamming

        with write_encoded(work / "set", EncodedMeta(Hamming(64), None), replace=True) as writer:
            ids = [f"e{number}-{i}" for i in range(50)]
            writer.append(np.zeros((50, 8), np.uint8), {"id": ids, "version": [number] * 50})


def read(path: Path) -> State:
    """Everything in the index, after each checksum was compared."""
    verify_index(path)
    found: State = {}
    for points, table in IndexStore.open(path).live_batches():
        columns = (table.column(name).to_pylist() for name in ("id", "version"))
        for name, version, point in zip(*columns, points, strict=True):
            assert name not in found, f"{name} twice"
            found[name] = (point.tobytes(), version)
    return found


def attack_kills(work: Path, count: int, seed: int, longest: float = 0.6) -> dict[str, Any]:
    """Counts of ``count`` kills, by verb; raises at the first loss."""
    rng, during, faults = random.Random(seed), Counter[str](), []
    names = [f"start-{i}" for i in range(300)]
    state: State = {name: (code_of(name, 0), 0) for name in names}
    perform(work, "replace", names, 0)
    for verb in ("compact", "engine", "export", "encode"):  # compiled and imported before the first fork
        perform(work, verb, [], 1)
    acknowledged = 0
    for _ in range(count):
        state, verb, done, problems = _kill(work, state, rng, longest)
        acknowledged += done
        during[verb] += 1
        faults += problems
    return {
        "kills": count,
        "during": dict(sorted(during.items())),
        "acknowledged": acknowledged,
        "faults": faults,
    }


def _kill(work: Path, state: State, rng: random.Random, longest: float) -> tuple[State, str, int, list[str]]:
    hear, say = os.pipe()
    seed = rng.getrandbits(40)
    child = os.fork()
    if child == 0:
        try:
            os.close(hear)
            _work(work, state, seed, say)
        finally:
            os._exit(1)
    os.close(say)
    with os.fdopen(hear, "rb") as stream:
        first = stream.readline()
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        lines = (first + stream.read()).decode().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != -signal.SIGKILL:
        return state, "none", 0, [f"the writer ended by itself ({status}): {lines[-1:]}"]
    begun, done = None, 0
    for line in lines:
        if line == "done":
            assert begun is not None
            state, begun, done = planned(state, *begun)[1], None, done + 1
        else:
            _, verb, number = line.split()
            begun = (verb, int(number))
    verb = begun[0] if begun else "none"
    try:
        state = _judged(work, state, begun)
        _next_works(work, state, rng)
    except (AssertionError, LimbeckError) as error:
        return state, verb, done, [f"after a kill during {verb}: {error}"]
    return state, verb, done, []


def _work(work: Path, state: State, seed: int, say: int) -> None:
    """What the child does until it is killed."""
    rng = random.Random(seed)
    while True:
        verb, number = rng.choice(VERBS), rng.getrandbits(40)
        names, after = planned(state, verb, number)
        os.write(say, f"begin {verb} {number}\n".encode())
        perform(work, verb, names, number)
        os.write(say, b"done\n")
        state = after


def _judged(work: Path, state: State, begun: tuple[str, int] | None) -> State:
    """The state found; it must be that of the ledger, or the one begun, whole."""
    found = read(work / "index")
    if found != state:
        assert begun is not None and found == planned(state, *begun)[1], (
            f"{len(found)} items, ledger {len(state)}"
        )
    for name in derived_names(work / "index"):  # whole, or not there
        open_derived(work / "index", name).verify()
    for out in work.glob("out-*"):  # an export stands under its name once it is whole
        if out.suffix == ".npy":
            rows = len(np.load(out))
            names = out.with_suffix(".ids.txt").read_text().splitlines()
            assert len(names) == rows, f"{out.name}: {rows} rows, {len(names)} ids"
        elif out.suffix == ".parquet":
            import pyarrow.parquet as pq

            pq.read_table(out)
        elif (
            out.name.endswith(".ids.txt") and not out.with_name(out.name.replace(".ids.txt", ".npy")).exists()
        ):
            out.unlink()  # ids alone claim nothing: the export says "exists already" and names the file
            continue
    for out in work.glob("*out-*"):
        out.unlink()
    if (work / "set").exists() or begun is None or begun[0] != "encode":
        with contextlib.suppress(FileNotFoundError):
            from limbeck.index.encoded import Encoded

            Encoded.open(work / "set").check()
    return found


def _next_works(work: Path, state: State, rng: random.Random) -> None:
    """Each verb works on what the kill left, in a copy."""
    copy = work / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    shutil.copytree(work / "index", copy / "index")
    for verb in ("remove", "engine", "compact", "export", "add"):
        number = rng.getrandbits(40)
        names, after = planned(state, verb, number)
        perform(copy, verb, names, number)
        state = after
    assert read(copy / "index") == state, "the next commands answer wrongly"
    shutil.rmtree(copy)
