"""A failure with its diagnosis, as a row that any trainer can read and that leads back to where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Literal

from fissile.calls import JSON, Attempt, FailedTurn, canonical_json
from fissile.feedback import Failure
from fissile.serial import from_json, to_json
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

Side = Literal["train", "validation", "test"]
"""Of the split: no function and no domain of the test side is in another."""


class Origin(StrEnum):
    """Where a failure comes from."""

    CORRUPTION = "corruption"
    """The truth with one fault in it (`fissile.faults`)."""
    POLICY = "policy"
    """A model's own failure, intercepted in an earlier run."""


@dataclass(frozen=True, slots=True)
class DiagnosedFailure:
    """A failure and what was said to it.

    Attributes:
        failure: what a simulator is shown.
        diagnosis: what it should say.
        teacher: who wrote the diagnosis: "environment", "rules", "endpoint", ...
        origin: where the failure comes from.
        side: of the split.
        fault: which corruption, "" for a policy's own failure.
        domain: of a live world's task, "" otherwise.
        run: name of the run folder of a policy's own failure, "" otherwise.
        step: optimizer step at which that was intercepted.
    """

    failure: Failure
    diagnosis: str
    teacher: str
    origin: Origin
    side: Side
    fault: str = ""
    domain: str = ""
    run: str = ""
    step: int | None = None

    @property
    def id(self) -> str:
        """16 hexadecimal digits, equal for equal failures with equal diagnoses."""
        failure = self.failure
        key = canonical_json([failure.task.id, failure.attempt.signature, self.teacher, self.diagnosis])
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    def to_dict(self) -> dict[str, JSON]:
        """A JSON-ready row; the failure is a string of JSON, which a columnar dataset keeps intact."""
        task, attempt = self.failure.task, self.failure.attempt
        return {
            "id": self.id,
            "task_id": task.id,
            "category": task.category,
            "domain": self.domain,
            "functions": sorted(task.functions),
            "side": self.side,
            "origin": self.origin.value,
            "fault": self.fault,
            "run": self.run,
            "step": self.step,
            "kinds": [kind.value for kind in attempt.error_kinds],
            "fields": list(dict.fromkeys(error.argument for error in attempt.errors if error.argument)),
            "teacher": self.teacher,
            "diagnosis": self.diagnosis,
            "failure": json.dumps(failure_to_dict(self.failure), ensure_ascii=False),
        }

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> DiagnosedFailure:
        """The inverse of `to_dict`. Raises KeyError, TypeError or ValueError for what is no such row."""
        return cls(
            failure_from_dict(json.loads(row["failure"])),
            str(row["diagnosis"]),
            str(row["teacher"]),
            Origin(row["origin"]),
            row["side"],
            row["fault"],
            row["domain"],
            row["run"],
            row["step"],
        )


def failure_to_dict(failure: Failure) -> dict[str, JSON]:
    """A failure with all that a diagnosis may be made of, JSON-ready."""
    task = failure.task
    return {
        "task": {
            "id": task.id,
            "source": task.source,
            "category": task.category,
            "matching": task.matching,
            "messages": list(task.messages),
            "tools": [tool.to_schema()["function"] for tool in task.tools],
            "ground_truth": [to_json(call) for call in task.ground_truth],
        },
        "attempt": to_json(failure.attempt),
        "history": [to_json(turn) for turn in failure.history],
        "answers": list(failure.answers),
        "shown": list(failure.shown),
        "silent": failure.silent,
    }


def failure_from_dict(fields: Mapping[str, Any]) -> Failure:
    """The inverse of `failure_to_dict`. The task is a single-step one: the turn that was failed."""
    posed = fields["task"]
    task = Task(
        id=posed["id"],
        messages=tuple(posed["messages"]),
        tools=tuple(_tool(json.dumps(schema)) for schema in posed["tools"]),
        ground_truth=tuple(from_json(ExpectedCall, call) for call in posed["ground_truth"]),
        source=posed["source"],
        category=posed["category"],
        matching=posed["matching"],
    )
    return Failure(
        task,
        from_json(Attempt, fields["attempt"]),
        tuple(from_json(FailedTurn, turn) for turn in fields["history"]),
        tuple(fields["answers"]),
        tuple(fields["shown"]),
        fields["silent"],
    )


@lru_cache(maxsize=4096)
def _tool(schema: str) -> Tool:
    """A tool from its JSON; thousands of rows offer the same ones, and checking a schema is slow."""
    return Tool.from_schema(json.loads(schema))
