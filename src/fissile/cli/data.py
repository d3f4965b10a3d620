"""`fissile data`: what a task source holds, how it is split, and what one task looks like."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from fissile.cli.data_check import check
from fissile.cli.options import TemplateOptions, refuse_idle, template_options
from fissile.console import PlainConsole
from fissile.errors import DataError
from fissile.statistics import quantile
from fissile.tasks import (
    CATEGORIES,
    MULTI_TURN_CATEGORIES,
    ONE_CALL_CATEGORIES,
    BFCLTasks,
    ExpectedCall,
    Split,
    Task,
    World,
    load_bfcl,
    load_bfcl_multi_turn,
    load_jsonl,
    load_tasks,
    said,
    split_by_function,
)

app = typer.Typer(help="Look at the tasks.", no_args_is_help=True)
app.command("check")(check)

CHECK = "fissile data check replays the truths, and shows what training would refuse"
"""Said where the tasks are shown."""

ONE_SIDED = (
    "training refuses this split: tasks are needed to train on and held out, and sides share no function; give more "
    "tasks with different functions"
)
"""Said where a side of the split is empty."""

SourceArgument = Annotated[str, typer.Option(help="'bfcl', a JSON-lines file, or a Hugging Face dataset id.")]
Categories = Annotated[str, typer.Option(help="BFCL categories, separated by commas, or 'all'.")]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split by function name.")]
TokenizerOption = Annotated[str | None, typer.Option(help="Count or render prompts with this model's tokenizer.")]

Tools = Annotated[str | None, typer.Option(help="A Python file with the tools of the tasks.")]
PromptDialect = Annotated[str, typer.Option(help="Tool-call format of the prompts, as model.dialect.")]

_DEFAULT_CATEGORIES = ",".join(ONE_CALL_CATEGORIES)


@app.command()
def stats(
    context: typer.Context,
    source: SourceArgument = "bfcl",
    categories: Categories = _DEFAULT_CATEGORIES,
    split_seed: SplitSeed = 0,
    tokenizer: TokenizerOption = None,
    tools: Tools = None,
    dialect: PromptDialect = "hermes",
    template_option: TemplateOptions = None,
) -> None:
    """Counts by category and by side of the split, and what was left out."""
    _refuse_without(tokenizer, context)
    loaded = _load(source, categories, tools)
    prompt_ids = prompt_renderer(tokenizer, dialect, template_options(template_option))[0] if tokenizer else None
    console = PlainConsole()
    console.table(category_table(loaded.tasks, prompt_ids))
    if any(task.world is not None for task in loaded.tasks):
        console.print("live tasks: their split is the recipe's (tasks.held_out, or at random for your own tools)")
    else:
        split = split_by_function(loaded.tasks, split_seed)
        console.table(split_table(split))
        if not split.train or not (split.test or split.validation):
            console.print(ONE_SIDED)
    if loaded.excluded:
        table = Table("task", "reason", title="excluded", title_justify="left")
        for task_id, reason in loaded.excluded.items():
            table.add_row(Text(task_id), Text(reason))
        console.table(table)
    console.print(CHECK)


@app.command()
def show(
    context: typer.Context,
    task_id: Annotated[str | None, typer.Argument(help="The task; the first one of the test side by default.")] = None,
    source: SourceArgument = "bfcl",
    categories: Categories = _DEFAULT_CATEGORIES,
    split_seed: SplitSeed = 0,
    tokenizer: TokenizerOption = None,
    tools: Tools = None,
    dialect: PromptDialect = "hermes",
    template_option: TemplateOptions = None,
) -> None:
    """One task: its messages, its tools and its truth; with --tokenizer also the exact prompt."""
    _refuse_without(tokenizer, context)
    task = _choose(_load(source, categories, tools), task_id, split_seed)
    console = PlainConsole()
    console.print(" · ".join(filter(None, [task.id, task.source, task.category])), markup=False, style="bold")
    for title, body in sections(task):
        console.rule(Text(title), align="left")
        console.print(body, markup=False, soft_wrap=True)
    if tokenizer:
        prompt_ids, decode = prompt_renderer(tokenizer, dialect, template_options(template_option))
        ids = prompt_ids(task)
        console.rule(f"prompt, {len(ids)} tokens, dialect {dialect}", align="left")
        console.print(decode(ids), markup=False, soft_wrap=True)
    console.print(CHECK)


def _refuse_without(tokenizer: str | None, context: typer.Context) -> None:
    """Options of the prompt need a tokenizer."""
    if tokenizer is None:
        refuse_idle(context, ("dialect", "template_option"), "without --tokenizer")


def prompt_renderer(
    model: str, dialect: str = "hermes", template: Mapping[str, Any] | None = None
) -> tuple[Callable[[Task], Sequence[int]], Callable[[Sequence[int]], str]]:
    """How a model's tokenizer sees a task: (task to prompt ids, ids to text with special tokens). Imports torch.

    Raises:
        ModelError: the tokenizer cannot be loaded or has no chat template.
    """
    from fissile.dialects import get_dialect  # noqa: PLC0415
    from fissile.dialects.chat import ChatFormat  # noqa: PLC0415
    from fissile.training.policy_model import load_tokenizer  # noqa: PLC0415

    tokenizer = load_tokenizer(model)
    chat = ChatFormat(tokenizer, get_dialect(dialect), dict(template or {}))

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(list(ids), skip_special_tokens=False))

    return lambda task: chat.prompt_ids(task.messages, task.tools), decode


def category_table(tasks: Sequence[Task], prompt_ids: Callable[[Task], Sequence[int]] | None = None) -> Table:
    """One row a category and one for all: tasks, functions of the truth, tools offered, prompt tokens if wanted."""
    tokens = ("prompt p50", "p90", "max") if prompt_ids else ()
    table = Table("category", "tasks", "functions", "tools a task", *tokens, title="tasks", title_justify="left")
    names = list(dict.fromkeys(task.category for task in tasks))
    rows = [(name or "-", [task for task in tasks if task.category == name]) for name in names]
    lengths = {task.id: len(prompt_ids(task)) for task in tasks} if prompt_ids else {}
    for name, members in [*rows, ("all", list(tasks))] if len(rows) != 1 else rows:
        offered = sum(len(task.tools) for task in members) / max(len(members), 1)
        counted = [lengths[task.id] for task in members if task.id in lengths]
        quantiles = [str(quantile(counted, share, "inverted_cdf")) for share in (0.5, 0.9, 1.0)] if counted else []
        table.add_row(Text(name), str(len(members)), str(len(_functions(members))), f"{offered:.1f}", *quantiles)
    return table


def split_table(split: Split) -> Table:
    """One row a side: tasks, share, functions of the truth."""
    total = sum(map(len, split))
    table = Table("side", "tasks", "share", "functions", title="split by function", title_justify="left")
    for name, side in split._asdict().items():
        table.add_row(name, str(len(side)), f"{len(side) / max(total, 1):.1%}", str(len(_functions(side))))
    return table


def sections(task: Task) -> list[tuple[str, str]]:
    """A task as (title, text) pairs: its messages, its tools, its truth."""
    tools = "\n\n".join(json.dumps(tool.to_schema()["function"], indent=2, ensure_ascii=False) for tool in task.tools)
    truth = "\n\n".join(map(_call_lines, task.ground_truth)) or "no call"
    messages = [(message["role"], said(message)) for message in task.messages]
    return [*messages, ("tools", tools), ("truth, with the accepted values", truth), *_later_sections(task)]


def _later_sections(task: Task) -> Iterator[tuple[str, str]]:
    for number, turn in enumerate(task.later, start=2):
        for message in turn.messages:
            yield f"turn {number}, {message['role']}", message["content"]
        if turn.revealed:
            yield f"turn {number}, tools revealed", "\n".join(tool.name for tool in turn.revealed)
        yield f"turn {number}, truth", "\n\n".join(map(_call_lines, turn.ground_truth)) or "no call"


def _call_lines(call: ExpectedCall) -> str:
    """The tool's name, then one line an argument."""
    lines = [call.name]
    for name, accepted in call.arguments.items():
        values = " | ".join(json.dumps(value, ensure_ascii=False) for value in accepted) or "absent"
        lines.append(f"  {name}{' (may be absent)' if name in call.optional else ''}: {values}")
    return "\n".join(lines)


def _load(source: str, categories: str, tools: str | None) -> BFCLTasks:
    if tools is not None:
        from fissile.environments.python import PythonTools  # noqa: PLC0415  (imports the user's file)

        own = PythonTools.from_file(tools).tools
        return BFCLTasks(tuple(load_jsonl(source, tools=own, world=World("python"))), {})
    if source != "bfcl":
        return BFCLTasks(tuple(load_tasks(source)), {})
    chosen = [name.strip() for name in categories.split(",") if name.strip()]
    if chosen and set(chosen) <= set(MULTI_TURN_CATEGORIES):
        return load_bfcl_multi_turn(chosen)
    return load_bfcl(CATEGORIES if chosen == ["all"] else chosen)


def _choose(loaded: BFCLTasks, task_id: str | None, split_seed: int) -> Task:
    if task_id is None and any(task.world is not None for task in loaded.tasks):
        return loaded.tasks[0]
    if task_id is None:
        split = split_by_function(loaded.tasks, split_seed)
        return (split.test or split.validation or split.train)[0]
    for task in loaded.tasks:
        if task.id == task_id:
            return task
    if task_id in loaded.excluded:
        raise DataError(f"Task '{task_id}' is excluded: {loaded.excluded[task_id]}")
    raise DataError(
        f"There is no task '{task_id}' among these {len(loaded.tasks)}. For BFCL, name its category with --categories "
        f"(or --categories all); the ids of other sources are in the file or are file:line."
    )


def _functions(tasks: Sequence[Task]) -> set[str]:
    return {function for task in tasks for function in task.functions}
