from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fissile.cli.data import app, category_table, sections
from fissile.errors import ConfigError, DataError
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool
from tiny import tiny_tokenizer

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def write_tasks(folder: Path, count: int = 10) -> Path:
    path = folder / "mine.jsonl"
    records = [
        {
            "id": f"task-{index}",
            "messages": [{"role": "user", "content": f"Question {index} with [bold]brackets[/bold]"}],
            "tools": [{"name": f"f{index}", "description": "", "parameters": SCHEMA}],
            "ground_truth": [{"name": f"f{index}", "arguments": {"city": "Oslo"}}],
        }
        for index in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def cells(output: str, first: str) -> list[str]:
    """The cells of the table row that begins with `first`."""
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    (row,) = (row for row in rows if row[0] == first)
    return row


def test_stats_of_bfcl_count_categories_sides_and_exclusions(bfcl: Path) -> None:
    output = run("stats", "--categories", "live_simple,live_parallel")
    assert cells(output, "live_simple")[1] == "256"
    assert cells(output, "live_parallel")[1] == "16"
    assert cells(output, "all")[1] == "272"
    assert sum(int(cells(output, side)[1]) for side in ("train", "validation", "test")) == 272
    assert "auto_loan_payment_start" in cells(output, "live_simple_106-63-0")[1]


def test_stats_of_a_file(tmp_path: Path) -> None:
    output = run("stats", "--source", str(write_tasks(tmp_path)))
    assert cells(output, "-")[1:] == ["10", "10", "1.0"]
    assert cells(output, "train") == ["train", "7", "70.0%", "7"]
    assert "excluded" not in output


def test_stats_tell_of_a_split_that_training_refuses(tmp_path: Path) -> None:
    tasks = tmp_path / "one.jsonl"
    tasks.write_text(write_tasks(tmp_path).read_text(encoding="utf-8").splitlines()[0], encoding="utf-8")
    assert "training refuses this split" in run("stats", "--source", str(tasks))


def test_prompt_lengths_are_shown_for_a_tokenizer() -> None:
    tasks = [Task(str(length), (), (), ()) for length in range(1, 11)]

    def prompt_ids(task: Task) -> Sequence[int]:
        return range(int(task.id))

    console = Console(width=200, record=True, file=sys.stderr)
    console.print(category_table(tasks, prompt_ids))
    assert cells(console.export_text(), "-")[-3:] == ["5", "9", "10"]


def test_show_prints_a_task_verbatim(tmp_path: Path) -> None:
    source = str(write_tasks(tmp_path))
    output = run("show", "task-3", "--source", source)
    assert "Question 3 with [bold]brackets[/bold]" in output
    assert '"name": "f3"' in output
    assert 'city: "Oslo"' in output
    default = run("show", "--source", source)
    assert default == run("show", "--source", source, "--split-seed", "0")
    assert "task-" in default


def test_show_names_what_it_cannot_find(tmp_path: Path, bfcl: Path) -> None:
    with pytest.raises(DataError, match=r"no task 'task-99' among these 10"):
        run("show", "task-99", "--source", str(write_tasks(tmp_path)))
    with pytest.raises(DataError, match=r"excluded: The truth accepts no value"):
        run("show", "live_simple_106-63-0")


def test_the_truth_is_written_one_argument_a_line() -> None:
    call = ExpectedCall("f", {"city": ["Oslo", "oslo"], "days": []}, frozenset({"days"}))
    task = Task("t", (), (Tool("f", "", SCHEMA),), (call,))
    assert sections(task)[-1][1] == 'f\n  city: "Oslo" | "oslo"\n  days (may be absent): absent'


def test_looking_at_tasks_loads_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from fissile.cli.data import app\n"
        f"app(['stats', '--source', {str(write_tasks(tmp_path))!r}], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers', 'trl', 'datasets'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_live_tasks_are_shown_with_their_later_turns(bfcl: Path) -> None:
    output = run("show", "multi_turn_miss_func_3", "--categories", "multi_turn_miss_func")
    assert "turn 2, tools revealed" in output
    assert "turn 2, truth" in output
    assert cells(run("stats", "--categories", "multi_turn_base"), "multi_turn_base")[1] == "200"


def test_tasks_over_the_users_own_tools() -> None:
    examples = Path(__file__).parents[2] / "examples"
    own = ("--source", str(examples / "shop.jsonl"), "--tools", str(examples / "shop.py"))
    assert "live tasks" in run("stats", *own)
    assert "take_back" in run("show", *own)


def test_prompts_are_shown_in_the_dialect_that_is_asked_for(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    source = ("task-3", "--source", str(write_tasks(tmp_path)))
    prompts = [
        run("show", *source, "--tokenizer", str(tmp_path / "model"), "--dialect", dialect).split("prompt, ")[1]
        for dialect in ("hermes", "python")
    ]
    assert ["<tool_call>" in prompt for prompt in prompts] == [True, False]
    assert "tokens, dialect python" in prompts[1]
    with pytest.raises(ConfigError, match="--dialect would do nothing without --tokenizer"):
        run("show", *source, "--dialect", "python")
