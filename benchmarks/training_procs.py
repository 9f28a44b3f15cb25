"""Is training on several processes, in chunks and after SIGKILL what one uninterrupted process computes, and at what cost?

    python benchmarks/training_procs.py [gradients cache step throughput kills] [--out docs/results/parts/training-procs.json]

gradients    the gradients of two processes (gloo), whole and in chunks, against one process, for every method
cache        batch 4,096 in chunks of 256 against all at once: gradients, and memory beyond that before the step
step         processor seconds of the loop's step over those of a plain loop with the same towers
throughput   processor seconds per pair of two processes over those of one
kills        a run killed 30 times at random moments, resumed each time, and compared with one left alone

Times are processor seconds (user and system, all threads), so that other work on the machine changes them little.
Each part replaces its own key in the file.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "training")]

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from every_method import TRAINED, difference, recipes  # noqa: E402
from gloo_worker import IN_DOUBLE, gradients, method_and_batch, on_two_processes  # noqa: E402
from lightning_fabric import Fabric  # noqa: E402

from limbeck.data.batches import Batch  # noqa: E402
from limbeck.environment import environment  # noqa: E402
from limbeck.files import write_json  # noqa: E402
from limbeck.losses import info_nce  # noqa: E402
from limbeck.methods import Method, TrainState  # noqa: E402
from limbeck.training import train  # noqa: E402
from limbeck.training.cost import peak_memory, reset_peak  # noqa: E402
from limbeck.training.fit import fit  # noqa: E402
from limbeck.training.flops import set_train_mode  # noqa: E402
from limbeck.training.recipe import OptimConfig, load_recipe  # noqa: E402
from limbeck.training.step import forward_backward  # noqa: E402
from limbeck.training.update import Update  # noqa: E402
from tiny import pixel_recipe, soda_recipe, write_pairs, write_protocol  # noqa: E402

STATE = TrainState(0, 100, 0, 0)
BATCH, CHUNK = 4096, 256
PAIRS, STEPS = 128, 12
KILLS = 30


def towers(folder: Path, layers: int, **options: Any) -> tuple[dict[str, Any], Method, Batch]:
    """A CLIP recipe with small transformers, its method, and a batch of 16 pairs."""
    pairs, protocol = write_pairs(folder, pictures=20), write_protocol(folder, "retrieval")
    tree = pixel_recipe(pairs, protocol, {"name": "clip"}, {"kind": "sphere", "dim": 64}, **options)
    for tower in tree["towers"].values():
        tower["backbone"] |= {"width": 64, "layers": layers}
    tree["towers"]["image"]["backbone"]["image_size"] = 20
    return (tree, *method_and_batch(tree))


def enlarged(batch: Batch, size: int) -> Batch:
    """Random pixels, and the texts of a batch again and again in another order of words."""
    random_numbers = torch.Generator().manual_seed(0)
    inputs: dict[str, Any] = {}
    for name, own in batch.inputs.items():
        rows: Any = own
        inputs[name] = {
            key: torch.randn(size, *value.shape[1:], generator=random_numbers)
            if value.is_floating_point()
            else value.repeat(-(-size // len(value)), *[1] * (value.ndim - 1))[:size]
            for key, value in rows.items()
        }
    return Batch(inputs, [str(n) for n in range(size)], torch.arange(size), None)


def one_cpu() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def measure_gradients(folder: Path) -> Any:
    trees = recipes(folder)
    both = on_two_processes(folder, trees)
    rows = []
    for name in TRAINED:
        wanted, loss = gradients(trees[name])
        found = {}
        for kind in ("whole", "chunked"):
            others = [own[name][kind] for own in both]
            idle = {n: torch.zeros_like(g) for n, g in others[0].items() if n not in wanted}
            found[kind] = max(difference(other, wanted | idle) for other in others)
        same_loss = max(abs(own[name]["loss"] - loss) / abs(loss) for own in both)
        precision = "float64" if name in IN_DOUBLE else "float32"
        rows.append({"method": name, **found, "loss": same_loss, "precision": precision})
        print(rows[-1], flush=True)
    return {
        "chunk": 3,
        "batch": 16,
        "rows": rows,
        "largest": max(max(r["whole"], r["chunked"]) for r in rows),
    }


def one_step(folder: str, chunk: int | None) -> None:
    """Entry of a process: the gradients and the memory of one step."""
    torch.set_num_threads(1)
    Path(folder, str(chunk)).mkdir()
    _, method, batch = towers(Path(folder, str(chunk)), 6)
    batch = enlarged(batch, BATCH)
    forward_backward(method, batch.part(0, 64), STATE, one_cpu(), None)  # what the first step alone allocates
    method.zero_grad(set_to_none=True)
    reset_peak()
    before, began = peak_memory() or 0, time.process_time()
    forward_backward(method, batch, STATE, one_cpu(), chunk)
    seconds, memory = time.process_time() - began, (peak_memory() or 0) - before
    grads = {n: p.grad for n, p in method.named_parameters()}
    torch.save((grads, memory, seconds), Path(folder) / f"{chunk}.pt")


def measure_cache(folder: Path) -> Any:
    spawn = multiprocessing.get_context("spawn")
    for chunk in (None, CHUNK):
        process = spawn.Process(target=one_step, args=(str(folder), chunk))
        process.start()
        process.join()
    (wanted, direct, seconds), (found, cached, more) = (torch.load(folder / f"{c}.pt") for c in (None, CHUNK))
    return {
        "batch": BATCH,
        "chunk": CHUNK,
        "difference": difference(found, wanted),
        "memory": direct,
        "memory_chunked": cached,
        "memory_ratio": cached / direct,
        "seconds_ratio": more / seconds,
    }


class Interleaved:
    """Batches for the loop, which times the loop's steps and, between them, those of a plain loop."""

    steps_per_epoch, batch_size = 10**9, PAIRS

    def __init__(self, method: Method, batch: Batch) -> None:
        self.batch, self.loop, self.plain = batch, [], []
        self.method = copy.deepcopy(method)
        weights = list(self.method.parameters())
        decayed = [
            {"params": [p for p in weights if p.ndim >= 2], "weight_decay": 0.01},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(decayed, lr=1e-3, betas=(0.9, 0.98), fused=True)
        set_train_mode(self.method)

    def epoch(self, step: int) -> int:
        return 0

    def at(self, step: int) -> Batch:
        return self.batch

    def iterate(self, start: int, stop: int) -> Iterator[Batch]:
        for _ in range(start, stop):
            began = time.process_time()
            self.plain_step()
            middle = time.process_time()
            yield self.batch
            self.loop.append(time.process_time() - middle)
            self.plain.append(middle - began)

    def plain_step(self) -> None:
        encoder = self.method.encoder
        image, text = (encoder.embed(name, self.batch.inputs[name]) for name in ("image", "text"))
        loss = info_nce(encoder.lift.logits(image, text))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.method.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def measure_step(folder: Path) -> Any:
    steps = 3 * STEPS
    tree, method, batch = towers(folder, 3, steps=steps, checkpoint_every=10**6, log_every=10)
    stage: Any = load_recipe(tree).last
    batches: Any = Interleaved(method, enlarged(batch, PAIRS))
    fit(method, batches, stage, one_cpu(), folder, seed=0, identity={}, quiet=True)
    loop, plain = batches.loop[2:-1], batches.plain[2:-1]  # without the first steps and the last, which saves
    return {
        "pairs": PAIRS,
        "steps": len(loop),
        "loop": statistics.median(loop),
        "plain": statistics.median(plain),
        "overhead": sum(loop) / sum(plain) - 1,
        "overhead_of_medians": statistics.median(loop) / statistics.median(plain) - 1,
    }


def share(rank: int, world: int, folder: str, meet: str) -> None:
    """Entry of a process: the processor seconds of its share of some steps."""
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=world)
    place = Path(folder, f"{world}-{rank}")
    place.mkdir()
    _, method, batch = towers(place, 3)
    batch = enlarged(batch, PAIRS).part(rank * PAIRS // world, (rank + 1) * PAIRS // world)
    update = Update(method, OptimConfig(), total=STEPS)
    seconds = []
    for step in range(STEPS):
        began = time.process_time()
        update.schedule.set(step)
        _, outputs = forward_backward(method, batch, STATE, one_cpu(), None)
        update.apply(update.gradients(), outputs, STATE)
        seconds.append(time.process_time() - began)
    Path(folder, f"{world}-{rank}.json").write_text(json.dumps(seconds[2:]))


def measure_throughput(folder: Path) -> Any:
    for world in (1, 2):
        torch.multiprocessing.spawn(
            share, args=(world, str(folder), str(folder / f"meet{world}")), nprocs=world
        )
    read = {f.stem: json.loads(f.read_text()) for f in folder.glob("*.json")}
    one, two = sum(read["1-0"]), sum(read["2-0"]) + sum(read["2-1"])
    return {
        "pairs": PAIRS,
        "steps": len(read["1-0"]),
        "seconds_per_step_1": one / len(read["1-0"]),
        "seconds_per_step_2": two / len(read["2-0"]),
        "speed_up_on_two_free_cores": 2 * one / two,
    }


def cpu_seconds(process: int) -> float:
    """The processor seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def training(tree: dict[str, Any], run: Path, kill_after: float | None) -> tuple[int, float]:
    """Train in a child until it ends or has used so much time: its status and its processor seconds."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        train(tree, out=run, resume=(run / "recipe.yaml").is_file() and (run / "stages").is_dir(), quiet=True)
        os._exit(0)
    used = 0.0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), used
        used = cpu_seconds(child)
        if kill_after is not None and used >= kill_after:
            os.kill(child, signal.SIGKILL)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), used
        time.sleep(0.004)


def where(run: Path) -> str:
    """The stage in which a run stands."""
    done = [stage for stage in ("teacher", "student") if (run / "stages" / stage / "done.json").is_file()]
    if not any(run.glob("stages/*/state-*")) and not done:
        return "before the first checkpoint"
    return ("in the teacher", "in the student", "at the end")[len(done)]


def measure_kills(folder: Path) -> Any:
    torch.set_num_threads(1)
    pairs, protocol, draw = write_pairs(folder), write_protocol(folder), random.Random(0)
    killed, places, same, differ = 0, Counter[str](), 0, 0
    for attempt in range(100):
        tree = soda_recipe(pairs, protocol, steps=60, checkpoint_every=1, validate_every=10)
        tree["seed"] = attempt
        whole, run = folder / f"whole{attempt}", folder / f"run{attempt}"
        status, used = training(tree, whole, None)
        assert status == 0
        while killed < KILLS:
            status, _ = training(tree, run, draw.uniform(0.02, 0.6 * used))
            if status == 0:
                break
            assert status == -signal.SIGKILL, status
            killed += 1
            places[where(run)] += 1
            print(f"{killed} killed, {places}", flush=True)
        if status != 0:
            assert training(tree, run, None)[0] == 0
        files = ["model/model.safetensors", *(f"stages/{s}/metrics.jsonl" for s in ("teacher", "student"))]
        equal = all((whole / file).read_bytes() == (run / file).read_bytes() for file in files)
        same, differ = same + equal, differ + (not equal)
        if killed == KILLS:
            break
    return {"kills": killed, "places": dict(places), "runs_equal": same, "runs_different": differ}


PARTS = {
    "kills": measure_kills,  # first: a child is forked before this process has computed anything
    "gradients": measure_gradients,
    "cache": measure_cache,
    "step": measure_step,
    "throughput": measure_throughput,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    default = Path(__file__).parents[1] / "docs/results/parts/training-procs.json"
    parser.add_argument("--out", type=Path, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name, measure in PARTS.items():
        if given.parts and name not in given.parts:
            continue
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(Path(folder))
        record = json.loads(given.out.read_text()) if given.out.is_file() else {}
        versions, machine = environment()
        facts = {"command": f"python benchmarks/training_procs.py {name}", "versions": versions}
        write_json(given.out, record | {name: measured | facts | {"machine": machine}})
        print(name, measured, flush=True)


if __name__ == "__main__":
    main()
