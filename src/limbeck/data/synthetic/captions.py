"""The texts of a scene: captions from detailed to general, noisy tags, labels, class path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limbeck.data.synthetic import taxonomy as tx
from limbeck.data.synthetic.sample import Figure, Scene, position, relation

_NUMBERS = {1: "one", 2: "two", 3: "three"}


def captions(scene: Scene) -> list[str]:
    """Return five true captions, most detailed first.

    1. Every figure with size, texture, colour and shape, their positions, and the place.
    2. Colour, texture and shape, and the positions.
    3. The main figure's colour and shape, and the place.
    4. The kinds of colour and shape, and the positions.
    5. The number of figures and the kind of place.
    """
    main, *others = scene.figures
    place = tx.PHRASES[scene.place]
    count = len(scene.figures)
    noun = "figure" if count == 1 else "figures"
    first = _related(scene, _full) if others else f"{_full(main)} {position(main)}"
    return [
        f"{first}, {place}",
        _related(scene, _medium),
        f"{_article(f'{main.colour} {main.shape}')} {place}",
        _related(scene, _general),
        f"{_NUMBERS[count]} {noun} {tx.PHRASES[tx.PARENT[scene.place]]}",
    ]


def _related(scene: Scene, name: Callable[[Figure], str]) -> str:
    """Name the main figure and its relation to each other figure, with the words of ``name``."""
    main, *others = scene.figures
    seen = [f"{relation(main, other)} {name(other)}" for other in others]
    return " ".join([name(main), " and ".join(seen)]).strip()


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _full(figure: Figure) -> str:
    if figure.texture == "plain":
        return _article(f"{figure.size} plain {figure.colour} {figure.shape}")
    return _article(f"{figure.size} {figure.colour} {figure.texture} {figure.shape}")


def _medium(figure: Figure) -> str:
    texture = "" if figure.texture == "plain" else f"{figure.texture} "
    return _article(f"{figure.colour} {texture}{figure.shape}")


def _general(figure: Figure) -> str:
    kind = tx.PARENT[figure.shape]
    return _article(f"{tx.PARENT[figure.colour]} {kind}")


def labels(scene: Scene) -> list[str]:
    """Return the concepts that an annotator ticks: every shape, the main figure's colour and texture, the
    place."""
    main = scene.figures[0]
    ticked = {figure.shape for figure in scene.figures} | {main.colour, main.texture, scene.place}
    return [label for label in tx.LABELS if label in ticked]


def tags(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Return tags as users give them: incomplete, with synonyms, general words and unrelated words.

    They are never empty and never exactly the labels.
    """
    words: list[str] = []
    for at, figure in enumerate(scene.figures):
        # The main figure is tagged more often than the others.
        for word, chance in (
            (figure.shape, 0.7),
            (figure.colour, 0.6),
            (figure.texture, 0.45),
            (figure.size, 0.2),
        ):
            if word != "plain" and rng.random() < chance * (1.0 if at == 0 else 0.6):
                words.append(_say(word, rng))
        if rng.random() < 0.12:
            words.append(tx.PARENT[figure.shape].split()[0])
    if rng.random() < 0.6:
        words.append(_say(scene.place, rng))
    if rng.random() < 0.08:
        words.append(str(rng.choice(tx.LABELS)))  # a mistake
    noise = max(int(rng.integers(0, 4)), 0 if words else 1)
    words.extend(str(word) for word in rng.choice(tx.NOISE_WORDS, size=noise, replace=False))
    unique = list(dict.fromkeys(words))
    rng.shuffle(unique)
    return unique if set(unique) != set(labels(scene)) else [*unique, "untitled"]


def _say(word: str, rng: np.random.Generator) -> str:
    """Return the word, or with probability 0.3 one of its synonyms."""
    synonyms = tx.SYNONYMS.get(word, ())
    return str(rng.choice(synonyms)) if synonyms and rng.random() < 0.3 else word


def class_path(scene: Scene) -> list[str]:
    """Return the class path of the main figure's shape, root first."""
    return tx.class_path(scene.figures[0].shape)
