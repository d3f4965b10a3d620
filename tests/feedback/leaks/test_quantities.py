from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.feedback.leaks.quantities import number_in_words, quantities, settled


def values(text: str) -> set[Decimal]:
    return {quantity.value for quantity in quantities(text)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12,500", "12500"),
        ("12.500,00", "12500"),
        ("12'500 of them", "12500"),
        ("12 500", "12500"),
        ("12.5k", "12500"),
        ("12.5 thousand", "12500"),
        ("1.25e4", "12500"),
        ("39,5 gallons", "39.5"),
        ("$1,428.57.", "1428.57"),
        (".05", "0.05"),
        ("5%", "0.05"),
        ("5 percent", "0.05"),
        ("-40.0", "40"),
        ("seats 103 107", "107"),
    ],
)
def test_a_number_is_read_in_every_format(text, value):
    assert Decimal(value) in values(text)


@pytest.mark.parametrize("text", ["1.0.7", "Hotels_7", "items.7", "a-7", "P7", "17", "7.5", "0.7"])
def test_digits_of_something_else_are_no_number(text):
    assert Decimal(7) not in values(text)


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("five", 5),
        ("twenty-one", 21),
        ("Forty Two", 42),
        ("one hundred and three", 103),
        ("twelve thousand five hundred", 12500),
        ("two thousand and twenty-two", 2022),
        ("twenty twenty-two", 2022),
        ("nineteen ninety-nine", 1999),
        ("nine four zero one six", 94016),
        ("three million", 3000000),
    ],
)
def test_number_words(words, value):
    assert number_in_words(words) == value


def test_number_words_with_a_fraction():
    assert number_in_words("thirty-nine point five") == Decimal("39.5")
    assert number_in_words("hundred") is None


@pytest.mark.parametrize(
    "text",
    [
        "there are 2 errors",
        "2 required arguments are missing",
        "at character 2",
        "line 2 column 2",
        "HTTP 2",
        "call 2 of 2",
        "2 of the arguments",
        "after 2 seconds",
        "2 ms",
        "one of them",
    ],
)
def test_a_number_by_accident_is_taken_out(text):
    assert values(settled(text, (), lambda words: False)) == set()


@pytest.mark.parametrize("text", ["nights must be 2", "2 nights", "use two", "nights: 2 is right"])
def test_a_number_that_may_be_meant_stays(text):
    assert values(settled(text, (), lambda words: False)) == {Decimal(2)}


def test_a_number_behind_the_name_of_an_argument_is_no_accident():
    assert "7" in settled("offset 7", {"offset"}, lambda words: False)
    assert "7" not in settled("offset 7", (), lambda words: False)


def test_what_was_shown_in_words_may_be_repeated_in_words():
    assert settled("two nights", (), lambda words: words == "two") == "two nights"


def test_a_bound_of_the_schema_may_be_said():
    assert "§" in settled("at least 1", (), lambda words: True)
    assert "1" in settled("at least 1", (), lambda words: False)


@given(st.integers(0, 10**9), st.text())
def test_any_integer_is_read(number, text):
    assert Decimal(number) in values(f"{text} {number}") | values(f"is {number:,} "), number


@given(st.text())
def test_any_text_can_be_settled(text):
    assert isinstance(settled(text, (), lambda words: False), str)
    list(quantities(text))
