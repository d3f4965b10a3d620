"""What happens beside the updates: the log on disk, the progress line, and the stop of a run that learns nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from fissile.journal import JsonLines
from fissile.training.checkpoints import save_state


class MetricsLog(TrainerCallback):  # type: ignore[misc]
    """Appends every log of the trainer to a JSON-lines file."""

    def __init__(self, lines: JsonLines) -> None:
        self._lines = lines

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """One record a log, without what is None."""
        kept = {key: value for key, value in (logs or {}).items() if value is not None}
        if "train_runtime" not in kept:
            self._lines.append({"step": state.global_step, **kept})


class StepProgress(TrainerCallback):  # type: ignore[misc]
    """Tells a progress display about every step."""

    def __init__(self, advance: Callable[[int, int, dict[str, Any]], None]) -> None:
        self._advance = advance

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Step, steps in all, and the latest figures."""
        self._advance(state.global_step, state.max_steps, logs or {})


class CompleteMark(TrainerCallback):  # type: ignore[misc]
    """Marks a checkpoint of a plain trainer as complete, with a last file, as `FissionGRPOTrainer` does its own."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called when everything else of the checkpoint is written."""
        save_state(f"{args.output_dir}/checkpoint-{state.global_step}", {"fingerprint": self._fingerprint})


class AfterCheckpoint(TrainerCallback):  # type: ignore[misc]
    """Does something in the first process whenever a checkpoint is written."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called when the trainer has written the checkpoint."""
        if state.is_world_process_zero:
            self._act()


class LearningWatch(TrainerCallback):  # type: ignore[misc]
    """Stops a run whose groups have had no variance for `patience` steps, and keeps the reason.

    Where rollouts of these steps were lost, that comes first: no temperature mends an engine.
    """

    def __init__(
        self, patience: int, steps_without_signal: Callable[[], int], losses: Callable[[], str] = lambda: ""
    ) -> None:
        self._patience = patience
        self._steps_without_signal = steps_without_signal
        self._losses = losses
        self.reason = ""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop when the patience is over."""
        if self._steps_without_signal() >= self._patience:
            losses = self._losses()
            mend = f"In these steps {losses.rstrip('.')}. Mend that first. Otherwise raise" if losses else "Raise"
            self.reason = (
                f"no group had any variance in reward for {self._patience} steps, so nothing could be learned. "
                f"{mend} training.temperature or training.group_size, or use tasks that the policy solves sometimes."
            )
            control.should_training_stop = True


class BudgetWatch(TrainerCallback):  # type: ignore[misc]
    """Ends a run whose budget is spent, after the last update on the rollouts that spent it."""

    def __init__(self, is_spent: Callable[[], bool]) -> None:
        self._is_spent = is_spent

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop between two batches of rollouts."""
        if state.global_step % args.num_iterations == 0 and self._is_spent():
            control.should_training_stop = True
