from dataclasses import asdict
from functools import cache

from benchmarks.cases import Case, prompt_tasks, sweep

from fissile.dialects import ChatFormat, get_dialect
from fissile.tasks import ExpectedCall, Task
from fissile.tools import Tool
from tiny import tiny_tokenizer


@cache
def chat() -> ChatFormat:
    return ChatFormat(tiny_tokenizer(tools_in_template=True), get_dialect("hermes"))


def tasks() -> list[Task]:
    made = []
    for number in range(8):
        tool = Tool(f"tool_{number}", "x" * 20 * number, {"type": "object", "properties": {}})
        truth = (ExpectedCall.exactly(tool.name, {}),)
        made.append(Task(f"t{number}", ({"role": "user", "content": "Do it."},), (tool,), truth))
    return made


def length(task: Task) -> int:
    return len(chat().prompt_ids(task.messages, task.tools))


def test_one_dimension_moves_at_a_time() -> None:
    cases = sweep([300, 1000], [8, 4], [64], groups=4)
    assert cases == [Case(300, 8, 64, 4), Case(1000, 8, 64, 4), Case(300, 4, 64, 4)]


def test_with_the_same_rows_larger_groups_are_fewer() -> None:
    assert {case.rows for case in sweep([300], [8, 4, 16], [64], groups=4, same_rows=True)} == {32}
    assert [case.groups for case in sweep([300], [8, 64], [64], groups=4, same_rows=True)] == [4, 1]


def test_a_case_survives_its_json() -> None:
    case = Case(300, 8, 64, 4, "an/adapter")
    assert Case(**asdict(case)) == case


def test_the_nearest_prompts_are_taken_as_they_are() -> None:
    every = tasks()
    wanted = length(every[3])
    chosen = prompt_tasks(every, chat(), wanted, 2)
    assert chosen[0] is every[3]
    assert {task.id for task in chosen} <= {"t2", "t3", "t4"}


def test_longer_prompts_are_made_of_other_tasks_tools() -> None:
    every = tasks()
    wanted = 2 * length(every[-1])
    (chosen,) = prompt_tasks(every, chat(), wanted, 1)
    assert chosen.id == "t7"
    assert chosen.ground_truth == every[7].ground_truth
    assert len(chosen.tools) > 1
    assert {tool.name for tool in chosen.tools} <= {tool.name for task in every for tool in task.tools}
    assert abs(length(chosen) - wanted) < 150


def test_without_enough_tools_the_longest_possible_prompt_is_taken() -> None:
    (chosen,) = prompt_tasks(tasks(), chat(), 100_000, 1)
    assert len(chosen.tools) == 8
