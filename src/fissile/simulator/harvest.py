"""Failures that policies made in earlier runs: the interceptions in a run's `corrections.jsonl`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fissile.calls import Attempt
from fissile.contexts import Context
from fissile.corrections import Correction, failure_of
from fissile.errors import DataError, ErrorKind
from fissile.feedback import Failure
from fissile.rollouts import Completion, Step
from fissile.serial import from_json
from fissile.tasks import Task


@dataclass(frozen=True, slots=True)
class Intercepted:
    """A policy's own failure.

    Attributes:
        failure: what a simulator is shown of it.
        step: optimizer step.
    """

    failure: Failure
    step: int


def intercepted(
    folder: str | Path, tasks: Mapping[str, Task], left_out: Counter[str] | None = None
) -> Iterator[Intercepted]:
    """The failures that a run intercepted.

    Args:
        folder: the run folder.
        tasks: by id; turn-level instances for live runs. Interceptions of other tasks are left out.
        left_out: counts those.

    Raises:
        DataError: the folder holds no `corrections.jsonl`, or a line of it cannot be used.
    """
    path = Path(folder).expanduser() / "corrections.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}). Name the folder of a run of method fission_grpo."
        ) from None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if record["event"] != "intercepted":
                continue
            if record["task_id"] in tasks:
                yield _failure(record, tasks[record["task_id"]])
            elif left_out is not None:
                left_out["a policy's failure at a task that its run has not"] += 1
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(f"{path}:{number} is no record of a run ({error!r}). Delete that line.") from None


def _failure(record: Mapping[str, Any], task: Task) -> Intercepted:
    correction = from_json(Correction, {key: value for key, value in record.items() if key != "event"})
    *before, failed = correction.dialogue
    context = Context(task, dialogue=tuple(before), state=correction.state)
    step = Step(context, Completion(()), _as_raised(failed.attempt))
    return Intercepted(failure_of(step, failed.attempt), correction.step)


def _as_raised(attempt: Attempt) -> Attempt:
    """The attempt with the errors that were raised when it was made: none for a silent failure."""
    raised = tuple(error for error in attempt.errors if error.kind is not ErrorKind.WRONG_STATE)
    return replace(attempt, errors=raised)
