from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from fissile.calls import Attempt, ParseError, ToolCall
from fissile.reports import wording
from fissile.statistics import Ratio


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[31mb", "a⟨U+001B⟩[31mb"),
        ("nul\x00", "nul⟨U+0000⟩"),
        ("del\x7f", "del⟨U+007F⟩"),
        ("right\u202eleft", "right⟨U+202E⟩left"),
        ("zero\u200bwidth", "zero⟨U+200B⟩width"),
        ("half \ud800 a pair", "half ⟨U+D800⟩ a pair"),
        ("unseen\U000e0041", "unseen⟨U+E0041⟩"),
        ("a line\n\tand a tab", "a line\n\tand a tab"),
    ],
)
def test_control_characters_are_shown(hostile: str, shown: str) -> None:
    assert wording.visible(hostile) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_visible_text_holds_no_control_character_and_can_be_written(text: str) -> None:
    shown = wording.visible(text)
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t"]
    shown.encode("utf-8")


def test_markup_of_ours_passes_unchanged() -> None:
    assert wording.visible(Markup("<b>\u200b</b>")) == "<b>\u200b</b>"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.81, "0.810"), (38.04, "38.0"), (-1.5, "-1.50"), (1234.5, "1,234"), (2e-5, "2.00e-05")],
)
def test_figures_have_three_significant_digits(value: float, text: str) -> None:
    assert wording.figure(value) == text


def test_a_ratio_is_written_with_its_counts_and_interval() -> None:
    ratio = Ratio(7, 146, 7 / 146, 0.023, 0.096)
    written = (wording.ratio_text(ratio), wording.count_text(ratio), wording.interval_text(ratio))
    assert written == ("4.8\u00a0%", "7/146", "2.3 to 9.6")


def test_a_ratio_of_nothing_is_a_dash() -> None:
    nothing = Ratio(0, 0, None, None, None)
    assert (wording.ratio_text(nothing), wording.interval_text(nothing)) == ("–", "")


def test_a_call_is_written_as_a_person_would_and_a_malformed_one_as_the_model_did() -> None:
    call = ToolCall("get", {"city": "Žilina", "days": 3}, "...")
    broken = ToolCall("get", None, '{"name": "get", "arg', 0, ParseError("unexpected end", 20))
    assert wording.attempt_text(Attempt("", (call, broken))) == 'get(city="Žilina", days=3)\n{"name": "get", "arg'


def test_an_attempt_without_calls_is_its_text() -> None:
    assert wording.attempt_text(Attempt(" Sorry. ")) == "Sorry."
    assert wording.attempt_text(Attempt("  ")) == "(an empty response)"


def test_a_long_text_says_how_much_is_left_out() -> None:
    assert wording.shortened("x" * 5010, limit=10) == "x" * 10 + " … 5,000 more characters"


def test_phases_are_named_for_people() -> None:
    names = [wording.phase_title(phase) for phase in ("evaluate_base", "cold_start", "evaluate_fission", "other_thing")]
    assert names == [
        "evaluation of the base model",
        "training, cold start",
        "evaluation of Fission-GRPO",
        "other thing",
    ]
