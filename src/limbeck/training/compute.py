"""The part of a recipe that names the hardware and how to use it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from limbeck.encoders.config import Strict


def _as_text(value: object) -> object:
    """Return an integer as text, since YAML reads 32 as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class ComputeConfig(Strict):
    """The hardware of a run: ``devices`` per machine, and ``nodes``, the number of machines.

    ``workers`` threads of each process decode pictures; by default its share of the machine's cores, at most
    16. The precision ``auto`` is bf16 if the processor has it in hardware, else 32; ``fp16`` scales the loss.
    ``recompute`` keeps only the inputs of transformer blocks for the backward pass, ``compile`` compiles the
    blocks (`torch.compile`), and ``shard`` splits the blocks of frozen teachers over the processes (FSDP2).
    """

    accelerator: str = "auto"
    devices: int = Field(default=1, ge=1)
    nodes: int = Field(default=1, ge=1)
    precision: Annotated[Literal["auto", "32", "bf16", "fp16"], BeforeValidator(_as_text)] = "auto"
    threads: int | None = Field(default=None, ge=1)
    workers: int | None = Field(default=None, ge=1)
    recompute: bool = False
    compile: bool = False
    shard: bool = False
