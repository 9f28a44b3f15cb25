"""Damaged files of indexes: each case is opened and searched in a child; nothing but the truth or a named error."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from attack.damage import DAMAGES
from attack.subjects import Subject, forge, forge_json, make_subjects, same
from attack.worker import FAULTS, Outcome, classified, run_cases, worst

_WHOLE = ("missing", "folder", "swapped", "link out", "link to zero")


def attack_files(work: Path, count: int, seed: int, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Counts of ``count`` damaged files, by mode, file and damage; faults with their messages."""
    subjects = make_subjects(work, *([names] if names else []))
    for subject in subjects:  # everything compiled and imported before the first fork
        for key, question in subject.questions.items():
            same(question(subject.folder), subject.truth[key])
    (work / "secret.txt").write_bytes(b"\x00" * 64)
    plans = [_plan(subjects, work, random.Random(f"{seed} {case}")) for case in range(count)]

    def run(case: int) -> tuple[str, str]:
        return _run(plans[case], work, random.Random(f"{seed} {case} run"))

    outcomes = list(run_cases(count, run, log=work / "stderr.txt"))
    return summary([(plan, outcome) for plan, outcome in zip(plans, outcomes, strict=True)])


def summary(found: list[tuple[dict[str, Any], Outcome]]) -> dict[str, Any]:
    """Counts by mode, kind of file and damage, and what was a fault."""
    tables: dict[str, dict[str, Counter[str]]] = {"by_mode": {}, "by_file": {}, "by_damage": {}}
    faults = []
    for plan, outcome in found:
        kind = outcome.kind
        if kind == "wrong" and plan["forged"]:
            kind = "forged content"
        elif kind == "wrong" and plan["damage"] == "missing" and "/manifest" in plan["file"]:
            kind = "older state"  # as an index that was put back to the generation before
        mode = "forged" if plan["forged"] else "damaged"
        for table, key in (
            ("by_mode", mode),
            ("by_file", f"{mode} {plan['kind']}"),
            ("by_damage", plan["damage"]),
        ):
            tables[table].setdefault(key, Counter())[kind] += 1
        if kind in FAULTS:
            about = {key: plan[key] for key in ("file", "damage", "forged")}
            faults.append({"case": outcome.case, "kind": kind, **about, "message": outcome.message})
    return {"cases": len(found), **{k: _plain(v) for k, v in tables.items()}, "faults": faults}


def _plain(table: dict[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {key: dict(sorted(counts.items())) for key, counts in sorted(table.items())}


def kind_of(name: str) -> str:
    """The kind of a file, without names that were drawn."""
    return re.sub(r"[0-9a-f]{32}(-\d+)?", "*", re.sub(r"manifest-\d+", "manifest", name))


def _plan(subjects: list[Subject], work: Path, rng: random.Random) -> dict[str, Any]:
    subject = rng.choice(subjects + subjects[:1])  # the one with most engines twice
    files = sorted(
        file.relative_to(subject.folder).as_posix()
        for file in subject.folder.rglob("*")
        if file.is_file() and file.suffix not in (".lock", ".holder")
    )
    kinds = sorted({kind_of(name) for name in files})
    kind = rng.choice(kinds)
    file = rng.choice([name for name in files if kind_of(name) == kind])
    damage = rng.choice((*DAMAGES, *DAMAGES, *_WHOLE))
    if file.endswith(".json") and rng.random() < 0.6:
        damage = "json"
    others = [name for name in files if name != file]
    forged = rng.random() < 0.4
    return {
        "subject": subject, "file": f"{subject.name}/{file}", "name": file, "kind": f"{subject.name}/{kind}",
        "damage": damage, "other": rng.choice(others), "forged": forged,
    }  # fmt: skip


def _run(plan: dict[str, Any], work: Path, rng: random.Random) -> tuple[str, str]:
    subject: Subject = plan["subject"]
    folder = work / f"child-{os.getpid()}" / subject.name
    if not folder.is_dir():
        shutil.copytree(subject.folder, folder)
    kept = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    target = folder / plan["name"]
    try:
        _damage(target, folder, plan, work, rng)
        if plan["forged"]:
            _forge(target, folder)
        found = [
            classified(lambda key=key, ask=ask: same(ask(folder), subject.truth[key]))
            for key, ask in subject.questions.items()
        ]
        if subject.name != "set" and not plan["forged"]:
            found.append(classified(lambda: _verify(folder)))
        return worst(found)
    finally:
        _restore(kept, folder)


def _verify(folder: Path) -> None:
    from limbeck.index.store import verify_index

    verify_index(folder)


def _damage(target: Path, folder: Path, plan: dict[str, Any], work: Path, rng: random.Random) -> None:
    if plan["damage"] in DAMAGES:
        put(target, DAMAGES[plan["damage"]](target.read_bytes(), rng))
        return
    content = (folder / plan["other"]).read_bytes()
    target.unlink()
    if plan["damage"] == "folder":
        target.mkdir()
    elif plan["damage"] == "swapped":
        target.write_bytes(content)
    elif plan["damage"] == "link out":
        target.symlink_to(work / "secret.txt")
    elif plan["damage"] == "link to zero":
        target.symlink_to("/dev/zero")


def _forge(target: Path, folder: Path) -> None:
    if target.suffix == ".json" and target.is_file() and not target.is_symlink():
        target.write_bytes(forge_json(target.read_bytes()))
        if target.name.startswith("manifest-") or target.name == "encoded.json":
            return
    if not target.is_symlink():
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
            forge(folder)


def put(file: Path, content: bytes) -> None:
    """Put other content in place of a file; what was mapped of the old one can still be read."""
    aside = file.with_name(f"{file.name}.aside")
    aside.write_bytes(content)
    aside.replace(file)


def _restore(kept: dict[Path, bytes], folder: Path) -> None:
    for file, content in kept.items():
        if file.is_symlink():
            file.unlink()
        if file.is_dir():
            shutil.rmtree(file)
        if not file.exists() or file.read_bytes() != content:
            put(file, content)
    for file in folder.rglob("*"):
        if file.is_file() and file not in kept:
            file.unlink()
