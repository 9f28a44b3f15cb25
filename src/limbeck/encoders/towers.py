"""A tower: a backbone and the small trainable trunk on top of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.bags import bag_linear, store_by_input
from limbeck.encoders.config import BackboneConfig, ConcatConfig, OwnConfig, RunConfig, TowerConfig
from limbeck.encoders.dropout import Dropout
from limbeck.encoders.efficientnet import EfficientNetLite
from limbeck.encoders.encode import device_of
from limbeck.encoders.features import BagBackbone, FeatureBackbone, MultiHotBackbone
from limbeck.encoders.identity import identity
from limbeck.encoders.image import ClipImageBackbone
from limbeck.encoders.inputs import Bagged, TowerInputs, backbone_output
from limbeck.encoders.label_features import LabelFeaturesBackbone
from limbeck.encoders.lifts import Lift, lift_from_json
from limbeck.encoders.once import fitted
from limbeck.encoders.own import build_own_backbone
from limbeck.encoders.starter_image import StarterImage
from limbeck.encoders.static import StaticBackbone
from limbeck.encoders.text import ClipTextBackbone, SentenceBackbone
from limbeck.errors import LimbeckError
from limbeck.files import read_json, sha256_json, write_json
from limbeck.plugins import with_digests
from limbeck.preprocess import Preprocessor, Reads
from limbeck.preprocess.base import Item
from limbeck.preprocess.text import ConcatPreprocessor, check_parts, join_parts, split_parts
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.encoders.dual import DualEncoder


class ConcatBackbone(Backbone):
    """Concatenate the outputs of several backbones over the same text."""

    reads = "text"

    def __init__(self, config: ConcatConfig, *, empty: bool = False) -> None:
        super().__init__(config)
        parts = [build_backbone(part, "text", empty=empty) for part in config.parts]
        self.parts = cast("Sequence[Backbone]", nn.ModuleList(parts))
        self._measure()

    def _measure(self) -> None:
        self.dim = sum(getattr(part, "dim", 0) for part in self.parts)

    def fit(self, items: Sequence[Item], *, seed: int) -> None:
        """Fit every part."""
        for i, part in enumerate(self.parts):
            self.parts[i] = fitted(part, items, seed)  # type: ignore[index]
        self._measure()

    @property
    def bag(self) -> BagBackbone | None:
        """The first of two parts where it is a bag of words; with more parts the dense layer is used."""
        first = self.parts[0]
        return first if isinstance(first, BagBackbone) and len(self.parts) == 2 else None

    @property
    def beside_bag(self) -> Backbone | None:
        """The second part where the first one is a bag of words."""
        return self.parts[1] if self.bag is not None else None

    def collate(self, items: Sequence[Item], generators: Sequence[torch.Generator] | None = None) -> Inputs:
        """Return the inputs of all parts, prefixed with the part's number."""
        return join_parts([part.collate(items, generators) for part in self.parts])

    def check_query(self, item: str) -> None:
        """Raise `LimbeckError` when no part knows a word of the query."""
        check_parts(self.parts, item)

    @property
    def preprocessor(self) -> ConcatPreprocessor | None:
        """Preprocesses the texts for every part."""
        parts = [part.preprocessor for part in self.parts]
        known = [part for part in parts if part is not None]
        return ConcatPreprocessor(known) if len(known) == len(parts) else None

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, sum of the parts' dims)."""
        split = split_parts(inputs, len(self.parts))
        return torch.cat([part(own) for part, own in zip(self.parts, split, strict=True)], dim=1)

    def save_assets(self, folder: Path) -> None:
        """Write one folder per part."""
        for i, part in enumerate(self.parts):
            (folder / str(i)).mkdir(parents=True, exist_ok=True)
            part.save_assets(folder / str(i))

    def load_assets(self, folder: Path) -> None:
        """Read every part."""
        for i, part in enumerate(self.parts):
            part.load_assets(folder / str(i))
        self._measure()


class RunBackbone(Backbone):
    """A tower of a model trained before; `load_from` sets it, and a saved model keeps it in its assets."""

    config: RunConfig

    def __init__(self, config: RunConfig, modality: str) -> None:
        super().__init__(config)
        self.modality, self.output = modality, config.output

    def load_from(self, model: DualEncoder) -> None:
        """Use tower and lift of a `DualEncoder`."""
        self._use(model.towers[self.modality], model.lift)

    def _use(self, tower: Tower, lift: Lift) -> None:
        self.tower: Tower
        self.lift: Lift
        self.tower, self.lift = tower, lift
        self.reads = tower.backbone.reads
        self.dim = tower.dim if self.output == "features" else lift.dim
        if size := getattr(tower.backbone, "image_size", None):
            self.image_size = size
        if self.output == "patches":
            self.patches = tower.backbone.patches

    @property
    def preprocessor(self) -> Preprocessor | None:
        """The preprocessor of the inner tower."""
        return self.tower.backbone.preprocessor

    def collate(self, items: Sequence[Item], generators: Sequence[torch.Generator] | None = None) -> Inputs:
        """Collate as the inner tower does."""
        return self.tower.backbone.collate(items, generators)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim), or (B, patches, dim)."""
        if self.output == "patches":
            return self.lift.to_tangent(self.lift(self.tower.tokens(inputs)[:, 1:], self.modality))
        features: torch.Tensor = self.tower(inputs)
        if self.output == "features":
            return features
        embeddings: torch.Tensor = self.lift(features, self.modality)
        return self.lift.to_tangent(embeddings) if self.output == "tangent" else embeddings

    @property
    def origin(self) -> Lift | None:
        """The run's own lift, unless it has codes or its patches are read."""
        return None if self.output == "patches" or self.lift.space.storage == "codes" else self.lift

    def origin_embeddings(self, output: torch.Tensor) -> torch.Tensor:
        """Return the run's embeddings from the output that is read."""
        if self.output == "tangent":
            return self.lift.from_tangent(output)
        if self.output == "features":
            return torch.as_tensor(self.lift(output, self.modality))
        return output

    def cache_key(self) -> str:
        """Return the hash of inner tower and lift, independent of the run's path."""
        trunk: dict[str, Json] = self.tower.config.model_dump(mode="json", exclude={"backbone"})
        inner: list[Json] = [trunk, self.lift.describe(), self.tower.backbone.cache_key()]
        return sha256_json(identity([self.output, *inner]))

    def check_query(self, item: Item) -> None:
        """Check as the inner tower does."""
        self.tower.backbone.check_query(item)

    def save_assets(self, folder: Path) -> None:
        """Write the inner tower and lift, so that the run itself is not needed any more."""
        write_json(folder / "run.json", {"tower": self.tower.describe(), "lift": self.lift.describe()})
        (folder / "tower").mkdir(parents=True, exist_ok=True)
        self.tower.backbone.save_assets(folder / "tower")

    def load_assets(self, folder: Path) -> None:
        """Rebuild the inner tower and lift without their weights."""
        stored = read_json(folder / "run.json")
        self._use(
            Tower.restore(stored["tower"], self.modality, folder / "tower"), lift_from_json(stored["lift"])
        )


_KINDS: dict[str, type[Backbone]] = {
    "features": FeatureBackbone,
    "bag": BagBackbone,
    "multihot": MultiHotBackbone,
    "label_features": LabelFeaturesBackbone,
    "starter_image": StarterImage,
    "static": StaticBackbone,
}
_LOADED: dict[str, Callable[..., Backbone]] = {
    "sentence": SentenceBackbone,
    "clip_image": ClipImageBackbone,
    "efficientnet_lite": EfficientNetLite,
    "clip_text": ClipTextBackbone,
    "concat": ConcatBackbone,
}


def build_backbone(config: BackboneConfig, modality: str, *, empty: bool = False) -> Backbone:
    """Build the backbone of a configuration; ``empty`` skips pretrained weights (they are loaded next)."""
    if isinstance(config, RunConfig):
        return RunBackbone(config, modality)
    if isinstance(config, OwnConfig):
        return build_own_backbone(config, saved=empty)
    if config.kind in _KINDS:
        return _KINDS[config.kind](config)
    return _LOADED[config.kind](config, empty=empty)


class Tower(nn.Module):
    """Backbone and trunk: items of one modality to features (B, dim)."""

    def __init__(self, config: TowerConfig, modality: str, *, empty: bool = False) -> None:
        super().__init__()
        self.config, self.modality = config, modality
        if isinstance(config.backbone, RunConfig) and config.backbone.output == "patches":
            raise LimbeckError(
                f"towers.{modality}.backbone.output: patches are for teachers (many points per picture); "
                "choose features, embeddings or tangent",
                code="E-CONFIG-VALUE",
            )
        self.backbone = build_backbone(config.backbone, modality, empty=empty)
        expected = {"image": ("pixels", "features"), "text": ("text", "labels")}[modality]
        reads = getattr(self.backbone, "reads", expected[0])
        if Reads.of(reads).kind not in expected:
            raise LimbeckError(
                f"towers.{modality}: backbone '{config.backbone.kind}' reads {reads}, "
                f"not {' or '.join(expected)}",
                code="E-CONFIG-VALUE",
            )
        self.trunk: nn.Module = nn.Identity()

    @property
    def dim(self) -> int:
        """The width of the tower's output."""
        return self.config.hidden[-1] if self.config.hidden else self.backbone.dim

    def fit(self, items: Sequence[Item], *, seed: int) -> None:
        """Fit the backbone to the training items, then create the trunk for its width."""
        self.backbone = fitted(self.backbone, items, seed)
        self.build_trunk()

    def build_trunk(self) -> None:
        """Create the trunk, untrained, for the current width of the backbone."""
        layers: list[nn.Module] = []
        if self.config.input_dropout:
            layers.append(Dropout(self.config.input_dropout))
        width = self.backbone.dim
        for hidden in self.config.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU(), Dropout(self.config.dropout)]
            width = hidden
        if self.config.norm:
            layers.append(nn.LayerNorm(width))
        self.trunk = nn.Sequential(*layers) if layers else nn.Identity()

    def forward(self, inputs: TowerInputs) -> torch.Tensor:
        """Return (B, dim) features."""
        features: torch.Tensor
        if isinstance(inputs, Bagged) and (first := self._first) is not None:
            features = bag_linear(first, inputs)
            for layer in list(self.trunk.children())[1:]:
                features = layer(features)
        else:
            features = self.trunk(self.backbone_output(inputs))
        return features

    @property
    def _first(self) -> nn.Linear | None:
        """The layer that reads the backbone, or None."""
        first = next(self.trunk.children(), None)
        return first if isinstance(first, nn.Linear) else None

    def prepare_training(self) -> None:
        """Lay out the weights for training on words, where the backbone has a bag; their values stay."""
        if self.backbone.bag is not None and (first := self._first) is not None:
            store_by_input(first)

    def backbone_output(self, inputs: TowerInputs) -> torch.Tensor:
        """Return (B, backbone.dim), the input of the trunk."""
        if not self.backbone.worth_caching:
            return backbone_output(self.backbone, inputs)
        # Compute cacheable outputs as for the cache: in float32, even under autocast.
        with torch.autocast(device_of(self.backbone).type, enabled=False):
            return backbone_output(self.backbone, inputs)

    def tokens(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + patches, dim): the class token and every patch (see `Backbone.tokens`)."""
        features: torch.Tensor = self.trunk(self.backbone.tokens(inputs))
        return features

    def attended(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `tokens` and the class token's attention to each patch (see `Backbone.attended`)."""
        tokens, attention = self.backbone.attended(inputs)
        return self.trunk(tokens), attention

    def describe(self) -> dict[str, Json]:
        """Return the JSON that `restore` reads."""
        # A saved tower holds merged weights, so that it has no adapters.
        told = self.config.model_dump(mode="json", exclude={"lora"})
        return {"config": with_digests(told), "modality": self.modality}

    @classmethod
    def restore(cls, stored: dict[str, Json], modality: str, assets: Path) -> Tower:
        """Rebuild the tower without its weights, from `describe` and its asset folder."""
        tower = cls(TowerConfig.model_validate(stored["config"]), modality, empty=True)
        tower.backbone.load_assets(assets)
        tower.build_trunk()
        return tower
