"""The hierarchy in HMID-Net: cones that are calibrated, taught and reconstructed; all ours, off by default.

None of these terms exists on the sphere. They give distillation and masking something to say about which
point is more general than which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from limbeck.encoders.masking import KEEP
from limbeck.errors import LimbeckError
from limbeck.losses import calibrated_cones, entailment, even_cones, relational_kd
from limbeck.methods.hmid_net.config import HmidNetConfig
from limbeck.methods.hmid_net.outputs import HmidOutputs

if TYPE_CHECKING:
    from limbeck.encoders.inputs import TowerInputs
    from limbeck.encoders.lifts import Lift
    from limbeck.methods.hmid_net.method import HmidNet

_EQUAL = 1e-3  # distance


class OrderTerms:
    """C(a, b) is `calibrated_cones` of the cones at a, which should hold b and no other.

    cones:    C(T, I)                           the caption's cone holds its picture and no other
    phrases:  [C(Q, I) + C(Q, T)] / 2           the cone of the caption's coarsest phrase Q holds both
    taught:   [C(T, I') + C(T', I)] / 2         the same between the student's and the teacher's points
    angles:   KL(ext(T', I') || ext(T, I))      softmax rows of minus the exterior angles, both ways
    views:    mean max(0, ext(P, I) - aper(P))  P is the picture I with half of its shown patches hidden
    even:     quantile loss of aper(T) at ext(T, I)    each caption's cone holds the same share of pictures
    """

    def __init__(self, config: HmidNetConfig, lift: Lift) -> None:
        self.config = config.order
        used = [name for name, weight in self.config.weights.items() if weight]
        if used and not lift.space.has_cones:
            raise LimbeckError(
                f"method 'hmid-net': the space {lift.space.to_json()['name']} has no entailment cones; "
                f"set {used[0].replace('_', '.', 1)}: 0 or use a lift of kind polar or tangent",
                code="E-CONFIG-VALUE",
            )

    def term(self, name: str, method: HmidNet, image: torch.Tensor, outputs: HmidOutputs) -> torch.Tensor:
        """Return one term for one view (B, d) of the pictures."""
        lift, text = method.encoder.lift, outputs.text
        match name:
            case "order_cones":
                return self._cones(lift, text, image)
            case "order_phrases":
                assert outputs.phrase is not None
                few = self.config.phrase_negatives
                return (
                    self._cones(lift, outputs.phrase, image, few)
                    + self._cones(lift, outputs.phrase, text, few)
                ) / 2
            case "order_taught":
                teacher_image, teacher_text = outputs.teacher
                return (self._cones(lift, text, teacher_image) + self._cones(lift, teacher_text, image)) / 2
            case "order_angles":
                teacher_image, teacher_text = outputs.native
                own = lift.pairwise_angle(text, image)
                theirs = method.teacher.lift.pairwise_angle(teacher_text, teacher_image)
                return relational_kd(-own.T / self.config.angle_scale, -theirs.T / self.config.angle_scale)
            case "order_views":
                assert outputs.part is not None
                return entailment(lift.cone_excess(outputs.part, image))
            case "order_even":
                angles, aperture = lift.pairwise_angle(text, image), lift.half_aperture(text)
                return even_cones(angles, aperture, self.config.share)
        raise KeyError(name)

    def _cones(
        self, lift: Lift, general: torch.Tensor, specific: torch.Tensor, negatives: float | None = None
    ) -> torch.Tensor:
        if self.config.radii_only:
            general, specific = _fixed_direction(lift, general), specific.detach()
        angles, aperture = lift.pairwise_angle(general, specific), lift.half_aperture(general)
        # A text that is its own phrase: between equal points the angle is undefined, and its slope immense.
        equal = torch.diag(lift.distance(general, specific) < _EQUAL)
        angles = torch.where(equal, torch.zeros_like(angles), angles)
        weight = self.config.negatives if negatives is None else negatives
        return calibrated_cones(angles, aperture, weight, self.config.scale)


def _fixed_direction(lift: Lift, points: torch.Tensor) -> torch.Tensor:
    """Return the same points, whose gradient reaches their radius alone."""
    tangent = lift.to_tangent(points)
    radius = tangent.norm(dim=-1, keepdim=True)
    return lift.from_tangent(tangent.detach() * (radius / radius.detach()))


def hidden_further(view: TowerInputs) -> TowerInputs:
    """Return a masked view of which every second shown patch is hidden too."""
    assert isinstance(view, dict)
    return view | {KEEP: view[KEEP][:, ::2]}
