"""`PackedGRPOTrainer`: `trl.GRPOTrainer` with the log-probabilities of whole groups in packed rows."""

from __future__ import annotations

import logging
from typing import Any

import torch
from trl import GRPOTrainer

from fissile.kernels.adapters import bare_model
from fissile.kernels.packed_attention import use_packed_attention, why_not_packable
from fissile.kernels.packing import packed_log_probs
from fissile.kernels.scoring import score_labels_only
from fissile.training.updates import has_advantage

logger = logging.getLogger(__name__)

PACKED_TOKENS = 4096
"""Tokens of one packed row, unless a long prompt is better kept in one piece. Where attention takes a mask (on a GPU)
it costs the square of a row; on a CPU nothing beyond what is attended to."""


class TokenBeta(float):
    """Beta with a weight for each token: TRL's loss asks whether it is 0, and multiplies its KL term [rows, tokens]."""

    weights: torch.Tensor

    @classmethod
    def of(cls, beta: float, weights: torch.Tensor) -> TokenBeta:
        """`weights`: [rows, tokens]."""
        made = cls(beta)
        made.weights = weights
        return made

    def __mul__(self, kl: Any) -> Any:
        return float(self) * self.weights * kl


class PackedGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's losses over log-probabilities that read each distinct prompt once, and skip rows that teach nothing.

    A model that packed rows do not fit is read in TRL's padded rows.
    """

    _active_rows: torch.Tensor | None = None  # those with an advantage, during the loss
    _packs = True
    beta: float  # TRL's

    def _prepare_packing(self, keep_head: bool) -> None:
        """Fit policy and reference model for packed rows; `keep_head` leaves them TRL's head."""
        models = [bare_model(model) for model in (self.model, self.ref_model) if model is not None]
        if reason := next(filter(None, map(why_not_packable, models)), ""):
            logger.warning("Training without packed rows, which is slower: %s.", reason)
            self._packs = False
            return
        for model in models:
            if not keep_head:
                score_labels_only(model, self.temperature)
            use_packed_attention(model)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **multimodal: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Each distinct prompt once: a group is one packed row. TRL's padded way for what cannot be packed."""
        if not self._packs or compute_aux_loss or any(value is not None for value in multimodal.values()):
            padded: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]
            padded = super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                compute_entropy,
                compute_aux_loss,
                **multimodal,
            )
            return padded

        def forward(**model_inputs: torch.Tensor) -> Any:
            with self.accelerator.autocast():
                return model(**model_inputs, fused_lm_head=True)

        log_probs, entropies = packed_log_probs(
            forward,
            input_ids,
            attention_mask,
            logits_to_keep,
            token_budget=PACKED_TOKENS,
            compute_entropy=compute_entropy,
            rows=self._active_rows,
        )
        return log_probs, entropies, None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's loss; rows whose advantage is zero cannot change it, so they cost no forward.

        `advantages` are [rows] or [rows, tokens]; `kl_weights`, where they are, [rows, tokens].
        """
        reads_all = self.beta != 0.0 or self._entropy_bonus_enabled or self.top_entropy_quantile < 1.0
        if self._packs and not reads_all and not self.aux_loss_enabled:
            active = has_advantage(inputs["advantages"])
            active[0] |= ~active.any()  # a graph to differentiate, even when nothing is left
            self._active_rows = active
            if "old_per_token_logps" in inputs:  # rows without a forward have log-probabilities of 0, and a ratio of 1
                old = inputs["old_per_token_logps"].masked_fill(~active[:, None], 0)
                inputs = {**inputs, "old_per_token_logps": old}
        beta = self.beta
        if "kl_weights" in inputs:
            self.beta = TokenBeta.of(beta, inputs["kl_weights"])
        try:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        finally:
            self.beta = beta
            read, self._active_rows = self._active_rows, None
        if read is not None:
            mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
            log = self._metrics["train" if self.model.training else "eval"]
            log["entropy"][-1] *= (mask.sum() / mask[read].sum().clamp(min=1)).item()
        return loss
