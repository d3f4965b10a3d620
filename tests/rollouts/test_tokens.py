"""The tokens of a rollout: what was written, what was read, and what is left without one of its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fissile.rollouts import StopReason
from rollouts.playing import CHAT, EPISODE, FOUR, STOP, begun, calls, length, run, said


def test_the_ids_of_each_context_extend_the_one_before() -> None:
    record = run(*EPISODE)
    for step, following in zip(record.steps, record.steps[1:], strict=False):
        seen = (*step.context.prompt_ids, *step.completion.ids)
        assert following.context.prompt_ids[: len(seen)] == seen
        assert len(following.context.prompt_ids) > len(seen)


def test_the_mask_is_one_exactly_where_the_policy_wrote() -> None:
    record = run(*EPISODE)
    assert len(record.mask) == len(record.completion_ids)
    written = [token for token, own in zip(record.completion_ids, record.mask, strict=True) if own]
    assert written == [token for step in record.steps for token in step.completion.ids]
    assert (record.mask[0], record.mask[-1]) == (1, 1)
    others = [token for token, own in zip(record.completion_ids, record.mask, strict=True) if not own]
    told = CHAT.tokenizer.decode(others)
    for words in ("cannot be parsed", "Thanks.", '"double"'):
        assert words in told
    assert "Add 1, 2 and 1." not in told


def test_log_probabilities_lie_on_their_tokens() -> None:
    record = run(*EPISODE)
    assert record.logprobs is not None
    assert len(record.logprobs) == len(record.mask)
    inside = [value for value, own in zip(record.logprobs, record.mask, strict=True) if own]
    assert inside == [value for step in record.steps for value in step.completion.logprobs or ()]
    assert {value for value, own in zip(record.logprobs, record.mask, strict=True) if not own} == {0.0}
    unknown = replace(record.steps[1], completion=replace(record.steps[1].completion, logprobs=None))
    assert replace(record, steps=(record.steps[0], unknown)).logprobs is None


def test_a_response_without_its_end_is_closed_for_the_next() -> None:
    rollout = begun()
    run(said(FOUR, StopReason.LENGTH), rollout=rollout)
    assert rollout.context is not None
    cut = said(FOUR, StopReason.LENGTH).completion.ids
    behind = rollout.context.prompt_ids[length() + len(cut) :]
    assert behind[: len(CHAT.end_of_turn)] == CHAT.end_of_turn


def test_a_rollout_without_one_of_its_steps() -> None:
    record = run(*EPISODE)
    left = record.without(1)
    _, left_out, *_ = record.steps
    assert [step.attempt for step in left.steps] == [step.attempt for step in record.steps if step is not left_out]
    assert left.steps[0] is record.steps[0]
    read_of_it = (*left_out.completion.ids, *record.steps[2].context.dialogue[-1].read)
    at = len(left_out.context.prompt_ids)
    for before, after in zip(record.steps[2:], left.steps[1:], strict=True):
        ids = before.context.prompt_ids
        assert ids[at : at + len(read_of_it)] == read_of_it
        assert after.context.prompt_ids == ids[:at] + ids[at + len(read_of_it) :]
        assert after.context.state == before.context.state
        assert after.context.dialogue[-1] is before.context.dialogue[-1] or before is record.steps[2]
    assert len(left.mask) == len(left.completion_ids) == len(record.completion_ids) - len(read_of_it)


def test_blame_moves_with_the_steps_and_the_last_step_stays() -> None:
    record = run(calls("x"), calls(1), calls(7), calls(1), STOP)
    assert record.silent == (2,)
    assert [record.without(place).silent for place in range(4)] == [(1,), (1,), (), (2,)]
    for place in (-1, 4, 5):
        with pytest.raises(ValueError, match="must stay"):
            record.without(place)
    ends_its_turn = next(place for place, step in enumerate(run(*EPISODE).steps) if not step.results)
    with pytest.raises(ValueError, match="ends its turn"):
        run(*EPISODE).without(ends_its_turn)
