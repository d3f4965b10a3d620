"""`fissile data check` says what training would refuse, all at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fissile.cli.data import app

TOOLS = '''
import itertools
COUNT = itertools.count()

class Shop:
    """A shop."""

    def __init__(self, stock: int = 3) -> None:
        self.stock = stock

    def take(self, count: int) -> int:
        """Take some.

        Args:
            count: how many.
        """
        if count == 13:
            raise RuntimeError("broken")
        self.stock -= count
        return self.stock

    def chance(self) -> int:
        """A number."""
        import time
        return time.perf_counter_ns()
'''


def task(name: str, *calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": name, "messages": [{"role": "user", "content": "Go."}], "ground_truth": list(calls), **more}


def take(count: Any) -> dict[str, Any]:
    return {"name": "take", "arguments": {"count": count}}


def check(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["check", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.fixture
def live(tmp_path: Path) -> list[str]:
    (tmp_path / "shop.py").write_text(TOOLS, encoding="utf-8")
    return ["--source", str(tmp_path / "tasks.jsonl"), "--tools", str(tmp_path / "shop.py")]


def write(folder: Path, *rows: Any) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "tasks.jsonl").write_text("\n".join(lines), encoding="utf-8")


def test_every_fault_of_live_tasks_is_listed_at_once(tmp_path: Path, live: list[str]) -> None:
    broken = [
        task("explodes", take(13)),
        task("by-chance", {"name": "chance", "arguments": {}}),
        task("setup", take(1), world={"setup": {"arguments": {"room": 1}}}),
        "{",
        task("schema", take("three")),
        task("unknown", {"name": "give", "arguments": {}}),
        task("role", take(1)) | {"messages": [{"role": "wizard", "content": "x"}]},
    ]
    write(tmp_path, *(task(f"good-{n}", take(n)) for n in range(1, 9)), *broken)
    code, output = check(*live)
    assert code == 2
    for words in (
        "'explodes': the ground truth of turn 0 cannot be replayed",
        "'by-chance': the ground truth of turn 0, replayed twice, went two ways: chance() said '",
        "constructing Shop failed",
        "tasks.jsonl:12: it is not JSON",
        "tasks.jsonl:13: the ground truth breaks the schema",
        "the ground truth calls 'give'",
        "tasks.jsonl:15: messages[0]: a message has the role 'wizard'",
        "7 faults",
    ):
        assert words in output
    write(tmp_path, *(task(f"good-{n}", take(n)) for n in range(1, 9)))
    code, output = check(*live)
    assert (code, "no faults" in output) == (0, True)


def test_a_split_that_training_refuses_is_refused(tmp_path: Path) -> None:
    tool = {"name": "take", "parameters": {"type": "object", "properties": {"count": {"type": "integer"}}}}
    write(tmp_path, *(task(f"t{n}", take(n), tools=[tool]) for n in range(5)))
    code, output = check("--source", str(tmp_path / "tasks.jsonl"))
    assert code == 2
    assert "No held-out task is left of 5" in output


def test_tools_that_the_dialect_cannot_call_are_named_once(tmp_path: Path) -> None:
    tools = [
        {"name": name, "parameters": {"type": "object", "properties": {"count": {"type": "integer"}}}}
        for name in ("3d", *(f"take{n}" for n in range(12)))
    ]
    rows = [task(f"t{n}", {"name": f"take{n}", "arguments": {"count": 1}}, tools=tools) for n in range(12)]
    write(tmp_path, *rows)
    source = ["--source", str(tmp_path / "tasks.jsonl")]
    code, output = check(*source, "--dialect", "python")
    assert code == 2
    assert output.count("'3d' cannot be called in the dialect 'python'") == 1
    code, output = check(*source, "--dialect", "hermes")
    assert (code, "no faults" in output) == (0, True)


def test_prompts_are_measured_as_training_measures_them(tmp_path: Path) -> None:
    from tiny import tiny_tokenizer

    tiny_tokenizer().save_pretrained(tmp_path / "model")
    rows = []
    for n in range(12):
        tool = {"name": f"f{n}", "parameters": {"type": "object", "properties": {"count": {"type": "integer"}}}}
        rows.append(task(f"t{n}", {"name": f"f{n}", "arguments": {"count": 1}}, tools=[tool]))
    rows[0]["messages"][0]["content"] = "Go. " * 200
    write(tmp_path, *rows)
    source = ["--source", str(tmp_path / "tasks.jsonl"), "--model", str(tmp_path / "model")]
    code, output = check(*source, "--set", "tasks.max_prompt_tokens=900")
    assert code == 0
    assert "12 measured" in output
    assert "1 exceed tasks.max_prompt_tokens = 900" in output
    code, output = check(*source, "--set", "tasks.max_prompt_tokens=16")
    assert code == 2
    assert "No training task is left of 12" in output


def test_what_is_left_out_of_the_rows_is_said(tmp_path: Path) -> None:
    rows = []
    for n in range(12):
        tool = {"name": f"f{n}", "parameters": {"type": "object", "properties": {"count": {"type": "integer"}}}}
        rows.append(task(f"t{n}", {"name": f"f{n}", "arguments": {"count": 1, "other": None}}, tools=[tool]))
    write(tmp_path, *rows)
    code, output = check("--source", str(tmp_path / "tasks.jsonl"))
    assert code == 0
    assert "null arguments of the truth are left out" in output
    assert "(12 times)" in output
