"""What an adapter's folder tells of its base model, on any machine."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, GenerationConfig

from fissile.config import ModelConfig, parse_config
from fissile.dialects import ChatFormat, get_dialect
from fissile.errors import ModelError
from fissile.training.base_model import base_model
from fissile.training.model_card import portable, recipe_lines
from fissile.training.policy_model import EMBEDDED, load_model, load_policy, load_tokenizer, other_format, save_adapter
from tiny import tiny_tokenizer
from tiny_models import tiny_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "my-model"
    tiny_llama(300).save_pretrained(folder)  # more rows than the tokenizer has tokens, as Qwen's
    tiny_tokenizer(tools_in_template=True).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("whole", [[], ["embed_tokens"]])
def test_it_loads_everywhere_and_names_no_path(model: Path, tmp_path: Path, whole: list[str], monkeypatch) -> None:
    config = ModelConfig(path=str(model), dtype="float32", lora_rank=2, lora_whole=whole)
    chat = ChatFormat(load_tokenizer(str(model)), get_dialect("hermes"))
    policy = load_policy(config)
    adapter = tmp_path / "adapter"
    save_adapter(policy, adapter, {}, chat, {"temperature": 0.7, "top_k": 0, "top_p": 1.0, "max_new_tokens": 9})
    assert json.loads((adapter / "adapter_config.json").read_text())["base_model_name_or_path"] == "my-model"
    assert not (adapter / "README.md").exists(), "PEFT's card of empty headings"
    for file in adapter.iterdir():
        assert str(model.parent).encode() not in file.read_bytes(), file
    ids = torch.tensor([[1, 2, 3, 4]])
    expected = policy.eval()(ids).logits
    plain = PeftModel.from_pretrained(tiny_like(model), adapter)
    assert torch.equal(plain.eval()(ids).logits, expected)
    with warnings.catch_warnings(action="always", record=True) as said:
        again = load_policy(config, adapter)
        again.save_pretrained(tmp_path / "checkpoint")
    assert not [warning for warning in said if "config" in str(warning.message)]  # no hub is asked about the base model
    assert torch.equal(again.eval()(ids).logits, expected)
    monkeypatch.chdir(model.parent)  # where the base model can be found by its name
    assert torch.equal(AutoPeftModelForCausalLM.from_pretrained(adapter).eval()(ids).logits, expected)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    assert tokenizer.chat_template == chat.tokenizer.chat_template
    generation = GenerationConfig.from_pretrained(adapter)
    assert (generation.temperature, generation.max_new_tokens) == (0.7, 9)
    assert json.loads((adapter / "fissile.json").read_text())["dialect"] == "hermes"
    assert other_format(adapter, str(model), chat) == ""
    other = ChatFormat(chat.tokenizer, get_dialect("python"))
    said = other_format(adapter, EMBEDDED, other)
    assert "dialect 'python' (trained with 'hermes')" in said
    assert "(trained with 'my-model')" in said
    assert "template_options" not in said
    told = json.loads((adapter / "fissile.json").read_text()) | {"template_options": {"enable_thinking": False}}
    (adapter / "fissile.json").write_text(json.dumps(told))
    assert "template_options {} (trained with {'enable_thinking': False})" in other_format(adapter, str(model), chat)
    (adapter / "fissile.json").unlink()
    assert other_format(adapter, EMBEDDED, other) == "", "nothing is known of other libraries' adapters"


def tiny_like(folder: Path):
    return type(tiny_llama()).from_pretrained(folder, dtype=torch.float32)


def test_the_base_model_by_what_the_recipe_says(tmp_path: Path) -> None:
    embedded = base_model(EMBEDDED, EMBEDDED)
    assert (embedded.id, embedded.licence) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
    assert base_model("Qwen/Qwen3-0.6B", EMBEDDED).id == "Qwen/Qwen3-0.6B"
    snapshot = tmp_path / "hub" / "models--Qwen--Qwen3-0.6B" / "snapshots" / "c1899de2"
    snapshot.mkdir(parents=True)
    (snapshot / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
    found = base_model(str(snapshot), EMBEDDED)
    assert (found.id, found.is_known, found.licence) == ("Qwen/Qwen3-0.6B", True, "mit")
    assert base_model(str(snapshot) + "/", EMBEDDED).id == "Qwen/Qwen3-0.6B"


@pytest.mark.parametrize(
    ("said", "name", "known"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", True),
        ("/home/ines/models/qwen", "folder", False),
        ("./qwen", "folder", False),
        ("out/checkpoint-500", "folder", False),
        ("C:\\models\\qwen", "folder", False),
        ("", "folder", False),
        (None, "folder", False),
    ],
)
def test_a_local_folder_is_what_its_configuration_says(tmp_path: Path, said, name: str, known: bool) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"_name_or_path": said}))
    found = base_model(f"{folder}/../folder", EMBEDDED)
    assert (found.id, found.is_known) == (name, known)
    assert known or "name is that of a folder" in found.note


def test_a_model_of_the_lab_and_a_gguf_file(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_text("{}")
    assert "laboratory" in base_model(str(tmp_path), EMBEDDED).note
    (tmp_path / "tiny.Q4_1.gguf").write_bytes(b"")
    found = base_model(str(tmp_path / "tiny.Q4_1.gguf"), EMBEDDED)
    assert (found.id, found.is_known) == ("tiny.Q4_1", False)


def test_the_recipe_of_a_card_is_a_recipe_without_the_machine() -> None:
    fields = {
        "output": "/home/ines/runs/x",
        "model": {"path": "Qwen/Qwen3-0.6B", "template_options": {"enable_thinking": False, "a b": "ü"}},
        "tasks": {"source": "/data/my tasks.jsonl", "tools": "~/tools.py"},
        "training": {"report_to": ["wandb"], "run_name": "secret"},
        "simulator": {"endpoint": {"server": {"base_url": "http://intern:8000/v1", "model": "m"}}},
    }
    lines = "\n".join(recipe_lines(parse_config(fields)))
    for private in ("ines", "/data", "~", "intern", "wandb", "secret"):
        assert private not in lines
    assert 'tasks.source = "my tasks.jsonl"' in lines
    assert 'model.template_options."a b" = "ü"' in lines
    assert portable("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    assert portable(r"C:\data\x.jsonl") == "x.jsonl"


def test_weights_that_would_be_dropped_or_drawn_are_refused(model: Path, tmp_path: Path) -> None:
    config = ModelConfig(path=str(model), dtype="float32", lora_rank=2)
    save_adapter(load_policy(config), tmp_path / "adapter")
    tiny_llama(300, num_hidden_layers=1).save_pretrained(tmp_path / "shallow")
    with pytest.raises(ModelError, match=r"14 of its weights have no place in the model"):
        load_policy(ModelConfig(path=str(tmp_path / "shallow"), dtype="float32"), tmp_path / "adapter")
    weights = load_file(tmp_path / "shallow" / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "shallow" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lack 1 of the model's weights .*up_proj"):
        load_model(str(tmp_path / "shallow"), "float32")
