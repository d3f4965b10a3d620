"""The values of a truth, one by one, and what the policy can see of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from fissile.calls import JSON
from fissile.feedback.base import Failure
from fissile.feedback.leaks.dates import Moment, moment, moments
from fissile.feedback.leaks.vocabulary import EVERYDAY
from fissile.feedback.spelling import Spelled, plain, spelled
from fissile.tasks import ExpectedCall, said
from fissile.tools import Tool

MAX_FIGURES = 30
"""Longest text that is read as one number."""

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "True": ("yes", "on", "enabled"),
    "False": ("no", "off", "disabled"),
    "None": ("none", "nil"),
}
_IMPLIED: dict[type, tuple[JSON, ...]] = {
    bool: (True, False),
    type(None): (None, "string", "integer", "number", "boolean", "list", "array", "object"),
}
"""What true, false and null are listed with where the schema enumerates nothing."""


@dataclass(frozen=True)
class Secret:
    """One value of the truth.

    Attributes:
        names: of the argument that holds it, outermost first.
        value: the value.
        choices: what the schema offers in this place, the right ones among them; empty if it enumerates nothing.
        right: those of `choices` that are right.
    """

    names: tuple[str, ...]
    value: JSON
    choices: tuple[JSON, ...] = ()
    right: tuple[JSON, ...] = ()

    @cached_property
    def spelling(self) -> Spelled:
        """As it would be written."""
        return spelled(self.value)

    @cached_property
    def number(self) -> Decimal | None:
        """The number that it is, or that its text is, without the sign."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float, str)):
            return None
        figures = str(self.value).strip()
        if len(figures) > MAX_FIGURES or not figures.lstrip("+-").replace(".", "", 1).isdecimal():
            return abs(Decimal(repr(self.value))) if isinstance(self.value, float) else None
        return abs(Decimal(figures))

    @cached_property
    def moment(self) -> Moment | None:
        """The date or time that it is."""
        return moment(plain(self.value)) if isinstance(self.value, str) else None

    @property
    def synonyms(self) -> tuple[str, ...]:
        """Other words for true, false and null."""
        return _SYNONYMS[str(self.value)] if self.value is None or isinstance(self.value, bool) else ()

    @cached_property
    def is_short(self) -> bool:
        """True for what occurs in any text by accident: true, null, one digit, up to two letters."""
        compact = self.spelling.compact
        return self.value is None or isinstance(self.value, bool) or len(compact) < (2 if compact.isdigit() else 3)

    @cached_property
    def is_everyday(self) -> bool:
        """True for words that stand in error messages anyway."""
        return self.number is None and EVERYDAY.issuperset(self.spelling.words)


def secrets(expected: ExpectedCall, tool: Tool | None) -> Iterator[Secret]:
    """Every value that a call accepts, at every depth."""
    for name, accepted in expected.arguments.items():
        schema = tool.properties.get(name, {}) if tool else {}
        for value in accepted:
            yield from leaves((name,), value, schema, accepted)


def leaves(names: tuple[str, ...], value: JSON, schema: JSON, siblings: Sequence[JSON]) -> Iterator[Secret]:
    """The scalars in `value`; an object's keys count as values, since a schema need not show them."""
    schema = schema if isinstance(schema, dict) else {}
    match value:
        case dict():
            for key, inner in value.items():
                yield Secret(names, key)
                properties = schema.get("properties")
                of_key = properties.get(key, {}) if isinstance(properties, dict) else {}
                yield from leaves((*names, key), inner, of_key, inner if isinstance(inner, list) else [inner])
        case list():
            enumerated = schema if schema.get("enum") else schema.get("items", {})
            for inner in value:
                yield from leaves(names, inner, enumerated, value)
        case _:
            choices = tuple(schema.get("enum") or _IMPLIED.get(type(value), ()))
            kept = {spelled(sibling).compact for sibling in siblings}
            yield Secret(names, value, choices, tuple(one for one in choices if spelled(one).compact in kept))


class Visible:
    """What the policy can see; each part is read only when something was found, since tools are long."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure

    def __contains__(self, phrase: Spelled) -> bool:
        """True where the phrase stands in the conversation or in the tools."""
        return phrase in self.spelling

    @cached_property
    def spelling(self) -> Spelled:
        """All that the policy can see."""
        tools = [spelled([tool.name, tool.description, tool.parameters]).words for tool in self._failure.task.tools]
        words = [*self.conversation.words, *(word for tool in tools for word in tool)]
        places = [f"{error.argument} {error.position}" for error in self._failure.attempt.errors]
        return Spelled.of(" ".join([*words, *places]))

    @cached_property
    def conversation(self) -> Spelled:
        """What was said, written and answered; not the tools."""
        return Spelled.of(self._failure.visible_text)

    @cached_property
    def answers(self) -> Spelled:
        """What the world answered, and earlier feedback."""
        return Spelled.of("\n".join([*self._failure.answers, *(turn.feedback for turn in self._failure.history)]))

    @cached_property
    def messages(self) -> Spelled:
        """The conversation that posed the task."""
        return Spelled.of("\n".join(said(message) for message in self._failure.task.messages))

    @cached_property
    def moments(self) -> frozenset[Moment]:
        """Dates and times that the policy can see, however written."""
        return frozenset(Moment(found.fields) for found in moments(plain(self._failure.visible_text)))

    def short(self, secret: Secret) -> bool:
        """True where the user wrote the value, or the policy itself under that name."""
        return secret.spelling in self.messages or self.is_own(secret)

    def is_own(self, secret: Secret) -> bool:
        """True where the policy wrote the value under that name."""
        compact = secret.spelling.compact
        own = (call.arguments or {} for call in self._failure.attempt.calls)
        return any(
            name == secret.names[-1] and spelled(value).compact == compact
            for arguments in own
            for name, value in _fields(arguments)
        )

    def call(self, expected: ExpectedCall) -> bool:
        """True where the policy made this call."""
        return any(
            call.name == expected.name
            and set(expected.required).issubset(call.arguments or {})
            and all(
                any(_is_same(value, right) for right in expected.arguments.get(name, ()))
                for name, value in (call.arguments or {}).items()
            )
            for call in self._failure.attempt.calls
        )


def _is_same(written: JSON, right: JSON) -> bool:
    numbers = [value for value in (written, right) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return written == right if len(numbers) == 2 else spelled(written).compact == spelled(right).compact


def _fields(arguments: JSON) -> Iterator[tuple[str, JSON]]:
    for name, value in arguments.items():
        yield name, value
        if isinstance(value, dict):
            yield from _fields(value)
