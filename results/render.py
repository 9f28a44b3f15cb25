"""Pages and claims files from rows, parts and facts: one template and one file of claims per page."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from limbeck.evaluation import Comparison
from limbeck.evaluation.compare import LEVEL
from limbeck.files import json_text
from limbeck.reporting.comparison import comparison_tables
from limbeck.reporting.efficiency import efficiency_table
from limbeck.reporting.progress import write_figure
from limbeck.reporting.tables import DIRECTION_LABELS
from results import data, measures, pairs, tables
from results.claims import Reader
from results.formats import FILTERS

PAGES = Path(__file__).parent / "pages"


class Page:
    """A page of ``docs/results``.

    Attributes:
        claims: rows of its claims file.
        context: what its template may use.
        void: rows of its grids that no longer count, each with the reason.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.environment = _environment()
        source = (PAGES / f"{name}.yaml").read_text(encoding="utf-8")
        self.source: dict[str, Any] = yaml.safe_load(source)
        grids = {key: data.Grid(**how) for key, how in self.source.get("grids", {}).items()}
        self.void = [
            f"{grid.name}: {row}: {'; '.join(why)}"
            for grid in grids.values()
            for row, why in grid.void.items()
        ]
        self.context: dict[str, Any] = {**grids, "facts": data.facts(name)}
        reader = Reader(self.evaluate, self.fill)
        self.claims = reader.read(self.source["claims"], self.context)
        self.context |= {"claims": self.claims, "pairs": reader.tables, "claim": self._claim}

    def evaluate(self, expression: str, context: Mapping[str, Any]) -> Any:
        """Value of an expression.

        Raises:
            jinja2.UndefinedError: it uses a name that is not there.
        """
        return self.environment.compile_expression(expression, undefined_to_none=False)(**context)

    def fill(self, template: str, context: Mapping[str, Any]) -> str:
        """Text of a template."""
        return self.environment.from_string(template).render(context)

    def _claim(self, name: str) -> dict[str, Any]:
        found = [row for row in self.claims if row["claim"] == name]
        if len(found) != 1:
            raise ValueError(f"{self.name}: {len(found)} claims are called {name!r}; name one")
        return found[0]

    def text(self) -> str:
        """The page; rows that are void are named below its title."""
        text = self.environment.get_template(f"{self.name}.md.j2").render(self.context)
        if not self.void:
            return text
        title, rest = text.split("\n", 1)
        lines = [
            f"> **Void, to be measured again** ({len(self.void)} rows):",
            *(f"> {line}" for line in self.void),
        ]
        return "\n".join([title, "", *lines, rest])

    def draw(self, folder: Path) -> None:
        """Draw the figures that the page's file names: file → grid."""
        for file, grid in self.source.get("figures", {}).items():
            write_figure(folder / file, self.context[grid].results)

    def json(self) -> str:
        """The claims file; with ``rows`` the measured rows follow the claims."""
        if "rows" not in self.source:
            return json_text(self.claims, indent=1) + "\n"
        rows = self.evaluate(self.source["rows"], self.context)
        return json_text({"claims": self.claims, "rows": rows}, indent=1) + "\n"


def pages() -> list[str]:
    """Names of the pages."""
    return sorted(file.name.removesuffix(".md.j2") for file in PAGES.glob("*.md.j2"))


@jinja2.pass_context
def _table(
    context: jinja2.runtime.Context,
    rows: Iterable[Any],
    columns: Mapping[str, str],
    name: str = "r",
    rule: str = "",
) -> str:
    """A table of rows: header of each column → expression in which ``name`` is the row."""
    compiled = {head: context.environment.compile_expression(code, False) for head, code in columns.items()}
    names = [part.strip() for part in name.split(",")]
    scopes = [dict(zip(names, [row] if len(names) == 1 else row, strict=True)) for row in rows]
    cells = [[str(code(**context.get_all() | scope)) for code in compiled.values()] for scope in scopes]
    return tables.markdown(list(compiled), cells, rule)


def _from_limbeck(comparison: Comparison) -> str:
    """The tables of ``limbeck compare``."""
    return "\n".join(table.markdown() for table in comparison_tables(comparison))


_FUNCTIONS: list[Callable[..., Any]] = [
    *(
        data.part,
        data.part_if_there,
        data.provenance,
        data.values,
        data.search_rows,
        data.search_machine,
        data.all_rows,
    ),
    *(pairs.paired, pairs.gaps),
    *(
        tables.claims_table,
        tables.mean_table,
        tables.rank_table,
        tables.lookup_table,
        tables.difference_table,
        tables.beside_table,
    ),
    *(tables.pair_table, tables.recorded_table),
    *(statistics.median, efficiency_table, tables.mean_spread),
    *(f for f in vars(measures).values() if callable(f) and f.__module__ == measures.__name__),
]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters |= FILTERS | {f.__name__: f for f in _FUNCTIONS}
    environment.globals |= {
        **{f.__name__: f for f in _FUNCTIONS},
        **FILTERS,
        "ways": ("i2t", "t2i"),
        "arrow": DIRECTION_LABELS.__getitem__,
        "table": _table,
        "comparison_tables": _from_limbeck,
        "json": json.dumps,
        "LEVEL": LEVEL,
    }
    return environment
