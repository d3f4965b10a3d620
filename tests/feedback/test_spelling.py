import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.feedback.spelling import Spelled, spelled


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("San Francisco", "take SAN-FRANCISCO instead"),
        ("San Francisco", "take 'SanFrancisco'"),
        ("SanFrancisco", "take San Francisco."),
        ("São Paulo", "Sao  Paulo"),
        ("Ｔｏｋｙｏ", "tokyo"),
        (1000, "1,000"),
        (1000, "1000.0"),
        (1000.0, "about 1 000"),
        (1000, "$1000.00!"),
        (2.5, "2.50"),
        (-7, "seven is 7"),
        (10, "10km"),
        (1e-09, "1E-09"),
        (1e-09, "0.000000001"),
        ("2024-01-05", "20240105"),
        ("2024.01.05", "2024/01/05"),
        (True, "TRUE"),
        (None, "null"),
        ([1, "a b"], "1, A-B"),
        ({"key": [2]}, '{"key": [2]}'),
        ("Paris", "P-a-r-i-s"),
        ("Paris", "P\u200ba\u00adris"),
        ("Paris", "Раrіs"),
        ("Paris", "𝐏𝐚𝐫𝐢𝐬"),
        ("Москва", "МОСКВА"),
    ],
)
def test_spelled_alike(value, text):
    assert spelled(value) in Spelled.of(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Paris", "comparison"),
        ("art", "start"),
        (10, "100"),
        (10, "1.0"),
        (25, "2.5"),
        (5, "five"),
        ("", "anything"),
        ("...", "anything ..."),
    ],
)
def test_spelled_otherwise(value, text):
    assert spelled(value) not in Spelled.of(text)


def test_a_name_is_kept_whole():
    text = Spelled.of("Hotels_4() lacks items.0 and city", {"Hotels_4", "items.0"})
    assert spelled(4) not in text
    assert spelled(0) not in text
    assert spelled("city") in text
    assert list(text.find(Spelled.named("items.0"))) == [(2, 3)]
    assert Spelled.named("items.0") not in Spelled.of("items.0")


def test_count():
    assert Spelled.of("New York or new-york").count(Spelled.of("new york")) == 2
    assert Spelled.of("newer").count(Spelled.of("new")) == 0


def test_find_gives_words_and_starts_where_it_is_told():
    text = Spelled.of("New York or new-york")
    phrase = Spelled.of("new york")
    assert list(text.find(phrase)) == [(0, 2), (3, 5)]
    assert list(text.find(phrase, 1)) == [(3, 5)]
    assert list(text.find(phrase, 99)) == []
    assert list(text.find(phrase, 1, reach=1)) == []
    assert list(text.find(phrase, 1, reach=2)) == [(3, 5)]


@given(st.text(), st.text())
def test_any_text_can_be_split_and_holds_itself(text, other):
    whole = Spelled.of(text)
    assert whole.starts[-1] == len(whole.compact)
    if whole.words:
        assert whole in Spelled.of(f"{other} {text} {other}")


@given(st.integers() | st.floats(-1e12, 1e12))
def test_a_number_is_found_in_its_usual_formats(number):
    for text in (repr(number), f"{number:,}", f"is {float(number)!r}!" if abs(number) < 2**53 else repr(number)):
        assert spelled(number) in Spelled.of(text)
