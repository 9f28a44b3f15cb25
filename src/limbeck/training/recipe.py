"""Define and load recipes: data, then stages, each with a method, towers, a lift and an optimizer.

``extends:`` starts from another recipe, and ``a.b=c`` overrides a key. A stage inherits ``towers``, ``lift``,
``optim`` and ``schedule`` of the recipe and may change parts of them. `_merge` is the rule of both. Unknown
keys are refused. The run holds the resolved recipe with all defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from limbeck.data.config_errors import describe
from limbeck.data.yaml_files import parse_yaml, read_yaml, yaml_text
from limbeck.encoders.config import Strict, TowerConfig
from limbeck.encoders.lift_config import LOGIT_SCALE, LiftConfig, SphereConfig
from limbeck.errors import LimbeckError, proposal
from limbeck.evaluation.run_metadata import stage_list
from limbeck.plugins import own_name
from limbeck.training.compute import ComputeConfig
from limbeck.training.overrides import INHERITED, LENGTHS, Tree, check_reach, override
from limbeck.training.own_parts import check_own_parts
from limbeck.training.recipe_source import SOURCE, with_source
from limbeck.training.relative import beside
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.methods.base import Method

FOLDER = Path(__file__).resolve().parents[1] / "recipes"


class DataConfig(Strict):
    """The pairs and the protocol, which names the training split and the text column.

    ``captions``: train on the texts that the protocol shows, or on every text of its column.
    ``permute_labels``: seed with which the labels of training rows, prompts included, are permuted among the
    rows. This is a control: such labels teach nothing. Validation keeps the true labels.
    ``limit``: train on this many rows of train, from which validation is split. The recipe's seed draws them;
    a smaller limit draws a subset of a larger one.
    ``like``: a public repository of `metric_presets.PRESETS`. The best step is then chosen as there, by its
    metric on the test queries, and no row is held out of train. Results say so and are not compared with
    others.
    ``window``: mix this many pairs at a time instead of all, for pictures in Parquet and for slow disks
    (`limbeck.data.order`).
    """

    pairs: str | None = None
    protocol: str
    captions: Literal["protocol", "all"] = "protocol"
    permute_labels: int | None = None
    limit: int | None = Field(default=None, ge=10)
    like: str | None = None
    window: int | None = Field(default=None, ge=2)


class OptimConfig(Strict):
    """Configures AdamW; norms, biases and temperatures get no weight decay.

    ``lr_scale`` multiplies ``lr`` for a tower and its head. ``backbone_lr`` replaces it for a tower's
    backbone (or its adapters); what is new on top of the backbone keeps ``lr``. ``layer_decay`` multiplies a
    backbone's rate once per transformer block below its top (BEiT: 0.65 to 0.75). ``ema`` is the decay of an
    average of the weights, which validation and the saved model then use. ``skip_spikes`` skips steps
    whose gradient norm is above this multiple of its running median, or whose loss is far above its own; by
    default no step is skipped.
    """

    lr: float = Field(default=1e-3, gt=0)
    lr_scale: dict[Literal["image", "text"], float] = Field(default_factory=dict)
    backbone_lr: dict[Literal["image", "text"], Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    layer_decay: dict[Literal["image", "text"], Annotated[float, Field(gt=0, le=1)]] = Field(
        default_factory=dict
    )
    ema: float | None = Field(default=None, gt=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    betas: list[float] = Field(default=[0.9, 0.98], min_length=2, max_length=2)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    clip_norm: float | None = Field(default=1.0, gt=0)
    skip_spikes: float | None = Field(default=None, gt=1)


class ScheduleConfig(Strict):
    """The length in steps or epochs, the pairs per step, and the intervals of validation and saving.

    ``remainder``: the pairs that fill no batch at the end of an epoch are left out (`drop`), or begin the
    next epoch's first batch (`carry`), so that every pair comes once per epoch.
    ``keep`` is the number of newest checkpoints that stay, in case the newest is damaged.
    """

    steps: int | None = Field(default=None, ge=0)
    epochs: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=256, ge=1)
    remainder: Literal["drop", "carry"] = "drop"
    chunk: int | None = Field(default=None, ge=1)
    validate_every: int | None = Field(default=None, ge=1)
    checkpoint_every: int = Field(default=200, ge=1)
    keep: int = Field(default=2, ge=2)
    select: Literal["best", "last"] = "best"
    log_every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _one_length(self) -> ScheduleConfig:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self


class TowersConfig(Strict):
    """The image tower and the text tower."""

    image: TowerConfig
    text: TowerConfig


class HideConfig(Strict):
    """Labels to hide from a stage: from its prompts, label vectors, similarities and validation.

    ``how``: `labels` removes them from their rows, as in multi-label zero-shot learning, and leaves out rows
    without another label; `pictures` leaves out every row that has one of them.
    """

    labels: list[str] = Field(min_length=1)
    how: Literal["labels", "pictures"] = "labels"


class StageConfig(Strict):
    """One stage: what it trains, where its weights start, and what stays frozen.

    ``texts``: with ``data.captions: all`` a stage may draw only the texts that the protocol shows (`shown`),
    or draw these half of the time (`mixed`); its vocabularies contain all texts.
    ``pairs``: train on at most this many pairs of train, with a fifth of them for validation (at most the
    protocol's number). The recipe's seed draws them; a smaller number draws a subset of a larger one.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", exclude=True)  # its key in `Recipe.stages`
    method: dict[str, Any]
    towers: TowersConfig
    lift: LiftConfig
    texts: Literal["all", "shown", "mixed"] = "all"
    pairs: int | None = Field(default=None, ge=10)
    hide: HideConfig | None = None
    init: dict[Literal["image", "text"], str] = Field(default_factory=dict)
    freeze: list[Literal["image", "text"]] = Field(default_factory=list)
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig

    @model_validator(mode="after")
    def _method_is_named(self) -> StageConfig:
        if not isinstance(self.method.get("name"), str):
            raise ValueError("method needs a name; see: limbeck list methods")
        return self

    @model_validator(mode="after")
    def _temperature_is_written_out(self) -> StageConfig:
        """Set the default logit_scale, unless both towers share a pretrained source, which gives its own."""
        if not isinstance(self.lift, SphereConfig) or self.lift.logit_scale is not None:
            return self
        sources = [getattr(tower.backbone, "source", None) for tower in (self.towers.image, self.towers.text)]
        if sources[0] is not None and sources[0] == sources[1] and not self.init:
            return self
        return self.model_copy(update={"lift": self.lift.model_copy(update={"logit_scale": LOGIT_SCALE})})


class Recipe(Strict):
    """A resolved recipe; its stages by name, in the order of training.

    ``choose``: stages of which the one with the highest validation score gives the run's model, the earlier
    on a tie; without it, the last stage gives it.
    ``cache``: whether outputs of frozen backbones are stored, or the folder where they are. ``loggers`` also
    receive the rows of ``metrics.jsonl``.
    """

    name: str
    note: str = ""
    data: DataConfig
    seed: int = Field(default=0, ge=0)
    compute: ComputeConfig = ComputeConfig()
    cache: bool | str = True
    loggers: list[Literal["tensorboard", "wandb"]] = Field(default_factory=list)
    choose: list[str] = Field(default_factory=list)
    stages: dict[str, StageConfig] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _stages_know_their_names(cls, tree: Tree) -> Tree:
        stages = tree.get("stages")
        if not isinstance(stages, dict):
            return tree
        complete = [name for name, stage in stages.items() if "method" in stage]
        for name, stage in stages.items():
            if "method" not in stage:
                raise ValueError(f"stages.{name} has no method; {proposal(str(name), complete)}")
            if "name" in stage:
                raise ValueError(f"stages.{name}.name: the key {name!r} names the stage; remove name")
        return tree | {"stages": {name: stage | {"name": name} for name, stage in stages.items()}}

    @model_validator(mode="after")
    def _stages_fit(self) -> Recipe:
        seen: list[str] = []
        for stage in self.stages.values():
            for modality, origin in stage.init.items():
                if origin not in [*seen, SOURCE] and "/" not in origin and not Path(origin).exists():
                    known = ", ".join(seen) or "none"
                    raise ValueError(
                        f"stages.{stage.name}.init.{modality}: {origin!r} is no earlier stage ({known}), "
                        "run or model directory"
                    )
            seen.append(stage.name)
        if self.data.like is not None and self.last.schedule.select != "best":
            raise ValueError(
                "data.like chooses the best step of the last stage; give it schedule.select=best"
            )
        return self

    @model_validator(mode="after")
    def _choice_is_fair(self) -> Recipe:
        unknown = [name for name in self.choose if name not in self.stages]
        if unknown:
            raise ValueError(f"choose: {unknown[0]!r} is no stage ({', '.join(self.stages)})")
        if self.choose and self.data.like is not None:
            raise ValueError(
                "choose compares stages by held-out pairs, and data.like holds none out; remove one"
            )
        seen = {(stage.pairs, str(stage.hide)) for stage in self.candidates}
        if len(seen) > 1:
            raise ValueError(
                "choose: the stages differ in pairs or hide, so that their scores do not compare"
            )
        return self

    @property
    def candidates(self) -> list[StageConfig]:
        """The stages of which one gives the run's model: those of `choose`, else the last."""
        return [self.stages[name] for name in self.choose] or [self.last]

    @property
    def last(self) -> StageConfig:
        """The stage that is trained last; it gives the run's model unless `choose` names others."""
        return list(self.stages.values())[-1]

    def to_yaml(self) -> str:
        """Return the resolved recipe as YAML."""
        return yaml_text(self.model_dump(mode="json"))


def list_recipes() -> list[str]:
    """Return the sorted names of the recipes that limbeck contains."""
    return sorted(
        f.relative_to(FOLDER).with_suffix("").as_posix()
        for f in FOLDER.rglob("*.yaml")
        if not f.name.startswith(("_", "grid"))  # parents of recipes; grids of them
    )


def load_recipe(
    source: str | Path | Tree,
    overrides: Mapping[str, Json] | None = None,
    *,
    code: bool = True,
    folder: Path | None = None,
) -> Recipe:
    """Resolve a recipe by name, file or mapping.

    Args:
        source: recipe name (see `list_recipes`), YAML file, or a mapping.
        overrides: values by dotted key, such as ``{"lift.bits": 16, "stages.student.optim.lr": 1e-3}``.
        code: whether to run the files of classes ``FILE.py:CLASS`` and check their options.
        folder: second place for relative paths of a mapping and of overrides, after the working directory.

    Raises:
        LimbeckError: the recipe, a key (the nearest known one is named) or a method is unknown, or a value
            has a wrong type.
    """
    where = str(source) if not isinstance(source, dict) else "recipe"
    tree = _read(_find(str(source))) if not isinstance(source, dict) else _checked(source, where)
    if folder is not None and isinstance(source, dict):
        tree = beside(tree, folder, tree["stages"])
    for key, value in (overrides or {}).items():
        found = beside(value, folder, tree["stages"], key) if folder else value
        tree = _checked(override(tree, key.split("."), found), where)
    tree = with_source(tree, where)
    shared = {key: tree[key] for key in INHERITED if key in tree}
    stages = {name: _merge(shared, stage) for name, stage in tree["stages"].items() if stage is not None}
    own = {key: value for key, value in tree.items() if key not in INHERITED}
    try:
        recipe = Recipe.model_validate(own | {"stages": stages})
    except ValidationError as error:
        raise describe(error, Recipe, where) from None
    for stage in recipe.stages.values():
        if code or own_name(stage.method["name"]) is None:
            method_config(stage, where)
        if code:
            check_own_parts(stage, where)
    for key, value in (overrides or {}).items():
        check_reach(recipe, tree, key, value)
    return recipe


def recorded_recipe(run: Path) -> Tree:
    """Return the recipe of a run as `load_recipe` takes it; version 0.1 recorded a list of stages."""
    tree = read_yaml(run / "recipe.yaml")
    stages = {stage["name"]: {k: v for k, v in stage.items() if k != "name"} for stage in stage_list(tree)}
    return dict(tree | {"stages": stages})


def method_config(stage: StageConfig, where: str = "recipe") -> tuple[type[Method], Strict]:
    """Return (method class, validated configuration) of a stage."""
    from limbeck.methods.plugins import find_method

    options = dict(stage.method)
    try:
        method = find_method(options.pop("name"))
    except LimbeckError as error:
        raise LimbeckError(f"{where}: stages.{stage.name}.method.name: {error}", code=error.code) from None
    config = method.Config
    try:
        return method, config.model_validate(options)
    except ValidationError as error:
        raise describe(error, config, f"{where}: stages.{stage.name}.method") from None


def parse_override(text: str) -> tuple[str, Json]:
    """Parse ``a.b=c`` into ("a.b", value); the value is read as YAML (`parse_yaml`)."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise LimbeckError(
            f"{text!r}: an override looks like key=value, for example lift.bits=16", code="E-OPTION-FORM"
        )
    return key, parse_yaml(value, text)


def _find(name: str) -> Path:
    if name in list_recipes():
        return FOLDER / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    hint = proposal(name, list_recipes(), "limbeck list recipes")
    raise LimbeckError(
        f"{name}: is neither a recipe file nor a known recipe; {hint}", code="E-RECIPE-UNKNOWN"
    )


def _read(file: Path, children: tuple[Path, ...] = ()) -> Tree:
    tree = _checked(read_yaml(file), str(file))
    parent = tree.pop("extends", None)
    if parent is None:
        return dict(beside(tree, file.parent, tree["stages"]))
    if file.resolve() in children:
        raise LimbeckError(
            f"{file}: extends itself; extends must end at a recipe without it", code="E-CONFIG-VALUE"
        )
    near = file.parent / str(parent)
    base = _read(near if near.is_file() else _find(str(parent)), (*children, file.resolve()))
    return dict(_merge(base, beside(tree, file.parent, [*base["stages"], *tree["stages"]])))


def _checked(tree: object, where: str) -> Tree:
    """Return a recipe with a mapping of stages; refuse unknown keys and the list of stages of version 0.1."""
    if not isinstance(tree, dict):
        raise LimbeckError(
            f"{where}: a recipe is a mapping of keys, found {type(tree).__name__}", code="E-CONFIG-FORM"
        )
    stages = tree.get("stages", {})
    if not isinstance(stages, dict) or not all(isinstance(s, dict | None) for s in stages.values()):
        raise LimbeckError(
            f"{where}: key 'stages' must map the name of each stage to its keys; "
            "write 'stages: {NAME: {method: …}}' instead of the list '- name: NAME' of version 0.1",
            code="E-CONFIG-FORM",
        )
    known = [*Recipe.model_fields, *INHERITED, "extends", "source"]
    for key in tree:
        if key not in known:
            hint = proposal(str(key), sorted(known))
            raise LimbeckError(f"{where}: key {key!r} is unknown; {hint}", code="E-CONFIG-KEY")
    return tree | {"stages": stages}


def _merge(base: object, change: object) -> Any:
    """Merge mappings deeply. The change wins: it replaces other values, and a mapping of another ``kind``."""
    if not isinstance(base, dict) or not isinstance(change, dict):
        return change
    if "kind" in change and base.get("kind") != change["kind"]:
        return change
    kept = {k: v for k, v in base.items() if k not in LENGTHS or not LENGTHS & change.keys()}
    return kept | {k: _merge(kept.get(k), v) for k, v in change.items()}
