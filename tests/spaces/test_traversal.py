"""The way from a point to the root, against a hand-made tree and the published equations."""

from __future__ import annotations

import json

import numpy as np
import published
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import LimbeckError
from limbeck.spaces import Hamming, Lorentz, Sphere
from limbeck.traversal import ROOT, STEPS, Traversal, chain, split_known, traverse


def polar(direction, radius: float, curv: float = 1.0) -> np.ndarray:
    """The float32 point in a direction, at a distance of ``radius``/√curv from the root."""
    direction = np.asarray(direction, float)
    return (np.sinh(radius) / np.sqrt(curv) * direction / np.linalg.norm(direction)).astype(np.float32)


TREE = {
    "thing": ([1, 0, 0, 0], 0.3),
    "a circle": ([0, 1, 0, 0], 1.0),
    "round": ([0, 1, 0, 0], 0.35),
    "triangle": ([1, 0, 0, 0], 1.0),
    "a lookalike": ([1, 0.1, 0, 0], 1.4),
    "more than the picture shows": ([1, 0, 0, 0], 2.0),
    "figure": ([1, 0, 0, 0], 0.6),
    "the opposite": ([-1, 0, 0, 0], 0.25),
}


@pytest.mark.parametrize("curv", [0.2, 1.0, 5.0])
def test_a_hand_made_tree_is_climbed_text_by_text(curv):
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0]
    texts = list(TREE)
    points = np.stack([polar(turn @ np.array(ray, float), radius, curv) for ray, radius in TREE.values()])
    picture = polar(turn @ np.array([1.0, 0, 0, 0]), 1.5, curv)
    steps = traverse(Lorentz(4, curv), picture, points, texts)

    found = chain(steps)
    assert [step.text for step in found] == ["triangle", "figure", "thing", ROOT]
    np.testing.assert_allclose([s.radius * np.sqrt(curv) for s in found], [1, 0.6, 0.3, 0], atol=1e-5)
    assert [texts.index("triangle"), texts.index("figure")] == [found[0].number, found[1].number]
    assert len(steps) == STEPS and steps[0].share == 0 and steps[-1].share == 1
    left = 1.5 * (1 - np.linspace(0, 1, STEPS))  # radius of the steps
    want = ["triangle" if r > 1 else "figure" if r > 0.6 else "thing" if r > 0.3 else ROOT for r in left]
    assert [step.text for step in steps] == want
    assert [step.entailing for step in steps] == [sum(r > tip for tip in (1, 0.6, 0.3)) for r in left]
    # On its own ray a point lies inside by half the aperture.
    np.testing.assert_allclose(steps[0].inside, np.arcsin(0.2 / np.sinh(1.0)), atol=1e-4)
    np.testing.assert_allclose(steps[0].distance * np.sqrt(curv), 0.5, atol=1e-5)
    assert found[-1].inside is None and found[-1].number is None and steps[-1].distance == 0

    freely = traverse(Lorentz(4, curv), picture, points, texts, entailed=False)
    assert freely[0].text == "a lookalike" and freely[0].inside < 0 and freely[-1].text == ROOT
    assert [s.entailing for s in freely] == [s.entailing for s in steps]


def brute_force(point, places, texts, curv, steps, k):
    """Text after text in 60 digits, from the published equations."""
    tangent = published.log_map0(point, curv)
    names = []
    for at in range(steps):
        share = at / (steps - 1)
        if share == 1:
            names.append((ROOT, 0))
            continue
        here = published.exp_map0((1 - share) * tangent, curv)
        holding = []
        for text, place in zip(texts, places, strict=True):
            aperture = (
                published.half_aperture(place, curv, k) if 4 * k**2 < curv * place @ place else np.pi / 2
            )
            if published.exterior_angle(place, here, curv) <= aperture:
                holding.append((published.distance(place, here, curv), text))
        to_root = np.arcsinh(np.sqrt(curv) * np.linalg.norm(here)) / np.sqrt(curv)
        names.append((min([*holding, (to_root, ROOT)])[1], len(holding)))
    return names


@pytest.mark.parametrize(("curv", "k"), [(1.0, 0.1), (0.3, 0.3), (4.0, 0.05)])
def test_every_step_is_that_of_a_brute_force(curv, k):
    rng = np.random.default_rng(7)
    lift = [
        polar(ray, r, curv)
        for ray, r in zip(rng.standard_normal((30, 3)), rng.uniform(0, 2, 30), strict=True)
    ]
    places, texts = np.stack(lift), [f"text {i}" for i in range(30)]
    for _ in range(3):
        point = polar(rng.standard_normal(3), 2.2, curv)
        steps = traverse(Lorentz(3, curv), point, places, texts, steps=9, min_radius=k)
        want = brute_force(point.astype(float), places.astype(float), texts, curv, 9, k)
        assert [(step.text, step.entailing) for step in steps] == want
        assert len(chain(steps)) > 1  # or nothing was tested


@given(seed=st.integers(0, 2**32 - 1), dim=st.integers(1, 6), curv=st.floats(0.1, 5), entailed=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_way_ends_at_the_root_and_never_leaves_it(seed, dim, curv, entailed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 12))
    rays, radii = rng.standard_normal((count + 1, dim)), rng.uniform(0, 4, count + 1)
    points = np.stack([polar(ray, radius, curv) for ray, radius in zip(rays, radii, strict=True)])
    texts = [str(i) for i in range(count)]
    steps = traverse(Lorentz(dim, curv), points[0], points[1:], texts, steps=11, entailed=entailed)
    rooted = [step.number is None for step in steps]
    assert rooted == sorted(rooted) and rooted[-1]
    held = [step.entailing for step in steps]
    assert held == sorted(held, reverse=True)
    assert len({step.number for step in chain(steps)}) == len(chain(steps))
    if entailed:
        assert all(step.inside is None or step.inside >= -1e-6 for step in steps)


def test_no_texts_and_texts_at_the_root():
    space, point = Lorentz(3, 1.0), polar([1, 0, 0], 1.0)
    (only,) = chain(traverse(space, point, np.zeros((0, 3), np.float32), []))
    assert only.text == ROOT and only.share == 0 and only.entailing == 0
    steps = traverse(space, point, np.zeros((1, 3), np.float32), ["everything"], steps=2)
    assert [step.text for step in steps] == [ROOT, ROOT] and [step.entailing for step in steps] == [1, 1]
    still = traverse(space, space.root(), polar([1, 0, 0], 1.0)[None], ["far"], steps=3)
    assert {step.text for step in still} == {ROOT}


def test_a_traversal_tells_the_nearest_cone():
    space, point = Lorentz(2, 1.0), polar([1, 0], 1.5)
    places = np.stack([polar([1, 1], 1.0), polar([-1, 0], 1.0)])
    found = Traversal.of(space, point, places, ["aside", "behind"], steps=4, unknown=["qzx"])
    assert found.nearest_cone == "aside" and found.nearest_inside < 0
    assert found.nearest_inside == -float(space.cone_excess(places[0], point))
    assert found.steps[0].entailing == 0 and found.texts == 2 and found.unknown == ["qzx"]
    np.testing.assert_allclose(found.radius, 1.5, rtol=1e-6)
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [step["text"] for step in value["chain"]] == [ROOT] and len(value["steps"]) == 4


def test_bad_input_is_one_line():
    space, point = Lorentz(3, 1.0), polar([1, 0, 0], 1.0)
    places = np.stack([point, point])

    def refuse(check):
        raise LimbeckError("no", code="E-BUG")

    for call, message in [
        (lambda: traverse(Sphere(3), point, places, ["a", "b"]), "no entailment cones; .* tangent or polar"),
        (lambda: traverse(Hamming(8), point, places, ["a", "b"]), "no entailment cones"),
        (lambda: traverse(space, point, places, ["a", "b"], steps=1), "steps: 1 is not"),
        (lambda: traverse(space, point, places, ["a", "b"], steps=True), "steps: True is not"),
        (lambda: traverse(space, point, places, ["a", "b"], steps=2.5), "steps: 2.5 is not"),
        (lambda: traverse(space, point, places, ["a", ROOT]), "the name of the root"),
        (lambda: traverse(space, point, places, ["a"]), "1 texts, but 2 points"),
        (lambda: traverse(space, places, places, ["a", "b"]), "traverse: 2 points;"),
        (lambda: traverse(space, point[:2], places, ["a", "b"]), "point: has width 2"),
        (lambda: traverse(space, point, places[:, :2], ["a", "b"]), "texts: has width 2"),
        (lambda: traverse(space, point, places, ["a", "b"], min_radius=0), "min_radius: 0 is not"),
        (lambda: split_known([], refuse), "no texts to pass"),
        (lambda: split_known(["a", "b"], refuse), "knows no word of the 2 texts"),
    ]:
        with pytest.raises(LimbeckError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
