"""Settings that a run does not read because of other settings of it: told by name, so that none is taken for read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from fissile.config.run_config import RunConfig
from fissile.tasks.procedural import SOURCE as PROCEDURAL

LISTED = 3
"""Keys of one table and reason that are all named; of more the first one is."""


class Need(NamedTuple):
    """What a setting is read with: in words, and whether a run has it."""

    words: str
    is_met: Callable[[RunConfig], bool]


TRAINS = Need("training.steps above 0", lambda run: run.training.steps > 0)
SHOWS = Need("cold_start.examples above 0", lambda run: run.cold_start.examples > 0)
UPDATES = Need("a cold start or a training", lambda run: bool(run.training.steps or run.cold_start.examples))
FRESH = Need("a fresh adapter, without model.adapter", lambda run: run.model.adapter is None)
DRAWS_CORRECTIONS = Need("method.order = 'random'", lambda run: getattr(run.method, "order", "random") == "random")
REWARDS_RECOVERIES = Need(
    "recoveries in training: another method, or injection",
    lambda run: bool(run.method.source) or bool(run.injection.at("training").rate),
)
MOVES = Need("a reward.schedule other than 'constant'", lambda run: run.reward.schedule != "constant")
LIVE = Need("a live world", lambda run: run.is_live)
SINGLE = Need("single-step tasks: a live world answers itself", lambda run: not run.is_live)
OWN_TOOLS = Need("tasks.tools", lambda run: run.tasks.tools is not None)
BFCL = Need("tasks.source = 'bfcl'", lambda run: run.tasks.source == "bfcl" and run.tasks.tools is None)
MULTI_TURN = Need("multi-turn BFCL", lambda run: BFCL.is_met(run) and run.is_live)
MADE = Need("tasks.source = 'procedural'", lambda run: run.tasks.source == PROCEDURAL)
GIVEN = Need("tasks that are not made by chance", lambda run: run.tasks.source != PROCEDURAL)
DATASET = Need("a Hugging Face dataset", lambda run: not (MADE.is_met(run) or _is_file_or_bfcl(run.tasks.source)))
RECOVERIES = Need("cold_start.recovery_share above 0", lambda run: run.cold_start.recovery_share > 0)
RETRIES = Need("evaluation.retries above 0", lambda run: run.evaluation.retries > 0)
SAMPLED = Need("evaluation.temperature above 0", lambda run: run.evaluation.temperature > 0)
EVALUATES_STEPS = Need("evaluation.every", lambda run: run.evaluation.every is not None)
WITHIN_STEPS = Need("as many training.steps", lambda run: (run.evaluation.every or 0) <= run.training.steps)
LOGS = Need("training.report_to", lambda run: bool(run.training.report_to))
VLLM = Need("engine.name = 'vllm'", lambda run: run.engine.name == "vllm")
INJECTS = Need("injection.rate above 0", lambda run: run.injection.rate > 0)
INJECTS_IN_TRAINING = Need(
    "injection in the training", lambda run: bool(run.training.steps and run.injection.at("training").rate)
)
LEARNED = Need("a feedback source 'learned'", lambda run: "learned" in run.sources)
SERVED = Need("a feedback source 'endpoint'", lambda run: "endpoint" in run.sources)

OF_TRAINING = (TRAINS, SHOWS, UPDATES, INJECTS_IN_TRAINING, LEARNED, SERVED)
"""What a run that only evaluates lacks by itself."""

ALWAYS = frozenset(
    {
        *("output", "method.name", "seed"),
        *("model.path", "model.dtype", "model.adapter", "model.dialect", "model.template_options"),
        *("tasks.source", "tasks.tools", "tasks.world", "tasks.max_prompt_tokens"),
        *("cold_start.examples", "training.steps", "training.report_to", "injection.rate"),
        *("engine.name", "engine.max_rows", "engine.remembered_tokens"),
        *("evaluation.split", "evaluation.tasks", "evaluation.samples", "evaluation.temperature"),
        *("evaluation.max_new_tokens", "evaluation.base", "evaluation.seed"),
    }
)
"""Keys that every run reads."""

NEEDS: dict[str, tuple[Need, ...]] = {
    "model.lora_rank": (UPDATES, FRESH),
    "model.lora_alpha": (UPDATES, FRESH),
    "model.lora_dropout": (UPDATES, FRESH),
    "model.lora_targets": (UPDATES, FRESH),
    "model.lora_whole": (UPDATES, FRESH),
    "tasks.procedural": (MADE,),
    "tasks.procedural.transient": (LIVE,),
    "tasks.categories": (BFCL,),
    "tasks.hub_split": (DATASET,),
    "tasks.split_seed": (GIVEN,),
    "tasks.held_out": (MULTI_TURN,),
    "tasks.docs": (MULTI_TURN,),
    "tasks.reseed": (MULTI_TURN,),
    "cold_start": (SHOWS,),
    "cold_start.feedback": (RECOVERIES, SINGLE),
    "training": (TRAINS,),
    "training.run_name": (LOGS,),
    "training.project": (LOGS,),
    "reward": (TRAINS,),
    "reward.format_weight_end": (MOVES,),
    "reward.correctness_weight_end": (MOVES,),
    "reward.repeat_earns_nothing": (REWARDS_RECOVERIES,),
    "reward.recovery_credit": (REWARDS_RECOVERIES,),
    "method": (TRAINS,),
    "method.seed": (DRAWS_CORRECTIONS,),
    "engine.max_model_len": (VLLM,),
    "engine.kv_cache_gb": (VLLM,),
    "engine.gpu_memory_utilization": (VLLM,),
    "engine.compile": (VLLM,),
    "world": (LIVE,),
    "world.steps_per_turn": (TRAINS,),
    "world.call_seconds": (OWN_TOOLS,),
    "world.result_characters": (OWN_TOOLS,),
    "evaluation.retries": (SINGLE,),
    "evaluation.feedback": (SINGLE, RETRIES),
    "evaluation.top_k": (SAMPLED,),
    "evaluation.every": (TRAINS, WITHIN_STEPS),
    "evaluation.every_tasks": (TRAINS, EVALUATES_STEPS),
    "simulator.learned": (LEARNED,),
    "simulator.endpoint": (SERVED,),
    "injection": (INJECTS,),
    "injection.feedback": (INJECTS_IN_TRAINING, SINGLE),
}
"""A key, or a table for all keys of it, to what it is read with. Every key has an entry here or in `ALWAYS`."""


def needs_of(key: str) -> list[Need]:
    """What a setting is read with, those of the tables that it stands in first; empty for one that is always read."""
    if key in ALWAYS:
        return []
    parts = key.split(".")
    tables = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return [need for table in tables for need in NEEDS.get(table, ())]


def unread(run: RunConfig) -> dict[str, Need]:
    """Each key that was set and is not read, to what it would be read with."""
    found = ((key, next((need for need in needs_of(key) if not need.is_met(run)), None)) for key in set_keys(run))
    return {key: need for key, need in found if need is not None}


def set_keys(table: BaseModel, prefix: str = "") -> Iterator[str]:
    """The keys that somebody set, with their tables: `training.steps`."""
    for name in type(table).model_fields:
        if name in table.model_fields_set:
            value = getattr(table, name)
            if isinstance(value, BaseModel):
                yield from set_keys(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"


def told_unread(run: RunConfig, evaluates_only: bool = False) -> str:
    """`set, but not read here: world.window (only with a live world); ...`; "" where all is read.

    Args:
        run: the configuration.
        evaluates_only: nothing is trained, so that what a recipe has for its training is not told.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for key, need in unread(run).items():
        if evaluates_only and need in OF_TRAINING:
            continue
        groups.setdefault((key.partition(".")[0], need.words), []).append(key)
    told = [f"{_listed(table, keys)} (only with {words})" for (table, words), keys in groups.items()]
    return f"set, but not read here: {'; '.join(told)}" if told else ""


def _listed(table: str, keys: list[str]) -> str:
    return ", ".join(keys) if len(keys) <= LISTED else f"{keys[0]} and {len(keys) - 1} more of [{table}]"


def _is_file_or_bfcl(source: str) -> bool:
    return source == "bfcl" or source.endswith((".jsonl", ".json")) or Path(source).expanduser().is_file()
