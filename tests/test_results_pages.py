"""Pages of docs/results: what the files say is what the data say, and no figure of a reading is typed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from limbeck.evaluation import Result, validity  # noqa: E402
from results.__main__ import main  # noqa: E402
from results.claims import Claims, Reader, claim  # noqa: E402
from results.data import Grid  # noqa: E402
from results.formats import gap, lead, short, signed, size, span, spread, upward, word  # noqa: E402
from results.pairs import correct, gaps, paired  # noqa: E402
from results.render import PAGES, Page, pages  # noqa: E402
from results.tables import claims_table, markdown  # noqa: E402

DOCS = ROOT / "docs" / "results"
EXPRESSIONS = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|`[^`]*`", re.DOTALL)
TYPED = re.compile(r"(?<![\w./@-])[+−-]?\d*\.\d+|\d+ %")


def row(label: str, seed: int, i2t: float, t2i: float) -> Result:
    return Result(
        protocol="p", protocol_hash="0" * 64, task="hashing", method="m", run=f"{label}-s{seed}",
        space={"name": "x"}, seed=seed, settings={"label": label},
        metrics={"i2t": {"map": i2t}, "t2i": {"map": t2i}},
    )  # fmt: skip


@pytest.mark.parametrize("name", pages())
def test_a_page_and_its_claims_are_those_of_the_data(name: str) -> None:
    page = Page(name)
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == page.text()
    assert (DOCS / f"{name}.json").read_text(encoding="utf-8") == page.json()
    keys = {"claim", "command", "value", "unit", "bar", "met", "seeds", "note"}
    assert all(claim.keys() == keys for claim in page.claims)


def test_void_rows_are_named_on_their_page(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Grid("hmid_net-tuning").void == {}
    monkeypatch.setattr(validity, "metric_version", lambda task: "later")
    void = Grid("hmid_net-tuning").void
    assert len(void) == 4 and "the code of the metrics of retrieval has changed" in void["clip-s0"][0]
    page = Page("structure")
    page.void = ["grid: row: why"]
    lines = page.text().splitlines()
    assert lines[0].startswith("# ") and lines[2:4] == [
        "> **Void, to be measured again** (1 rows):",
        "> grid: row: why",
    ]


@pytest.mark.parametrize("name", pages())
def test_no_figure_of_a_reading_is_typed(name: str) -> None:
    text = EXPRESSIONS.sub("", (PAGES / f"{name}.md.j2").read_text(encoding="utf-8"))
    assert TYPED.findall(re.sub(r"95 % ", "", text)) == []


def test_typed_figures_are_seen() -> None:
    for text in ("ahead by .023", "−0.5 points", "takes 3.1 ms", "finds 98 % of"):
        assert TYPED.search(text)
    for text in ("64 bits", "10,000 pairs", "k = 10", "flickr8k/clip-0.5", "P@100"):
        assert not TYPED.search(text)


def test_check_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chain", "--check", "--out", str(tmp_path)]) == 1
    assert f"{tmp_path / 'chain.md'}: differs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["chain", "--out", str(tmp_path)]) == 0
    assert main(["chain", "--check", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "chain.json").read_text() == (DOCS / "chain.json").read_text()
    with pytest.raises(SystemExit):
        main(["nowhere"])


def test_a_claim_counts_its_bar() -> None:
    assert claim("a", "c", 0.123456789, "s")["value"] == 0.123457
    assert [claim("a", "c", 2, "", bar)["met"] for bar in (None, 2, 3)] == [True, True, False]
    assert [claim("a", "c", 2, "", bar, below=True)["met"] for bar in (2, 1)] == [True, False]
    claims = Claims()
    claims.add("speed", "run", 2.5, "times", 3.0, note="slow")
    assert claims_table(claims.rows).splitlines()[-1] == "| speed | 2.5 times | 3 | **no** | slow |"


def test_differences_are_paired_by_seed_and_corrected_together() -> None:
    one = [row("one", seed, 0.5 + 0.1 * seed, 0.6) for seed in (0, 1, 2)]
    other = [row("other", seed, 0.4 + 0.1 * seed + 0.01 * (seed % 2), 0.5) for seed in (2, 1, 0)]
    found = gaps(one, other)
    assert found["i2t"].mean == pytest.approx(0.1 - 0.01 / 3)
    assert found["i2t"].seeds == [0, 1, 2]
    assert lead(found, 2) == "+.10/+.10" and size(found, 2) == ".10/.10"
    alone = paired(one[:1], other, "mean map")
    assert alone is not None and alone.low is None and alone.note == "one run each"
    pairs = [found["i2t"], alone]
    correct(pairs)
    assert pairs[0].p_holm == pytest.approx(pairs[0].p or 0) and pairs[1].p_holm is None
    assert gap(pairs[0], 2).startswith("+.10 (+.08 … +.11)") and gap(pairs[0]).endswith(" *")
    assert paired(one[:1], other[:1], "i2t map") is None
    with pytest.raises(ValueError, match="one and other share no draw"):
        gaps(one[:1], other[:1])


def test_entries_loop_share_and_name_their_mistakes() -> None:
    page = Page("chain")
    reader = Reader(page.evaluate, page.fill)
    entries: list[dict[str, Any]] = [
        {
            "command": "run {{ x }}",
            "each": {"x": "[1, 2]", "label, y": "[('a', x), ('b', 3 * x)]"},
            "let": {"z": "x * y"},
            "when": "z < 10",
            "claims": [{"claim": "{{ label }}{{ x }}", "value": "z", "bar": "x", "unit": "m"}],
        },
        {"take": "given"},
    ]
    given = [claim("taken", "c", 1)]
    found = reader.read(entries, {"given": given})
    assert [(c["claim"], c["command"], c["value"], c["met"]) for c in found] == [
        ("a1", "run 1", 1, True), ("b1", "run 1", 3, True), ("a2", "run 2", 4, True), ("taken", "c", 1, True),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="unknown key 'vlaue'"):
        reader.read([{"claim": "a", "vlaue": 1}], {})
    with pytest.raises(ValueError, match="claims: speed: 'nothing' is undefined"):
        reader.read([{"claim": "speed", "command": "c", "value": "nothing + 1"}], {})


def test_figures_are_printed_as_the_pages_have_them() -> None:
    assert [short(0.8311), short(-0.02), signed(-0.0021), signed(0.5, 1)] == [".831", "-.020", "−.002", "+.5"]
    assert [spread([]), spread([12.34]), spread([1.0, 2.0])] == ["–", "12.3", "1.5 ± 0.7"]
    assert [span([0.063, 0.0751], 3), span([0.0201, 0.0199], 2)] == [".063 to .075", ".02"]
    assert [upward(0.00141), word(5), word(20)] == [".002", "five", "20"]
    assert markdown(["a", "b"], [[1, "x"]], "right") == "| a | b |\n|:--|--:|\n| 1 | x |"
    assert markdown(["a"], []) == "Not measured yet."
