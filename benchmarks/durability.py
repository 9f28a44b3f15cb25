"""Is anything acknowledged ever lost? A writer is killed at random moments, and the index compared with a record.

    python benchmarks/durability.py [--interruptions 200] [--rows 2000] [--seed 0] [--out FILE]

A child adds, replaces, removes and compacts without a pause, and says through a pipe what it begins and what is
done. It gets SIGKILL after a random time. The index is opened, every checksum verified, and all ids, points and
columns compared with what a record in memory says: all that was done must be there, and what was begun must be there
whole or not at all. SIGKILL does not empty the system's cache: what a power cut would leave is in
tests/index/test_power_cut.py.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.environment import environment
from limbeck.files import write_json
from limbeck.index import garbage
from limbeck.index.add import add_batches
from limbeck.index.compact import compact_index
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Hamming

META = StoreMeta(Hamming(64))
KINDS = ("add", "replace", "remove", "compact")
State = dict[str, tuple[bytes, int]]


def points_of(names: list[str], version: int) -> np.ndarray:
    """(n, 8) codes that follow from the names and a number."""
    rows = [random.Random(f"{name} {version}").randbytes(8) for name in names]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(names), 8)


def planned(state: State, kind: str, seed: int) -> tuple[list[str], State]:
    """The ids that an operation is about, and the state after it."""
    rng = random.Random(seed)
    if kind == "compact":
        return [], state
    if kind == "remove":
        names = rng.sample(sorted(state), min(len(state), rng.randint(1, 40)))
        return names, {name: value for name, value in state.items() if name not in set(names)}
    names = [f"{seed}-{i}" for i in range(rng.randint(1, 60))]
    if kind == "replace":
        names = names[:5] + rng.sample(sorted(state), min(len(state), rng.randint(1, 40)))
    codes = points_of(names, seed)
    return names, state | {name: (code.tobytes(), seed) for name, code in zip(names, codes, strict=True)}


def perform(path: Path, kind: str, names: list[str], seed: int) -> None:
    if kind == "remove":
        remove_items(path, names)
    elif kind == "compact":
        compact_index(path)
    else:
        items = {"id": names, "version": [seed] * len(names)}
        add_batches(path, [(points_of(names, seed), items)], META, replace=kind == "replace")


def read(path: Path) -> State:
    """Everything in the index, after each checksum was compared."""
    store = IndexStore.open(path)
    store.verify()
    found: State = {}
    for points, table in store.live_batches():
        columns = (table.column(name).to_pylist() for name in ("id", "version"))
        for name, version, point in zip(*columns, points, strict=True):
            assert name not in found, f"{name} twice"
            found[name] = (point.tobytes(), version)
    assert len(found) == len(store)
    return found


def work(path: Path, state: State, seed: int, say: int) -> None:
    """What the child does until it is killed."""
    rng = random.Random(seed)
    while True:
        kind, number = rng.choice(KINDS), rng.getrandbits(40)
        names, after = planned(state, kind, number)
        os.write(say, f"begin {kind} {number}\n".encode())
        perform(path, kind, names, number)
        os.write(say, b"done\n")
        state = after


def interrupt(path: Path, state: State, rng: random.Random, longest: float) -> tuple[State, dict[str, Any]]:
    """Start a writer, kill it, check what is left: the state found, and what happened."""
    hear, say = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(hear)
            if rng.random() < 0.5:  # leftovers and old generations are removed as if they were old
                garbage.MIN_AGE_SECONDS = -1.0
            work(path, state, rng.getrandbits(40), say)
        finally:
            os._exit(1)
    os.close(say)
    rng.random(), rng.getrandbits(40)
    with os.fdopen(hear, "rb") as stream:
        first = stream.readline()  # the child is at work
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        lines = (first + stream.read()).decode().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status != -signal.SIGKILL:
        raise RuntimeError(f"the writer ended by itself ({status}) after {lines[-1:]}")
    begun, acknowledged = None, 0
    for line in lines:
        if line == "done":
            assert begun is not None
            state, begun, acknowledged = planned(state, *begun)[1], None, acknowledged + 1
        else:
            _, kind, number = line.split()
            begun = (kind, int(number))
    found, kind = read(path), begun[0] if begun else "none"
    outcome = "last acknowledged"
    if found != state:
        if begun is None or found != planned(state, *begun)[1]:
            raise RuntimeError(f"after a kill during {kind}: {len(found)} items, acknowledged {len(state)}")
        outcome = "the one under way, whole"
    return found, {"during": kind, "found": outcome, "acknowledged": acknowledged}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--interruptions", type=int, default=200)
    parser.add_argument("--rows", type=int, default=2000, help="items at the start")
    parser.add_argument("--longest", type=float, default=0.5, help="seconds until a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/parts/durability.json"))
    given = parser.parse_args()
    rng, began, happened = random.Random(given.seed), time.perf_counter(), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index"
        names = [f"start-{i}" for i in range(given.rows)]
        codes = points_of(names, 0)
        IndexStore.build(path, [(codes, {"id": names, "version": [0] * len(names)})], META)
        state = read(path)
        for _ in range(given.interruptions):
            state, what = interrupt(path, state, rng, given.longest)
            happened.append(what)
        generation = IndexStore.open(path).manifest.generation
    counts = Counter((what["during"], what["found"]) for what in happened)
    acknowledged = sum(what["acknowledged"] for what in happened)
    for (during, found), count in sorted(counts.items()):
        print(f"killed during {during:8} found the state {found:25} {count:4} times")
    print(f"{given.interruptions} interruptions, {acknowledged} acknowledged commits, none lost")
    versions, machine = environment()
    claim = {
        "claim": "acknowledged commits lost over the interruptions of add, replace, remove and compact",
        "command": f"python benchmarks/durability.py --interruptions {given.interruptions} --seed {given.seed}",
        "value": 0,
        "unit": "commits",
        "bar": 0,
        "met": given.interruptions >= 200,
        "seeds": [given.seed],
        "note": f"{given.interruptions} SIGKILLs, {acknowledged} commits acknowledged",
    }
    about = {"date": datetime.date.today().isoformat(), "versions": versions, "machine": machine}
    found_by = {
        "rows": given.rows,
        "generation": generation,
        "killed": [{"during": a, "found": b, "times": n} for (a, b), n in sorted(counts.items())],
        "seconds": round(time.perf_counter() - began, 1),
        "claims": [claim],
    }
    write_json(given.out, about | found_by)


if __name__ == "__main__":
    main()
