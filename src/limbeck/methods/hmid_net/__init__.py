"""HMID-Net (arXiv 2507.09487): masked image modelling and knowledge distillation in hyperbolic space.

`method` is the paper: the objective, term by term. `config` holds every switch, `teacher` who teaches and in
which space, `target` what the decoder predicts.
"""

from limbeck.methods.hmid_net.config import EMA, NONE, HmidNetConfig
from limbeck.methods.hmid_net.method import HmidNet

__all__ = ["EMA", "NONE", "HmidNet", "HmidNetConfig"]
