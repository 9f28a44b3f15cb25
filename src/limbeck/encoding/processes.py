"""Encodes the shares of a collection in several processes; an interrupted encoding resumes share by share."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limbeck.encoding.encode import identity_of
from limbeck.encoding.sources import Source, source_places
from limbeck.errors import LimbeckError
from limbeck.files import Kind, check_apart, read_json, remove_tree, sha256_json, write_json
from limbeck.index.encoded import Encoded, check_free, is_encoded, read_skipped, write_encoded
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.encoders.encoder import Encoder

FORMAT, ABOUT = "limbeck.shares/1", "shares.json"
SHARES = Kind(
    "unfinished encoding",
    r"shares\.json|\d{4}\.log|\d{4}(\.part)?/.*|\..*\.[0-9a-f]{8}\.(tmp|old)(/.*)?",
    ABOUT,
    lambda value: value.get("format") == FORMAT,
)
BLOCK = 1024
"""Shares begin at multiples of this many rows, so that they cut the batches as one process does."""


def share_rows(rows: np.ndarray, share: int, shares: int) -> np.ndarray:
    """Return the rows (n,) of a share, from 1 to ``shares``; together they are ``rows`` in order."""
    blocks = -(-len(rows) // BLOCK)
    start, stop = (blocks * at // shares * BLOCK for at in (share - 1, share))
    return rows[start:stop]


def parse_share(text: str) -> tuple[int, int]:
    """Parse ``2/8``, the second of eight shares.

    Raises:
        LimbeckError: it has another form.
    """
    first, slash, last = text.partition("/")
    if not (slash and first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last)):
        raise LimbeckError(
            f"--share: {text!r} is no share; write 2/8 for the second of 8", code="E-OPTION-FORM"
        )
    return int(first), int(last)


def asked_share(rows: np.ndarray, text: str) -> np.ndarray:
    """Return the rows of the share that ``--share`` asks for.

    Raises:
        LimbeckError: the option has another form, or there are so few rows that this share has none.
    """
    share, shares = parse_share(text)
    found = share_rows(rows, share, shares)
    if len(rows) and not len(found):
        raise LimbeckError(
            f"--share {text}: this share has no items; the {len(rows):,} items are cut at multiples of "
            f"{BLOCK:,}, so give at most {-(-len(rows) // BLOCK)} shares",
            code="E-ENCODE-EMPTY",
        )
    return found


def encode_shares(
    encoder: Encoder,
    source: Source,
    arguments: Sequence[str],
    out: Path,
    *,
    rows: np.ndarray | None,
    processes: int,
    replace: bool = False,
) -> Encoded:
    """Encode a collection by processes that each run ``limbeck encode`` on a share, and join the shares.

    Finished shares and parts are kept in ``OUT.shares`` until the set is complete. Each process gets its part
    of the processor cores, and one of the GPUs where there are several.

    Args:
        encoder: the encoder that the processes load, too.
        source: the source that they open, too.
        arguments: those of ``limbeck encode``, without ``--out``, ``--processes`` and ``--share``.
        out: directory of the encoded set.
        rows: the row numbers (n,) that the options select; None for all.
        processes: the number of processes; fewer if there is less than a block of rows for each.
        replace: replace an existing encoded set.

    Raises:
        LimbeckError: ``out`` exists, ``OUT.shares`` is of other input, or a process fails; finished items are
            kept.
    """
    check_apart(out, *source_places(source), arguments[0])
    check_free(out, replace=replace)
    count = max(1, min(processes, -(-(len(source) if rows is None else len(rows)) // BLOCK)))
    identity = sha256_json(identity_of(source))
    about = {"model": encoder.space_id, "source": identity, "arguments": list(arguments)}
    folder = out.with_name(out.name + ".shares")
    _begin(folder, {"format": FORMAT, "shares": count, "about": about})
    places = [folder / f"{share:04d}" for share in range(1, count + 1)]
    running: list[tuple[Path, subprocess.Popen[bytes]]] = []
    try:
        for share, place in enumerate(places, start=1):
            if not is_encoded(place):
                running.append((place, _start(arguments, place, share, count)))
        failed = [place for place, process in running if process.wait() != 0]
    finally:
        for _, process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
    if failed:
        log = failed[0].with_suffix(".log")
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
        last = next((line for line in reversed(lines) if line.strip()), "killed").removeprefix("limbeck: ")
        raise LimbeckError(
            f"encode: {len(failed)} of {count} processes failed (share {failed[0].name}: {last}); finished "
            f"items are kept in {folder}: run the same command to resume",
            code="E-ENCODE-UNFINISHED",
        )
    parts = [Encoded.open(place) for place in places]
    with write_encoded(out, parts[0].meta, replace=replace) as writer:
        for part in parts:
            part.check()
            for points, items in part.batches():
                writer.append(points, items)
            writer.skipped += read_skipped(part.path)
    remove_tree(folder)
    return Encoded.open(out)


def _begin(folder: Path, about: dict[str, Json]) -> None:
    """Make the folder of the shares, or check that it belongs to the same encoding."""
    if not folder.exists() and not folder.is_symlink():
        folder.mkdir(parents=True)
        write_json(folder / ABOUT, about)
        return
    why = "is a file or a link" if folder.is_symlink() or not folder.is_dir() else SHARES.foreign(folder)
    if why is None and read_json(folder / ABOUT) != about:
        why = "an unfinished encoding of other input, or by another number of processes"
    if why is not None:
        raise LimbeckError(
            f"{folder}: {why}; remove it to start again, or choose another --out", code="E-ENCODE-UNFINISHED"
        )


def _start(arguments: Sequence[str], place: Path, share: int, shares: int) -> subprocess.Popen[bytes]:
    """Start the process of a share; the first one shows its progress, the others write a log."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    env = {"OMP_NUM_THREADS": str(max(1, cores // shares))} | os.environ
    if "CUDA_VISIBLE_DEVICES" not in env:
        import torch

        if (count := torch.cuda.device_count()) > 1:
            env["CUDA_VISIBLE_DEVICES"] = str((share - 1) % count)
    command = [sys.executable, "-m", "limbeck", "encode", *arguments]
    command += ["--out", str(place), "--share", f"{share}/{shares}"]
    with place.with_suffix(".log").open("wb") as log:
        stderr = None if share == 1 and sys.stderr.isatty() else log
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=stderr, env=env)
