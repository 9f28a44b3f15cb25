"""Label prompts: class names turned into a sentence that a text tower can read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from limbeck.errors import LimbeckError

# Words for class names that are no words, or mean something else outside their data set (MIRFlickr's here).
CLEAN_NAMES: Mapping[str, str] = {
    "structures": "buildings or structures",
    "transport": "vehicle",
    "plant_life": "plant life",
    "female": "woman or girl",
    "male": "man or boy",
    "indoor": "an indoor scene",
    "night": "a night scene",
}
# "names": the raw names, as a tag list; the others take cleaned names, joined by commas and a last "and".
LABEL_TEMPLATES: Mapping[str, str] = {"names": "{names}", "sentence": "a photo of {labels}."}
# What a picture without labels says, whatever the template: it is a picture, and nothing is claimed of it.
EMPTY_PROMPT = "a photo."


def clean_class_name(name: str, overrides: Mapping[str, str] | None = None) -> str:
    """A class name in plain words: ``plant_life`` → "plant life", ``transport`` → "vehicle".

    Args:
        name: the label as the data set writes it.
        overrides: words for some names; they win over `CLEAN_NAMES`.
    """
    known = {**CLEAN_NAMES, **(overrides or {})}
    return known.get(name) or " ".join(name.replace("_", " ").replace("-", " ").split())


def label_prompt(
    names: Sequence[str], template: str = "sentence", overrides: Mapping[str, str] | None = None
) -> str:
    """The prompt of one picture's labels.

    Args:
        names: its label names, in the order they shall stand.
        template: a key of `LABEL_TEMPLATES`, or a text with ``{labels}`` (cleaned names, "a, b and c") or
            ``{names}`` (raw names, "a, b, c").
        overrides: see `clean_class_name`.

    Returns:
        The prompt; `EMPTY_PROMPT` for no labels.

    Raises:
        LimbeckError: a template that is neither known nor holds one of the two fields.
    """
    text = LABEL_TEMPLATES.get(template, template)
    if "{labels}" not in text and "{names}" not in text:
        raise LimbeckError(
            f"label template {template!r}: use one of {', '.join(LABEL_TEMPLATES)}, or a text with {{labels}}"
        )
    if not names:
        return EMPTY_PROMPT
    cleaned = [clean_class_name(name, overrides) for name in names]
    listed = cleaned[0] if len(cleaned) == 1 else f"{', '.join(cleaned[:-1])} and {cleaned[-1]}"
    return text.replace("{labels}", listed).replace("{names}", ", ".join(names))


def exact_words_prompt(text: str, label_names: Sequence[str], template: str = "sentence") -> str:
    """The prompt of the classes whose name a text says word for word: a control for free text (ours).

    What a look-up finds without knowing what a word means, given the names and the words that prompts put in
    their place: ``plant_life`` is said by a text with both words, in any case and order, ``female`` also by
    "woman" or by "girl". A text that says none asks with `EMPTY_PROMPT`.
    """
    said = set(_words(text))
    found = [
        name
        for name in label_names
        if any((own := _words(way)) and said.issuperset(own) for way in _ways_to_say(name))
    ]
    return label_prompt(found, template)


def _ways_to_say(name: str) -> list[str]:
    return [name, *clean_class_name(name).split(" or ")]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
