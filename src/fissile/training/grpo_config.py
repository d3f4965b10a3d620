"""`FissionGRPOConfig`: `trl.GRPOConfig` that also trains where there is no accelerator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers.utils import is_torch_xla_available
from trl import GRPOConfig


@dataclass
class FissionGRPOConfig(GRPOConfig):  # type: ignore[misc]
    """The fields and defaults of `trl.GRPOConfig`, but that it trains on the CPU where torch finds no accelerator.

    TRL's own asks for `use_cpu=True` there, since its default is bfloat16. `FissionGRPOTrainer` takes either.
    """

    use_cpu: bool = False

    def __post_init__(self) -> None:
        """See `GRPOConfig`."""
        self.use_cpu = self.use_cpu or not (torch.accelerator.is_available() or is_torch_xla_available())
        super().__post_init__()
