"""The names that a diagnosis of a failure may use: of its tools, of their arguments, and of what the attempt wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from fissile.calls import JSON
from fissile.feedback import Failure
from fissile.tools import Tool

MAX_DEPTH = 6
"""Levels of objects in a schema or a value whose keys are names."""

_WORDS = """
    a an i x y to in on at by of for from with value values type types name names request message number numbers list
    lists string text object array integer field fields argument arguments parameter parameters tool tools function
    call calls user query format form input output error code id key keys item items data result results option
    options choice choices status state required limit length position description content order source max min
    default class response condition
"""
AMBIGUOUS_WORDS = frozenset(_WORDS.split())
"""Names that are words of any diagnosis; unquoted they are arguments only where the words around them say so."""

_CUED = (
    r"(?:(?:argument|parameter|field|property|value (?:of|for|given for))s?(?: the| named| called)? {name}\b"
    r"|\b{name}(?= (?:argument|parameter|field|property|value)\b)"
    r"|\b{name}(?= to be\b)|(?:^|(?<=[:.;] )){name}(?=:| (?:is|was|must|should|has|needs)\b))"
)


def top_level(path: str) -> str:
    """Of "filters.status": "filters"."""
    return path.partition(".")[0]


def without_indices(path: str) -> str:
    """Of "items.0.name": "items.name"."""
    return ".".join(key for key in path.split(".") if not key.isdigit())


@dataclass(frozen=True)
class Vocabulary:
    """Names of one failure.

    Attributes:
        failure: the failure.
    """

    failure: Failure

    @cached_property
    def concerned(self) -> tuple[Tool, ...]:
        """The offered tools that were called or should have been."""
        task = self.failure.task
        names = dict.fromkeys(
            [*(call.name for call in self.failure.attempt.calls), *(call.name for call in task.ground_truth)]
        )
        return tuple(tool for name in names if (tool := task.tool(name)) is not None)

    @cached_property
    def written(self) -> frozenset[str]:
        """Paths of all arguments that the attempt wrote, and those of its errors."""
        calls, errors = self.failure.attempt.calls, self.failure.attempt.errors
        paths = {path for call in calls for path in _keys(call.arguments)}
        return frozenset(paths | {error.argument for error in errors if error.argument})

    @cached_property
    def _arguments(self) -> dict[str, str]:
        """What an argument may be called, to its path: the path, without indices, or the last key alone."""
        paths = dict.fromkeys(
            [*self.written, *(path for tool in self.concerned for path in _properties(tool.readable))]
        )
        names = {path: path for path in paths}
        for path in paths:
            for name in (without_indices(path), path.rpartition(".")[2], _as_shown(path)):
                if name and not name.isdigit():
                    names.setdefault(name, path)
        return names

    @cached_property
    def _tools(self) -> dict[str, str]:
        """What a tool may be called, to its name: the name, or what stands behind its last point."""
        offered = [tool.name for tool in self.failure.task.tools]
        written = [call.name for call in self.failure.attempt.calls if call.name]
        written += [error.tool for error in self.failure.attempt.errors if error.tool]
        names = {name: name for name in (*offered, *written)}
        for name in (*offered, *written):
            names.setdefault(_as_shown(name), name)
        return names

    def argument(self, name: str) -> str | None:
        """The path of the argument that is so called; None if there is none."""
        path = self._arguments.get(name)
        if path is not None:
            return path
        head = top_level(name)
        return name if head in self._arguments and re.fullmatch(r"\w+(?:\.\d+)+(?:\.\w+)*", name) else None

    def tool(self, name: str) -> str | None:
        """The tool that is so called; None if there is none. A world says "TradingBot.place_order"."""
        return self._tools.get(name) or self._tools.get(name.rpartition(".")[2])

    def exists_anywhere(self, name: str) -> bool:
        """True for an argument of any offered tool."""
        return any(name in tool.properties for tool in self.failure.task.tools)

    @cached_property
    def plain_names(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        """Patterns for arguments that are named without quotes, longest first, each with its path."""
        found: dict[str, str] = {}
        for name, path in self._arguments.items():
            words = _spoken(name)
            if words:
                found.setdefault(words, path)
        patterns = []
        for words, path in sorted(found.items(), key=lambda item: (-len(item[0]), item)):
            name = r"[ _-]".join(map(re.escape, words.split()))
            is_ambiguous = words in AMBIGUOUS_WORDS or len(words) < 3
            pattern = _CUED.format(name=name) if is_ambiguous else rf"\b{name}\b(?!⟧)"
            patterns.append((re.compile(pattern, re.IGNORECASE), path))
        return tuple(patterns)


def _properties(schema: JSON, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Paths of a schema's properties at every depth; items of lists have no index."""
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        yield f"{prefix}{name}"
        yield from _properties(inner, f"{prefix}{name}.", depth + 1)
    yield from _properties(schema.get("items"), prefix, depth + 1)


def _keys(value: JSON, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Paths of a written object's keys at every depth."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{prefix}{key}"
            yield from _keys(inner, f"{prefix}{key}.", depth + 1)
    elif isinstance(value, list):
        for inner in value[:20]:
            yield from _keys(inner, prefix, depth + 1)


def _as_shown(name: str, limit: int = 60) -> str:
    """A long or broken name as messages repeat it."""
    line = " ".join(name.split())
    return line if len(line) <= limit else f"{line[:limit]}..."


def _spoken(name: str) -> str:
    """How one says "check_in_date" or "checkInDate": "check in date"; "" for what is no name."""
    parts: Sequence[str] = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return " ".join(parts).lower() if re.fullmatch(r"\w{1,60}", name) else ""
