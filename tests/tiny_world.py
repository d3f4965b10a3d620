"""A whole run in seconds: a tiny model on disk, a task file and a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tiny import tiny_tokenizer
from tiny_models import tiny_llama

RECIPE = """\
# A run of seconds for the tests.
output = "{output}"
seed = 3
[model]
path = "{model}"
dtype = "float32"
lora_rank = 4
[tasks]
source = "{tasks}"
max_prompt_tokens = 4096
[cold_start]
examples = 8
recovery_share = 0.5
batch_examples = 4
[training]
steps = {steps}
prompts_per_step = 2
group_size = 4
learning_rate = 1e-2
temperature = 2.0
top_k = 0
max_new_tokens = 40
save_steps = 2
[evaluation]
tasks = 4
max_new_tokens = 12
"""


def make_world(folder: Path, steps: int = 6) -> Path:
    """Write model, tasks and recipe under `folder`; the path of the recipe."""
    torch.manual_seed(0)
    tiny_llama(267, max_position_embeddings=2048).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    rows = [
        {
            "id": f"t{n}",
            "messages": [{"role": "user", "content": f"Use number {n}"}],
            "tools": [
                {
                    "name": f"tool_{n}",
                    "description": "",
                    "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]},
                }
            ],
            "ground_truth": [{"name": f"tool_{n}", "arguments": {"x": n}}],
        }
        for n in range(24)
    ]
    tasks = folder / "tasks.jsonl"
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    recipe = folder / "recipe.toml"
    recipe.write_text(
        RECIPE.format(output=folder / "run", model=folder / "model", tasks=tasks, steps=steps), encoding="utf-8"
    )
    return recipe
