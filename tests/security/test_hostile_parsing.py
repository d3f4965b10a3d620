"""Every hostile output through every dialect: no exception, no execution, in time, and JSON or a parse error."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from fissile.calls import JSON, ParsedResponse
from fissile.dialects import Dialect
from security.execution_canary import ExecutedError, nothing_runs
from security.hostile_cases import FORMATS, Case, corpus, huge_cases, small_cases

CASES = {case.name: case for case in (*small_cases(), *huge_cases())}
PARSERS = FORMATS.keys() - {"mistral args"}
"""Mistral's two ways to write calls are read by one parser."""


def problems(case: Case, dialect: Dialect) -> list[str]:
    """What is wrong with how the dialect reads the case."""
    text = case.write(dialect)
    began = time.thread_time()
    try:
        parsed = dialect.parse(text)
    except Exception as error:  # the contract: never, on any text
        return [f"raised {error!r}"]
    seconds = time.thread_time() - began
    found = [f"took {seconds:.2f} s"] if seconds > case.seconds else []
    return found + [problem for check in (misplaced, mistyped) for problem in check(parsed, text)]


def misplaced(parsed: ParsedResponse, text: str) -> list[str]:
    """Calls that do not stand where they say, and positions outside the response."""
    found = [f"{call.text[:40]!r} does not stand at {call.position}" for call in parsed.calls
             if not text.startswith(call.text, call.position)]  # fmt: skip
    errors = [call.parse_error for call in parsed.calls if call.parse_error is not None]
    return found + [f"position {error.position}" for error in errors if not 0 <= error.position <= len(text)]


def mistyped(parsed: ParsedResponse, _: str) -> list[str]:
    """Well-formed calls that are not a name and JSON."""
    return [
        f"{call.name!r} is not well-formed"
        for call in parsed.calls
        if call.is_well_formed
        and not (type(call.name) is str and type(call.arguments) is dict and is_json(call.arguments))
    ]


def is_json(value: JSON) -> bool:
    """True for what JSON can say and give back."""
    return bool(json.loads(json.dumps(value, allow_nan=False)) == value)


def test_the_corpus_is_large_and_says_what_it_is_for() -> None:
    records = [record for kind in corpus().values() for record in kind]
    assert len(CASES) > 400
    assert len({record["name"] for record in records}) == len(records)
    assert all(record["danger"] for record in records)
    assert all(case.danger for case in CASES.values())


@pytest.mark.parametrize("name", FORMATS)
def test_no_case_is_too_much_for_a_parser(name: str) -> None:
    dialect = FORMATS[name]
    dialect.parse(dialect.render_calls([]))  # what is imported at first use is imported now
    cases = [case for case in CASES.values() if name in PARSERS or "million" not in case.name]
    with nothing_runs():
        found = {case.name: problem for case in cases if (problem := problems(case, dialect))}
    assert found == {}


@pytest.mark.parametrize("name", FORMATS)
def test_a_written_value_is_read_as_it_was_meant(name: str) -> None:
    """Hostile values are values: none is lost, and none becomes something else."""
    dialect = FORMATS[name]
    changed = []
    for record in corpus()["values"]:
        calls = dialect.parse(CASES[record["name"]].write(dialect)).calls
        if [json.dumps(call.arguments) for call in calls] != [json.dumps({"content": record["value"]})]:
            changed.append(record["name"])
    assert changed == []


def test_the_canary_sees_what_a_parser_must_not_do() -> None:
    """The tests above would be worth nothing if it slept."""
    forbidden = (
        lambda: eval("1"),
        lambda: exec("1"),
        lambda: compile("1", "x", "eval"),
        lambda: Path("/dev/null").read_bytes(),
        lambda: os.system("true"),
        lambda: __import__("this"),
        lambda: list(Path("/").iterdir()),
    )
    for act in forbidden:
        with pytest.raises(AssertionError), nothing_runs(), pytest.raises(ExecutedError):
            act()
