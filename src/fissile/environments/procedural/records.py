"""The records of a procedural world, and what the calls do to them.

Every value of every call leaves a trace, so that no wrong call is taken for the right one: a record that was deleted
keeps what its call said, and a record that is read is read with all arguments.
"""

from __future__ import annotations

import json
from bisect import insort
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fissile.calls import JSON, ToolCall
from fissile.functions import DomainError

Fields = dict[str, JSON]
"""Argument name to its value: a string, a boolean or a whole number."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a tool does.

    Attributes:
        action: a key of `ACTIONS`.
        noun: the kind of record.
        key: the argument that names the record; None for a tool that creates records without a name.
    """

    action: str
    noun: str
    key: str | None

    def title(self, fields: Fields) -> str:
        """What the record of a call is called; the letter case of its key does not matter."""
        return f"{self.noun} {str(fields[self.key]).upper()}" if self.key is not None else self.noun

    def others(self, fields: Fields) -> Fields:
        """The fields of a call without the key."""
        return {name: value for name, value in fields.items() if name != self.key}


@dataclass
class Records:
    """The state of the world. Equal whatever the order in which it came about.

    Attributes:
        present: title of each record -> its fields. The inner dicts are replaced, never changed.
        deleted: title of each deleted record -> what the call that deleted it said besides.
        nameless: the records without a key, [noun, fields] as JSON text, sorted.
        reads: each call that read a record, in canonical form, with how often; no part of the state.
    """

    present: dict[str, Fields]
    deleted: dict[str, Fields] = field(default_factory=dict)
    nameless: list[str] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter, compare=False)

    def carry_out(self, call: ToolCall, meaning: Meaning) -> str:
        """Do what a valid call says, and answer it.

        Raises:
            DomainError: the records do not allow it; nothing has changed.
        """
        answer = ACTIONS[meaning.action](self, meaning, _fields(call))
        if meaning.action == "find":
            self.reads[signature(call)] += 1
        return answer

    def copy(self) -> Records:
        """Another one that shares no change."""
        return Records(dict(self.present), dict(self.deleted), list(self.nameless), Counter(self.reads))

    def state(self) -> dict[str, JSON]:
        """A JSON-ready copy, without the reads."""
        return {"present": dict(self.present), "deleted": dict(self.deleted), "nameless": list(self.nameless)}

    def find(self, title: str) -> Fields:
        """The fields of a record.

        Raises:
            DomainError: there is no such record, or none any more.
        """
        if title in self.deleted:
            raise DomainError(f"{title} was deleted before.")
        if title not in self.present:
            raise DomainError(f"there is no {title}.")
        return self.present[title]


def _create(records: Records, meaning: Meaning, fields: Fields) -> str:
    title = meaning.title(fields)
    if meaning.key is None:
        insort(records.nameless, canonical([meaning.noun, fields]))
    elif title in records.present:
        raise DomainError(f"{title} exists already.")
    else:
        records.present[title] = meaning.others(fields)
        records.deleted.pop(title, None)
    return f"{title} created."


def _update(records: Records, meaning: Meaning, fields: Fields) -> str:
    title = meaning.title(fields)
    records.present[title] = {**records.find(title), **meaning.others(fields)}
    return f"{title} updated."


def _delete(records: Records, meaning: Meaning, fields: Fields) -> str:
    title = meaning.title(fields)
    records.find(title)
    del records.present[title]
    records.deleted[title] = meaning.others(fields)
    return f"{title} deleted."


def _find(records: Records, meaning: Meaning, fields: Fields) -> str:
    title = meaning.title(fields)
    return f"{title}: {json.dumps(records.find(title))}"


ACTIONS: Mapping[str, Callable[[Records, Meaning, Fields], str]] = MappingProxyType(
    {"create": _create, "update": _update, "delete": _delete, "find": _find}
)
"""What a call does to the records -> what is answered. Raises DomainError, and then changes nothing."""


def _fields(call: ToolCall) -> Fields:
    """The arguments of a valid call; 3.0 is 3, as the schema and the single-step judge have it."""
    values = (call.arguments or {}).items()
    return {name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in values}


def signature(call: ToolCall) -> str:
    """A canonical form of a valid call: equal for calls that do the same."""
    return canonical([call.name, _fields(call)])


def canonical(value: JSON) -> str:
    """JSON text with sorted keys; ASCII, since a model can write halves of characters that no encoding takes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
