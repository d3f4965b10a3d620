"""The corpus of hostile model outputs and tool results: the small ones from a file, the huge ones made here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fissile.calls import JSON, ToolCall
from fissile.dialects import DIALECTS, Dialect, MistralDialect

MILLION = 1_000_000

FORMATS: dict[str, Dialect] = {
    **{d.name: d for d in map(DIALECTS.made, DIALECTS)},
    "mistral args": MistralDialect("args"),
}
"""Every way in which calls are written."""


@dataclass(frozen=True)
class Probe:
    """A right call of one argument, which the corpus makes hostile: its name, its argument's name or its value."""

    tool: str
    argument: str

    def call(self, value: JSON = "x") -> ToolCall:
        return ToolCall(self.tool, {self.argument: value}, "")


ECHO = Probe("echo", "content")
"""Of BFCL's world."""


@dataclass(frozen=True)
class Case:
    """One hostile response.

    Attributes:
        name: unique in the corpus.
        danger: what it stands for.
        write: its text in a dialect.
        seconds: the CPU time that reading it may take.
    """

    name: str
    danger: str
    write: Callable[[Dialect], str]
    seconds: float = 0.5


@cache
def corpus() -> dict[str, list[dict[str, Any]]]:
    """The file: kind to records, each with a name and a danger."""
    loaded: dict[str, list[dict[str, Any]]] = json.loads(Path(__file__).with_name("hostile_outputs.json").read_text())
    return loaded


def small_cases(probe: Probe = ECHO) -> list[Case]:
    """Texts as they are; names, argument names and values in a call of the probe, which each dialect writes."""
    return [
        *(_text(record, record["text"]) for record in corpus()["texts"]),
        *(_calls(record, [ToolCall(record["value"], {probe.argument: "x"}, "")]) for record in corpus()["tool_names"]),
        *(_calls(record, [_with_key(probe, record["value"])]) for record in corpus()["argument_names"]),
        *(_calls(record, [probe.call(record["value"])]) for record in corpus()["values"]),
        *(_calls(record, [ToolCall(*call, "") for call in record["calls"]]) for record in (*corpus()["bombs"], *LONG)),
    ]


def huge_cases(probe: Probe = ECHO) -> list[Case]:
    """Ten thousand levels, thousands of calls and a million characters."""
    return [
        *(_huge(f"a million characters of {unit!r}", _repeated(unit)) for unit in UNITS),
        *(_huge(f"ten thousand levels of {unit!r}", unit * 10_000) for unit in LEVELS),
        *(_huge(f"a call and {name}", text) for name, text in _behind_an_opening()),
        _huge_calls("five thousand calls", [probe.call()] * 5_000),
        _huge_calls("five thousand unknown tools", [ToolCall(f"f{n}", {}, "") for n in range(5_000)]),
        _huge_calls("a long tool name", [ToolCall("f" * 100_000, {}, "")]),
        _huge_calls("a long argument name", [ToolCall(probe.tool, {"k" * 100_000: 1}, "")]),
        _huge_calls("a long value", [probe.call("x" * MILLION)]),
        _huge_calls("a long value of quotes", [probe.call("\"'\\" * 100_000)]),
        _huge_calls("a long list", [probe.call([0] * 100_000)]),
        _huge_calls("many arguments", [ToolCall(probe.tool, {f"k{n}": n for n in range(20_000)}, "")]),
    ]


def result_texts() -> dict[str, str]:
    """Hostile tool results by name: made for it, and everything else that a tool could give back."""
    values = {case["name"]: case["value"] for case in corpus()["values"] if isinstance(case["value"], str)}
    return {case["name"]: case["text"] for case in (*corpus()["results"], *corpus()["texts"])} | values


UNITS = (
    "a", " ", "\n", "\\", "'", '"', "(", "[", "{", "9", "-", "\ud800", "\u0300", "```", '"""', "<think>", "</think>",
    "<tool_call>", "</tool_call>", '<tool_call>{"', '{"name":', '{"name": "', '{"name": "f", "parameters": {}};',
    "<|python_tag|>", "<|python_tag|>{", "[TOOL_CALLS]", "[TOOL_CALLS][", "[TOOL_CALLS]f[ARGS]{", "[ARGS]", "[f(",
    "[f(a='", "f(\n", "f(a=1),", "[f(a=1)]", "f(a=\\", "[f(**{", "#", "\\N{",
)  # fmt: skip
"""What a million characters are made of: the beginnings of everything that a parser looks for."""

LEVELS = ("[f(a=", "[f(a=[", '{"name": "f", "parameters": ', '<tool_call>{"a": ', "[TOOL_CALLS] [", "[TOOL_CALLS]f{")

LONG: list[dict[str, Any]] = [
    {
        "name": "bomb: write again and again",
        "danger": "a call of the world that takes for ever or grows without end",
        "calls": [["touch", {"file_name": "f"}]]
        + [["echo", {"content": "x" * 40_000, "file_name": "f"}], ["cat", {"file_name": "f"}]] * 15,
    },
    {
        "name": "bomb: regular expressions for grep and find",
        "danger": "a pattern that takes for ever to match",
        "calls": [
            ["touch", {"file_name": "f"}],
            ["echo", {"content": "a" * 40_000 + "!", "file_name": "f"}],
            ["grep", {"file_name": "f", "pattern": "(a+)+$"}],
            ["grep", {"file_name": "f", "pattern": "((a*)*)*b"}],
            ["find", {"path": ".", "name": "(a|aa)+$"}],
        ],
    },
    {
        "name": "bomb: differences of long files",
        "danger": "a call of the world that takes for ever or grows without end",
        "calls": [
            *([tool, {"file_name": name, **more}] for name, letter in (("f", "a"), ("g", "b")) for tool, more in (
                ("touch", {}), ("echo", {"content": f"{letter}\n" * 20_000}),
            )),
            ["diff", {"file_name1": "f", "file_name2": "g"}],
        ],
    },
]  # fmt: skip
"""Bombs of the world that are too long for the file."""


def _text(record: dict[str, Any], text: str) -> Case:
    return Case(record["name"], record["danger"], lambda _: text)


def _calls(record: dict[str, Any], calls: list[ToolCall]) -> Case:
    return Case(record["name"], record["danger"], lambda dialect: dialect.render_calls(calls))


def _huge(name: str, text: str) -> Case:
    return Case(f"huge: {name}", "the parser takes for ever", lambda _: text, seconds=5.0)


def _huge_calls(name: str, calls: list[ToolCall]) -> Case:
    return Case(f"huge: {name}", "size", lambda dialect: dialect.render_calls(calls), seconds=5.0)


def _with_key(probe: Probe, key: str) -> ToolCall:
    return ToolCall(probe.tool, {probe.argument: "x", key: "x"}, "")


def _repeated(unit: str) -> str:
    return unit * (MILLION // len(unit))


def _behind_an_opening() -> Iterator[tuple[str, str]]:
    """Openings of calls that something long stands behind."""
    openings = ('<tool_call>{"name": "f", "arguments": {"a": ', '{"name": "f", "parameters": {"a": ', "[f(a=")
    for opening in openings:
        yield f"a number behind {opening}", opening + "9" * MILLION
        yield f"a string behind {opening}", opening + '"' + "\\" * MILLION
        yield f"ten thousand lists behind {opening}", opening + "[" * 10_000 + "]" * 10_000
