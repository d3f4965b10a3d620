"""`ResumableTrainer`: counts what a training spends, ends it with its budget, and keeps it in checkpoints."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from fissile.engines.injection import Injector
from fissile.methods import Method
from fissile.training.callbacks import BudgetWatch
from fissile.training.checkpoints import explained_disk_errors, load_state, save_state
from fissile.training.spending import Budget, Limit, Spent
from fissile.training.step_sampler import StepSampler
from fissile.training.task_trainer import TaskGRPOTrainer
from fissile.training.updates import Learning


class ResumableTrainer(TaskGRPOTrainer):
    """A trainer by a method, as far as that does not matter for what a step is.

    Attributes:
        method: whose state a checkpoint holds.
        groups: who samples the rollouts of a step.
        spent: everything that was sampled for the training.
        updates: batches of rollouts by phase.
        steps_without_signal: since the last one with an advantage.
    """

    method: Method
    groups: StepSampler
    _begun = False
    _is_saving = False

    def __init__(self, *, fingerprint: str, budget: Budget | None, **arguments: Any) -> None:
        """See `FissionGRPOTrainer`."""
        self._fingerprint = fingerprint
        self._budget = budget or Budget()
        self.spent = Spent()
        self.updates: Counter[str] = Counter()
        self.steps_without_signal = 0
        super().__init__(least_rollouts=self._budget.rollouts, **arguments)
        self.add_callback(BudgetWatch(lambda: self._budget.reached(self.spent) is not None))

    @property
    def injector(self) -> Injector | None:
        """Forces failures in the explore contexts of training."""
        return self.groups.injector

    @property
    def share_done(self) -> float:
        """Share of the training that is done, in [0, 1]: by steps, or by a budget where that is more."""
        steps: float = self.state.global_step / max(1, self.state.max_steps)
        return max(steps, self._budget.share(self.spent))

    @property
    def ended_by(self) -> Limit | Literal["steps"] | None:
        """Which limit of the training is reached, a budget before the steps; None as long as it goes on."""
        steps = self.args.max_steps if self.args.max_steps > 0 else self.state.max_steps
        return self._budget.reached(self.spent) or ("steps" if 0 < steps <= self.state.global_step else None)

    def train_from(self, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint on if there is one. Where that is the last, it is only loaded.

        Raises:
            RunError: the checkpoint is incomplete, or was written under another configuration; or no update was made.
        """
        if checkpoint is not None:
            state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
            saved = load_state(str(checkpoint), self._fingerprint, self.accelerator.process_index)
            steps = self.args.max_steps if self.args.max_steps > 0 else state.max_steps
            if state.global_step >= steps or self._budget.reached(Spent(**saved["spent"])):
                self._load_from_checkpoint(str(checkpoint))
                self.state = state
                self.require_update()
                return
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL's, but none beside a checkpoint that stays on disk: it would name no model."""
        if not self._is_saving or self.args.push_to_hub or self.hub_model_id is not None:
            super().create_model_card(*args, **kwargs)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """TRL's checkpoint, then the method's state; the state file, written last, marks the checkpoint complete."""
        folder = f"{self._get_output_dir(trial=trial)}/checkpoint-{self.state.global_step}"
        self._is_saving = True
        with explained_disk_errors(folder):
            super()._save_checkpoint(model, trial)
        self._is_saving = False
        diagnoser = None if self.injector is None else self.injector.diagnoser
        save_state(
            folder,
            {
                "fingerprint": self._fingerprint,
                "method": self.method.state_dict(),
                **({} if diagnoser is None else {"injector": diagnoser.state_dict()}),
                "updates": dict(self.updates),
                "steps_without_signal": self.steps_without_signal,
                "learning": asdict(self.learning),
                "spent": asdict(self.spent),
            },
            process_index=self.accelerator.process_index,
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        state = load_state(resume_from_checkpoint, self._fingerprint, self.accelerator.process_index)
        self._begun = True
        self.method.load_state_dict(state["method"])
        if "injector" in state and self.injector is not None and self.injector.diagnoser is not None:
            self.injector.diagnoser.load_state_dict(state["injector"])
        self.updates = Counter(state["updates"])
        self.steps_without_signal = state["steps_without_signal"]
        self.learning = Learning(**state["learning"])
        self.spent = Spent(**state["spent"])
