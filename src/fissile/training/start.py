"""A small policy from nothing: its tokenizer, and its pretraining on right calls of the procedural world.

It stands in for a pretrained language model where science must be fast: a few million parameters that read tool
signatures, copy values and write calls, and have seen a few errors and their repairs.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from fissile.calls import ToolCall
from fissile.config.run_config import ColdStartConfig
from fissile.config.start_recipe import StartConfig
from fissile.dialects import ChatFormat, Dialect, get_dialect
from fissile.engines.sampler import Sampler
from fissile.environments import SingleStep
from fissile.environments.procedural import ProceduralWorld
from fissile.feedback import Failure, get_source
from fissile.journal import write_json
from fissile.machine import machine
from fissile.simulator.prompt import SimulatorPrompt
from fissile.tasks import Task
from fissile.tasks.procedural.mistakes import miswritten
from fissile.tasks.procedural.requests import facts, pretraining_tasks
from fissile.training.callbacks import CompleteMark
from fissile.training.checkpoints import resume_point
from fissile.training.cold_start import corrupted, demonstrations
from fissile.training.start_folder import StartFolder
from fissile.training.supervised import Example, example

DIALECT = get_dialect("hermes")

END = "<|end|>"
ROLES = ("<|tools|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")

CALL_PIECES = ('<tool_call>\n{"name": "', '", "arguments": {"', "}}\n</tool_call>")
"""What every call is framed by: one token each."""

TEMPLATE = (
    "{%- if tools -%}<|tools|>{%- for tool in tools -%}{%- set f = tool.function -%}{{ f.name }}("
    "{%- for name, schema in (f.parameters.properties or {}).items() -%}{{ name }}"
    "{%- if name not in (f.parameters.required or []) -%}?{%- endif -%}"
    "{%- if schema.description -%}: {{ schema.description }}{%- endif -%}"
    "{%- if not loop.last -%}, {% endif -%}{%- endfor -%})\n{% endfor -%}<|end|>{%- endif -%}"
    "{%- for message in messages -%}<|{{ message.role }}|>{{ message.content }}<|end|>{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)
"""Tools as signatures: names, a `?` where optional, and what the documentation says; types and rules are not shown."""

PIECES = Regex(r"[A-Za-z]+|[0-9]|[^A-Za-z0-9]+")
"""Words, single digits, and runs of everything else: a word is the same tokens wherever it stands."""

EASY = {"calls": (1.0,), "undocumented": 0.0, "paraphrased": 0.0, "shuffled": 0.0}
EASY_SHARE = 0.3
"""Dials of the first lessons, and their share: one call, everything documented, the tools' own words."""

MISWRITTEN_SHARE = 0.5
"""Share of the demonstrated mistakes that are a value in another convention than the tool's."""

PART_TASKS = 4800
"""Tasks that are in memory at once: their schemas take far more room than the tokens that come of them."""

SORTED_BATCHES = 64
"""Batches' worth of examples that are sorted by length together."""

DECAY_SHARE = 0.4
"""Share of the steps, the last ones, in which the learning rate goes to 0."""

TOKENIZER_TASKS = 2000
"""Tasks whose texts the tokenizer is made from."""


def make_start(config: StartConfig, folder: Path, callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """The folder of the small policy, model and tokenizer; made unless it is there, and gone on with where it was cut.

    Args:
        config: what is made.
        folder: of the policy, which is finished when its `start.json` is there.
        callbacks: of the trainer.
    """
    place = StartFolder(folder)
    if place.is_finished:
        return folder
    torch.manual_seed(config.seed)
    draw = random.Random(config.seed)
    tokenizer = make_tokenizer(pretraining_tasks(config.procedural, TOKENIZER_TASKS, draw), config.vocabulary, draw)
    chat = ChatFormat(tokenizer, DIALECT)
    model = LlamaForCausalLM(_architecture(config, tokenizer))
    loss = _pretrain(model, tokenizer, _examples(config, chat, draw), config, place.checkpoints, callbacks)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    about = {"config": config.model_dump(mode="json"), "parameters": model.num_parameters(), "loss": loss, **machine()}
    (folder / "README.md").write_text(start_card(config, model.num_parameters(), len(tokenizer)), encoding="utf-8")
    write_json(place.record, about)
    shutil.rmtree(place.checkpoints)
    return folder


def start_card(config: StartConfig, parameters: int, tokens: int) -> str:
    """The model card of the small policy."""
    return f"""\
---
library_name: transformers
pipeline_tag: text-generation
tags:
- fissile
- tool-calling
---

# A small policy of a laboratory

{parameters:,} parameters and {tokens:,} tokens, made from nothing by `fissile lab run`: it reads tool signatures,
copies values and writes calls in the format `{DIALECT.name}`, and has seen {config.examples:,} tasks of a procedural
world, each once, after {config.drills:,} drills in copying. It knows no language beside, and is of use there alone.

`start.json` holds every setting, the seed and the last loss.
"""


def _examples(config: StartConfig, chat: ChatFormat, draw: random.Random) -> list[Example]:
    """All that is shown, in order: drills, easy lessons, lessons. The tasks of a part are forgotten before the next."""
    drills = [_drill(draw, chat) for _ in range(config.drills)]
    lessons: list[Example] = []
    while len(lessons) < config.examples:
        count = min(PART_TASKS, config.examples - len(lessons))
        easy = len(lessons) < EASY_SHARE * config.examples
        tasks = pretraining_tasks(config.procedural.model_copy(update=EASY) if easy else config.procedural, count, draw)
        part = _lessons(tasks, chat, config, config.seed + len(lessons))
        lessons += batched_by_length(part, config.batch_examples, draw)
    return [*batched_by_length(drills, config.batch_examples, draw), *lessons]


def _drill(draw: random.Random, chat: ChatFormat) -> Example:
    """Some facts, to be said again in another order: a value is found by its name, not by its place."""
    given, wanted = facts(draw)
    return example(chat.prompt_ids([{"role": "user", "content": given}], ()), chat.completion_ids(wanted))


def batched_by_length(examples: Sequence[Example], size: int, draw: random.Random) -> list[Example]:
    """The same examples in another order: those of a batch are about as long as each other, the batches are shuffled.

    Args:
        examples: any.
        size: of a batch.
        draw: shuffles.
    """
    shuffled = draw.sample(list(examples), len(examples))
    ordered: list[Example] = []
    for start in range(0, len(shuffled), size * SORTED_BATCHES):
        part = sorted(shuffled[start : start + size * SORTED_BATCHES], key=lambda example: len(example["input_ids"]))
        rest = len(part) - len(part) % size
        batches = [part[at : at + size] for at in range(0, rest, size)]
        draw.shuffle(batches)
        ordered += [one for batch in batches for one in batch] + part[rest:]
    return ordered


def _lessons(tasks: Sequence[Task], chat: ChatFormat, config: StartConfig, seed: int) -> list[Example]:
    """Right calls, some of them after a wrong one; in a share of the tasks whole episodes in the live world."""
    live = round(config.live_share * len(tasks))
    shown = ColdStartConfig(examples=len(tasks), recovery_share=config.recovery_share, feedback=config.feedback)
    single = [replace(task, world=None) for task in tasks[live:]]
    sampler = Sampler(chat)
    return [
        one for part in (tasks[:live], single) for one in demonstrations(part, sampler, shown, seed, mistake=_mistake)
    ]


def _mistake(task: Task, dialect: Dialect, draw: random.Random) -> str | None:
    """What a policy could answer wrongly: a convention of the tool's that it does not know, or any fault."""
    if draw.random() < MISWRITTEN_SHARE and (calls := miswritten(task, draw)) is not None:
        return dialect.render_calls(calls)
    return corrupted(task, dialect, draw)


def make_tokenizer(tasks: Sequence[Task], vocabulary: int, draw: random.Random) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a chat template, trained on the texts of some tasks and of their errors."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(CALL_PIECES),
        special_tokens=[END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=20,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(tasks, draw), trainer)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in CALL_PIECES])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END, padding_side="left")
    wrapped.chat_template = TEMPLATE
    return wrapped


def _texts(tasks: Sequence[Task], draw: random.Random) -> Iterator[str]:
    """What is read and written of some tasks: requests, signatures, calls, and errors in every voice."""
    judge = SingleStep()
    puts = SimulatorPrompt.named("learned")
    for task in tasks:
        yield task.messages[0]["content"]
        yield DIALECT.render_calls(task.oracle_calls())
        yield from _answers(task, task.oracle_calls())
        for tool in task.tools:
            parameters = ", ".join(f"{name}: {rule.get('description', '')}" for name, rule in tool.properties.items())
            yield f"{tool.name}({parameters})\n"
        if (wrong := _mistake(task, DIALECT, draw)) is not None:
            failure = Failure(task, judge.attempt(task, wrong, DIALECT))
            yield from _answers(task, failure.attempt.calls)
            yield from (message["content"] for message in puts.messages(failure))
            for voice in ("environment", "rules", "service"):
                yield from map(str, get_source(voice).diagnose([failure]))


def _answers(task: Task, calls: Sequence[ToolCall]) -> Iterator[str]:
    """What the live world says to well-formed calls."""
    world = ProceduralWorld()
    world.reset(task)
    yield from (result.content for result in world.execute([call for call in calls if call.is_well_formed]))


def _architecture(config: StartConfig, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.hidden_size * 8 // 3 // 64 * 64 or 64,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",  # on a CPU the backward pass of sdpa takes longer than all else
    )


def _pretrain(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    config: StartConfig,
    checkpoints: Path,
    callbacks: Sequence[TrainerCallback],
) -> float:
    """Train all weights, each example once, in order. Returns the last loss, in nats a token of the answers."""
    steps = -(-len(examples) // config.batch_examples)
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=config.batch_examples,
        num_train_epochs=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type="warmup_stable_decay",
        lr_scheduler_kwargs={"num_decay_steps": max(1, int(DECAY_SHARE * steps)), "decay_type": "linear"},
        warmup_steps=max(1, min(100, steps // 10)),
        adam_beta2=0.98,
        weight_decay=0.01,
        train_sampling_strategy="sequential",
        logging_steps=max(1, min(50, steps // 10)),
        save_steps=max(1, steps // 4),
        save_total_limit=1,
        bf16=True,
        use_cpu=not torch.accelerator.is_available(),
        report_to=[],
        disable_tqdm=True,
        seed=config.seed,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(list(examples)),
        processing_class=tokenizer,
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True),
        callbacks=[*callbacks, CompleteMark("")],
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = resume_point(checkpoints)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    return float(next(log["loss"] for log in reversed(trainer.state.log_history) if "loss" in log))
