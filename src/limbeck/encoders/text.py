"""Text towers: CLIP's text transformer at any size, and pretrained sentence encoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import tokenizers
import torch

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import ClipTextConfig, SentenceConfig
from limbeck.encoders.hub import attention, pretrained
from limbeck.encoders.pooling import Pooler, PoolingPlan, plan_from_json, read_modules
from limbeck.encoders.sizes import check_size
from limbeck.encoders.sources import check_no_code, hub_closed, local_folder
from limbeck.encoders.text_memory import recall
from limbeck.encoders.tokenizer import (
    START,
    load_tokenizer,
    special_ids,
    train_tokenizer,
)
from limbeck.files import read_json, write_json
from limbeck.preprocess.text import STEP, TokenPreprocessor, read_tokenizer


def by_width(
    ids: torch.Tensor, mask: torch.Tensor, run: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Apply ``run`` to groups of texts of similar width, with little padding.

    Most captions are half as long as the longest of their batch (ours).

    Args:
        ids: token ids (B, L), padded at the end.
        mask: (B, L), 1 at tokens.
        run: maps ids and mask of some texts, (b, l), to (b, dim).

    Returns:
        (B, dim), in the order of the texts.
    """
    if torch.jit.is_tracing():  # an exported graph cannot depend on the lengths of its example
        return run(ids, mask)
    steps = -(-mask.sum(1) // STEP)
    kinds = [int(kind) for kind in steps.unique()]
    if len(kinds) < 2:
        return run(ids, mask)
    places = [(steps == kind).nonzero().squeeze(1) for kind in kinds]
    parts = [
        run(ids[own, : kind * STEP], mask[own, : kind * STEP])
        for kind, own in zip(kinds, places, strict=True)
    ]
    return torch.cat(parts)[torch.cat(places).argsort()]


class ClipTextBackbone(Backbone):
    """CLIP's text tower: causal transformer, feature at the end token, with its projection if configured."""

    reads = "text"
    config: ClipTextConfig

    def __init__(self, config: ClipTextConfig, *, empty: bool = False) -> None:
        super().__init__(config)
        self.source, self.context = config.source, config.context
        if config.source is not None and not empty:
            self._use(load_tokenizer(config.source))
            self.model = pretrained(self._class(), config.source)
            self.pristine = True
            self._describe()
        elif config.source is None:
            self.dim = config.width

    def _class(self) -> type:
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        return CLIPTextModelWithProjection if self.config.projection else CLIPTextModel

    def _use(self, tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer
        self.pad, self.end = special_ids(tokenizer)

    def _describe(self) -> None:
        shape = self.model.config
        self.model.set_attn_implementation(attention())
        self.context = (
            min(self.context, int(shape.max_position_embeddings))
            if self.source is None
            else int(shape.max_position_embeddings)
        )
        self.dim = int(shape.projection_dim if self.config.projection else shape.hidden_size)

    def fit(self, items: Sequence[str], *, seed: int) -> None:
        """Train (or load) the tokenizer and size the transformer to its vocabulary."""
        if self.source is not None:
            return
        from transformers import CLIPTextConfig

        config = self.config
        own = config.tokenizer
        self._use(load_tokenizer(own) if isinstance(own, str) else train_tokenizer(items, own))
        shape = CLIPTextConfig(
            vocab_size=self.tokenizer.get_vocab_size(),
            hidden_size=config.width,
            intermediate_size=4 * config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=config.context,
            projection_dim=config.width,
            bos_token_id=self.tokenizer.token_to_id(START),
            pad_token_id=self.pad,
            eos_token_id=self.end,
        )
        self.model = self._class()(shape)
        self._describe()

    @property
    def preprocessor(self) -> TokenPreprocessor:
        """Tokenizes to at most ``context`` tokens."""
        return TokenPreprocessor(self.tokenizer, self.pad, self.context, known="token")

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim) features."""
        return by_width(inputs["input_ids"], inputs["attention_mask"], self._ended)

    def _ended(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        output = self.model(input_ids=ids, attention_mask=mask)
        return output.text_embeds if self.config.projection else output.pooler_output

    def save_assets(self, folder: Path) -> None:
        """Write the tokenizer and the transformer's configuration."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        write_json(folder / "text.json", self.model.config.to_dict())

    def load_assets(self, folder: Path) -> None:
        """Read the tokenizer and rebuild the transformer without its weights."""
        from transformers import CLIPTextConfig

        stored = read_json(folder / "text.json")
        check_size(folder / "text.json", stored)
        self._use(read_tokenizer(folder))
        self.model = self._class()(CLIPTextConfig.from_dict(stored))
        self._describe()

    def reference(self) -> str | None:
        """Return the pretrained source."""
        return self.source

    def embeds(self) -> str | None:
        """Return the source where the tower includes its projection, else None."""
        return self.source if self.config.projection else None


class SentenceBackbone(Backbone):
    """A pretrained sentence encoder, pooled as its own modules define, then standardised.

    A plain transformer has no such modules; it is pooled by the mean of the last layer over real tokens,
    scaled to unit length. Centring is ours.
    """

    reads = "text"
    config: SentenceConfig
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: SentenceConfig, *, empty: bool = False) -> None:
        super().__init__(config)
        self.source, self.center, self.max_length = config.source, config.center, config.max_length
        if not empty:
            from transformers import AutoModel

            tokenizer = load_tokenizer(config.source)
            modules = read_modules(local_folder(config.source))
            self._use(tokenizer, pretrained(AutoModel, config.source), modules.plan)
            self.pooler.load_state_dict(modules.weights)
            self.pristine = True

    def _use(self, tokenizer: tokenizers.Tokenizer, model: torch.nn.Module, plan: PoolingPlan) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer, self.model = tokenizer, model
        self.pad, _ = special_ids(tokenizer)
        self.pooler = Pooler(plan, int(self.model.config.hidden_size))
        self.max_length = min(self.config.max_length, plan.max_length or self.config.max_length)
        self.dim = self.pooler.dim
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def fit(self, items: Sequence[str], *, seed: int) -> None:
        """Compute mean and scale of the embedding over (about 1,000 of) the distinct training texts."""
        if not self.center:
            return
        self.eval()
        distinct = sorted(set(items))
        chosen = sorted(distinct[:: max(1, len(distinct) // 1024)], key=len)
        parts = [self(self.collate(chosen[i : i + 128])) for i in range(0, len(chosen), 128)]
        x = torch.cat(parts)
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
        # The memory is keyed by the network's weights, which are all weights only without dense layers.
        kept = self.pristine and not self.pooler.plan.dense
        known = recall(self.model, ids, mask, self._pooled, self._memory) if kept else self._pooled(ids, mask)
        return (known - self.mean) / self.scale

    @property
    def _memory(self) -> str:
        plan = self.pooler.plan
        same = plan.modes == ("mean",) and plan.normalize
        return "" if same else "-".join([*plan.modes, "unit" if plan.normalize else "raw"])

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
