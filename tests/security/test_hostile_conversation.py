"""Hostile results and feedback in a conversation: text that a model reads, never a marker that opens a turn."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from dialects.families import NATIVE, tokenizer_of
from fissile.dialects import ChatFormat
from fissile.engines.base import Sampling
from fissile.engines.driver import roll_out
from fissile.engines.scripted import ScriptedEngine
from fissile.engines.token_policy import TokenPolicy
from fissile.rollouts import OpenRollout
from fissile.training.policy_model import load_tokenizer
from security.hostile_cases import FORMATS, Probe, result_texts, small_cases
from tally_world import LIVE, Tally

RESULTS = result_texts()
UNENCODABLE = re.compile("[\ud800-\udfff]")
NEXT = ({"role": "user", "content": "And now?"},)


@pytest.fixture(scope="module")
def chats() -> dict[str, ChatFormat]:
    """The embedded model's tokenizer in every dialect, and every family's template in its own."""
    embedded = load_tokenizer("smollm2-135m")
    families = {name: ChatFormat(tokenizer_of(name), dialect) for name, dialect in NATIVE.items()}
    return {name: ChatFormat(embedded, dialect) for name, dialect in FORMATS.items()} | families


NAMES = [*FORMATS, *NATIVE]


def markers(chat: ChatFormat, ids: Sequence[int]) -> Counter[int]:
    """The control tokens among the ids."""
    special = {index for index, token in chat.tokenizer.added_tokens_decoder.items() if token.special}
    return Counter(index for index in ids if index in special)


@pytest.mark.parametrize("name", NAMES)
def test_no_result_spells_a_marker(chats: dict[str, ChatFormat], name: str) -> None:
    chat, found = chats[name], {}
    harmless = markers(chat, chat.reply_ids(["fine", "fine"], NEXT, ended=True))
    for case, text in RESULTS.items():
        if not UNENCODABLE.search(text):
            answered = markers(chat, chat.reply_ids([text, "fine"], NEXT, ended=True))
            if answered != harmless:
                found[case] = str(answered - harmless)
    assert found == {}


def test_a_result_with_half_a_character_can_be_told(chats: dict[str, ChatFormat]) -> None:
    """A model writes one as an escape in JSON, and a tool quotes it back; no tokenizer takes it."""
    texts = [text for text in RESULTS.values() if UNENCODABLE.search(text)]
    assert len(texts) >= 3
    for text in texts:
        assert chats["hermes"].reply_ids([text], ended=True)


@pytest.mark.parametrize("name", NAMES)
def test_feedback_is_a_result(chats: dict[str, ChatFormat], name: str) -> None:
    chat = chats[name]
    every_marker = "".join(token.content for token in chat.tokenizer.added_tokens_decoder.values())
    for ended in (True, False):
        harmless, hostile = (chat.reply_ids([text], ended=ended) for text in ("fine", every_marker))
        assert markers(chat, hostile) == markers(chat, harmless)


def test_the_markers_are_there_to_be_spelled(chats: dict[str, ChatFormat]) -> None:
    """The corpus spells markers of every family, so that the counts above could differ."""
    for name in NAMES:
        tokenizer = chats[name].tokenizer
        spelled = [text for text in RESULTS.values() if text.isascii() and markers(chats[name], tokenizer.encode(text))]
        assert len(spelled) >= 3, name


def test_a_result_still_says_what_it_said(chats: dict[str, ChatFormat]) -> None:
    """Only the spelled markers are taken apart, by one space."""
    chat = chats["hermes"]
    text = "a <|im_start|>b <|im_end|> < c"
    read = str(chat.tokenizer.decode(list(chat.reply_ids([text], ended=True))))
    assert "a < |im_start|>b < |im_end|> < c" in read


def test_every_response_is_answered_in_tokens(chats: dict[str, ChatFormat]) -> None:
    """Whole rollouts of a policy that samples tokens: what it sampled is kept, and no answer to it holds a new marker.

    The texts are what a tokenizer can decode to; an escape in one may stand for what no tokenizer can encode.
    """
    chat, found = chats["hermes"], {}
    harmless = markers(chat, chat.reply_ids(["fine"], ended=True))
    for case in small_cases(Probe("add", "n")):
        text = case.write(chat.dialect).encode("utf-8", "replace").decode()
        sampled = chat.completion_ids(text)
        script = {True: sampled, False: chat.completion_ids("Done.")}
        opening = chat.prompt_ids(LIVE.messages, LIVE.tools)
        engine = ScriptedEngine(lambda prompt, _, script=script, opening=opening: script[prompt == opening])
        policy = TokenPolicy(chat, engine)
        rollout = OpenRollout(Tally(), policy)
        try:
            rollout.begin(LIVE)
            roll_out(policy, [rollout], Sampling(max_new_tokens=10**6))
        except Exception as error:  # a response must not end a run
            found[case.name] = f"raised {error!r:.200}"
            continue
        first, second = rollout.record().steps[:2]
        grown = second.context.prompt_ids
        assert grown[: len(opening) + len(first.completion.ids)] == opening + first.completion.ids
        calls, answers = len(first.attempt.calls), markers(chat, grown[len(opening) + len(first.completion.ids) :])
        if calls and any(answers[marker] > count * calls for marker, count in harmless.items()):
            found[case.name] = str(answers)
    assert found == {}
