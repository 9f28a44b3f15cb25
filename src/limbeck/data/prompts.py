"""Label prompts: class names as a sentence that a text tower can read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from limbeck.errors import LimbeckError

# Words for MIRFlickr's class names that are codes or mean something else outside the data set.
CLEAN_NAMES: Mapping[str, str] = {
    "structures": "buildings or structures",
    "transport": "vehicle",
    "plant_life": "plant life",
    "female": "woman or girl",
    "male": "man or boy",
    "indoor": "an indoor scene",
    "night": "a night scene",
}
# "names": the raw names, as a tag list; the others use cleaned names, joined by commas and a last "and".
LABEL_TEMPLATES: Mapping[str, str] = {"names": "{names}", "sentence": "a photo of {labels}."}
# The prompt of a picture without labels, for every template: it is a picture, and nothing else is claimed.
EMPTY_PROMPT = "a photo."


def clean_class_name(name: str, overrides: Mapping[str, str] | None = None) -> str:
    """Return a class name in plain words: ``plant_life`` → "plant life", ``transport`` → "vehicle".

    Args:
        name: the label as the data set writes it.
        overrides: words for some names; they take precedence over `CLEAN_NAMES`.
    """
    known = {**CLEAN_NAMES, **(overrides or {})}
    return known.get(name) or " ".join(name.replace("_", " ").replace("-", " ").split())


def label_prompt(
    names: Sequence[str], template: str = "sentence", overrides: Mapping[str, str] | None = None
) -> str:
    """Return the prompt of one picture's labels, in their order; `EMPTY_PROMPT` for none.

    Args:
        names: its label names.
        template: a key of `LABEL_TEMPLATES`, or a text with ``{labels}`` (cleaned names, "a, b and c") or
            ``{names}`` (raw names, "a, b, c").
        overrides: see `clean_class_name`.

    Raises:
        LimbeckError: the template is unknown and has neither field.
    """
    text = LABEL_TEMPLATES.get(template, template)
    if "{labels}" not in text and "{names}" not in text:
        raise LimbeckError(
            f"label template {template!r}: use one of {', '.join(LABEL_TEMPLATES)} or a text with {{labels}}",
            code="E-OPTION-CHOICE",
        )
    if not names:
        return EMPTY_PROMPT
    cleaned = [clean_class_name(name, overrides) for name in names]
    listed = cleaned[0] if len(cleaned) == 1 else f"{', '.join(cleaned[:-1])} and {cleaned[-1]}"
    return text.replace("{labels}", listed).replace("{names}", ", ".join(names))


def exact_words_prompt(text: str, label_names: Sequence[str], template: str = "sentence") -> str:
    """Return the prompt of the classes whose names occur word for word in a text: a control for free text
    (ours).

    It shows what a look-up finds that knows the class names and their prompt words but no meanings.
    ``plant_life`` matches a text with both words, in any case and order. ``female`` also matches "woman" or
    "girl". A text without any class name gives `EMPTY_PROMPT`.
    """
    text_words = set(_words(text))
    matching = [
        name
        for name in label_names
        if any(
            (own := _words(way)) and text_words.issuperset(own)
            for way in [name, *clean_class_name(name).split(" or ")]
        )
    ]
    return label_prompt(matching, template)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())
