"""Comparing calls with the truth: values, arguments, and which call answers which expected call."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fissile.calls import JSON, ToolCall
from fissile.tasks import ExpectedCall, Matching
from fissile.tools import Tool, json_equal

_FREE_IN_BFCL = re.compile(r"[ ,./\-_*^]")


def values_match(value: JSON, accepted: Sequence[JSON], matching: Matching = "exact") -> bool:
    """True when `value` equals one of the accepted values.

    Args:
        value: what the model wrote.
        accepted: the accepted values.
        matching: "exact" is JSON equality, with numbers as people write them (1 equals 1.0, 0.3 equals 0.1 + 0.2, and
            true is not 1). "bfcl" is the rule of the BFCL AST
            checker: strings are compared without letter case, spaces and ,./-_*^ and with ' as "; an accepted
            object maps each key to *its* accepted values, with "" among them where the key may be left out;
            lists are compared in order. As there, strings in an object or a list are loose too, but no deeper.
    """
    equal = _EQUALITIES[matching]
    return any(equal(value, answer) for answer in accepted)


def is_default(tool: Tool | None, name: str, value: JSON) -> bool:
    """True where an argument says what the schema's own default says already."""
    schema = tool.properties.get(name, {}) if tool else {}
    return "default" in schema and json_equal(value, schema["default"])


def argument_f1(
    call: ToolCall, expected: ExpectedCall, matching: Matching = "exact", tool: Tool | None = None
) -> float:
    """F1 in [0, 1] of the (argument, value) pairs of a call to the expected tool; 0 for another tool.

    A hit is an argument with an accepted value. Precision is over the given arguments, recall over the required
    ones and the optional hits: an optional argument that is left out costs nothing, and so does
    one that the truth leaves out and the call gives as the schema's default (not in BFCL). A call without arguments to
    a tool that needs none has 1.

    Args:
        call: to compare.
        expected: the truth.
        matching: of the values.
        tool: that is called; None where its defaults do not count.
    """
    if call.name != expected.name or call.arguments is None:
        return 0.0
    hits = [
        name
        for name, value in call.arguments.items()
        if name in expected.arguments and values_match(value, expected.arguments[name], matching)
    ]
    wanted = len(set(expected.required) | set(hits))
    unasked = [] if matching == "bfcl" else [name for name in call.arguments if name not in expected.arguments]
    defaults = sum(is_default(tool, name, call.arguments[name]) for name in unasked)
    total = len(call.arguments) - defaults + wanted
    return 2 * len(hits) / total if total else 1.0


@dataclass(frozen=True, slots=True)
class CallPairing:
    """Which call answers which expected call.

    Attributes:
        pairs: (call index, expected index), sorted; as many as the shorter side has.
        extra: indices of the calls that answer nothing.
        missing: indices of the expected calls that nothing answers.
    """

    pairs: tuple[tuple[int, int], ...]
    extra: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()


def match_calls(
    calls: Sequence[ToolCall],
    expected: Sequence[ExpectedCall],
    matching: Matching = "exact",
    tools: Sequence[Tool] = (),
) -> CallPairing:
    """The pairing of greatest total similarity, whatever the order of the calls. Exact, not greedy.

    The similarity is 0 for another tool (or a malformed call) and 1 + `argument_f1` for the same tool, so a call
    of the right tool is always preferred. Takes O(s^2 l) time for the shorter and the longer side.

    Args:
        calls: what was called.
        expected: the truth.
        matching: of the values.
        tools: whose defaults count as left out.
    """
    named = {tool.name: tool for tool in tools}
    similarity = [
        [
            1 + argument_f1(call, wanted, matching, named.get(wanted.name)) if call.name == wanted.name else 0.0
            for wanted in expected
        ]
        for call in calls
    ]
    if len(calls) <= len(expected):
        pairs = list(enumerate(_assign(similarity)))
    else:
        transposed = [[row[column] for row in similarity] for column in range(len(expected))]
        pairs = sorted((call, wanted) for wanted, call in enumerate(_assign(transposed)))
    return CallPairing(
        pairs=tuple(pairs),
        extra=tuple(sorted(set(range(len(calls))) - {call for call, _ in pairs})),
        missing=tuple(sorted(set(range(len(expected))) - {wanted for _, wanted in pairs})),
    )


def _python_equal(value: JSON, answer: JSON) -> bool:
    """As BFCL's checker compares: numbers as doubles."""
    if isinstance(value, dict) and isinstance(answer, dict):
        return value.keys() == answer.keys() and all(_python_equal(value[key], answer[key]) for key in answer)
    if isinstance(value, list) and isinstance(answer, list):
        return len(value) == len(answer) and all(map(_python_equal, value, answer))
    return isinstance(value, bool) == isinstance(answer, bool) and bool(value == answer)


def _bfcl_equal(value: JSON, answer: JSON) -> bool:
    if isinstance(value, list) and isinstance(answer, list):
        return len(value) == len(answer) and all(map(_bfcl_item_equal, value, answer))
    return _bfcl_item_equal(value, answer)


def _bfcl_item_equal(value: JSON, answer: JSON) -> bool:
    if isinstance(value, dict) and isinstance(answer, dict):
        return value.keys() <= answer.keys() and all(
            _is_accepted_field(value, key, accepted if isinstance(accepted, list) else [accepted])
            for key, accepted in answer.items()
        )
    return _loosely_equal(value, answer)


def _is_accepted_field(value: dict[str, JSON], key: str, accepted: Sequence[JSON]) -> bool:
    if key not in value:
        return "" in accepted
    return any(_loosely_equal(value[key], answer) for answer in accepted)


def _loosely_equal(value: JSON, answer: JSON) -> bool:
    if isinstance(value, str) and isinstance(answer, str):
        return _standardized(value) == _standardized(answer)
    return _python_equal(value, answer)


def _standardized(text: str) -> str:
    return _FREE_IN_BFCL.sub("", text).lower().replace("'", '"')


_EQUALITIES: dict[Matching, Callable[[JSON, JSON], bool]] = {"exact": json_equal, "bfcl": _bfcl_equal}


def _assign(similarity: Sequence[Sequence[float]]) -> list[int]:
    """The column of each row in an assignment of greatest total; there are no more rows than columns.

    Kuhn and Munkres' method by shortest augmenting paths: rows enter one at a time, and the potentials keep
    `slack = row + column potential - similarity` non-negative everywhere and zero on assigned pairs.
    """
    if not similarity:
        return []
    columns = range(len(similarity[0]))
    row_potential = [max(row) for row in similarity]
    column_potential = [0.0 for _ in columns]
    row_of: list[int | None] = [None for _ in columns]
    for entering in range(len(similarity)):
        row, column = entering, -1
        distance = [float("inf") for _ in columns]
        reached_from = [-1 for _ in columns]
        visited: list[tuple[int, int]] = [(entering, -1)]  # (row, column through which it was reached)
        free = set(columns)
        while True:
            for c in free:
                slack = row_potential[row] + column_potential[c] - similarity[row][c]
                if slack < distance[c]:
                    distance[c], reached_from[c] = slack, column
            column = min(free, key=lambda c: (distance[c], c))
            step = distance[column]
            for seen_row, seen_column in visited:
                row_potential[seen_row] -= step
                if seen_column >= 0:
                    column_potential[seen_column] += step
            free.remove(column)
            for c in free:
                distance[c] -= step
            owner = row_of[column]
            if owner is None:
                break
            row = owner
            visited.append((row, column))
        while column >= 0:
            before = reached_from[column]
            row_of[column] = entering if before < 0 else row_of[before]
            column = before
    column_of = {row: column for column, row in enumerate(row_of) if row is not None}
    return [column_of[row] for row in range(len(similarity))]
