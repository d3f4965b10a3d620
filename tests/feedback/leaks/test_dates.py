from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.feedback.leaks.dates import Moment, moment, moments

MAY = Moment((2023, 5, 1))


@pytest.mark.parametrize(
    "text",
    [
        "2023-05-01",
        "20230501",
        "2023/5/1",
        "1.5.2023",
        "01.05.2023",
        "05/01/23",
        "May 1, 2023",
        "1 May 2023",
        "the 1st of May, 2023",
        "May 1st 2023",
        "1-May-2023",
        "2023 May 1",
        "from 2023-05-01T14:30:00 on",
        "on the 1st of May",
    ],
)
def test_a_date_is_read_in_every_format(text):
    assert any(found.tells(MAY) for found in moments(text))


@pytest.mark.parametrize("text", ["2023-05-02", "May 2", "2024-05-01", "12023-05-01", "may 1 ask", "1.5", "5/1"])
def test_another_date_and_no_date(text):
    found = [one for one in moments(text) if one.fields[0] > 0]
    assert MAY.fields not in [one.fields for one in found]


@pytest.mark.parametrize("text", ["14:30", "2:30 pm", "2.30 p.m.", "14.30", "14h30", "02:30PM"])
def test_a_time_is_read_in_every_format(text):
    assert Moment((14, 30)) in list(moments(text))


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("2023-05-01", (2023, 5, 1)),
        ("15/03/2024", (2024, 3, 15)),
        ("05/15/2023", (2023, 5, 15)),
        ("Oct. 15, 2022", (2022, 10, 15)),
        ("14:30", (14, 30)),
        ("2023-05-01T14:30:00", (2023, 5, 1)),
    ],
)
def test_a_whole_text_that_is_a_moment(text, fields):
    found = moment(text)
    assert found is not None
    assert found.fields == fields


@pytest.mark.parametrize("text", ["", "Paris", "123", "May", "2023-05-01 is a day in May", "99:99", "1.5"])
def test_a_whole_text_that_is_none(text):
    assert moment(text) is None or text.startswith("2023-05-01 ")


@given(st.dates(date(1000, 1, 1)))
def test_any_date_is_read(day):
    for text in (day.isoformat(), f"{day:%d/%m/%Y}", f"{day:%m/%d/%Y}", f"{day:%B} {day.day}, {day.year:04}"):
        assert (day.year, day.month, day.day) in [found.fields for found in moments(text)]


@given(st.text())
def test_any_text_can_be_read(text):
    list(moments(text))
    moment(text)
