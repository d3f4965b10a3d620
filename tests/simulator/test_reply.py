"""What a simulator wrote, made fit to be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.errors import ErrorKind
from fissile.feedback import NoDiagnosis
from fissile.simulator.reply import MALFORMED, MAX_LINES, Said, said_in
from fissile.simulator.typed import Fields

SAID = "TypeError: 'n' must be an integer."
LINE = "wrong_type | area | n | type integer"
FIELDS = Fields(ErrorKind.WRONG_TYPE, "area", "n", "type integer")


@pytest.mark.parametrize(
    "reply",
    [
        SAID,
        f"  {SAID}\n\n",
        f"<think>It wants 3.\nSo 3.</think>\n{SAID}",
        f"It wants 3.</think>{SAID}",
        f"[THINK]It wants 3.[/THINK]{SAID}",
        f"```\n{SAID}\n```",
        f"```text\n{SAID}\n```",
        f"<|im_start|>{SAID}<|im_end|>",
        f"{SAID}</s>",
        f"<|assistant|>\n{SAID}<｜end▁of▁sentence｜>",
        "TypeError:\t'n'  must be\u00a0an integer.\x00\x1b\u200b\ufeff\ud800",
    ],
)
def test_the_diagnosis_is_what_is_left(reply: str) -> None:
    assert said_in(reply, needs_fields=False) == Said(SAID)


@pytest.mark.parametrize("needs_fields", [True, False])
@pytest.mark.parametrize("reply", ["", " \n\t", "<think>It wants 3.", "```\n```", "<|im_end|>", "\x00\u200b"])
def test_nothing_left_is_no_diagnosis(reply: str, needs_fields: bool) -> None:
    assert said_in(reply, needs_fields) == NoDiagnosis("empty")


@pytest.mark.parametrize("needs_fields", [True, False])
@pytest.mark.parametrize(
    "reply",
    [
        f"{LINE}\n{SAID}",
        f"<think>It wants 3.\n{LINE}</think>\n{LINE}\n\n{SAID}\n",
        f"```\n {LINE} \n{SAID}\n```",
        f"<|im_start|>{LINE}\u2028{SAID}<|im_end|>",
    ],
)
def test_fields_stand_in_the_first_line_and_are_not_shown(reply: str, needs_fields: bool) -> None:
    assert said_in(reply, needs_fields) == Said(SAID, FIELDS)


@pytest.mark.parametrize(
    ("reply", "reason", "of_free_text"),
    [
        (SAID, "no_fields", ""),
        (f"{SAID}\n{LINE}", "no_fields", "fields_in_sentence"),
        (f"wrong_typ | area | n | type integer\n{SAID}", "no_fields", "no_fields"),
        (f"wrong_type | area | n\n{SAID}", "no_fields", "no_fields"),
        (f"{LINE} | more\n{SAID}", "no_fields", "no_fields"),
        (LINE, "no_sentence", "no_sentence"),
        (f"{LINE}\n```\n```", "no_sentence", "no_sentence"),
        (f"{LINE}\n{LINE}\n{SAID}", "fields_in_sentence", "fields_in_sentence"),
        (f"{LINE}\n{SAID}\ntimeout | - |", "fields_in_sentence", "fields_in_sentence"),
    ],
)
def test_what_is_not_of_the_form_is_a_counted_reason(reply: str, reason: str, of_free_text: str) -> None:
    assert said_in(reply, needs_fields=True) == NoDiagnosis(reason)
    free = said_in(reply, needs_fields=False)
    assert free == (NoDiagnosis(of_free_text) if of_free_text else Said(reply))
    assert {reason, of_free_text} <= MALFORMED | {""}


def test_a_value_is_not_hidden_from_the_guard_by_what_cannot_be_seen() -> None:
    assert said_in("Pa\u200bri\u00ads, Pa\x00ris", needs_fields=False) == Said("Paris, Paris")


@pytest.mark.parametrize("line", [[], [LINE]])
def test_a_few_lines_are_kept(line: list[str]) -> None:
    said = said_in("\r\n\n".join([*line, *map(str, range(20))]), needs_fields=bool(line))
    assert isinstance(said, Said)
    assert said.sentence == "\n".join(map(str, range(MAX_LINES)))


PIECES = ["<|im_", "end|>", "<think>", "</think>", "a", "\n", "```", "\ud800", "\x1b[2J", LINE, " | ", "timeout"]


@given(st.lists(st.sampled_from(PIECES)), st.booleans())
def test_whatever_is_written_no_marker_no_fields_and_nothing_invisible_is_left(
    pieces: list[str], needs_fields: bool
) -> None:
    said = said_in("".join(pieces), needs_fields)
    if isinstance(said, NoDiagnosis):
        assert said.reason in MALFORMED
        return
    assert "<|im_end|>" not in said.sentence
    lines = said.sentence.split("\n")
    assert all(line.isprintable() and line == line.strip() and line for line in lines)
    assert LINE not in lines


@pytest.mark.parametrize("piece", ["|", "wrong_type | ", "\n|", "<think>", "wrong_type | a | b | c\n"])
def test_a_huge_reply_is_harmless(piece: str) -> None:
    said = said_in(piece * 100_000, needs_fields=True)
    assert isinstance(said, NoDiagnosis)
