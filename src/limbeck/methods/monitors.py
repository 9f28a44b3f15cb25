"""Values that methods log beside their losses; none of them has a gradient."""

from __future__ import annotations

import torch


def code_monitors(**relaxed: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return figures of codes (B, b): bit balance (mean |mean bit|, 0 is even), the share of bits that are
    constant in the batch, and the mean squared quantization error."""
    found = {}
    for name, u in relaxed.items():
        signs = sign(u)
        found[f"bit_balance/{name}"] = signs.mean(0).abs().mean()
        found[f"constant_bits/{name}"] = (signs == signs[0]).all(0).float().mean()
        found[f"quantization_error/{name}"] = (signs - u.detach()).square().mean()
    return found


def cone_share(excess: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the share of matched pairs whose picture lies in its text's cone, from excess angles (B,)."""
    return {"cone_share": (excess.detach() <= 0).float().mean()}


def sign(x: torch.Tensor) -> torch.Tensor:
    """Return -1 or +1 elementwise in the type of x, with sign(0) = +1, without gradient."""
    return torch.where(x.detach() >= 0, 1.0, -1.0).to(x.dtype)
