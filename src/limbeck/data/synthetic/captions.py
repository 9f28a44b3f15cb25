"""Words for a scene: captions from the most detailed to the most general, noisy tags, labels, class path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limbeck.data.synthetic import taxonomy as tx
from limbeck.data.synthetic.sample import Figure, Scene, position, relation

_NUMBERS = {1: "one", 2: "two", 3: "three"}


def captions(scene: Scene) -> list[str]:
    """Five true captions, most detailed first.

    1. every figure with size, texture, colour and shape, where they are, and the place;
    2. colour, texture and shape, and where they are; 3. the main figure's colour and shape, and the place;
    4. kinds of colour and shape, and where they are; 5. the number of figures and the kind of place.
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
    """The main figure and where it is seen from each other one, all in the words of ``name``."""
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
    """Concepts as an annotator ticks them: every shape, the main figure's colour and texture, the place."""
    main = scene.figures[0]
    ticked = {figure.shape for figure in scene.figures} | {main.colour, main.texture, scene.place}
    return [label for label in tx.LABELS if label in ticked]


def tags(scene: Scene, rng: np.random.Generator) -> list[str]:
    """Tags as people give them: incomplete, with synonyms, general words and words that mean nothing here.

    Never empty, and never exactly the labels.
    """
    words: list[str] = []
    for at, figure in enumerate(scene.figures):
        # The main figure is tagged more often than what stands beside it.
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
    """The word itself, or one of its synonyms three times in ten."""
    synonyms = tx.SYNONYMS.get(word, ())
    return str(rng.choice(synonyms)) if synonyms and rng.random() < 0.3 else word


def class_path(scene: Scene) -> list[str]:
    """Path of the main figure's shape, root first."""
    return tx.class_path(scene.figures[0].shape)
