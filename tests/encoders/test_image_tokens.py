"""The image tower on all patches and on some: equal to `transformers`, and cheaper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from hub_models import write_clip
from limbeck.encoders.config import BagConfig, ClipImageConfig
from limbeck.encoders.features import BagBackbone
from limbeck.encoders.image import ClipImageBackbone
from limbeck.encoders.masking import random_keep
from raising import raises_code

SIZE, PATCHES = 32, 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("patches"), image_size=SIZE)


@pytest.fixture(scope="module", params=[False, True], ids=["hidden", "projected"])
def tower(request: pytest.FixtureRequest, folder: Path) -> ClipImageBackbone:
    return ClipImageBackbone(ClipImageConfig(source=str(folder), projection=request.param)).eval()


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(5, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def theirs(tower: ClipImageBackbone, folder: Path) -> Any:
    """The same weights in the class of `transformers`, with its own attention."""
    from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

    cls = CLIPVisionModelWithProjection if tower.config.projection else CLIPVisionModel
    return cls.from_pretrained(folder).eval()


def test_all_patches_are_the_model_of_transformers(
    tower: ClipImageBackbone, folder: Path, pixels: torch.Tensor
) -> None:
    oracle = theirs(tower, folder)
    assert (tower.grid, tower.patches) == (4, PATCHES)
    assert oracle.state_dict().keys() == tower.model.state_dict().keys()
    with torch.no_grad():
        own = tower.model(pixel_values=pixels)
        assert torch.equal(
            tower({"pixels": pixels}), own.image_embeds if tower.config.projection else own.pooler_output
        )
        output = oracle(pixel_values=pixels)
        wanted = output.image_embeds if tower.config.projection else output.pooler_output
        every = torch.arange(PATCHES).expand(5, -1)
        for inputs in ({"pixels": pixels}, {"pixels": pixels, "keep": every}):
            torch.testing.assert_close(tower(inputs), wanted, atol=1e-6, rtol=1e-5)
            tokens = tower.tokens(inputs)
            assert tokens.shape == (5, 1 + PATCHES, tower.dim)
            torch.testing.assert_close(tokens[:, 0], wanted, atol=1e-6, rtol=1e-5)


def test_some_patches_are_their_embeddings_through_the_encoder(
    tower: ClipImageBackbone, folder: Path, pixels: torch.Tensor
) -> None:
    oracle = theirs(tower, folder)
    vision = getattr(oracle, "vision_model", oracle)
    keep = random_keep(PATCHES, 0.6, range(5))
    with torch.no_grad():
        x = vision.embeddings(pixels)
        x = torch.stack([row[[0, *(1 + k).tolist()]] for row, k in zip(x, keep, strict=True)])
        x = vision.post_layernorm(vision.encoder(inputs_embeds=vision.pre_layrnorm(x)).last_hidden_state)
        wanted = oracle.visual_projection(x) if tower.config.projection else x
        inputs = {"pixels": pixels, "keep": keep}
        torch.testing.assert_close(tower.tokens(inputs), wanted, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(tower(inputs), wanted[:, 0], atol=1e-6, rtol=1e-5)


def test_dropped_patches_are_never_looked_at(tower: ClipImageBackbone, pixels: torch.Tensor) -> None:
    keep = torch.tensor([[0, 5, 15]]).expand(5, -1)
    seen = torch.zeros(1, 1, SIZE, SIZE)
    for patch in (0, 5, 15):
        top, left = 8 * (patch // 4), 8 * (patch % 4)
        seen[..., top : top + 8, left : left + 8] = 1
    other = pixels * seen + 100 * (1 - seen)
    with torch.no_grad():
        one, two = (tower({"pixels": p, "keep": keep}) for p in (pixels, other))
    assert torch.equal(one, two)


def test_gradients_reach_all_weights_in_use_and_equal_those_of_the_whole(
    tower: ClipImageBackbone, pixels: torch.Tensor
) -> None:
    names = [name for name, _ in tower.named_parameters()]
    every = torch.arange(PATCHES).expand(5, -1)
    found = []
    for inputs in ({"pixels": pixels}, {"pixels": pixels, "keep": every}):
        loss = tower.tokens(inputs).square().sum()
        found.append(torch.autograd.grad(loss, list(tower.parameters())))
    for name, whole, kept in zip(names, *found, strict=True):
        torch.testing.assert_close(kept, whole, atol=1e-3, rtol=1e-4, msg=name)
    loss = tower({"pixels": pixels, "keep": torch.tensor([[2, 7]]).expand(5, -1)}).square().sum()
    grads = dict(zip(names, torch.autograd.grad(loss, list(tower.parameters())), strict=True))
    for name, grad in grads.items():
        if name.endswith("position_embedding.weight"):
            assert set(grad.abs().sum(1).nonzero().flatten().tolist()) == {0, 3, 8}
        elif not name.endswith("k_proj.bias"):  # a shift of all keys changes no attention
            assert grad.abs().sum() > 0, name


def test_compute_falls_with_the_patches_that_are_kept(tower: ClipImageBackbone, pixels: torch.Tensor) -> None:
    def flops(ratio: float) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            tower({"pixels": pixels, "keep": random_keep(PATCHES, ratio, range(5))})
        return counter.get_total_flops()

    assert flops(0.5) < 0.56 * flops(0)
    assert flops(0.75) < 0.32 * flops(0)


def test_the_rest_of_a_picture_that_patches_do_not_cover_is_left_out() -> None:
    config = ClipImageConfig(image_size=21, patch_size=8, width=16, layers=1, heads=2)
    tower = ClipImageBackbone(config).eval()
    pixels = torch.randn(2, 3, 21, 21)
    assert tower.patches == 4
    with torch.no_grad():
        whole = tower.tokens({"pixels": pixels})
        kept = tower.tokens({"pixels": pixels, "keep": torch.arange(4).expand(2, -1)})
    torch.testing.assert_close(kept, whole, atol=1e-6, rtol=1e-5)


def test_what_does_not_fit_is_refused(tower: ClipImageBackbone) -> None:
    for extra in ({}, {"keep": torch.zeros(1, 1, dtype=torch.int64)}):
        with raises_code("E-ARRAY-SHAPE", "pixels:", "48", "32"):
            tower({"pixels": torch.zeros(1, 3, 48, 48), **extra})
    with pytest.raises(ValidationError, match="a width that is a multiple of heads"):
        ClipImageConfig(width=32, heads=3)
    with pytest.raises(ValidationError, match="a patch_size of at most image_size"):
        ClipImageConfig(image_size=8, patch_size=16)
    bag = BagBackbone(BagConfig())
    assert bag.patches == 0
    with raises_code("E-MODEL-LACKS", "'bag'"):
        bag.tokens({})


def test_attention_is_that_of_the_network(tower: ClipImageBackbone, pixels: torch.Tensor) -> None:
    tower.model.set_attn_implementation("eager")
    tokens, attention = tower.attended({"pixels": pixels})
    vision: Any = getattr(tower.model, "vision_model", tower.model)
    with torch.no_grad():
        hidden, wanted = vision.pre_layrnorm(vision.embeddings(pixels)), []
        for layer in vision.encoder.layers:
            _, weights = layer.self_attn(layer.layer_norm1(hidden), attention_mask=None)
            wanted.append(weights[:, :, 0].mean(1))
            out = layer(hidden, attention_mask=None)
            hidden = out if isinstance(out, torch.Tensor) else out[0]
    torch.testing.assert_close(attention, torch.stack(wanted).mean(0)[:, 1:], atol=1e-6, rtol=1e-5)
    assert torch.equal(tokens, tower.tokens({"pixels": pixels}))
    assert attention.shape == (5, PATCHES)
    assert not vision.encoder.layers[0].self_attn.q_proj._forward_hooks


def test_tiles_are_the_picture(tower: ClipImageBackbone, pixels: torch.Tensor) -> None:
    tiles = tower.tiles({"pixels": pixels})
    assert tiles.shape == (5, PATCHES, tower.tile)
    torch.testing.assert_close(tiles[2, 6], pixels[2, :, 8:16, 16:24].flatten())
