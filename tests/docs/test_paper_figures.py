"""Figures of the tables in docs/papers are those of the recorded rows, and what is not measured says why."""

from __future__ import annotations

import re
import sys

import pytest
from docs_markdown import ROOT

sys.path.append(str(ROOT))

from results.data import Grid, values

PAPERS = ("soda", "hmid_net")


def effects(name: str) -> list[str]:
    """The last cells of the table of choices."""
    lines = (ROOT / f"docs/papers/{name}.md").read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| | paper says"))
    rows = lines[start + 2 :]
    end = next(n for n, line in enumerate(rows) if not line.startswith("|"))
    return [row.removesuffix(" |").rpartition(" | ")[2] for row in rows[:end]]


@pytest.mark.parametrize("name", PAPERS)
def test_every_choice_has_an_effect_or_a_reason(name: str) -> None:
    for cell in effects(name):
        assert cell not in ("", "–", "|") and not cell.endswith("|")
        assert not re.search(r"\*not measured\*(?!:| inside)", cell), cell
        assert re.search(r"\d|tests|holds by|hyperbolic\.md|as above|\*not measured\*|\*trial\*", cell), cell


def test_rows_of_the_ablation_are_those_that_were_recorded() -> None:
    labels = Grid("hmid_net-ablation").labels
    base = sum(values(labels["hmid-net"], "mean r@10", 100)) / 2
    found = [
        pair for cell in effects("hmid_net") for pair in re.findall(r"`([a-z0-9.-]+)` ([+−±])([\d.]+)", cell)
    ]
    assert len(found) > 50 and base == pytest.approx(10.4, abs=0.05)
    for label, sign, figure in found:
        difference = sum(values(labels[label], "mean r@10", 100)) / 2 - base
        assert float(f"{'-' if sign == '−' else ''}{figure}") == pytest.approx(difference, abs=0.051), label


def test_controls_of_soda_are_those_that_were_recorded() -> None:
    labels = Grid("soda-mirflickr-controls").labels
    text = " ".join(effects("soda"))
    for label, said in (("no-balance", "without it +.000/+.001"), ("theta-2", "2 in place of 4 +.000/−.002")):
        assert said in text
        for way, figure in zip(("i2t", "t2i"), re.findall(r"[+−]\.\d+", said), strict=True):
            ours, base = (values(labels[one], f"{way} map") for one in (label, "soda"))
            assert float(figure.replace("−", "-")) == pytest.approx(sum(ours) / 4 - sum(base) / 4, abs=0.0006)


def test_figures_of_the_hyperbolic_field_are_those_that_were_recorded() -> None:
    labels = Grid("hyperbolic-flickr8k").labels
    known = {label.lower().split("-clip")[0]: own for label, own in labels.items()}
    text = (ROOT / "docs/papers/hyperbolic.md").read_text(encoding="utf-8")
    said = re.compile(r"R@10 ([\d.]+)/([\d.]+), PEP AUC ([\d.]+), in own cone ([\d.]+) %")
    rows = {
        line.split("`")[1]: found
        for line in text.splitlines()
        if (found := said.search(line)) and "`" in line
    }
    found = said.search(text[text.index("MERU has") :])
    assert found is not None and len(rows) == 5
    for name, match in {**rows, "meru": found}.items():
        for figure, key in zip(
            match.groups(), ("t2i r@10", "i2t r@10", "entailment auc", "cone inside"), strict=True
        ):
            ours = values(known[name], key, 100)
            assert len(ours) == 3 and float(figure) == pytest.approx(sum(ours) / 3, abs=0.051), (name, key)


def test_figures_of_the_readme_are_those_that_were_recorded() -> None:
    labels = Grid("hyperbolic-flickr8k").labels

    def mean(label: str, figure: str) -> str:
        found = values(labels[label], figure, 100)
        return f"{sum(found) / len(found):.1f}"

    ours, twin = "HMID-Net, cones", "Euclidean twin"
    said = [f"{mean(label, 't2i r@10')}/{mean(label, 'i2t r@10')}" for label in (ours, twin)]
    rivals = [label for label in labels if label not in (ours, twin, "HMID-Net", "CLIP")]
    best = [max(float(mean(label, f"{way} r@10")) for label in rivals) for way in ("t2i", "i2t")]
    said += [mean(label, "entailment auc") for label in (ours, twin)] + [f"{best[0]:.1f}/{best[1]:.1f}"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    part = text[text.index("* [hyperbolic.md]") : text.index("* [soda.md]")]
    assert [figure for figure in said if figure not in part] == []
