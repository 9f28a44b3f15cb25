"""The light decoder: predictions at the dropped patches, each where it belongs."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.encoders.decoder import PatchDecoder, sine_positions
from limbeck.encoders.masking import dropped, random_keep
from raising import raises_code

GRID, WIDTH = 4, 12


@pytest.fixture
def decoder() -> PatchDecoder:
    torch.manual_seed(0)
    return PatchDecoder(WIDTH, GRID, decoder_width=16, heads=2, layers=2).double()


def tokens(keep: torch.Tensor, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(keep), 1 + keep.shape[1], WIDTH, dtype=torch.float64, generator=generator)


def raster_oracle(decoder: PatchDecoder, x: torch.Tensor, keep: list[int]) -> torch.Tensor:
    """One picture as MAE writes it: all tokens put back into the raster, positions added, all predicted."""
    patches = GRID**2
    x = decoder.embed(x)
    raster = [decoder.mask_token for _ in range(patches)]
    for token, place in zip(x[1:], keep, strict=True):
        raster[place] = token
    whole = torch.cat([x[:1], torch.stack(raster) + decoder.positions])[None]
    for block in decoder.blocks:
        whole = block(whole)
    return decoder.head(decoder.norm(whole))[0, 1:]


def test_predictions_are_those_of_the_raster(decoder: PatchDecoder) -> None:
    keep = random_keep(GRID**2, 0.6, range(3))
    x = tokens(keep)
    found, places = decoder(x, keep), dropped(keep, GRID**2)
    assert found.shape == (3, GRID**2 - keep.shape[1], WIDTH)
    for i in range(3):
        wanted = raster_oracle(decoder, x[i], keep[i].tolist())
        torch.testing.assert_close(found[i], wanted[places[i]])


def test_a_prediction_does_not_depend_on_the_order_of_the_rest(decoder: PatchDecoder) -> None:
    keep = random_keep(GRID**2, 0.5, [0, 1])
    x, order = tokens(keep), torch.tensor([3, 0, 6, 1, 7, 2, 5, 4])
    shuffled = torch.cat([x[:, :1], x[:, 1:][:, order]], dim=1)
    torch.testing.assert_close(decoder(shuffled, keep[:, order]), decoder(x, keep))
    # Told that the tokens lie elsewhere, it predicts something else.
    assert (decoder(shuffled, keep) - decoder(x, keep)).abs().max() > 1e-3


def test_predictions_differ_by_place_and_follow_the_kept_tokens(decoder: PatchDecoder) -> None:
    keep = random_keep(GRID**2, 0.5, [4])
    x = tokens(keep)
    found = decoder(x, keep)[0]
    assert torch.pdist(found).min() > 1e-4
    for token in range(x.shape[1]):
        other = x.clone()
        other[0, token] += torch.randn(
            WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(token)
        )
        assert (decoder(other, keep)[0] - found).abs().amax(1).min() > 1e-9


def test_gradients_flow_and_repeat(decoder: PatchDecoder) -> None:
    keep = random_keep(GRID**2, 0.75, range(4))
    x = tokens(keep).requires_grad_()
    first, second = (
        torch.autograd.grad(decoder(x, keep).square().sum(), [x, *decoder.parameters()]) for _ in range(2)
    )
    names = ["tokens", *dict(decoder.named_parameters())]
    for name, one, two in zip(names, first, second, strict=True):
        assert torch.equal(one, two), name
        assert one.abs().sum() > 0, name


def test_nothing_dropped_and_one_kept(decoder: PatchDecoder) -> None:
    every = torch.arange(GRID**2).expand(2, -1)
    assert decoder(tokens(every), every).shape == (2, 0, WIDTH)
    one = torch.tensor([[5], [15]])
    assert decoder(tokens(one), one).shape == (2, 15, WIDTH)


def test_width_out_and_what_is_saved() -> None:
    decoder = PatchDecoder(WIDTH, GRID, out=7)
    keep = random_keep(GRID**2, 0.5, [0])
    assert decoder(tokens(keep).float(), keep).shape == (1, 8, 7)
    assert "positions" not in decoder.state_dict()
    for width, heads in ((18, 3), (16, 3)):
        with raises_code("E-CONFIG-VALUE", "decoder_width", width, "of 4"):
            PatchDecoder(WIDTH, GRID, decoder_width=width, heads=heads)


def test_positions_tell_row_and_column() -> None:
    table = sine_positions(GRID, 16)
    assert table.shape == (16, 16)
    assert torch.pdist(table).min() > 0.1
    torch.testing.assert_close(table[5, :8], table[6, :8])  # the same row
    torch.testing.assert_close(table[5, 8:], table[13, 8:])  # the same column
    angles = [2 / 10000 ** (i / 4) for i in range(4)]
    wanted = [*map(math.sin, angles), *map(math.cos, angles)]
    assert table[9, :8].tolist() == pytest.approx(wanted)  # patch 9: row 2, column 1
