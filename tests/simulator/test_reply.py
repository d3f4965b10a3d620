"""What a simulator wrote, made fit to be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.feedback import NoDiagnosis
from fissile.simulator.reply import MAX_LINES, diagnosis_of

SAID = "TypeError: 'n' must be an integer."


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
    assert diagnosis_of(reply) == SAID


@pytest.mark.parametrize("reply", ["", " \n\t", "<think>It wants 3.", "```\n```", "<|im_end|>", "\x00\u200b"])
def test_nothing_left_is_no_diagnosis(reply: str) -> None:
    assert diagnosis_of(reply) == NoDiagnosis("empty")


def test_a_value_is_not_hidden_from_the_guard_by_what_cannot_be_seen() -> None:
    assert diagnosis_of("Pa\u200bri\u00ads, Pa\x00ris") == "Paris, Paris"


def test_a_few_lines_are_kept() -> None:
    said = diagnosis_of("\r\n\n".join(map(str, range(20))))
    assert said == "\n".join(map(str, range(MAX_LINES)))


@given(st.lists(st.sampled_from(["<|im_", "end|>", "<think>", "</think>", "a", "\n", "```", "\ud800", "\x1b[2J"])))
def test_whatever_is_written_no_marker_and_nothing_invisible_is_left(pieces: list[str]) -> None:
    said = diagnosis_of("".join(pieces))
    if isinstance(said, str):
        assert "<|im_end|>" not in said
        assert all(line.isprintable() and line == line.strip() and line for line in said.split("\n"))
