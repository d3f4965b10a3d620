"""The small policy that is made from nothing."""

import json
import random

import pytest
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, TrainerCallback

from fissile.config import ModelConfig
from fissile.config.start_recipe import StartConfig
from fissile.dialects import ChatFormat
from fissile.tasks.procedural import ProceduralSettings
from fissile.tasks.procedural.requests import pretraining_tasks
from fissile.training.policy_model import load_policy, load_tokenizer, longest_context
from fissile.training.start import DIALECT, make_start, make_tokenizer

SMALL = StartConfig(hidden_size=32, layers=1, heads=2, vocabulary=700, drills=32, examples=64, batch_examples=16)


@pytest.fixture(scope="module")
def tasks():
    return pretraining_tasks(ProceduralSettings(), 200, random.Random(0))


@pytest.fixture(scope="module")
def chat(tasks):
    return ChatFormat(make_tokenizer(tasks, 900, random.Random(0)), DIALECT)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return make_start(SMALL, tmp_path_factory.mktemp("lab") / "start")


def test_the_template_writes_tools_and_results_itself(chat):
    assert chat.renders_tools
    assert chat.renders_results
    assert not chat.rewrites_history
    assert len(chat.end_of_turn) == 1


def test_calls_survive_the_tokenizer(chat, tasks):
    for task in tasks:
        text = DIALECT.render_calls(task.oracle_calls())
        ids = chat.completion_ids(text)
        assert chat.decode(ids) == text
        assert len(ids) < len(text) / 3, "the pieces of a call are single tokens"


def test_a_value_is_the_same_tokens_in_the_request_and_in_the_call(chat):
    for text in ('for owner "Lomira", ', '{"owner": "Lomira", "', 'client "Lomira".'):
        tokens = chat.tokenizer.tokenize(text)
        label = chat.tokenizer.tokenize("Lomira")
        assert any(tokens[at : at + len(label)] == label for at in range(len(tokens)))


def test_the_prompt_shows_what_is_documented_and_no_schema(chat, tasks):
    undocumented = documented = 0
    for task in tasks:
        prompt = chat.tokenizer.decode(chat.prompt_ids(task.messages, task.tools))
        assert "pattern" not in prompt
        for tool in task.tools:
            for name, schema in tool.properties.items():
                if note := schema.get("description"):
                    documented += 1
                    assert f"{name}: {note}" in prompt or f"{name}?: {note}" in prompt
                else:
                    undocumented += 1
    assert documented
    assert undocumented


def test_the_folder_is_a_plain_model(start):
    made = json.loads((start / "start.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(start)
    assert model.num_parameters() == made["parameters"]
    assert made["config"]["drills"] == 32
    assert made["loss"] > 0
    assert f"{made['parameters']:,} parameters" in (start / "README.md").read_text()
    assert longest_context(str(start)) == SMALL.positions
    policy = load_policy(ModelConfig(path=str(start), dtype="float32"))
    assert any(weight.requires_grad for weight in policy.parameters())
    assert load_tokenizer(str(start)).chat_template
    assert not list(start.parent.glob(".start*")), "nothing is left beside it"


def test_a_finished_one_is_not_made_again(start):
    before = (start / "model.safetensors").stat().st_mtime_ns
    make_start(SMALL, start, [Forbidden()])
    assert (start / "model.safetensors").stat().st_mtime_ns == before


def test_an_interrupted_one_goes_on_and_comes_out_the_same(start, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        make_start(SMALL, tmp_path / "start", [Interrupt(after=5)])  # 2 steps of drills, 3 of 4 of the tasks
    assert not (tmp_path / "start").exists()
    make_start(SMALL, tmp_path / "start")
    assert (tmp_path / "start" / "model.safetensors").read_bytes() == (start / "model.safetensors").read_bytes()


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValidationError, match="must divide hidden_size"):
        StartConfig(hidden_size=100, heads=3)


class Forbidden(TrainerCallback):
    def on_step_begin(self, *args, **kwargs):
        raise AssertionError("nothing is left to train")


class Interrupt(TrainerCallback):
    def __init__(self, after):
        self.left = after

    def on_step_begin(self, *args, **kwargs):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
