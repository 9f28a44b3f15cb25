"""The configuration of towers, strict and serialisable (lifts: `limbeck.encoders.lift_config`).

A tower is a *backbone* (pictures, features, text or labels in, one vector out) and a small trainable *trunk*.
Recipes, saved models and the loader all read the same classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    WrapValidator,
    field_validator,
    model_validator,
)

from limbeck.plugins import own_name
from limbeck.typed import Json


class Strict(BaseModel):
    """Base of every configuration: unknown keys and wrong types are errors.

    ``renamed`` maps the former name of a key to the current one, which the error names.
    """

    renamed: ClassVar[dict[str, str]] = {}

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FeaturesConfig(Strict):
    """Precomputed image features, standardised by log1p, centring, PCA and one global scale."""

    kind: Literal["features"] = "features"
    name: str
    log1p: bool = False
    pca: int | None = Field(default=None, ge=1)


class BagConfig(Strict):
    """Count known words (tags, captions or prompts), L2-normalised and centred."""

    kind: Literal["bag"] = "bag"
    vocabulary_size: int = Field(default=8192, ge=1)
    min_count: int = Field(default=1, ge=1)


class MultiHotConfig(Strict):
    """Read the multi-hot label vector: the control that replaces SODA's label prompt."""

    kind: Literal["multihot"] = "multihot"


class LabelFeaturesConfig(Strict):
    """Read text features of class names from an array ``file`` (.npy) and its ``names`` (text, one per line).

    ``aliases`` gives, for a label without a row, the names whose rows are averaged. ``normalize`` first
    scales rows to unit length.
    """

    kind: Literal["label_features"] = "label_features"
    file: str
    names: str
    aliases: dict[str, list[str]] = {}
    normalize: bool = True


class SentenceConfig(Strict):
    """Use a pretrained sentence encoder: a directory, a hub id, or ``package:NAME`` of a pip package."""

    kind: Literal["sentence"] = "sentence"
    source: str
    center: bool = True
    max_length: int = Field(default=64, ge=2)


class TokenizerConfig(Strict):
    """Train a tokenizer on the training texts (``word`` or ``bpe``)."""

    kind: Literal["word", "bpe"] = "word"
    vocabulary_size: int = Field(default=8192, ge=8)


class AugmentConfig(Strict):
    """Augment training pictures: the share of the area kept (min, max), mirroring, and colour jitter.

    ``jitter`` j draws factors of brightness, contrast and saturation from 1 - j to 1 + j.
    """

    crop: list[float] = [0.6, 1.0]
    flip: bool = False
    jitter: float = Field(default=0.0, ge=0, lt=1)

    @property
    def keeps_place(self) -> bool:
        """True when every patch stays where the evaluation transform puts it."""
        return self.crop[0] == 1 and not self.flip

    @field_validator("crop")
    @classmethod
    def _is_a_range(cls, crop: list[float]) -> list[float]:
        if len(crop) != 2 or not 0 < crop[0] <= crop[1] <= 1:
            raise ValueError("needs two shares of the area, 0 < min <= max <= 1")
        return crop


def _with_projection(tree: object) -> object:
    """Set ``projection`` for a tower with a ``source``, unless the configuration sets it."""
    if isinstance(tree, dict) and tree.get("source") is not None:
        return {"projection": True, **tree}
    return tree


class StarterImageConfig(Strict):
    """The image tower of the starter model (extra ``starter``); it has no settings."""

    kind: Literal["starter_image"] = "starter_image"


class EfficientNetLiteConfig(Strict):
    """EfficientNet-Lite with ImageNet weights (extra ``vision``); it reads squares of ``image_size``.

    It was trained at 224 (lite0), 240 (lite1) and 260 pixels (lite2).
    """

    kind: Literal["efficientnet_lite"] = "efficientnet_lite"
    variant: Literal["lite0", "lite1", "lite2"] = "lite0"
    image_size: int = 224
    augment: AugmentConfig | None = None

    @field_validator("image_size")
    @classmethod
    def _is_a_grid(cls, size: int) -> int:
        if size % 32 or not 32 <= size <= 1024:
            raise ValueError(f"needs a multiple of 32 pixels, 32 to 1024, not {size}: a patch has 32 x 32")
        return size


class ClipImageConfig(Strict):
    """CLIP's vision transformer: with the sizes given here, or pretrained from ``source`` (directory or hub
    id).

    ``projection`` makes the output CLIP's embedding; the default is true with a ``source``, else false.
    """

    kind: Literal["clip_image"] = "clip_image"
    source: str | None = None
    projection: bool = False
    image_size: int = Field(default=64, ge=8)
    patch_size: int = Field(default=8, ge=2)
    width: int = Field(default=192, ge=8)
    layers: int = Field(default=6, ge=1)
    heads: int = Field(default=3, ge=1)
    augment: AugmentConfig | None = None

    _own_embeddings = model_validator(mode="before")(_with_projection)

    @model_validator(mode="after")
    def _sizes_fit(self) -> ClipImageConfig:
        if self.source is None and self.width % self.heads:
            raise ValueError("needs a width that is a multiple of heads")
        if self.source is None and self.patch_size > self.image_size:
            raise ValueError("needs a patch_size of at most image_size")
        return self


class ClipTextConfig(Strict):
    """CLIP's text transformer: with the sizes given here and a tokenizer trained on the texts, or pretrained.

    ``projection`` is that of `ClipImageConfig`.
    """

    kind: Literal["clip_text"] = "clip_text"
    source: str | None = None
    projection: bool = False
    tokenizer: TokenizerConfig | str = TokenizerConfig()
    context: int = Field(default=32, ge=4)
    width: int = Field(default=192, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=3, ge=1)

    _own_embeddings = model_validator(mode="before")(_with_projection)


class StaticConfig(Strict):
    """Average the rows of a table of tokens; ``rank`` makes its rows shorter than ``dim``, by a linear map.

    ``limbeck distil-text`` sets ``fine``, the number of tokens with four bits per number, where the others
    have two; ``units``, the hidden units that correct the mean; and ``ball``, whether the outputs lie on a
    sphere.
    """

    kind: Literal["static"] = "static"
    dim: int = Field(default=384, ge=2)
    rank: int | None = Field(default=None, ge=1)
    tokenizer: TokenizerConfig | str = TokenizerConfig()
    length: int = Field(default=64, ge=2)
    fine: int | None = Field(default=None, ge=1)
    units: int = Field(default=0, ge=0)
    ball: bool = False

    @model_validator(mode="after")
    def _units_correct_packed_rows(self) -> StaticConfig:
        if self.units and (self.fine is None or self.rank is not None):
            raise ValueError("units belong to a table of limbeck distil-text; remove units")
        return self


class RunConfig(Strict):
    """Use the tower of a model that was trained before.

    ``output`` chooses its ``embeddings``, the ``features`` before its lift, the ``tangent`` coordinates of
    the embeddings, which every space can read, or those of each of its ``patches`` (B, P, d).
    """

    kind: Literal["run"] = "run"
    path: str
    output: Literal["embeddings", "features", "tangent", "patches"] = "embeddings"


class ConcatConfig(Strict):
    """Concatenate several backbones over the same text (bag of words and sentence encoder, for example)."""

    kind: Literal["concat"] = "concat"
    parts: list[TextPart]


class OwnConfig(BaseModel):
    """Configure a user-defined tower or lift: ``kind`` is FILE.py:CLASS, the other keys are those of its
    ``Config``.

    ``sha256`` of the file is added when the tower is built.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    kind: str
    sha256: str | None = None

    @property
    def options(self) -> dict[str, Json]:
        """The keys that its own ``Config`` reads."""
        return dict(self.model_extra or {})


def _own_or(value: object, known: Callable[[object], object]) -> object:
    """Validate a user-defined class by its kind, else a built-in one."""
    if isinstance(value, OwnConfig):
        return value
    if isinstance(value, dict) and own_name(value.get("kind")) is not None:
        return OwnConfig.model_validate(value)
    return known(value)


OwnToo = WrapValidator(_own_or)
TextPart = Annotated[
    SerializeAsAny[
        Annotated[BagConfig | SentenceConfig | ClipTextConfig | StaticConfig, Field(discriminator="kind")]
    ],
    OwnToo,
]
_Backbone = Annotated[
    FeaturesConfig
    | BagConfig
    | MultiHotConfig
    | LabelFeaturesConfig
    | SentenceConfig
    | ClipImageConfig
    | EfficientNetLiteConfig
    | StarterImageConfig
    | ClipTextConfig
    | StaticConfig
    | RunConfig
    | ConcatConfig,
    Field(discriminator="kind"),
]
BackboneConfig = Annotated[SerializeAsAny[_Backbone], OwnToo]


class LoraConfig(Strict):
    """Low-rank adapters on a pretrained backbone, whose own weights are then frozen.

    ``alpha`` / ``rank`` scales the adapters. ``targets`` names layers, such as ``q_proj`` and ``v_proj``; by
    default all linear layers of the transformer blocks, attention and MLP, get one.
    """

    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    targets: list[str] | None = Field(default=None, min_length=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class TowerConfig(Strict):
    """A backbone and the trunk on top of it (ReLU layers of the given widths; none means identity).

    ``dropout`` follows each ReLU; ``input_dropout`` drops numbers that the trunk reads (words of a bag).
    ``norm`` ends the trunk with a layer norm, as in transformer towers: the features' length is then fixed.
    ``freeze_backbone`` keeps pretrained weights unchanged; a frozen backbone runs once (feature cache).
    ``lora`` trains adapters of the backbone instead of its weights. A saved model holds the merged weights.
    """

    backbone: BackboneConfig
    hidden: list[Annotated[int, Field(ge=1)]] = []
    dropout: float = Field(default=0.0, ge=0, lt=1)
    input_dropout: float = Field(default=0.0, ge=0, lt=1)
    norm: bool = False
    freeze_backbone: bool = False
    lora: LoraConfig | None = None

    @model_validator(mode="after")
    def _adapters_are_trained(self) -> TowerConfig:
        if self.lora is not None and self.freeze_backbone:
            raise ValueError("lora trains what freeze_backbone freezes; set freeze_backbone: false")
        return self


ConcatConfig.model_rebuild()
