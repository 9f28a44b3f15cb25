"""What of a configuration identifies a model, an index or a checkpoint."""

from __future__ import annotations

from limbeck.typed import Json

# Keys that are newer than the first saved models; at these values they have no effect.
_LATER: dict[str, Json] = {
    "jitter": 0.0, "norm": False, "texts": "all", "logit": "distance", "permute_labels": None,
    "limit": None, "pairs": None, "hide": None, "like": None, "nodes": 1, "lora": None, "backbone_lr": {},
    "asymmetric": False, "skip_spikes": None, "window": None, "remainder": "drop", "layer_decay": {},
    "ema": None, "keep": 2, "recompute": False, "compile": False, "shard": False, "units": 0,
    "text_min_radius": None, "text_radius": None, "text_max_radius": None, "even": 0.0, "share": 0.05,
    "input_dropout": 0.0, "choose": [],
    "order": {
        "cones": 0.0, "phrases": 0.0, "taught": 0.0, "angles": 0.0, "views": 0.0, "negatives": 2.0,
        "even": 0.0, "share": 0.05, "phrase_negatives": 0.2, "radii_only": False, "scale": 0.1,
        "angle_scale": 0.1,
    },
}  # fmt: skip


def identity(tree: Json) -> Json:
    """Return a dumped configuration for hashing, without later keys at their default value.

    Models, indexes and checkpoints from before a key existed keep their hashes.
    """
    if isinstance(tree, dict):
        return {k: identity(v) for k, v in tree.items() if k not in _LATER or v != _LATER[k]}
    return [identity(item) for item in tree] if isinstance(tree, list) else tree
