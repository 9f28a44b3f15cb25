"""Distillation losses over logits, distances and radii; they know no space. ' marks the teacher."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def interaction(image_to_text: torch.Tensor, text_to_image: torch.Tensor) -> torch.Tensor:
    """Feature interaction distillation: student anchors against teacher keys of the other modality.

    Mean of CE_i(-tau d(I_i, T'_j)) and CE_i(-tau d(T_i, I'_j)). The form is that of
    CLIP-KD's interactive contrastive loss (Yang et al. 2024), in the logits of any space; which form
    HMID-Net has is not public.

    Args:
        image_to_text: (B, B) logits of student pictures (rows) against teacher texts.
        text_to_image: (B, B) logits of student texts (rows) against teacher pictures.
    """
    target = torch.arange(len(image_to_text), device=image_to_text.device)
    return (F.cross_entropy(image_to_text, target) + F.cross_entropy(text_to_image, target)) / 2


def relation(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean over both directions of KL(softmax of the teacher's rows || of the student's).

    CLIP-KD's contrastive relational distillation (Yang et al. 2024). No gradient reaches the teacher.

    Args:
        student: (B, B) logits of its pictures (rows) against its texts.
        teacher: (B, B) the same of the teacher, at its own temperature, in its own space.
    """
    return cross_relation(student, student.T, teacher)


def cross_relation(
    image_to_text: torch.Tensor, text_to_image: torch.Tensor, teacher: torch.Tensor
) -> torch.Tensor:
    """`relation` with the logits of `interaction` in the student's place.

    Args:
        image_to_text: (B, B) logits of student pictures (rows) against teacher texts.
        text_to_image: (B, B) logits of student texts (rows) against teacher pictures.
        teacher: (B, B) logits of teacher pictures (rows) against teacher texts.
    """
    teacher = teacher.detach()
    return (_row_kl(image_to_text, teacher) + _row_kl(text_to_image, teacher.T)) / 2


def feature_match(image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """Mean distance (or squared distance) of each item to the teacher's embedding of it, pictures plus texts.

    On unit vectors and squared, 3.9 of it are CLIP-KD's feature distillation at its weight of 2,000 and width
    512 (Yang et al. 2024).

    Args:
        image: (B,) per picture.
        text: (B,) per text.
    """
    return image.mean() + text.mean()


def squared_gap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(B,) squared Euclidean distances of paired vectors (B, d)."""
    return (a - b).square().sum(-1)


def radius_gap(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of radii (B,), in units of 1/sqrt(curv) of each space (ours).

    Relations alone leave the radius free to drift; no gradient reaches the teacher.
    """
    return (student - teacher.detach()).square().mean()


def _row_kl(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.kl_div(logits.log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)
