"""Fission's geometry, once: a failed step, its diagnosis, and the corrective context from which recoveries branch off.

Training, evaluation, injection and the usefulness of a source all come here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fissile.calls import Attempt, ParsedResponse, canonical_json
from fissile.contexts import Context, Exchange, current_turn
from fissile.corrections.correction import Correction
from fissile.environments.single_step import judge
from fissile.feedback import Diagnoser, Failure, Feedback
from fissile.rollouts import Step, Writer

Failed = tuple[Step, Attempt]
"""A failed step, and its attempt with what is wrong with it: a silent failure raised no error when it was made."""


def failure_of(step: Step, attempt: Attempt) -> Failure:
    """What a feedback source is told of a failed step.

    A silent failure, to which the world had no objection, is explained as in a single-step task: the calls are
    compared with the truth of the turn, less what was rightly called before in it.
    """
    context = step.context
    goal = context.goal
    silent = not step.attempt.failed
    if silent:
        found = judge(goal, ParsedResponse(attempt.calls), attempt.truncated)
        attempt = Attempt(attempt.text, attempt.calls, found or attempt.errors, attempt.truncated)
    answers = tuple(result.content for result in step.results)
    return Failure(goal, attempt, context.history, answers, tuple(context.shown), silent)


def corrective_context(step: Step, attempt: Attempt, feedback: str, writer: Writer) -> Context:
    """The context [x; failed attempt; feedback], in the world as it was *before* the attempt.

    Args:
        step: the failed step.
        attempt: its attempt, with what is wrong with it.
        feedback: the diagnosis.
        writer: writes it as tokens.
    """
    said = step.answered([feedback], writer.reply(step.completion, [feedback]), attempt=attempt)
    return step.context.after(said, step.context.state)


def failure_id(task_id: str, before: Sequence[Exchange], attempt: Attempt) -> str:
    """16 hexadecimal digits, equal for equal failures: a hash of the task, what failed before in the turn, and the
    failed attempt.

    Feedback, step and tokens do not enter, so that the same failure met again has the same id. In a world with state it
    is the same failure only after the same calls in its turn.

    Args:
        task_id: of the task.
        before: the dialogue in front of the attempt.
        attempt: the failed one.
    """
    turn = current_turn(before)
    failed = [part.attempt.signature for part in turn if part.failed]
    executed = [call.signature for part in turn for call in part.executed]
    key = canonical_json([task_id, *failed, attempt.signature, *([executed] if executed else [])])
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Branching:
    """Makes corrections of failed steps.

    Attributes:
        diagnoser: writes the diagnoses.
        writer: writes them as tokens.
    """

    diagnoser: Diagnoser
    writer: Writer

    def contexts(self, failed: Sequence[Failed]) -> list[tuple[Context, Feedback]]:
        """The corrective context of each failed step and what its diagnosis came of; all diagnosed at once."""
        said = self.diagnoser.diagnose([failure_of(*one) for one in failed]) if failed else []
        return [
            (corrective_context(*one, feedback.text, self.writer), feedback)
            for one, feedback in zip(failed, said, strict=True)
        ]

    def corrections(self, failed: Mapping[str, Failed], step: int) -> Iterator[Correction]:
        """The correction of each failed step, by its `failure_id`.

        Args:
            failed: the failed steps.
            step: the optimizer step.
        """
        for identifier, (context, feedback) in zip(failed, self.contexts(list(failed.values())), strict=True):
            yield Correction.of(identifier, context, step, feedback)
