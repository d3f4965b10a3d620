"""The card of a run's adapter, from the run's own records."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fissile.config import RunConfig
from fissile.dialects import ChatFormat
from fissile.methods import get_method
from fissile.training.base_model import base_model
from fissile.training.model_card import DATASETS, CardFacts, model_card, portable
from fissile.training.policy_model import EMBEDDED
from fissile.training.run_folder import RunFolder, told_shown, versions


def run_card(config: RunConfig, folder: RunFolder, chat: ChatFormat, tasks: str, stages: tuple[str, ...]) -> str:
    """The card of the adapter after the last of `stages`, with what the folder holds so far.

    `tasks` is one line about the tasks, and `stages` are those that led to the adapter, in order.
    """
    base = base_model(config.model.path, EMBEDDED)
    found = {stage: folder.evaluation(stage) for stage in stages}
    reports = {stage: json.loads(path.read_text(encoding="utf-8")) for stage, path in found.items() if path.exists()}
    is_reinforced = stages[-1] != "cold_start"
    method = get_method(config.method.name)
    path = EMBEDDED if config.model.path == EMBEDDED else base.id  # for somebody else
    facts = CardFacts(
        title=f"{method.title if is_reinforced else 'A supervised cold start'} on {base.id}",
        base=base,
        summary=[f"A LoRA adapter for tool calling. {method.about if is_reinforced else _SHOWN}"],
        training=list(_training(config, folder, is_reinforced)),
        data=list(_data(config, tasks)),
        dataset=_dataset(config.tasks.source),
        recipe=config.model_copy(update={"model": config.model.model_copy(update={"path": path})}),
        command="fissile train",
        use=list(use_of(chat, config.model.dialect)),
        tags=[method.name.replace("_", "-")] if is_reinforced else ["sft"],
        stages=reports,
    )
    return model_card(facts)


_SHOWN = "It was shown right calls, and is where a reinforcement learning begins."


def use_of(chat: ChatFormat, dialect: str) -> Iterator[str]:
    """How prompts are written and calls are read, for whoever uses the adapter."""
    options = "".join(f", {key}={value!r}" for key, value in chat.template_options.items())
    if chat.renders_tools:
        yield (
            f"Prompts: `tokenizer.apply_chat_template(messages, tools=tools, add_generation_prompt=True{options})`. "
            "The chat template writes the tools itself."
        )
    else:
        given = f" (template variables: {options.removeprefix(', ')})" if options else ""
        yield (
            f"The chat template does not write tools{given}. They were given in the system message, as "
            f'`fissile.dialects.get_dialect("{dialect}").instruct(messages, tools)` writes it.'
        )
    yield f"Calls are written in the format `{dialect}`; `fissile.json` holds this and how it was sampled from."


def _training(config: RunConfig, folder: RunFolder, is_reinforced: bool) -> Iterator[str]:
    model, start, settings = config.model, config.cold_start, config.training
    yield f"LoRA of rank {model.lora_rank}, alpha {model.lora_alpha}, weights below it in {model.dtype}"
    if model.adapter is not None:
        yield f"from another adapter, `{portable(model.adapter)}`"
    if start.examples:
        summary = folder.cold_start_summary
        older = f"{start.examples} examples at most"  # a folder of a version that did not count
        shown = told_shown(json.loads(summary.read_text(encoding="utf-8"))) if summary.exists() else older
        yield f"supervised cold start on {shown}; learning rate {start.learning_rate:g}"
    if is_reinforced:
        record = folder.path / "training.json"
        trained: dict[str, Any] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
        updates, counts = trained.get("updates", {}), trained.get("corrections", {})
        yield (
            f"{trained.get('steps', 0)} updates ({updates.get('explore', 0)} explore, {updates.get('fission', 0)} "
            f"fission) of {settings.prompts_per_step * settings.group_size} rollouts each, in groups of "
            f"{settings.group_size}; loss `{settings.loss_type}`, learning rate {settings.learning_rate:g}"
        )
        yield f"sampled at temperature {settings.temperature:g}, top_k {settings.top_k}, top_p {settings.top_p:g}"
        if config.method.source and counts:
            told = ", ".join(f"{count} {name}" for name, count in counts.items())
            yield f"failures: {told}; diagnosed by `{config.method.source}`"
        if trained.get("stopped"):
            yield f"stopped early: {trained['stopped']}"
    made_with = ", ".join(f"{package} {version}" for package, version in versions().items())
    yield f"seed {config.seed}; {made_with}"


def _data(config: RunConfig, tasks: str) -> Iterator[str]:
    source = config.tasks.source
    named = {"bfcl": "BFCL v4", "procedural": "tasks made by chance, with their tools"}.get(source)
    categories = f" ({', '.join(config.tasks.categories)})" if source == "bfcl" else ""
    yield f"source: {named or portable(source)}{categories}"
    if config.tasks.tools is not None:
        yield f"live tools of `{portable(config.tasks.tools)}`"
    yield tasks


def _dataset(source: str) -> str:
    """The source's id on the hub; "" for one that is on none."""
    if source in DATASETS:
        return DATASETS[source]
    return source if source.count("/") == 1 and portable(source) == source else ""
