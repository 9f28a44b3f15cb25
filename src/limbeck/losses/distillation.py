"""Distillation losses over logits; they know no space."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def interaction(image_to_text: torch.Tensor, text_to_image: torch.Tensor) -> torch.Tensor:
    """Feature interaction distillation: student anchors against teacher keys of the other modality.

    Mean of CE_i(-tau d(I_i, T'_j)) and CE_i(-tau d(T_i, I'_j)), ' marking the teacher. The form is that of
    CLIP-KD's interactive contrastive loss (Yang et al. 2024), in the logits of any space; which form
    HMID-Net has is not public.

    Args:
        image_to_text: (B, B) logits of student pictures (rows) against teacher texts.
        text_to_image: (B, B) logits of student texts (rows) against teacher pictures.
    """
    target = torch.arange(len(image_to_text), device=image_to_text.device)
    return (F.cross_entropy(image_to_text, target) + F.cross_entropy(text_to_image, target)) / 2
