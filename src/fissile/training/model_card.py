"""The model card of an adapter: what it is, how to use it, how it was trained, and the run's figures with counts.

Nothing of the machine stands in it: of a file only its name, of a service only that there was one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from pydantic import BaseModel as Settings

from fissile.calls import JSON
from fissile.training.base_model import BaseModel
from fissile.training.progress import HEADLINE, ratio_text

PAPER = "https://arxiv.org/abs/2601.15625"

DATASETS = {"bfcl": "gorilla-llm/Berkeley-Function-Calling-Leaderboard"}
"""Task sources that are on the hub under another name."""

PRIVATE = re.compile(r"://|@")
"""Values that name a service or a person: they are left out of the recipe."""


@dataclass(frozen=True)
class CardFacts:
    """What a card says.

    Attributes:
        title: of the card.
        base: the model under the adapter.
        summary: paragraphs on what it is.
        training: lines of a list: how it was trained.
        data: lines of a list: on which tasks.
        dataset: its id on the hub; "" where it is on none.
        recipe: the settings it was made with.
        command: that takes the recipe.
        use: paragraphs below the code, on prompts and sampling.
        tags: beside those of every adapter.
        stages: stage to its recovery report, in order; the last one is this adapter's.
    """

    title: str
    base: BaseModel
    summary: Sequence[str]
    training: Sequence[str]
    data: Sequence[str]
    recipe: Settings
    command: str
    dataset: str = ""
    use: Sequence[str] = ()
    tags: Sequence[str] = ()
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def model_card(facts: CardFacts) -> str:
    """The card in Markdown, with the hub's metadata as YAML in front."""
    parts = [
        f"---\n{_metadata(facts).to_yaml()}\n---",
        f"# {facts.title}",
        *facts.summary,
        _base(facts.base),
        "## Use",
        _code(facts.base),
        *facts.use,
        "## Training",
        _list(facts.training),
        "## Data",
        _list(facts.data),
        *_results(facts.stages),
        "## Recipe",
        f"What differs from the defaults; `{facts.command}` takes it as a file.",
        "```toml\n" + "\n".join(recipe_lines(facts.recipe)) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(facts: CardFacts) -> ModelCardData:
    results = list(_eval_results(facts))
    return ModelCardData(
        base_model=facts.base.id,
        library_name="peft",
        license=facts.base.licence or None,
        pipeline_tag="text-generation",
        tags=["lora", "transformers", "fissile", "tool-calling", "function-calling", *facts.tags],
        datasets=[facts.dataset] if facts.dataset else None,
        model_name=facts.title if results else None,
        eval_results=results or None,
        ignore_metadata_errors=True,
    )


def _eval_results(facts: CardFacts) -> Iterator[EvalResult]:
    """The headline figures of the last stage, for the hub's model index; a model that was trained has one."""
    if not facts.stages:
        return
    stage, report = list(facts.stages.items())[-1]
    for key, title in HEADLINE.items():
        ratio = report.get(key)
        if isinstance(ratio, Mapping) and ratio.get("rate") is not None:
            yield EvalResult(
                task_type="text-generation",
                task_name="tool calling, held-out tasks",
                dataset_type=facts.dataset or "own-tasks",
                dataset_name=facts.dataset or "held-out tasks of the run",
                metric_type=key,
                metric_name=f"{title}, {stage.replace('_', ' ')}: {ratio_text(ratio)}",
                metric_value=round(ratio["rate"], 4),
            )


def _base(base: BaseModel) -> str:
    name = f"[`{base.id}`](https://huggingface.co/{base.id})" if base.is_known else f"`{base.id}`"
    licence = "" if base.licence else " Its licence is not known here; it holds for the adapter, too."
    return f"Base model: {name}. {base.note}".rstrip() + licence


def _code(base: BaseModel) -> str:
    return f"""\
```python
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "path/to/this/folder"
tokenizer = AutoTokenizer.from_pretrained(folder)
base = AutoModelForCausalLM.from_pretrained("{base.id}")
model = PeftModel.from_pretrained(base, folder)
```"""


def _results(stages: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not stages:
        return
    yield "## Results"
    tasks = max(int(report.get("n_tasks", 0)) for report in stages.values())
    feedback = ", ".join(sorted({str(report["feedback"]) for report in stages.values() if report.get("feedback")}))
    asked = f", feedback by `{feedback}`" if feedback else ""
    yield f"{tasks} held-out tasks{asked}; rate (counts), 95 % interval clustered by task."
    lines = [
        "| held-out tasks | " + " | ".join(stage.replace("_", " ") for stage in stages) + " |",
        "| --- |" + " ---: |" * len(stages),
    ]
    for key, title in HEADLINE.items():
        if all(key in report for report in stages.values()):
            lines.append(f"| {title} | " + " | ".join(ratio_text(report[key]) for report in stages.values()) + " |")
    yield "\n".join(lines)


def _list(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def recipe_lines(settings: Settings) -> Iterator[str]:
    """The settings that differ from their defaults, as lines of TOML; without what is of this machine."""
    fields = settings.model_dump(mode="json", exclude_defaults=True)
    for key, value in _flat(fields):
        if key in MACHINES_OWN or value is None:
            continue
        shown = [portable(entry) for entry in value] if isinstance(value, list) else portable(value)
        if shown is not None:
            yield f"{key} = {json.dumps(shown, ensure_ascii=False)}"


MACHINES_OWN = ("output", "training.report_to", "training.run_name", "training.project")
"""Keys that say nothing of what was trained."""


def portable(value: JSON) -> JSON:
    """A setting without the machine: of a path its last part; None for a service's address."""
    if not isinstance(value, str):
        return value
    if PRIVATE.search(value):
        return None
    is_path = value.startswith(("/", "~", "./", "../", "\\")) or ":\\" in value or value.count("/") > 1
    return Path(value.replace("\\", "/")).name if is_path or ("/" in value and Path(value).exists()) else value


def _flat(fields: Mapping[str, JSON], prefix: str = "") -> Iterator[tuple[str, JSON]]:
    for key, value in fields.items():
        name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
