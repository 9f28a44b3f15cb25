"""Text towers: CLIP's text transformer at any size, those of pretrained dual encoders, sentence encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tokenizers
import torch

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import ClipTextConfig, SentenceConfig
from limbeck.encoders.encode import backbone_outputs, blocks_of, collated
from limbeck.encoders.hub import pretrained, weights_digest
from limbeck.encoders.networks import text_network
from limbeck.encoders.networks.transformer import by_width
from limbeck.encoders.once import once
from limbeck.encoders.pooling import Pooler, PoolingPlan, plan_from_json, read_modules
from limbeck.encoders.pretrained import Reading, text_part
from limbeck.encoders.sizes import check_size
from limbeck.encoders.sources import check_no_code, hub_closed, local_folder
from limbeck.encoders.text_memory import TextMemory
from limbeck.encoders.tokenizer import (
    START,
    load_tokenizer,
    special_ids,
    train_tokenizer,
)
from limbeck.files import read_json, sha256_json, write_json
from limbeck.preprocess.text import TokenPreprocessor, read_tokenizer
from limbeck.typed import Json

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class ClipTextBackbone(Backbone):
    """CLIP's text tower with the sizes of its configuration, or the text tower of a pretrained source."""

    reads = "text"
    config: ClipTextConfig

    def __init__(self, config: ClipTextConfig, *, empty: bool = False) -> None:
        super().__init__(config)
        self.source = config.source
        self.reading: Reading | None = None
        if config.source is not None and not empty:
            part = text_part(config.source, projection=config.projection)
            self.reading = part.reading
            self._use(part.tokenizer, part.model)
            self.pristine = True
        elif config.source is None:
            self.context, self.dim = config.context, config.width

    def _use(self, tokenizer: tokenizers.Tokenizer, model: Any) -> None:
        self._tokens(tokenizer)
        self.model = model
        self.network = text_network(model.config.model_type)
        self.dim = self.network.dim(model, self.config.projection)
        self.context = int(model.config.max_position_embeddings)
        if self.source is None:
            self.context = min(self.config.context, self.context)
        if self.reading is not None:
            self.pad, self.context = self.reading.pad, self.reading.context

    def _tokens(self, tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.pad, self.end = special_ids(tokenizer)

    def _build(self, stored: dict[str, Json]) -> torch.nn.Module:
        return text_network(str(stored["model_type"])).build(stored, self.config.projection)

    def fit(self, items: Sequence[str], *, seed: int) -> None:
        """Train (or load) the tokenizer and size the transformer to its vocabulary."""
        if self.source is not None:
            return
        own = self.config.tokenizer
        tokenizer = load_tokenizer(own) if isinstance(own, str) else train_tokenizer(items, own)
        self.make(tokenizer, self.config.width)

    def make(self, tokenizer: tokenizers.Tokenizer, output: int) -> None:
        """Make a transformer with random weights for a tokenizer; ``output`` is the width of a projection."""
        config = self.config
        self._tokens(tokenizer)
        shape: dict[str, Json] = {
            "model_type": "clip_text_model",
            "vocab_size": self.tokenizer.get_vocab_size(),
            "hidden_size": config.width,
            "intermediate_size": 4 * config.width,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "max_position_embeddings": config.context,
            "projection_dim": output,
            "bos_token_id": self.tokenizer.token_to_id(START),
            "pad_token_id": self.pad,
            "eos_token_id": self.end,
        }
        self._use(self.tokenizer, self._build(shape))

    @property
    def worth_caching(self) -> bool:
        """True when it is frozen; the network of a source may have no parameters (ONNX)."""
        return self.frozen

    @property
    def preprocessor(self) -> TokenPreprocessor:
        """Tokenizes to at most ``context`` tokens, as the source does."""
        reading = self.reading or Reading(self.pad, self.context)
        return TokenPreprocessor(
            self.tokenizer,
            reading.pad,
            reading.context,
            known="token",
            lower=reading.lower,
            canonical=reading.canonical,
            whole=reading.whole,
        )

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim) features."""
        return self.network.forward(self.model, inputs["input_ids"], inputs["attention_mask"])

    def save_assets(self, folder: Path) -> None:
        """Write the tokenizer, the transformer's configuration, and how a source reads texts."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        write_json(folder / "text.json", self.model.config.to_dict())
        if self.reading is not None:
            write_json(folder / "reading.json", asdict(self.reading))

    def load_assets(self, folder: Path) -> None:
        """Read the tokenizer and rebuild the transformer without its weights."""
        stored = read_json(folder / "text.json")
        check_size(folder / "text.json", stored)
        file = folder / "reading.json"
        self.reading = Reading(**read_json(file)) if file.is_file() else None
        self._use(read_tokenizer(folder), self._build(stored))

    def reference(self) -> str | None:
        """Return the pretrained source."""
        return self.source

    def from_source(self, source: str) -> torch.nn.Module:
        """Load the network of a source that is on this machine."""
        return text_part(source, projection=self.config.projection, network=False).model

    def embeds(self) -> str | None:
        """Return the source where the tower includes its projection, else None."""
        return self.source if self.config.projection else None


def _positions(shape: PretrainedConfig) -> int | None:
    """Return the number of tokens that a transformer has positions for; None where there is no limit."""
    limit = getattr(shape, "max_position_embeddings", None)
    if limit is not None and shape.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        limit -= shape.pad_token_id + 1  # their positions begin behind that of the padding
    return limit if limit and limit > 0 else None


class SentenceBackbone(Backbone):
    """A pretrained sentence encoder, pooled as its own modules define, then standardised.

    A plain transformer has no such modules; it is pooled by the mean of the last layer over real tokens,
    scaled to unit length. Centring is ours.
    """

    reads = "text"
    config: SentenceConfig
    mean: torch.Tensor
    scale: torch.Tensor
    memory: TextMemory | None = None  # set by `BackboneCache.remembering`

    def __init__(self, config: SentenceConfig, *, empty: bool = False) -> None:
        super().__init__(config)
        self.source, self.center, self.max_length = config.source, config.center, config.max_length
        if not empty:
            from transformers import AutoModel

            tokenizer, folder = load_tokenizer(config.source), local_folder(config.source)
            modules = read_modules(folder)
            model = once(f"network {folder}", lambda: pretrained(AutoModel, folder, config.source))
            self._use(tokenizer, model, modules.plan)
            self.pooler.load_state_dict(modules.weights)
            self.pristine = True

    def _use(self, tokenizer: tokenizers.Tokenizer, model: torch.nn.Module, plan: PoolingPlan) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, self.model = tokenizer, model
        self.pad, _ = special_ids(tokenizer)
        self.pooler = Pooler(plan, int(self.model.config.hidden_size))
        limits = (self.config.max_length, plan.max_length, _positions(self.model.config))
        self.max_length = min(limit for limit in limits if limit)
        self.dim = self.pooler.dim
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("scale", torch.ones(()))

    def fit(self, items: Sequence[str], *, seed: int) -> None:
        """Compute mean and scale of the embedding over (about 1,000 of) the distinct training texts."""
        if not self.center:
            return
        distinct = sorted(set(items))
        chosen = sorted(distinct[:: max(1, len(distinct) // 1024)], key=len)
        batches = collated(self, chosen, blocks_of(len(chosen), 128))
        x = torch.from_numpy(np.concatenate([rows for _, rows in backbone_outputs(self, batches)]))
        self.mean = x.mean(0)
        self.scale = (x - self.mean).square().mean().clamp_min(1e-12).sqrt()

    @property
    def preprocessor(self) -> TokenPreprocessor:
        """Tokenizes as the encoder's own modules say."""
        plan = self.pooler.plan
        return TokenPreprocessor(
            self.tokenizer, self.pad, self.max_length, known="word", prefix=plan.prefix, lower=plan.lower
        )

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim) standardised embeddings."""
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        if self.memory is None or torch.is_grad_enabled() or self.model.training:
            known = self._pooled(ids, mask)
        else:
            known = self.memory.recall(ids, mask, self._pooled)
        return (known - self.mean) / self.scale

    def network_digest(self) -> str:
        """Return the hash of the network's weights; it is computed once for unchanged pretrained ones."""
        known: str | None = getattr(self.model, "known_digest", None)
        if known is None or not (self.pristine and self.frozen):
            known = weights_digest(self.model)
            if self.pristine and self.frozen:
                self.model.known_digest = known
        return known

    def digest(self) -> str:
        """Return the hash of all weights and buffers."""
        fitted = {"mean": self.mean.tolist(), "scale": float(self.scale)}
        return sha256_json([self.network_digest(), weights_digest(self.pooler), fitted])

    @property
    def memory_name(self) -> str | None:
        """The name of its `TextMemory`; None where the output is not that of unchanged pretrained weights."""
        plan = self.pooler.plan
        if not self.pristine or plan.dense:  # the name does not tell the weights of dense layers
            return None
        usual = plan.modes == ("mean",) and plan.normalize
        pooling = [] if usual else [*plan.modes, "unit" if plan.normalize else "raw"]
        return "-".join(["texts", self.network_digest()[:32], *pooling])

    def _pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return by_width(ids, mask, self._pool)

    def _pool(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled: torch.Tensor = self.pooler(hidden, mask)
        return pooled

    def save_assets(self, folder: Path) -> None:
        """Write the tokenizer, the transformer's configuration, and the pooling."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        write_json(folder / "text.json", self.model.config.to_dict())
        if self.pooler.plan != PoolingPlan():
            write_json(folder / "pooling.json", self.pooler.plan.to_json())

    def load_assets(self, folder: Path) -> None:
        """Read the tokenizer and rebuild the transformer without its weights."""
        from transformers import AutoConfig, AutoModel

        stored = read_json(folder / "text.json")
        check_no_code(folder / "text.json", stored)
        check_size(folder / "text.json", stored)
        # Some networks would fetch a part from the hub.
        with hub_closed():
            shape = AutoConfig.for_model(stored["model_type"]).from_dict(stored)
            model = AutoModel.from_config(shape, trust_remote_code=False)
        file = folder / "pooling.json"
        plan = plan_from_json(read_json(file)) if file.is_file() else PoolingPlan()
        self._use(read_tokenizer(folder), model, plan)

    def reference(self) -> str | None:
        """Return the pretrained source."""
        return self.source

    def from_source(self, source: str) -> torch.nn.Module:
        """Load the network of a source that is on this machine."""
        folder = local_folder(source, network=False)
        model: torch.nn.Module = once(
            f"network {folder}", lambda: pretrained(type(self.model), folder, source)
        )
        return model
