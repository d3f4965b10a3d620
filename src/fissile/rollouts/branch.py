"""Fission's geometry: a failed step of a rollout becomes the context from which recoveries branch off."""

from __future__ import annotations

from fissile.calls import Attempt, FailedTurn, ParsedResponse
from fissile.corrections.context import Context, Exchange, current_turn
from fissile.environments.single_step import judge
from fissile.feedback.base import Failure
from fissile.rollouts.record import Step
from fissile.tasks import Task


def corrective_context(step: Step, attempt: Attempt, feedback: str, prompt_ids: tuple[int, ...]) -> Context:
    """The context [x; failed attempt; feedback], in the world as it was *before* the attempt.

    Args:
        step: the failed step.
        attempt: its attempt, with what is wrong with it.
        feedback: the diagnosis.
        prompt_ids: the step's tokens, extended by its completion and the feedback turn.
    """
    context = step.context
    history = (*context.history, FailedTurn(attempt, feedback))
    if context.task.world is None:
        return Context(context.task, prompt_ids, history)
    answered = Exchange(attempt.text, attempt.calls, (feedback,), failed=True, provider=step.provider)
    return Context(context.task, prompt_ids, history, context.turn, (*context.dialogue, answered), context.state)


def failure_of(step: Step, attempt: Attempt) -> Failure:
    """What a feedback source is told of a failed step.

    A silent failure, to which the world had no objection, is explained as in a single-step task: the calls are
    compared with the truth of the turn, less what was rightly called before in it.
    """
    context = step.context
    if context.task.world is None:
        return Failure(context.task, attempt, context.history)
    goal = remaining_goal(context)
    silent = not step.attempt.failed
    if silent:
        found = judge(goal, ParsedResponse(attempt.calls), attempt.truncated)
        attempt = Attempt(attempt.text, attempt.calls, found or attempt.errors, attempt.truncated)
    shown = tuple(
        text
        for exchange in context.dialogue
        for text in (exchange.text, *exchange.results, *(message["content"] for message in exchange.messages))
    )
    answers = tuple(result.content for result in step.results)
    return Failure(goal, attempt, context.history, answers, shown, silent)


def remaining_goal(context: Context) -> Task:
    """The single-turn task of the turn at hand, its truth less the calls that were made in this turn already."""
    goal = context.task.at_turn(context.turn)
    made = [call.signature for exchange in current_turn(context.dialogue) for call in exchange.executed]
    left = []
    for expected, call in zip(goal.ground_truth, goal.oracle_calls(), strict=True):
        if call.signature in made:
            made.remove(call.signature)
        else:
            left.append(expected)
    return goal.with_truth(tuple(left))
