"""What is measured: the cases, and real BFCL prompts of their lengths.

BFCL's single-turn prompts end at 826 tokens of SmolLM2. A longer prompt is a real one whose tools are joined by those
of other tasks, until the length is reached: all of it is real tool text.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fissile.dialects import ChatFormat
from fissile.tasks import Task

_NEAR = 0.1
"""A prompt whose length is off by at most this share is near enough to need no more tools."""


@dataclass(frozen=True, slots=True)
class Case:
    """One setting.

    Attributes:
        prompt_tokens: of each prompt, about.
        group_size: completions of a prompt.
        completion: tokens of each completion.
        groups: prompts.
        adapter: folder of the LoRA adapter that the policy starts with; "" for a fresh one.
    """

    prompt_tokens: int
    group_size: int
    completion: int
    groups: int
    adapter: str = ""

    @property
    def rows(self) -> int:
        """Completions in all."""
        return self.groups * self.group_size

    @property
    def new_tokens(self) -> int:
        """Tokens of all completions."""
        return self.rows * self.completion

    def __str__(self) -> str:
        return f"prompt {self.prompt_tokens}, {self.groups} groups of {self.group_size}, completion {self.completion}"


def sweep(
    prompt_tokens: Sequence[int],
    group_sizes: Sequence[int],
    completions: Sequence[int],
    groups: int,
    same_rows: bool = False,
    adapter: str = "",
) -> list[Case]:
    """The base case, made of the first value of each dimension, then one dimension at a time moved away from it.

    Args:
        prompt_tokens: tokens of a prompt.
        group_sizes: completions of a prompt.
        completions: tokens of a completion.
        groups: prompts of the base case.
        same_rows: larger groups are fewer, so that every case has about as many rows as the base case.
        adapter: as in `Case`.
    """
    base = Case(prompt_tokens[0], group_sizes[0], completions[0], groups, adapter)
    sized = [
        replace(base, group_size=size, groups=max(1, base.rows // size) if same_rows else groups)
        for size in group_sizes[1:]
    ]
    return [
        base,
        *(replace(base, prompt_tokens=tokens) for tokens in prompt_tokens[1:]),
        *sized,
        *(replace(base, completion=tokens) for tokens in completions[1:]),
    ]


def prompt_tasks(tasks: Sequence[Task], chat: ChatFormat, prompt_tokens: int, count: int) -> list[Task]:
    """The `count` tasks with prompts nearest to a length, each with more tools if it is still far from it."""

    def distance(task: Task) -> int:
        return abs(_length(task, chat) - prompt_tokens)

    nearest = sorted(tasks, key=distance)[:count]
    return [
        task
        if distance(task) <= _NEAR * prompt_tokens or _length(task, chat) > prompt_tokens
        else min(_with_more_tools(task, tasks, chat, prompt_tokens, seed), key=distance)
        for seed, task in enumerate(nearest)
    ]


def _with_more_tools(
    task: Task, others: Sequence[Task], chat: ChatFormat, prompt_tokens: int, seed: int
) -> Iterator[Task]:
    """The task, then with one more foreign tool each time, until it is too long or there is no other tool."""
    yield task
    for other in random.Random(seed).sample(others, len(others)):
        known = {tool.name for tool in task.tools}
        for tool in other.tools:
            if tool.name in known or _length(task, chat) > prompt_tokens:
                continue
            known.add(tool.name)
            task = replace(task, tools=(*task.tools, tool))
            yield task
        if _length(task, chat) > prompt_tokens:
            return


def _length(task: Task, chat: ChatFormat) -> int:
    return len(chat.prompt_ids(task.messages, task.tools))
