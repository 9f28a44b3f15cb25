"""SODA's two essential controls: no teacher, and a teacher that reads the label vector, not a prompt."""

from __future__ import annotations

from limbeck.data.inputs import Input
from limbeck.encoders.config import Strict
from limbeck.methods.base import Method
from limbeck.methods.soda import SodaTeacher


class DirectHashing(SodaTeacher):
    """No teacher: SODA's stage-1 objective on image and *text*, labels only in S (as in DCMH)."""

    @classmethod
    def inputs(cls, config: Strict) -> dict[str, Input]:
        """A picture and its text."""
        return Method.inputs(config)


class MultiHotTeacher(SodaTeacher):
    """The label vector in place of the label prompt (as in SSAH); needs a ``multihot`` text backbone."""

    @classmethod
    def inputs(cls, config: Strict) -> dict[str, Input]:
        """A picture and its label vector."""
        return {"image": Input("image", "image"), "text": Input("labels", "text")}
