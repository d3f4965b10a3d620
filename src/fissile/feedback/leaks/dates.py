"""Dates and times of day in a text, in the usual ways of writing them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\b"
_YEAR = r"(?P<year>\d{4})\b"

_NAMED = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b{_DAY}(?: day)?(?: of|-)? ?{_MONTH}(?:,? ?-?{_YEAR})?",
        rf"\b{_MONTH} ?(?:the )?{_DAY}(?:(?:,? ?){_YEAR})?",
        rf"\b{_YEAR},? ?-?{_MONTH}(?: |-){_DAY}",
    )
)
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})([-/. ]?)(\d{1,2})\2(\d{1,2})(?!\d)")
_YEAR_LAST = re.compile(r"(?<!\d)(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})(?!\d)")
_TIME = re.compile(
    r"(?<![\d.:])(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2}))?(?::\d{2})?(?: ?(?P<half>[ap])\.?m\b\.?)?(?![\d:])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Moment:
    """A date, or a time of day."""

    fields: tuple[int, ...]  # (year, month, day) with year 0 where it is not said, or (hour, minute)
    order: str = ""  # how it is written: "ymd", "dmy" or "mdy" in figures, "" in any other way

    def tells(self, other: Moment) -> bool:
        """True where this one says what the other is, though perhaps without the year."""
        without_year = len(self.fields) == len(other.fields) == 3 and self.fields[0] == 0
        return self.fields[1:] == other.fields[1:] if without_year else self.fields == other.fields


def moments(text: str) -> Iterator[Moment]:
    """Every date and time in the text; of 05/01/2023 both readings."""
    yield from _dates(text)
    for found in _TIME.finditer(text):
        if found["minute"] or found["half"]:
            hour, minute = int(found["hour"]), int(found["minute"] or 0)
            half = (found["half"] or "").lower()
            if hour < 24 and minute < 60:
                yield Moment((hour % 12 + 12 * (half == "p") if half else hour, minute))


def moment(text: str) -> Moment | None:
    """The date or time that the whole text is, None if it is none; 05/01/2023 is in the order that makes it a date."""
    text = text.strip()
    if not any(letter.isdigit() for letter in text) or len(text) > 40:
        return None
    for pattern in (_YEAR_FIRST, _YEAR_LAST, *_NAMED):
        found = pattern.match(text)
        if found and (found.end() == len(text) or text[found.end()] in "T "):
            return next(_dates(found[0]), None)
    found = _TIME.fullmatch(text)
    return next(moments(text), None) if found and found["minute"] else None


def _dates(text: str) -> Iterator[Moment]:
    for found in _YEAR_FIRST.finditer(text):
        yield from _valid(int(found[1]), int(found[3]), int(found[4]), "ymd")
    for found in _YEAR_LAST.finditer(text):
        year = int(found[4]) + (2000 if len(found[4]) == 2 else 0)
        yield from _valid(year, int(found[1]), int(found[3]), "mdy")
        yield from _valid(year, int(found[3]), int(found[1]), "dmy")
    for pattern in _NAMED:
        for found in pattern.finditer(text):
            month = _MONTHS.index(found["month"][:3].lower()) + 1
            yield from _valid(int(found["year"] or 0), month, int(found["day"]), "")


def _valid(year: int, month: int, day: int, order: str) -> Iterator[Moment]:
    if 1 <= month <= 12 and 1 <= day <= 31:
        yield Moment((year, month, day), order)
