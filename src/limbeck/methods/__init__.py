"""Methods by name, one readable file a paper."""

from __future__ import annotations

from limbeck.methods.base import Losses, Method, Reps, State
from limbeck.methods.binarize import Binarize
from limbeck.methods.clip import Clip
from limbeck.methods.cmimh import Cmimh
from limbeck.methods.controls import DirectHashing, ImageTeacher, MultiHotTeacher
from limbeck.methods.dchmt import Dchmt
from limbeck.methods.dcmh import Dcmh
from limbeck.methods.dhaph import Dhaph
from limbeck.methods.dsph import Dsph
from limbeck.methods.hmid_net import HmidNet
from limbeck.methods.lcdh import Lcdh
from limbeck.methods.meru import Meru
from limbeck.methods.mith import Mith
from limbeck.methods.soda import SodaStudent, SodaTeacher
from limbeck.methods.soda_hyperbolic import SodaHyperbolic
from limbeck.methods.ssah import Ssah
from limbeck.methods.ucch import Ucch

METHODS: dict[str, type[Method]] = {
    "clip": Clip,
    "meru": Meru,
    "hmid-net": HmidNet,
    "soda-teacher": SodaTeacher,
    "soda-student": SodaStudent,
    "soda-hyperbolic": SodaHyperbolic,
    "direct-hashing": DirectHashing,
    "multihot-teacher": MultiHotTeacher,
    "image-teacher": ImageTeacher,
    "dcmh": Dcmh,
    "ssah": Ssah,
    "dchmt": Dchmt,
    "dsph": Dsph,
    "mith": Mith,
    "dhaph": Dhaph,
    "ucch": Ucch,
    "cmimh": Cmimh,
    "lcdh": Lcdh,
    "binarize": Binarize,
}

__all__ = ["METHODS", "Losses", "Method", "Reps", "State"]
