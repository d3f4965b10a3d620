"""BFCL's multi-turn world: whole ground-truth episodes a second, and its verdicts against the official checker's.

python -m benchmarks.world
python -m benchmarks.world --cross-check
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.official_checker import checker, official_multi_turn
from benchmarks.report import machine, spread
from fissile.calls import JSON, ToolCall
from fissile.environments.bfcl import BFCLWorld, function_names
from fissile.environments.bfcl.session import first_values
from fissile.tasks import Task, load_bfcl_multi_turn

RESULTS = Path(__file__).parent / "results" / "world.json"

Episode = list[list[list[ToolCall]]]
"""Turns of steps of calls."""


def call(name: str, arguments: dict[str, JSON]) -> ToolCall:
    return ToolCall(name, arguments, json.dumps({"name": name, "arguments": arguments}))


def truth(task: Task) -> Episode:
    """The ground truth, one step a turn; a turn without a call has no step."""
    calls = [[call(expected.name, first_values(expected)) for expected in turn.ground_truth] for turn in task.turns]
    return [[turn] if turn else [] for turn in calls]


def judged(task: Task, episode: Episode, world: BFCLWorld) -> tuple[bool, str]:
    """Our verdict on an episode, and its reason."""
    world.reset(task)
    for index, turn in enumerate(episode):
        for step in turn:
            world.execute(step)
        verdict = world.judge(index)
    return verdict.valid, verdict.reason


@dataclass(frozen=True)
class Wanderer:
    """Makes wrong and random episodes, with values that occur in the ground truth of some entry.

    Attributes:
        random: decides.
        values: (function, argument) and ("", argument) to the values that the truth of all entries gives it.
        functions: every function to its arguments, and which of them are required.
    """

    random: random.Random
    values: dict[tuple[str, str], list[JSON]]
    functions: dict[str, tuple[tuple[str, ...], frozenset[str]]]

    @classmethod
    def over(cls, tasks: Sequence[Task], seed: int) -> Wanderer:
        """One that knows the values of some tasks."""
        values: defaultdict[tuple[str, str], list[JSON]] = defaultdict(list)
        functions: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {}
        for task in tasks:
            for turn in task.turns:
                for tool in (*task.tools, *turn.revealed):
                    functions[tool.name] = (tuple(tool.properties), frozenset(tool.required))
                for expected in turn.ground_truth:
                    for name, value in first_values(expected).items():
                        values[expected.name, name].append(value)
                        values["", name].append(value)
        return cls(random.Random(seed), values, functions)

    def value(self, function: str, argument: str) -> JSON:
        """A value that some entry gives that argument, or one of that name; else anything."""
        known = self.values.get((function, argument)) or self.values.get(("", argument))
        return self.random.choice(known or [1, 2.5, "name", True, ["name"], {"status": "Open"}, 0, -3, "", None])

    def some_call(self, task: Task) -> ToolCall:
        """A call of any function of the task's world."""
        name = self.random.choice(sorted(function_names(task) & self.functions.keys()))
        arguments, required = self.functions[name]
        given = [argument for argument in arguments if argument in required or self.random.random() < 0.4]
        return call(name, {argument: self.value(name, argument) for argument in given})

    def random_episode(self, task: Task) -> Episode:
        """Up to five calls a turn, of any functions."""
        return [
            self._steps([self.some_call(task) for _ in range(self.random.choice([0, 1, 1, 2, 3, 5]))])
            for _ in task.turns
        ]

    def wrong_episode(self, task: Task) -> Episode:
        """The truth, with one to three corruptions."""
        turns = [[made for step in turn for made in step] for turn in truth(task)]
        for _ in range(self.random.choice([1, 1, 2, 3])):
            self.random.choice(self._corruptions())(task, turns)
        return [self._steps(turn) for turn in turns]

    def _corruptions(self) -> Sequence[Callable[[Task, list[list[ToolCall]]], None]]:
        return (
            self._drop,
            self._repeat,
            self._insert,
            self._insert,
            self._shuffle,
            self._empty,
            self._early,
            self._change_value,
            self._change_value,
            self._change_type,
            self._change_arguments,
            self._change_function,
        )

    def _place(self, turns: list[list[ToolCall]]) -> tuple[list[ToolCall], int]:
        """A turn that has calls, and the index of one."""
        turn = self.random.choice([turn for turn in turns if turn] or [[call("pwd", {})]])
        return turn, self.random.randrange(len(turn))

    def _drop(self, task: Task, turns: list[list[ToolCall]]) -> None:
        turn, index = self._place(turns)
        del turn[index]

    def _repeat(self, task: Task, turns: list[list[ToolCall]]) -> None:
        turn, index = self._place(turns)
        turn.insert(index, turn[index])

    def _insert(self, task: Task, turns: list[list[ToolCall]]) -> None:
        turn = self.random.choice(turns)
        turn.insert(self.random.randint(0, len(turn)), self.some_call(task))

    def _shuffle(self, task: Task, turns: list[list[ToolCall]]) -> None:
        self.random.shuffle(self.random.choice(turns))

    def _empty(self, task: Task, turns: list[list[ToolCall]]) -> None:
        self.random.choice(turns).clear()

    def _early(self, task: Task, turns: list[list[ToolCall]]) -> None:
        """A turn's calls are made in the turn before."""
        index = self.random.randrange(len(turns))
        if index:
            turns[index - 1] += turns[index]
            turns[index] = []

    def _change_value(self, task: Task, turns: list[list[ToolCall]]) -> None:
        turn, index = self._place(turns)
        name, arguments = turn[index].name or "", dict(turn[index].arguments or {})
        if arguments:
            argument = self.random.choice(sorted(arguments))
            turn[index] = call(name, {**arguments, argument: self.value(name, argument)})

    def _change_type(self, task: Task, turns: list[list[ToolCall]]) -> None:
        turn, index = self._place(turns)
        name, arguments = turn[index].name or "", dict(turn[index].arguments or {})
        if arguments:
            argument = self.random.choice(sorted(arguments))
            value = arguments[argument]
            others: list[JSON] = [str(value), [value], {"value": value}, None, 1, 1.5, True, 1e999]
            turn[index] = call(name, {**arguments, argument: self.random.choice(others)})

    def _change_arguments(self, task: Task, turns: list[list[ToolCall]]) -> None:
        """One is left out, renamed or added."""
        turn, index = self._place(turns)
        name, arguments = turn[index].name or "", dict(turn[index].arguments or {})
        change = self.random.randrange(3)
        if arguments and change < 2:
            value = arguments.pop(self.random.choice(sorted(arguments)))
            if change:
                arguments["other"] = value
        else:
            arguments["extra"] = "value (of an extra argument)"
        turn[index] = call(name, arguments)

    def _change_function(self, task: Task, turns: list[list[ToolCall]]) -> None:
        turn, index = self._place(turns)
        name = self.random.choice([*sorted(function_names(task)), "no_such_function", "exit", "print", "a b", "os.x"])
        turn[index] = call(name, dict(turn[index].arguments or {}))

    def _steps(self, calls: list[ToolCall]) -> list[list[ToolCall]]:
        """The calls in steps of random size."""
        cuts = [index for index in range(1, len(calls)) if self.random.random() < 0.5]
        return [calls[a:b] for a, b in zip([0, *cuts], [*cuts, len(calls)], strict=True) if a < b]


def trajectories(tasks: Sequence[Task], corrupted: int, wandering: int, seed: int) -> Iterator[tuple[Task, Episode]]:
    """Some episodes made from the truth, then some random ones, over all tasks in turn."""
    wanderer = Wanderer.over(tasks, seed)
    for make, count in ((wanderer.wrong_episode, corrupted), (wanderer.random_episode, wandering)):
        start = wanderer.random.randrange(len(tasks))
        for number in range(count):
            task = tasks[(start + number) % len(tasks)]
            yield task, make(task)


@dataclass
class CrossCheck:
    """How often our verdict and the official one agree.

    Attributes:
        outcomes: official error type ("valid" for none) to its count.
        differences: (task id, ours, official, episode) where verdict or error type differ.
    """

    outcomes: Counter[str]
    differences: list[tuple[str, str, str, Episode]]

    @classmethod
    def of(cls, episodes: Iterator[tuple[Task, Episode]]) -> CrossCheck:
        """Both verdicts on each episode."""
        check, world = cls(Counter(), []), BFCLWorld()
        for task, episode in episodes:
            ours = judged(task, episode, world)
            official = official_multi_turn(task, episode)
            check.outcomes[official.error_type or "valid"] += 1
            if ours != tuple(official):
                check.differences.append((task.id, ours[1], official.error_type, episode))
        return check


def cross_check(corrupted: int, wandering: int, seed: int = 0) -> dict[str, Any]:
    """Counts of agreement, for the episodes made from the truth and the random ones."""
    tasks = load_bfcl_multi_turn().tasks
    found = {
        "corrupted truth": CrossCheck.of(trajectories(tasks, corrupted, 0, seed)),
        "random policy": CrossCheck.of(trajectories(tasks, 0, wandering, seed)),
    }
    return {
        policy: {
            "episodes": sum(check.outcomes.values()),
            "different verdict or error type": len(check.differences),
            "official outcomes": dict(check.outcomes.most_common()),
            "differences": [[task, ours, official] for task, ours, official, _ in check.differences],
        }
        for policy, check in found.items()
    }


def speed(rounds: int) -> dict[str, Any]:
    """Ground-truth episodes of base a second of CPU time: ours, and the official checker's, which runs each twice."""
    tasks = load_bfcl_multi_turn(["multi_turn_base"]).tasks
    episodes = [(task, truth(task)) for task in tasks]
    world = BFCLWorld()
    ours: list[float] = []
    official: list[float] = []
    for _ in range(rounds + 1):  # the first warms up
        ours.append(_rate(episodes, lambda task, episode: judged(task, episode, world)[0]))
        official.append(_rate(episodes, lambda task, episode: _officially_valid(task)))
    ratio = [a / b for a, b in zip(ours, official, strict=True)]
    return {
        "fissile, episodes/s": {**spread(ours[1:]), "target": ">= 3000"},
        "official checker, episodes/s": spread(official[1:]),
        "fissile / official": spread(ratio[1:]),
    }


def _officially_valid(task: Task) -> bool:
    """The official checker's word on the official text of the truth."""
    truth_text: list[list[str]] = task.reference["ground_truth"]
    told = [[turn] if turn else [] for turn in truth_text]
    return bool(checker()(told, truth_text, task.reference["entry"])["valid"])


def _rate(episodes: Sequence[tuple[Task, Episode]], valid: Callable[[Task, Episode], bool]) -> float:
    """Episodes a second; all of them must be valid."""
    began = time.process_time()
    for task, episode in episodes:
        if not valid(task, episode):
            raise RuntimeError(f"The truth of {task.id} is judged wrong.")
    return len(episodes) / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cross-check", action="store_true", help="compare verdicts instead of measuring speed")
    parser.add_argument("--corrupted", type=int, default=20_000, help="episodes made from the truth")
    parser.add_argument("--random", type=int, default=8_000, help="episodes of a random policy")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of all 200 episodes")
    given = parser.parse_args()
    section = "cross-check" if given.cross_check else "speed"
    figures = cross_check(given.corrupted, given.random) if given.cross_check else speed(given.rounds)
    arguments = ["--cross-check"] if given.cross_check else []
    held = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"table": "world"}
    held[section] = {**figures, "machine": machine(arguments, "benchmarks.world")}
    RESULTS.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(held[section], indent=2))


if __name__ == "__main__":
    main()
