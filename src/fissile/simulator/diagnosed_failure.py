"""A failure with its diagnosis, as a row that any trainer can read and that leads back to where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from fissile.calls import JSON, canonical_json
from fissile.feedback import Failure
from fissile.serial import from_json, to_json
from fissile.simulator.typed import truths

Side = Literal["train", "validation", "test"]
"""Of the split: no function and no domain of the test side is in another."""


class Origin(StrEnum):
    """Where a failure comes from."""

    CORRUPTION = "corruption"
    """The truth with one fault in it (`fissile.faults`)."""
    POLICY = "policy"
    """A model's own failure, intercepted in an earlier run."""


@dataclass(frozen=True, slots=True)
class FoundFailure:
    """A failure, and where it comes from.

    Attributes:
        failure: what a simulator is shown.
        origin: where the failure comes from.
        side: of the split.
        fault: which corruption, "" for a policy's own failure.
        domain: of a live world's task, "" otherwise.
        run: name of the run folder of a policy's own failure, "" otherwise.
        step: optimizer step at which that was intercepted.
    """

    failure: Failure
    origin: Origin
    side: Side
    fault: str = ""
    domain: str = ""
    run: str = ""
    step: int | None = None

    @property
    def kind(self) -> str:
        """The first error's kind: what rows are balanced over."""
        kinds = self.failure.attempt.error_kinds
        return kinds[0].value if kinds else ""

    @property
    def key(self) -> str:
        """A hash that is equal for equal failures."""
        said = f"{self.failure.task.id}\n{self.failure.attempt.signature}"
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosedFailure(FoundFailure):
    """A failure and what was said to it.

    Attributes:
        diagnosis: the sentence that a simulator should say.
        teacher: who wrote it: "environment", "rules", "endpoint", ...
    """

    diagnosis: str
    teacher: str

    @property
    def id(self) -> str:
        """16 hexadecimal digits, equal for equal failures with equal diagnoses."""
        key = canonical_json([self.failure.task.id, self.failure.attempt.signature, self.teacher, self.diagnosis])
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    @property
    def written(self) -> str:
        """What a simulator is taught to write: the fields of the first error that the judge set, then the sentence."""
        return f"{truths(self.failure)[0].line}\n{self.diagnosis}"

    def to_row(self) -> dict[str, JSON]:
        """A JSON-ready row; the failure is a string of JSON, which a columnar dataset keeps intact."""
        task, first = self.failure.task, truths(self.failure)[0]
        return {
            "id": self.id,
            "task_id": task.id,
            "category": task.category,
            "functions": sorted(task.functions),
            **{name: getattr(self, name) for name in ("domain", "side", "origin", "fault", "run", "step")},
            "kind": first.kind.value,
            **{name: getattr(first, name) for name in ("tool", "argument", "rule")},
            "teacher": self.teacher,
            "diagnosis": self.diagnosis,
            "failure": json.dumps(to_json(_single_step(self.failure)), ensure_ascii=False),
        }

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> DiagnosedFailure:
        """The inverse of `to_row`. Raises KeyError, TypeError or ValueError for what is no such row."""
        return from_json(cls, {**row, "failure": json.loads(row["failure"])})


def _single_step(failure: Failure) -> Failure:
    """The failure with the turn that was failed as its task, and nothing that no diagnosis is made of."""
    return replace(failure, task=replace(failure.task, reference={}, world=None, later=(), start=0))
