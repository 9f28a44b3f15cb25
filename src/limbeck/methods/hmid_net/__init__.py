"""HMID-Net (arXiv 2507.09487): masked image modelling and knowledge distillation in hyperbolic space.

`method` is the paper: its four terms. `config` holds every option, `teacher` the models that teach, `target`
what the decoder predicts, and `extra_terms` further distillation terms, which are off by default.
"""

from limbeck.methods.hmid_net.config import EMA, NONE, HmidNetConfig
from limbeck.methods.hmid_net.method import HmidNet

__all__ = ["EMA", "NONE", "HmidNet", "HmidNetConfig"]
