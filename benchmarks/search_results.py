"""Write docs/results/search.json and search.md from what the benchmarks of search measured.

    python benchmarks/search_results.py --parts docs/results/parts

Parts: search-*.json (search.py; search-avx512bw and search-avx2 with the vector popcount withheld), durability.json,
encoding_speed.json, multi-index.json and search-hand.json (rows measured from the command line), as far as they exist.
What the figures say stands in search_reading.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from claims import Claims
from limbeck.evaluation import environment
from limbeck.files import read_json, write_atomic, write_json

OUT = Path("docs/results")
HERE = Path(__file__).parent
Row = dict[str, Any]
# What the processor may use: files, bar on one query, bar in a batch with k = 10 and with k = 100.
KINDS = {
    "AVX512 with vector popcount": (("search-scan", "search-batch"), 3.0, 8.0, 6.0),
    "AVX512BW, no vector popcount": (("search-avx512bw", "search-avx512bw-batch"), 1.5, 4.0, 4.0),
    "AVX2": (("search-avx2", "search-avx2-batch"), 1.5, 2.0, 2.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--parts", type=Path, default=OUT / "parts")
    folder = parser.parse_args().parts
    files = {file.stem: read_json(file) for file in sorted(folder.glob("search-*.json"))}
    rows = [row | {"file": name} for name, found in files.items() if "rows" in found for row in found["rows"]]
    claims = Claims()
    scans(claims, rows)
    large(claims, rows)
    lorentz(claims, rows)
    filters(claims, rows)
    for name in ("durability", "encoding_speed"):
        if (folder / f"{name}.json").is_file():
            claims.rows += read_json(folder / f"{name}.json")["claims"]
    buckets = (
        read_json(folder / "multi-index.json")["rows"] if (folder / "multi-index.json").is_file() else []
    )
    multi_index(claims, buckets)
    if "search-hand" in files:
        claims.rows += files["search-hand"]["claims"]
    write_json(OUT / "search.json", {"claims": claims.rows, "rows": rows})
    machines = sorted(
        {f"{f['machine']['processor']}, {f['machine']['cores']} cores" for f in files.values() if "rows" in f}
    )
    write_atomic(OUT / "search.md", "\n".join(page(claims, rows, buckets, machines)))
    print(f"{sum(row['met'] for row in claims.rows)} of {len(claims.rows)} met")


def some(rows: list[Row], **asked: Any) -> list[Row]:
    """Rows with these values."""
    return [row for row in rows if all(row.get(key) == value for key, value in asked.items())]


def scans(claims: Claims, rows: list[Row]) -> None:
    """Exact search of 10 million codes beside the C pass and faiss flat."""
    for kind, (names, one, ten, hundred) in KINDS.items():
        own = [row for row in rows if row["file"] in names]
        for row in some(own, part="scan", engine="limbeck", n=10_000_000):
            what = f"{kind}: one query over 10 million {row['data']} codes, k = {row['k']}"
            note = f"{row['p50_ms']:.2f} ms, p95 {row['p95_ms']:.2f} ms, load {row['load']}"
            if row["file"] == "search-scan":
                claims.add(
                    f"{what}, share of the C pass",
                    command(row["file"]),
                    row["of_c_pass"],
                    "times",
                    1.3,
                    below=True,
                    note=note,
                )
            claims.add(
                f"{what}, as fast as faiss flat",
                command(row["file"]),
                row["faiss_times"],
                "times",
                one,
                note=note,
            )
        for row in some(own, part="batch", engine="limbeck", n=10_000_000):
            what = f"{kind}: {row['queries']} queries over 10 million {row['data']} codes, k = {row['k']}"
            bar = ten if row["k"] == 10 else hundred
            claims.add(f"{what}, as fast as faiss flat", command(row["file"]), row["faiss_times"], "times", bar, note=f"{row['queries_s']:.0f} queries/s, load {row['load']}")  # fmt: skip


def large(claims: Claims, rows: list[Row]) -> None:
    """A hundred million codes: memory, exact and approximate."""
    for row in some(rows, part="memory", n=100_000_000):
        peak = max(row[way]["peak_mb"] for way in ("exact", "approximate") if way in row)
        note = f"opened in {1e3 * row['open_s']:.0f} ms; of files {row['exact']['of_files_mb']:.0f} MB; exact {row['exact']['p50_ms']:.1f} ms"
        claims.add("100 million codes opened, searched exactly and approximately: most resident memory, mapped codes included", command(row["file"]), peak / 1e3, "GB", 2.0, below=True, note=note)  # fmt: skip
    best = [row for row in some(rows, part="engines", n=100_000_000, data="real") if row["recall_10"] >= 0.95]
    for row in sorted(best, key=lambda row: -row["times_exact"])[:1]:
        note = (
            f"{row['engine']} {row['setting']}: {row['p50_ms']:.3f} ms, exact {row['exact']['p50_ms']:.1f} ms"
        )
        claims.add(
            "100 million real codes: approximate search as fast as exact",
            command(row["file"]),
            row["times_exact"],
            "times",
            10.0,
            note=note,
        )
        claims.add(
            "100 million real codes: recall@10 of it on queries held out",
            command(row["file"]),
            row["recall_10"],
            "",
            0.95,
        )


def lorentz(claims: Claims, rows: list[Row]) -> None:
    """A million points of the hyperboloid."""
    own = some(rows, part="lorentz", n=1_000_000)
    for row in some(own, engine="exact"):
        claims.add("Lorentz, 1 million: queries whose exact top 10 is the geodesic one (float64)", command(row["file"]), row["same_set"], "share", 1.0, note=f"same order {row['same_order']}")  # fmt: skip
    good = [row for row in own if row["engine"] != "exact" and row["recall_10"] >= 0.98]
    for row in sorted(good, key=lambda row: -row["times_exact"])[:1]:
        note = f"{row['engine']} {row['setting']}: {row['queries_s']:.0f} queries/s, exact {row['exact_queries_s']:.0f}"
        claims.add("Lorentz, 1 million: throughput over exact at recall@10 of .98 or more", command(row["file"]), row["times_exact"], "times", 10.0, note=f"{note}, recall {row['recall_10']}")  # fmt: skip


def filters(claims: Claims, rows: list[Row]) -> None:
    """What passes under filters."""
    own = some(rows, part="filters")
    if own:
        wrong = sum(not row["all_pass"] or row["hits"] != 10 for row in own)
        claims.add("approximate search under filters: rows of the table with a hit that does not pass, or fewer than k", command(own[0]["file"]), wrong, "rows", 0, below=True, note=f"{len(own)} rows")  # fmt: skip
        claims.add("approximate search under filters: least recall@10 against the filtered exact result", command(own[0]["file"]), min(row["recall_10"] for row in own), "", 0.95)  # fmt: skip


def multi_index(claims: Claims, rows: list[Row]) -> None:
    """The exact engine with buckets beside the scan."""
    for row in some(rows, engine="mih", data="real"):
        if row["n"] >= 10_000_000:
            claims.add(
                f"multi-index hashing, {row['n']:,} real codes, k = {row['k']}: queries with the scan's own answer",
                "benchmarks/multi_index.py", float(row["same_as_scan"]), "share", 1.0,
                note=f"p50 {row['p50_ms']:.2f} ms, p95 {row['p95_ms']:.2f} ms",
            )  # fmt: skip


def command(file: str) -> str:
    return f"benchmarks/search.py (docs/results/parts/{file}.json)"


def page(claims: Claims, rows: list[Row], buckets: list[Row], machines: Iterable[str]) -> list[str]:
    """Markdown."""
    env = environment()[0]
    lines = [
        "# Search at scale, measured",
        "",
        f"Written by `benchmarks/search_results.py` on {datetime.date.today()}; the same figures in `search.json`.",
    ]
    lines += [f"Machine: {'; '.join(machines)}; python {env['python']}, numba {env['numba']}.", ""]
    reading = HERE / "search_reading.md"
    lines += reading.read_text(encoding="utf-8").splitlines() if reading.is_file() else []
    lines += ["", *claims.table(), "", "## All codes, one query and many", ""]
    lines += table(
        ["processor", "codes", "n", "k", "queries", "side", "p50 ms", "p95 ms", "queries/s", "times faiss", "of C pass", "load"],
        [
            [kind_of(r), r["data"], f"{r['n']:,}", r["k"], r.get("queries", 1), r["engine"], f"{r['p50_ms']:.2f}", f"{r['p95_ms']:.2f}",
             f"{r.get('queries_s', 1e3 / r['p50_ms']):.0f}", r.get("faiss_times", ""), r.get("of_c_pass", ""), r["load"]]
            for part in ("scan", "batch") for r in some(rows, part=part)
        ],
    )  # fmt: skip
    lines += [
        "",
        "## Approximate engines on codes",
        "",
        "Built, measured on 500 held-out queries, timed on 500 others; exact search beside it in turns.",
        "",
    ]
    lines += table(
        ["codes", "n", "engine", "setting", "build s", "MB", "recall@10", "p50 ms", "p95 ms", "exact p50 ms", "times exact", "queries/s"],
        [
            [r["data"], f"{r['n']:,}", r["engine"], words(r["setting"]), r["build_s"], r["megabytes"], r["recall_10"], f"{r['p50_ms']:.3f}",
             f"{r['p95_ms']:.3f}", f"{r['exact']['p50_ms']:.2f}", r["times_exact"], r["queries_s"]]
            for r in some(rows, part="engines")
        ] + [
            [r["data"], f"{r['n']:,}", r["engine"], words(r["setting"]), r["build_s"], r["megabytes"], r["recall_10"], f"{r['p50_ms']:.3f}",
             f"{r['p95_ms']:.3f}", "", "", ""]
            for r in some(rows, part="usearch")
        ],
    )  # fmt: skip
    lines += [
        "",
        "## Multi-index hashing, exact",
        "",
        "Beside the scan on one and on two threads; `given up`: share of queries that went on to the scan.",
        "",
    ]
    lines += table(
        ["codes", "n", "k", "side", "p50 ms", "p95 ms", "codes looked at, p50", "given up", "bytes an item"],
        [
            [r["data"], f"{r['n']:,}", r["k"], r["engine"], f"{r['p50_ms']:.2f}", f"{r['p95_ms']:.2f}",
             r["codes_looked_at"]["p50"] if "codes_looked_at" in r else "all", r.get("given_up", ""), r["bytes_an_item"] if r["engine"] == "mih" else 0]
            for r in buckets
        ],
    )  # fmt: skip
    lines += ["", "## Under filters", ""]
    lines += table(
        ["codes", "n", "engine", "share that passes", "recall@10", "p50 ms", "exact p50 ms", "hits", "all pass"],
        [
            [r["data"], f"{r['n']:,}", f"{r['engine']} {words(r['setting'])}", r["share"], r["recall_10"], f"{r['p50_ms']:.3f}", f"{r['exact']['p50_ms']:.2f}", r["hits"], r["all_pass"]]
            for r in some(rows, part="filters")
        ],
    )  # fmt: skip
    lines += ["", "## Memory of a fresh process", ""]
    lines += table(
        ["codes", "n", "opened in ms", "first query ms", "exact p50 ms", "resident MB", "of files MB", "peak MB", "approximate p50 ms"],
        [
            [r["data"], f"{r['n']:,}", f"{1e3 * r['open_s']:.1f}", f"{1e3 * r['first_query_s']:.1f}", f"{r['exact']['p50_ms']:.2f}", f"{r['exact']['mb']:.0f}",
             f"{r['exact']['of_files_mb']:.0f}", f"{r.get('approximate', r['exact'])['peak_mb']:.0f}", f"{r['approximate']['p50_ms']:.3f}" if "approximate" in r else ""]
            for r in some(rows, part="memory")
        ],
    )  # fmt: skip
    lines += ["", "## Points of the hyperboloid", ""]
    lines += table(
        ["points", "n", "engine", "setting", "build s", "MB", "recall@10", "queries/s", "exact queries/s", "times exact"],
        [
            [r["data"], f"{r['n']:,}", r["engine"], words(r["setting"]), r["build_s"], r["megabytes"], r["recall_10"], r["queries_s"], r["exact_queries_s"], r["times_exact"]]
            for r in some(rows, part="lorentz") if r["engine"] != "exact"
        ],
    )  # fmt: skip
    return [*lines, ""]


def kind_of(row: Row) -> str:
    return next(
        (kind for kind, (names, *_) in KINDS.items() if row["file"] in names), "AVX512 with vector popcount"
    )


def words(setting: Row) -> str:
    return json.dumps(setting).strip("{}").replace('"', "")


def table(head: list[str], body: list[list[Any]]) -> list[str]:
    """Markdown lines of a table; a word where nothing is measured yet."""
    if not body:
        return ["Not measured yet."]
    return [
        "| " + " | ".join(head) + " |",
        "|---" * len(head) + "|",
        *("| " + " | ".join(map(str, row)) + " |" for row in body),
    ]


if __name__ == "__main__":
    main()
