"""What a training log shows of common faults: one rule per fault, for warnings and for ``limbeck doctor``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from limbeck.encoders.lift_config import PolarConfig
from limbeck.training.recipe import StageConfig

Row = Mapping[str, float | int | None]
COLLAPSED = math.asinh(0.21)
"""A radius (units of 1/√curv) at which cones are half-spaces; MERU cuts the aperture at asinh(0.2)."""
HOLDS_ALL = 0.9
"""A share of pictures inside their text's cone, from which cones count as holding everything."""


@dataclass(frozen=True)
class Finding:
    """A fault that a run shows.

    Attributes:
        cause: short name of the fault.
        certainty: between 0 and 1; the doctor puts the most certain fault first.
        seen: what shows it.
        change: what to change.
        stage: name of the stage; empty for the whole run.
    """

    cause: str
    certainty: float
    seen: str
    change: str
    stage: str = ""

    @property
    def line(self) -> str:
        """The finding as one line."""
        return f"{self.cause}: {self.seen}; {self.change}"


@dataclass(frozen=True)
class Limits:
    """The bounds of a lift's scalars; None where the lift has none.

    ``text_radius`` takes the place of ``radius`` for texts.
    """

    logit_scale: float | None = None
    curv: tuple[float, float] | None = None
    radius: tuple[float, float] | None = None
    text_radius: tuple[float, float] | None = None

    @classmethod
    def of(cls, lift: object) -> Limits:
        """Read the bounds of a lift's configuration."""
        curv = [getattr(lift, key, None) for key in ("min_curv", "max_curv")]
        low, high = getattr(lift, "min_radius", 0.0), getattr(lift, "max_radius", None)
        learns = getattr(lift, "learn_curv", False)
        return cls(
            getattr(lift, "max_logit_scale", None),
            (float(curv[0]), float(curv[1])) if learns and None not in curv else None,  # type: ignore[arg-type]
            None if high is None else (float(low), float(high)),
            _text_radius(lift),
        )


@dataclass(frozen=True)
class Log:
    """The logged rows of a stage, with the settings that the rules compare them with.

    Attributes:
        stage: name of the stage.
        rows: rows of ``metrics.jsonl``, in order.
        limits: bounds of the lift.
        lr: the learning rate.
        entailment: the weight of the entailment loss.
        epoch_steps: steps per epoch; None where it is not known.
        stopped: what was not finite, if training stopped there.
    """

    stage: str
    rows: Sequence[Row] = ()
    limits: Limits = field(default_factory=Limits)
    lr: float = 0.0
    entailment: float = 0.0
    epoch_steps: int | None = None
    stopped: str | None = None

    @classmethod
    def of(
        cls,
        stage: StageConfig,
        lift: object,
        config: object,
        rows: Sequence[Row] = (),
        epoch_steps: int | None = None,
        stopped: str | None = None,
    ) -> Log:
        """Return the log of a stage by the configurations of its lift and its method."""
        entailment = getattr(config, "entailment", 0.0)
        return cls(stage.name, rows, Limits.of(lift), stage.optim.lr, entailment, epoch_steps, stopped)

    def values(self, name: str) -> np.ndarray:
        """Return the finite values of a column (n,)."""
        found = [row[name] for row in self.rows if row.get(name) is not None]
        return np.array(found, dtype=np.float64)

    def first(self, name: str) -> float | None:
        """Return the median of the first tenth of a column."""
        values = self.values(name)
        return float(np.median(values[: max(1, len(values) // 10)])) if len(values) else None

    def last(self, name: str) -> float | None:
        """Return the median of the last fifth of a column."""
        values = self.values(name)
        return float(np.median(values[-max(1, len(values) // 5) :])) if len(values) else None

    def modalities(self, head: str) -> Iterator[tuple[str, float]]:
        """Yield the modality and the last value of the columns ``head/image`` and ``head/text``."""
        for name in ("image", "text"):
            value = self.last(f"{head}/{name}")
            if value is not None:
                yield name, value


Rule = Callable[[Log], Iterator[Finding]]


def rate_too_high(log: Log) -> Iterator[Finding]:
    """Find weights that run away, or a loss that ends far above its best."""
    change = f"lower optim.lr from {log.lr:g} to {log.lr / 10:g} or less, or lengthen optim.warmup"
    growth, losses = log.last("weight_growth"), log.values("loss")
    seen = []
    if log.stopped is not None:
        seen.append(f"training stopped because {log.stopped}")
    if growth is not None and growth > 10:
        seen.append(f"the weights grew {growth:.0f}-fold")
    if len(losses) >= 12:
        smooth = np.array([np.median(part) for part in np.array_split(losses, min(10, len(losses) // 3))])
        rise, noise = smooth[-1] - smooth.min(), float(np.median(np.abs(np.diff(losses))))
        if rise > max(0.5 * (smooth[0] - smooth.min()), 0.1 * abs(smooth[0]), 3 * noise):
            seen.append(f"the loss ends at {smooth[-1]:.3g}, after {smooth[0]:.3g} and {smooth.min():.3g}")
    norms = log.values("grad_norm")
    if len(norms) >= 10 and np.quantile(norms, 0.9) > 30 * max(np.median(norms), 1e-12):
        seen.append(f"the gradient norm jumps from {np.median(norms):.2g} to {norms.max():.2g}")
    if seen:
        certainty = 0.5 + 0.15 * (len(seen) - 1)
        strong = log.stopped is not None or (growth or 0) > 10
        yield Finding("learning rate too high", certainty + 0.4 * strong, ", ".join(seen), change)


def temperature_at_cap(log: Log) -> Iterator[Finding]:
    """Find a logit scale that reached its cap in training, or began there."""
    cap, scale = log.limits.logit_scale, log.last("logit_scale")
    if cap is None or scale is None or scale < 0.995 * cap:
        return
    yield Finding(
        "temperature at its cap",
        0.7,
        f"the logit scale stays at lift.max_logit_scale={cap:g}",
        "raise lift.max_logit_scale (CLIP has 100), lower lift.logit_scale, or look for pairs that are "
        "too easy to tell apart",
    )


def curvature_at_bound(log: Log) -> Iterator[Finding]:
    """Find a learned curvature that is at one of its bounds."""
    curv, bounds = log.last("curv"), log.limits.curv
    if curv is None or bounds is None or bounds[0] == bounds[1]:
        return
    for key, bound in zip(("min_curv", "max_curv"), bounds, strict=True):
        if abs(math.log(curv / bound)) < 5e-3:
            yield Finding(
                "curvature at its bound",
                0.4,
                f"the curvature stays at lift.{key}={bound:g}",
                f"widen lift.{key}, or fix the curvature with lift.learn_curv=false",
            )


def _text_radius(lift: object) -> tuple[float, float] | None:
    """Return the bounds of the texts' radius where the lift has bounds of their own."""
    if not isinstance(lift, PolarConfig):
        return None
    low, _, high = lift.radii("text")
    return None if (low, high) == (lift.min_radius, lift.max_radius) else (low, high)


def radii(log: Log) -> Iterator[Finding]:
    """Find points at the origin, or at the upper bound of the radius."""
    limits, share = log.limits, log.last("cone_share")
    if limits.radius is None:
        return
    # Texts may lie that near to the root on purpose: then many pictures lie outside their cones.
    least = 0.0 if share is not None and share < HOLDS_ALL else COLLAPSED
    for name, radius in log.modalities("radius"):
        own = limits.text_radius if name == "text" else None
        (low, high), key = own or limits.radius, "lift.text_max_radius" if own else "lift.max_radius"
        if radius < max(least, low + 0.03 * (high - low)):
            yield Finding(
                "radii collapsed",
                0.9,
                f"the mean radius of {_points(name)} is {radius:.2g}, so near the origin that cones hold "
                "nearly everything",
                "lower method.entailment, give it method.entailment_warmup=0.2, or use lift.kind=polar with "
                "a lift.min_radius of 0.3",
            )
            return
        if (log.last(f"cap_share/{name}") or 0) > 0.9:
            yield Finding(
                "radii at their bound",
                0.5,
                f"nearly all {_points(name)} are at {key}={high:g}",
                f"raise {key}, or lower the learning rate",
            )
            return


def empty_cones(log: Log) -> Iterator[Finding]:
    """Find cones that no picture enters, with an entailment loss that does not fall."""
    share, losses = log.last("cone_share"), log.values("loss/entailment")
    if share is None or not log.entailment or len(losses) < 10 or share > 0.01:
        return
    if losses[-max(1, len(losses) // 5) :].mean() > 0.97 * losses[: max(1, len(losses) // 10)].mean():
        yield Finding(
            "empty cones",
            0.5,
            "no picture lies in the cone of its text, and the entailment loss does not fall",
            f"raise method.entailment above {log.entailment:g}, train longer, or start at a smaller "
            "lift.radius",
        )


def dead_bits(log: Log) -> Iterator[Finding]:
    """Find bits that have one value for a whole batch, in every batch of the last fifth."""
    for name in ("image", "text"):
        values = log.values(f"constant_bits/{name}")
        share = values[-max(10, len(values) // 5) :].min() if len(values) else 0.0
        if share >= 0.3:
            yield Finding(
                "dead bits",
                0.6 + 0.25 * share,
                f"{share:.0%} of the bits of {_points(name)} have the same value in a whole batch",
                "raise method.balance, lower method.quantization or optim.lr, or use fewer lift.bits",
            )
            return


def one_class(log: Log) -> Iterator[Finding]:
    """Find one label on nearly every row."""
    share = log.last("label_share")
    if share is not None and share > 0.9:
        yield Finding(
            "one class",
            0.92,
            f"{share:.0%} of the pairs of a batch have the same label, so that nearly all pairs are similar",
            "import the data without this label, or add rows of other classes",
        )


def stuck_data(log: Log) -> Iterator[Finding]:
    """Find the same pictures or texts in every row, or the same batch at every step."""
    change = "check the paths, rows and shards of the data set with limbeck data check"
    for name, share in log.modalities("distinct"):
        if share < (0.5 if name == "image" else 0.02):
            yield Finding(
                "stuck data",
                0.96,
                f"only {share:.1%} of the {_points(name)} of a batch are different",
                change,
            )
            return
    batches = log.values("batch")
    if len(batches) >= 5 and len(set(batches.tolist())) <= 2 and (log.epoch_steps or 0) >= 5:
        yield Finding("stuck data", 0.96, "the same pairs come in every batch", change)


def nothing_learned(log: Log) -> Iterator[Finding]:
    """Find a loss that ends where it began."""
    first, last, losses = log.first("loss"), log.last("loss"), log.values("loss")
    if first is None or last is None or len(losses) < 10 or last < first - 0.02 * abs(first):
        return
    yield Finding(
        "nothing learned",
        0.3,
        f"the loss ends at {last:.3g} and began at {first:.3g}",
        "check that texts belong to their pictures; then try optim.lr 3 times higher and 3 times lower",
    )


def overfit(log: Log) -> Iterator[Finding]:
    """Find a validation score that falls while the loss falls."""
    scores = log.values("val/score")
    if (
        len(scores) >= 4
        and scores[-1] < 0.8 * scores.max()
        and (log.last("loss") or 0) < (log.first("loss") or 0)
    ):
        yield Finding(
            "overfitting",
            0.35,
            f"the validation score fell from {scores.max():.3g} to {scores[-1]:.3g} while the loss fell",
            "train fewer steps, keep schedule.select=best, or add data, dropout or augmentation",
        )


def skipped_steps(log: Log) -> Iterator[Finding]:
    """Find a run in which more than one step in a hundred was skipped as a spike."""
    skipped, steps = log.values("skipped_spikes"), log.values("step")
    if len(skipped) and skipped[-1] > 0.01 * steps[-1]:
        yield Finding(
            "many loss spikes",
            0.45,
            f"{skipped[-1]:.0f} of {steps[-1]:.0f} steps were skipped",
            f"lower optim.lr from {log.lr:g}, lengthen optim.warmup, or look for damaged pairs",
        )


LIVE: tuple[Rule, ...] = (
    temperature_at_cap, curvature_at_bound, radii, empty_cones, dead_bits, one_class, stuck_data,
    skipped_steps,
)  # fmt: skip
"""Rules that a running training checks."""
RULES: tuple[Rule, ...] = (*LIVE, rate_too_high, nothing_learned, overfit)


def _points(modality: str) -> str:
    return "pictures" if modality == "image" else "texts"
