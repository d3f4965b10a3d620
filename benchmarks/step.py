"""Seconds and peak memory of one training step: our explore and fission steps, and vanilla `trl.GRPOTrainer`.

    python benchmarks/step.py --steps 3 --output benchmarks/results/step.json

Every arm runs in a process of its own, on the same prompts, with the same model, LoRA, rollouts, completion length, one
group a micro-batch, and a reward drawn at random, so that every group has variance and no arm may skip work. The first
step of each kind is a warm-up and is not counted. Medians with the whole range; ratios are against TRL in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ARMS = ("trl", "fissile")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", choices=ARMS, help="run one arm in this process and print its figures")
    parser.add_argument("--steps", type=int, default=3, help="counted steps of each kind")
    parser.add_argument("--prompts", type=int, default=4, help="groups of a step")
    parser.add_argument("--group-size", type=int, default=8, help="rollouts of a group")
    parser.add_argument("--new-tokens", type=int, default=64, help="limit of a completion")
    parser.add_argument("--prompt-tokens", type=int, default=300, help="tasks with prompts nearest to this length")
    parser.add_argument("--output", type=Path, help="where the result is written as JSON")
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(run_arm(options)))
        return
    results = {arm: _in_own_process(arm) for arm in ARMS}
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": _hardware(),
        "settings": {key: value for key, value in vars(options).items() if key not in {"arm", "output"}},
        "arms": results,
        "ratios": _ratios(results),
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n", encoding="utf-8")


def _in_own_process(arm: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--arm", arm]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_arm(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    from trl import GRPOConfig

    from fissile.config import ModelConfig
    from fissile.dialects import ChatFormat, get_dialect
    from fissile.tasks import load_tasks
    from fissile.training.policy import load_policy, load_tokenizer

    model = ModelConfig()
    tokenizer = load_tokenizer(model.path)
    chat = ChatFormat(tokenizer, get_dialect(model.dialect))
    tasks = load_tasks("bfcl")
    lengths = {task.id: len(chat.prompt_ids(task.messages, task.tools)) for task in tasks}
    tasks = sorted(tasks, key=lambda task: abs(lengths[task.id] - options.prompt_tokens))[:64]
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=options.group_size,
            gradient_accumulation_steps=options.prompts,
            num_generations=options.group_size,
            max_steps=(options.steps + 1) * (1 if options.arm == "trl" else 2),
            max_completion_length=options.new_tokens,
            generation_kwargs={"min_new_tokens": options.new_tokens},
            learning_rate=1e-6,
            loss_type="grpo",
            temperature=1.0,
            gradient_checkpointing=False,
            bf16=True,
            use_cpu=True,
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
        )
        build = _trl if options.arm == "trl" else _fissile
        trainer = build(load_policy(model), config, tasks, tokenizer, chat)
        trainer.train()
    kinds: dict[str, list[float]] = {}
    for log in trainer.state.log_history:
        if "step_time" in log:
            kinds.setdefault("fission" if log.get("fission/is_fission") else "explore", []).append(log["step_time"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "kinds": {kind: _spread(seconds[1:]) for kind, seconds in kinds.items()},
        "peak_memory_bytes": peak,
        "threads": torch.get_num_threads(),
    }


def _trl(policy: Any, config: Any, tasks: Any, tokenizer: Any, chat: Any) -> Any:
    from datasets import Dataset
    from trl import GRPOTrainer

    prompts = [{"prompt": chat.dialect.instruct(task.messages, task.tools)} for task in tasks]
    return GRPOTrainer(
        model=policy,
        args=config,
        train_dataset=Dataset.from_list(prompts),
        processing_class=tokenizer,
        reward_funcs=_drawn_reward,
    )


def _fissile(policy: Any, config: Any, tasks: Any, tokenizer: Any, chat: Any) -> Any:
    from fissile import FissionGRPOTrainer
    from fissile.engines import TransformersEngine

    trainer = FissionGRPOTrainer(
        model=policy, args=config, train_dataset=tasks, processing_class=tokenizer, reward_funcs=[_drawn_reward]
    )
    # No token ends a completion: as TRL's min_new_tokens, every one has the full length.
    trainer.engine = TransformersEngine(trainer.model, end_ids=(), pad_id=tokenizer.pad_token_id)
    return trainer


def _drawn_reward(prompts: list[Any], **columns: Any) -> list[float]:
    draw = random.Random(len(prompts))
    return [draw.random() for _ in prompts]


def _spread(seconds: list[float]) -> dict[str, Any]:
    return {
        "median": round(statistics.median(seconds), 2),
        "min": round(min(seconds), 2),
        "max": round(max(seconds), 2),
        "n": len(seconds),
    }


def _ratios(results: dict[str, Any]) -> dict[str, float]:
    trl, ours = results["trl"], results["fissile"]
    baseline = trl["kinds"]["explore"]["median"]
    return {
        "explore_step_speedup": round(baseline / ours["kinds"]["explore"]["median"], 2),
        "fission_step_speedup": round(baseline / ours["kinds"]["fission"]["median"], 2),
        "fission_over_explore": round(ours["kinds"]["fission"]["median"] / ours["kinds"]["explore"]["median"], 2),
        "peak_memory": round(ours["peak_memory_bytes"] / trl["peak_memory_bytes"], 2),
    }


def _hardware() -> str:
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
