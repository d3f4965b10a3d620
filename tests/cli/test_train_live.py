"""`fissile train --tools` as a user runs it: a tiny model in the world of examples/shop.py, killed and resumed."""

import json
import signal
import time
from pathlib import Path

import pytest
import torch
from test_train import comparable, fail, fissile, lines, succeed

from tiny import tiny_tokenizer
from tiny_models import tiny_llama

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPE = """\
output = "{folder}/run"
seed = 3
[model]
path = "{folder}/model"
dtype = "float32"
lora_rank = 4
[tasks]
source = "{examples}/shop.jsonl"
max_prompt_tokens = 4096
[cold_start]
examples = 4
recovery_share = 0.5
batch_examples = 2
batch_tokens = 4096
[training]
steps = 4
prompts_per_step = 2
group_size = 4
learning_rate = 1e-2
temperature = 2.0
top_k = 0
max_new_tokens = 24
save_steps = 2
[world]
steps_per_turn = 2
evaluation_steps_per_turn = 2
[method]
feedback = "environment"
[evaluation]
tasks = 3
max_new_tokens = 12
"""


def make_recipe(folder: Path) -> Path:
    torch.manual_seed(0)
    tiny_llama(267, max_position_embeddings=8192).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    recipe = folder / "recipe.toml"
    recipe.write_text(RECIPE.format(folder=folder, examples=EXAMPLES), encoding="utf-8")
    return recipe


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    output = succeed("train", make_recipe(folder), "--tools", EXAMPLES / "shop.py")
    assert "updates: 2 explore, 2 fission" in output
    return folder / "run"


def test_a_live_run_leaves_everything(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text(encoding="utf-8"))
    assert list(summary["stages"]) == ["base", "cold_start", "fission"]
    for name, stage in summary["stages"].items():
        assert stage["suite"]["protocol"] == "recovery"
        assert stage["suite"]["episodes"] == 3
        assert {"recovery_rate", "repeat_rate", "silent_failure_rate"} <= set(stage)
        assert len(lines(finished / "evaluations" / f"{name}.rollouts.jsonl")) == 3
    intercepted = [line for line in lines(finished / "corrections.jsonl") if line["event"] == "intercepted"]
    assert intercepted
    assert all("state" in line and line["source"] == "environment" for line in intercepted)
    assert "<html" in (finished / "report.html").read_text(encoding="utf-8")


def test_a_killed_live_run_goes_on_and_ends_like_an_uninterrupted_one(tmp_path: Path, finished: Path) -> None:
    recipe = make_recipe(tmp_path)
    metrics = tmp_path / "run" / "metrics.jsonl"
    process = fissile("train", recipe, "--tools", EXAMPLES / "shop.py", wait=False)
    deadline = time.monotonic() + 240
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    succeed("train", recipe, "--tools", EXAMPLES / "shop.py", "--resume")
    assert comparable(tmp_path / "run") == comparable(finished)


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ("def broken(:\n    pass\n", "tools.py"),
        ("raise RuntimeError('no database')\n", "no database"),
        ("def f(x):\n    return x\n", "x"),
        ("def other(n: int) -> int:\n    '''Other.'''\n    return n\n", "put"),
    ],
)
def test_a_tools_file_that_cannot_be_used_is_one_message_and_code_2(tmp_path: Path, tools: str, told: str) -> None:
    recipe = make_recipe(tmp_path)
    (tmp_path / "tools.py").write_text(tools, encoding="utf-8")
    assert told in fail("train", recipe, "--tools", tmp_path / "tools.py")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
