"""Contexts as paths of exchanges: tokens once, shared, and replaceable in the middle."""

from __future__ import annotations

from dataclasses import replace

from fissile.calls import Attempt, ToolCall
from fissile.contexts import Context, Exchange, current_turn
from fissile.errors import ErrorKind, ToolError
from tally_world import LIVE

FAILED = (ToolError(ErrorKind.DOMAIN_ERROR, "no"),)
ADD = ToolCall("add", {"n": 1}, "")


def said(number: int, *, failed: bool = False) -> Exchange:
    """Four tokens: three that the policy wrote, and one that it read."""
    attempt = Attempt(str(number), (ADD,), FAILED if failed else ())
    return Exchange(attempt, (f"result {number}",), wrote=(number, number, number), read=(-number,))


PATH = (said(1), said(2), said(3))
CONTEXT = Context(LIVE, (7, 8), PATH, 3)


def test_what_a_context_reads_is_the_concatenation_of_its_parts() -> None:
    assert CONTEXT.prompt_ids == (7, 8, 1, 1, 1, -1, 2, 2, 2, -2, 3, 3, 3, -3)
    assert CONTEXT.length == len(CONTEXT.prompt_ids)
    assert (Context(LIVE, (7, 8)).prompt_ids, Context(LIVE).length) == ((7, 8), 0)


def test_contexts_that_go_the_same_way_share_their_tokens() -> None:
    one, other = CONTEXT.after(said(4), 4), CONTEXT.after(said(5), 5)
    assert one.opening is other.opening is CONTEXT.opening
    for left, right in zip(one.dialogue[:3], other.dialogue[:3], strict=True):
        assert left is right
        assert left.wrote is right.wrote
        assert left.read is right.read
    assert (one.state, other.state, CONTEXT.state) == (4, 5, 3)


def test_an_exchange_that_is_replaced_in_the_middle_changes_its_own_tokens_alone() -> None:
    before, middle, after = PATH
    changed = replace(CONTEXT, dialogue=(before, replace(middle, wrote=(9,), read=()), after))
    assert changed.prompt_ids == (*CONTEXT.prompt_ids[:6], 9, *CONTEXT.prompt_ids[10:])
    assert changed.dialogue[2].wrote is CONTEXT.dialogue[2].wrote
    left_out = replace(CONTEXT, dialogue=(before, after))
    assert left_out.prompt_ids == (*CONTEXT.prompt_ids[:6], *CONTEXT.prompt_ids[10:])


def test_a_turn_ends_where_the_user_speaks_or_nobody_answers() -> None:
    asks = replace(said(4), messages=({"role": "user", "content": "And now?"},))
    silent = Exchange(Attempt("Done."))
    assert [exchange.ends_turn for exchange in (said(1), asks, silent)] == [False, True, True]
    path = (said(1, failed=True), silent, said(2), said(3, failed=True))
    context = Context(LIVE, (), path)
    assert (context.turn, context.current, context.depth) == (1, path[2:], 1)
    assert current_turn((*path, asks)) == ()
    assert [(turn.attempt.text, turn.feedback) for turn in context.history] == [("3", "result 3")]


def test_what_was_executed_of_a_failed_attempt() -> None:
    both = Exchange(Attempt("", (ADD, ADD), FAILED), ("1", "no"))
    assert said(1).executed == (ADD,)
    assert said(1, failed=True).executed == ()
    assert both.executed == (ADD, ADD)
    assert replace(both, results=("one diagnosis of both",)).executed == ()


def test_every_text_of_a_dialogue_is_shown() -> None:
    asks = replace(said(4), results=("4", "5"), messages=({"role": "user", "content": "And now?"},))
    assert list(Context(LIVE, (), (said(1), asks)).shown) == ["1", "result 1", "4", "4", "5", "And now?"]
