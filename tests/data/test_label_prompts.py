from __future__ import annotations

import pytest

from limbeck.data.prompts import (
    EMPTY_PROMPT,
    LABEL_TEMPLATES,
    clean_class_name,
    exact_words_prompt,
    label_prompt,
)
from limbeck.errors import LimbeckError


@pytest.mark.parametrize(
    ("names", "template", "prompt"),
    [
        (["sky", "clouds", "water"], "sentence", "a photo of sky, clouds and water."),
        (["plant_life", "transport"], "sentence", "a photo of plant life and vehicle."),
        (["structures"], "sentence", "a photo of buildings or structures."),
        (["plant_life", "sky"], "names", "plant_life, sky"),
        (["plant_life", "sky"], "{names}: {labels}!", "plant_life, sky: plant life and sky!"),
        (["a{b}", "c"], "{labels}", "a{b} and c"),
    ],
)
def test_prompts(names, template, prompt):
    assert label_prompt(names, template) == prompt


@pytest.mark.parametrize("template", [*LABEL_TEMPLATES, "we see {labels}"])
def test_no_labels_give_the_empty_prompt(template):
    assert label_prompt([], template) == EMPTY_PROMPT == "a photo."


def test_words_can_be_overridden():
    assert clean_class_name("traffic_light-red") == "traffic light red"
    assert clean_class_name("transport", {"transport": "car or bus"}) == "car or bus"
    assert label_prompt(["transport"], overrides={"transport": "car"}) == "a photo of car."


@pytest.mark.parametrize("template", ["sentense", "a photo", "{label}"])
def test_a_template_without_a_field_is_refused(template):
    with pytest.raises(LimbeckError, match="use one of names, sentence or a text with"):
        label_prompt(["sky"], template)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Plant, LIFE! of seas", "a photo of plant life."),
        ("a sea_view of the sky", "a photo of sky and sea."),
        ("plants skies", EMPTY_PROMPT),
        ("", EMPTY_PROMPT),
    ],
)
def test_exact_words_are_looked_up(text, prompt):
    assert exact_words_prompt(text, ["plant_life", "sky", "sea"]) == prompt


def test_exact_words_know_the_words_of_prompts():
    names = ["female", "transport", "structures", "indoor"]
    assert exact_words_prompt("girl vehicle buildings", names) == (
        "a photo of woman or girl, vehicle and buildings or structures."
    )
    assert exact_words_prompt("indoor female", names) == "a photo of woman or girl and an indoor scene."
    assert exact_words_prompt("girls or", names) == EMPTY_PROMPT
