"""Methods by name: one readable file per paper."""

from __future__ import annotations

from limbeck.methods.argent import Argent
from limbeck.methods.atmg import Atmg
from limbeck.methods.base import Losses, Method, Outputs, Setup, TrainState
from limbeck.methods.binarize import Binarize
from limbeck.methods.clip import Clip
from limbeck.methods.hashing.cmimh import Cmimh
from limbeck.methods.hashing.controls import DirectHashing, ImageTeacher, MultiHotTeacher
from limbeck.methods.hashing.crovca import CroVca, CroVcaLabels
from limbeck.methods.hashing.dchmt import Dchmt
from limbeck.methods.hashing.dcmh import Dcmh
from limbeck.methods.hashing.dhaph import Dhaph
from limbeck.methods.hashing.dsph import Dsph
from limbeck.methods.hashing.kdph import Kdph
from limbeck.methods.hashing.lcdh import Lcdh
from limbeck.methods.hashing.mith import Mith
from limbeck.methods.hashing.ssah import Ssah
from limbeck.methods.hashing.ucch import Ucch
from limbeck.methods.hmid_net import HmidNet
from limbeck.methods.hycoclip import HyCoClip
from limbeck.methods.hyper3 import Hyper3
from limbeck.methods.meru import Meru
from limbeck.methods.soda import SodaStudent, SodaTeacher
from limbeck.methods.soda_hyperbolic import SodaHyperbolic
from limbeck.methods.uncha import Uncha

METHODS: dict[str, type[Method]] = {
    "clip": Clip,
    "meru": Meru,
    "argent": Argent,
    "atmg": Atmg,
    "hycoclip": HyCoClip,
    "uncha": Uncha,
    "hyper3": Hyper3,
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
    "kdph": Kdph,
    "crovca": CroVca,
    "crovca-labels": CroVcaLabels,
    "binarize": Binarize,
}

__all__ = ["METHODS", "Losses", "Method", "Outputs", "Setup", "TrainState"]
