"""How a failure is put to a simulator."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from fissile.dialects import HermesDialect
from fissile.environments import SingleStep
from fissile.errors import ConfigError
from fissile.feedback import Failure
from fissile.simulator import prompt
from fissile.simulator.prompt import SimulatorPrompt, comparison
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool

BOOK = Tool(
    "book",
    "",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "As 'City, ST'."},
            "nights": {"type": "integer"},
            "view": {"type": "string", "enum": ["sea", "garden"]},
            "note": {"type": "string"},
        },
        "required": ["city", "nights"],
    },
)
CANCEL = Tool("cancel", "", {"type": "object", "properties": {}})
TRUTH = ExpectedCall("book", {"city": ["Bari, PU"], "nights": [2], "note": ["quiet"]}, frozenset({"note"}))
TASK = Task("t", ({"role": "user", "content": "Two nights\nin Bari."},), (BOOK, CANCEL), (TRUTH,))


def failure(text: str, task: Task = TASK) -> Failure:
    said = f"<tool_call>\n{text}\n</tool_call>" if text else "Hello."
    attempt = SingleStep().attempt(task, said, HermesDialect())
    assert attempt.failed
    return Failure(task, attempt)


def call(name: str, arguments: str) -> str:
    return f'{{"name": "{name}", "arguments": {arguments}}}'


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            call("book", '{"city": "Bari", "nights": 2, "note": "loud"}'),
            [
                "book | ok",
                '  city: "Bari" | "Bari, PU" # As \'City, ST\'.',
                "  nights: 2 | ok",
                '  note: "loud" | absent or "quiet"',
            ],
        ),
        (
            call("book", '{"city": "Bari, PU", "days": 2}'),
            ["book | ok", '  city: "Bari, PU" | ok', "  days: 2 | absent", "  nights: absent | 2"],
        ),
        (call("cancel", "{}"), ["cancel | book"]),
        (call("reserve", '{"city": "Bari"}'), ["reserve | book"]),
        ('{"name": "book", ', ['{"name": "book", | book: the text of the call cannot be read']),
        ("", ["Hello. | a tool call", "no call | book"]),
    ],
)
def test_what_was_written_stands_beside_what_was_wanted(text: str, lines: list[str]) -> None:
    assert list(comparison(failure(text))) == lines


def test_an_argument_that_is_only_right_where_it_is_left_out() -> None:
    only_absent = ExpectedCall("book", {**TRUTH.arguments, "view": []}, frozenset({"note", "view"}))
    asked = failure(
        call("book", '{"city": "Bari, PU", "nights": 2, "view": "sea"}'), replace(TASK, ground_truth=(only_absent,))
    )
    assert '  view: "sea" | absent' in list(comparison(asked))


def test_the_prompt_holds_request_tools_and_what_the_run_time_says() -> None:
    system, user = SimulatorPrompt.named("learned").messages(failure(call("book", '{"city": 7, "nights": 2}')))
    assert "never the right value" in system["content"]
    assert user["content"].splitlines() == [
        "request: Two nights in Bari.",
        'tools: book(city: string, nights: integer, view?: "sea" | "garden", note?: string)',
        "others: cancel",
        "written | wanted",
        "book | ok",
        "  city: 7 | \"Bari, PU\" # As 'City, ST'.",
        "  nights: 2 | ok",
        "run-time: argument 'city' must be of type string, not integer.",
    ]


def test_long_texts_are_cut() -> None:
    huge = failure(call("book", '{"city": "' + "x" * 10_000 + '", "nights": 2}'))
    assert max(len(message["content"]) for message in SimulatorPrompt.named("endpoint").messages(huge)) < 2500


def test_a_users_prompt_file(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("Be brief, at most $$1 of words.\n---\n$comparison", encoding="utf-8")
    system, user = SimulatorPrompt.from_file(file).messages(failure(call("cancel", "{}")))
    assert (system["content"], user["content"]) == ("Be brief, at most $$1 of words.", "cancel | book")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("no divider $comparison", "a line '---'"),
        ("x\n---\n$answer $comparison", "uses \\$answer"),
        ("x\n---\ncosts 5$ $comparison", "single \\$"),
        ("x\n---\n$request", "never uses \\$comparison"),
    ],
)
def test_a_prompt_file_that_cannot_be_used(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=complaint):
        SimulatorPrompt.from_file(file)


def test_a_prompt_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        SimulatorPrompt.from_file("/nowhere/prompt.txt")


def test_the_documentation_names_what_is_shown_at_most() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8").split())
    told = text.partition("What a simulator is shown is short:")[2].partition("without a mark.")[0]
    assert [int(number) for number in re.findall(r"[0-9]+", told)] == [
        prompt.MAX_REQUEST,
        prompt.MAX_VALUE,
        prompt.MAX_RUNTIME,
        prompt.MAX_TOOLS,
        prompt.MAX_TOOLS,
        prompt.MAX_ARGUMENTS,
    ]
