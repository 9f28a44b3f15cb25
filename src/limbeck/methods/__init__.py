"""Methods by name, one readable file a paper."""

from __future__ import annotations

from limbeck.methods.base import Losses, Method, Reps, State
from limbeck.methods.binarize import Binarize
from limbeck.methods.clip import Clip
from limbeck.methods.controls import DirectHashing, MultiHotTeacher
from limbeck.methods.hmid_net import HmidNet
from limbeck.methods.meru import Meru
from limbeck.methods.soda import SodaStudent, SodaTeacher

METHODS: dict[str, type[Method]] = {
    "clip": Clip,
    "meru": Meru,
    "hmid-net": HmidNet,
    "soda-teacher": SodaTeacher,
    "soda-student": SodaStudent,
    "direct-hashing": DirectHashing,
    "multihot-teacher": MultiHotTeacher,
    "binarize": Binarize,
}

__all__ = ["METHODS", "Losses", "Method", "Reps", "State"]
