"""The token policy: prompts grow at their end, by exactly what was sampled and what was answered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fissile.calls import Attempt
from fissile.contexts import Context, Exchange
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import Sampling, ScriptedEngine
from fissile.engines.token_policy import TokenPolicy
from fissile.errors import InfrastructureError
from fissile.rollouts import Completion, StopReason
from fissile.tasks import Task, Turn
from fissile.tools import Tool
from tiny import AREA, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
CHAT = ChatFormat(TOKENIZER, HermesDialect())
TASK = Task("t", ({"role": "user", "content": "A square of 3?"},), (AREA,), ())
CALL = '<tool_call>\n{"name": "area", "arguments": {"side": 3}}\n</tool_call>'
VOLUME = Tool("volume", "Volume.", {"type": "object", "properties": {}})
NEXT = Turn(({"role": "user", "content": "And now?"},), revealed=(VOLUME,))


def policy(text: str = CALL) -> TokenPolicy:
    return TokenPolicy(CHAT, ScriptedEngine(lambda prompt, sample: CHAT.completion_ids(text)))


def test_responses_are_decoded_and_parsed() -> None:
    asked = policy()
    contexts = [Context(TASK, asked.open(TASK))] * 2
    first, second = asked.respond(contexts, Sampling())
    assert first == second
    assert first.text == CALL
    assert first.parsed.calls[0].arguments == {"side": 3}
    assert first.completion.ids == CHAT.completion_ids(CALL)
    (cut,) = asked.respond(contexts[:1], Sampling(max_new_tokens=5))
    assert cut.completion.stop is StopReason.LENGTH
    assert asked.respond([], Sampling()) == []


@pytest.mark.parametrize("limit", [128, 5])
def test_a_reply_appends_to_what_was_seen_and_sampled(limit: int) -> None:
    asked = policy()
    context = Context(TASK, asked.open(TASK))
    (response,) = asked.respond([context], Sampling(max_new_tokens=limit))
    read = asked.reply(response.completion, ["9", "10"], NEXT)
    exchange = Exchange(Attempt(response.text), ("9", "10"), NEXT.messages, response.completion.ids, read)
    assert context.after(exchange).prompt_ids == (*context.prompt_ids, *response.completion.ids, *read)
    text = TOKENIZER.decode(list(read))
    assert text.count("<|im_end|>") == text.count("<|im_start|>") - (response.completion.ids[-1] in CHAT.end_ids)
    assert text.index("9") < text.index("10") < text.index('"volume"') < text.index("And now?")
    assert text.endswith("<|im_start|>assistant\n")


def test_tools_that_are_revealed_without_a_word_are_announced() -> None:
    asked = policy("Done.")
    context = Context(TASK, asked.open(TASK))
    (response,) = asked.respond([context], Sampling())
    ids = asked.reply(response.completion, [], Turn((), revealed=(VOLUME,)))
    assert "<|im_start|>user\n" in TOKENIZER.decode(list(ids))
    assert '"volume"' in TOKENIZER.decode(list(ids))


class BrokenEngine:
    """An engine that fails as a whole."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        raise InfrastructureError("engine", "out of memory")


def test_an_engine_that_fails_is_data() -> None:
    asked = TokenPolicy(CHAT, BrokenEngine())
    responses = asked.respond([Context(TASK, asked.open(TASK))] * 2, Sampling())
    assert [response.failed for response in responses] == [True, True]
    assert responses[0].text == ""
