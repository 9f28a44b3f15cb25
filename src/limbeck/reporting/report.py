"""Write the report: one self-contained HTML file that needs only a browser."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.evaluation.results import Result
from limbeck.files import write_atomic
from limbeck.optional_deps import require
from limbeck.reporting import plots
from limbeck.reporting.chart import Chart
from limbeck.reporting.disk import Disk, poincare_disks
from limbeck.reporting.pictures import thumbnail
from limbeck.reporting.radius_histogram import radius_histograms
from limbeck.reporting.secondary_metrics import cone_tables
from limbeck.reporting.style import swatch
from limbeck.reporting.summary import health_table, score_tables
from limbeck.reporting.tables import Table
from limbeck.reporting.traversal_view import Way, shown_way
from limbeck.typed import Json

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

Hit = tuple["Image.Image", str, float, bool | None]


@dataclass(frozen=True)
class SearchExample:
    """One query with its hits.

    Attributes:
        query: the text, or the caption or id of the query picture.
        kind: kind of query, as shown: ``text``, ``picture``, ``like`` …
        hits: (picture, caption, score, relevant), nearest first; ``relevant`` is None where unknown.
        score: name of the score, for example ``distance``.
    """

    query: str
    kind: str
    hits: Sequence[Hit]
    query_image: Image.Image | None = None
    score: str = "distance"


@dataclass(frozen=True)
class _Section:
    """A chart section of the page."""

    name: str
    title: str
    text: str
    charts: list[dict[str, Json]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def write_report(
    path: Path | str,
    *,
    title: str,
    results: Sequence[Result] = (),
    retrieval: Sequence[Result] = (),
    overview: Sequence[Table] = (),
    curves: Mapping[str, Sequence[dict[str, Json]]] | None = None,
    searches: Sequence[SearchExample] = (),
    ways: Sequence[Way] = (),
    disks: Mapping[str, Disk] | None = None,
    disk_colors: Mapping[str, str] | None = None,
    radii: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    facts: Mapping[str, str] | None = None,
    commands: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write a self-contained page, which makes no requests and follows the browser's light or dark setting.

    Args:
        path: the HTML file, which is returned.
        title: heading of the page.
        results: hashing results of any number of methods, code lengths and seeds.
        retrieval: results of retrieval protocols.
        overview: tables shown first; they replace the score tables of ``retrieval``.
        curves: run name → rows of its ``metrics.jsonl`` (``step``, ``loss``, ``stage``, ``val/…``).
        searches: example searches.
        ways: traversals from pictures to the root of a hyperbolic space.
        disks: model → its points on the Poincaré disk.
        disk_colors: branch of the tree → its colour, one of `limbeck.reporting.style.SERIES`.
        radii: see `radius_histograms`.
        facts: short facts for the head of the page, name → value.
        commands: commands that made the page, or that the reader can run next.
        notes: sentences for the summary.

    Raises:
        LimbeckError: the extra ``report`` is not installed, or the file cannot be written.
    """
    jinja2 = require("jinja2")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("limbeck.reporting")
    template = environment.from_string((source / "report.html.j2").read_text(encoding="utf-8"))
    every = [*results, *retrieval]
    page = template.render(
        title=title,
        css=jinja2.utils.markupsafe.Markup((source / "report.css").read_text(encoding="utf-8")),
        facts=dict(facts or {}),
        notes=list(notes),
        overview=list(overview),
        tables=score_tables(results if overview else every),
        ways=[shown_way(way) for way in ways],
        space_sections=_shown(_space_sections(retrieval, disks or {}, disk_colors, radii or {})),
        sections=_shown(_sections(results, curves or {})),
        health=health_table(results),
        searches=[_search(example) for example in searches],
        commands=list(commands),
        made=_made(every),
        created=datetime.datetime.now().astimezone().strftime("%d %B %Y, %H:%M"),
    )
    write_atomic(Path(path), page)
    return Path(path)


def _shown(sections: Sequence[_Section]) -> list[_Section]:
    return [section for section in sections if section.charts]


def _space_sections(
    retrieval: Sequence[Result],
    disks: Mapping[str, Disk],
    colors: Mapping[str, str] | None,
    radii: Mapping[str, Mapping[str, np.ndarray]],
) -> list[_Section]:
    return [
        _Section(
            "disk",
            "The tree on the Poincaré disk",
            "The black dot is the root. Circles are distances from it in units of 1/√c; these distances are "
            "exact. The angle is a linear projection of many dimensions. It is fitted to captions that name "
            "the leaves, so that the leaves are in the order of the tree. A named point is the mean of the "
            "captions that name it; lines are geodesics. The projection is not fitted to pictures: where "
            "they cluster near their branch, the model put them there.",
            _charts([poincare_disks(disks, colors)]),
        ),
        _Section(
            "radii",
            "Distance from the root",
            "General texts are near the root; pictures and detailed texts are far from it. The cone of a "
            "text contains what the text entails, and it is wider near the root. The histograms use the "
            "unit 1/√c; r in the table is in the unit of each space.",
            _charts([radius_histograms(radii)]),
            cone_tables(retrieval),
        ),
    ]


def _sections(results: Sequence[Result], curves: Mapping[str, Sequence[dict[str, Json]]]) -> list[_Section]:
    runs = {name: list(rows) for name, rows in curves.items()}
    validation = _validation_column(runs)
    learning = [plots.learning_curves(runs), plots.learning_curves(runs, validation) if validation else None]
    captions = ["Training loss", f"Validation {validation.removeprefix('val/')}" if validation else ""]
    return [
        _Section(
            "bits",
            "Quality against code length",
            "Mean average precision over the whole database, in expectation over ties. The floor is the "
            "score of codes that are all equal; dotted lines are continuous embeddings.",
            _charts([plots.map_against_bits(results)]),
        ),
        _Section(
            "recall",
            "Precision and recall",
            "All items within a Hamming radius of the query are returned; the radius grows to the right.",
            _charts([plots.precision_recall(results)]),
        ),
        _Section(
            "learning",
            "Learning curves",
            "There is one panel per run, with its stages in order. You cannot compare losses of different "
            "methods. The score on held-out training pairs is mean recall for continuous embeddings and "
            "mean average precision for hash codes.",
            _charts(learning, captions),
        ),
        _Section(
            "health",
            "Code health",
            "A bit that is always 0 or always 1 carries no information: bits near the middle line carry "
            "the most. Bits are sorted separately for pictures and texts of the database.",
            _charts([plots.bit_balance(results)]),
        ),
    ]


def _validation_column(runs: Mapping[str, Sequence[dict[str, Json]]]) -> str | None:
    """Return the ``val/`` column that most runs have, and prefer the mean of both directions."""
    votes: dict[str, int] = {}
    for rows in runs.values():
        for column in {key for row in rows for key in row if key.startswith("val/")}:
            votes[column] = votes.get(column, 0) + 1
    preferred = ("val/score", "val/mean", "val/map")
    return max(votes, key=lambda c: (votes[c], c.startswith(preferred), c), default=None)


def _charts(charts: Sequence[Chart | None], captions: Sequence[str] = ("",)) -> list[dict[str, Json]]:
    shown: list[dict[str, Json]] = []
    for number, chart in enumerate(charts):
        if chart is not None:
            shown.append(
                {
                    "caption": captions[number],
                    "size": "little" if chart.columns > 2 else "wide",
                    "panels": chart.inline(),
                    "legend": [(key.label, swatch(key.look, key.kind)) for key in chart.legend],
                }
            )
    return shown


def _search(example: SearchExample) -> dict[str, Json]:
    hits = [
        {"src": thumbnail(picture), "caption": caption, "score": _number(score), "relevant": relevant}
        for picture, caption, score, relevant in example.hits
    ]
    known = [relevant for _, _, _, relevant in example.hits if relevant is not None]
    return {
        "query": example.query,
        "kind": example.kind,
        "src": thumbnail(example.query_image) if example.query_image is not None else None,
        "hits": hits,
        "score": example.score,
        "right": f"{sum(known)} of {len(known)} relevant" if known else "",
    }


def _number(score: float) -> str:
    return f"{score:.0f}" if float(score).is_integer() else f"{score:.3f}"


def _made(results: Sequence[Result]) -> list[tuple[str, str]]:
    """List protocols, seeds, machine and versions, each once."""
    if not results:
        return []
    seeds = sorted({result.seed for result in results if result.seed is not None})
    protocols = dict.fromkeys(f"{result.protocol} ({result.protocol_hash[:12]})" for result in results)
    machine, versions = results[0].machine, results[0].versions
    yes = {True: "yes", False: "no", None: "unknown"}
    facts = [
        ("protocols", ", ".join(protocols)),
        ("seeds", ", ".join(map(str, seeds)) or "none"),
        ("machine", f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('system')}"),
        ("bf16 in hardware", yes.get(machine.get("bf16"), "unknown")),  # type: ignore[arg-type]
        ("vector popcount", yes.get(machine.get("vector_popcount"), "unknown")),  # type: ignore[arg-type]
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ("measured", f"{min(r.created for r in results)} to {max(r.created for r in results)}"),
    ]
    return facts
