"""What HMID-Net computes per pair."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from limbeck.methods.base import Embeddings


@dataclass
class HmidOutputs(Embeddings):
    """The student's embeddings (B, d) of masked pictures and texts; a part that is switched off is None.

    Attributes:
        image_again: (B, d) embeddings of a second masked view of the pictures.
        phrase: (B, d) embeddings of the coarsest phrase of each text.
        part: (B, d) embeddings of the pictures with half of the shown patches hidden.
        reconstruction: (B,) mean error over each picture's dropped patches.
        teacher_image, teacher_text: (B, d) the teacher's points, taken over into the student's space.
        native_image, native_text: (B, d') the teacher's points in its own space.
    """

    image_again: torch.Tensor | None = None
    phrase: torch.Tensor | None = None
    part: torch.Tensor | None = None
    reconstruction: torch.Tensor | None = None
    teacher_image: torch.Tensor | None = None
    teacher_text: torch.Tensor | None = None
    native_image: torch.Tensor | None = None
    native_text: torch.Tensor | None = None

    @property
    def views(self) -> list[torch.Tensor]:
        """The embeddings of every masked view of the pictures."""
        return [self.image] if self.image_again is None else [self.image, self.image_again]

    @property
    def teacher(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The teacher's pictures and texts in the student's space."""
        assert self.teacher_image is not None and self.teacher_text is not None
        return self.teacher_image, self.teacher_text

    @property
    def native(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The teacher's pictures and texts in its own space."""
        assert self.native_image is not None and self.native_text is not None
        return self.native_image, self.native_text
