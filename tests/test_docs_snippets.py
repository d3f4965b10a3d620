"""Every snippet of README and docs: Python runs and type-checks as written, commands and recipes are known."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import mypy.api
import pytest
import torch
import transformers.trainer
import typer
from transformers import TrainerCallback

from fissile.cli import app
from fissile.config import load_config, load_simulator_recipe, parse_config
from fissile.lab.spec import load_spec
from offered import offer_examples
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_qwen3

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(autouse=True)
def _offered(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages name what the packages of examples/ offer."""
    offer_examples(tmp_path_factory.mktemp("installed"), monkeypatch)


@dataclass(frozen=True)
class Snippet:
    """A fenced block: the page, the line that it begins after, its language and text."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def snippets() -> Iterator[Snippet]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            yield Snippet(page, text[: found.start()].count("\n") + 1, found[1], found[2])


def of(language: str) -> list[Snippet]:
    return [snippet for snippet in snippets() if snippet.language == language]


# --- Python ------------------------------------------------------------------------------------------------------


class OneStep(TrainerCallback):
    """Ends a training after its first update."""

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        control.should_training_stop = True


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds what the snippets name: the model is a tiny one, in a folder of that name."""
    model, tokenizer = tiny_qwen3(267, max_position_embeddings=4096), tiny_tokenizer()
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] *= 20  # ends its turns soon
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "Qwen" / "Qwen3-1.7B")
    shutil.copy(ROOT / "examples" / "shop.py", tmp_path / "my_tools.py")
    monkeypatch.setattr(transformers.trainer, "DEFAULT_CALLBACKS", [*transformers.trainer.DEFAULT_CALLBACKS, OneStep])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_tasks(folder: Path, live: bool) -> None:
    if live:
        shutil.copy(ROOT / "examples" / "shop.jsonl", folder / "my_tasks.jsonl")
        return
    rows = [
        {
            "messages": list(task.messages),
            "tools": [tool.to_schema() for tool in task.tools],
            "ground_truth": [{"name": call.name, "arguments": call.arguments} for call in task.oracle_calls()],
        }
        for task in squares(8)
    ]
    (folder / "my_tasks.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


@pytest.mark.parametrize("snippet", of("python"), ids=str)
def test_python_runs_as_written(snippet: Snippet, desk: Path) -> None:
    write_tasks(desk, live="PythonTools" in snippet.text)
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(snippet.text, str(snippet), "exec"), names)
    if "trainer.train()" in snippet.text:
        assert names["trainer"].state.global_step == 1


def test_python_passes_strict_type_checking_without_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user checks it: nothing of the package's own configuration, TRL and transformers untyped."""
    config = tmp_path / "mypy.ini"
    config.write_text(
        "[mypy]\nstrict = True\nfollow_imports = silent\n"
        "[mypy-transformers.*,trl.*,peft.*,datasets.*,accelerate.*,torch.*]\n"
        "follow_imports = skip\nignore_missing_imports = True\n",
        encoding="utf-8",
    )
    every_setting = (  # a call with one field, as people write it
        "from fissile import FissionSettings, RewardConfig\n"
        "from fissile.config import EngineConfig, ModelConfig, RunConfig, TasksConfig, TrainingConfig\n"
        "from fissile.engines.injection import InjectionSettings\n"
        "from fissile.evaluation.suite import SuiteSettings\n"
        "from fissile.methods import FissionGRPO, OfflineSettings\n"
        "from fissile.rollouts import Limits\n"
        "from fissile.tasks.procedural import ProceduralSettings\n"
        'FissionSettings(feedback="rules"), RewardConfig(), Limits(), OfflineSettings(collect_tasks=4)\n'
        "FissionGRPO(interval=2), FissionGRPO(FissionSettings(interval=2))\n"
        'RunConfig(model=ModelConfig(path="x"), tasks=TasksConfig(source="bfcl"), training=TrainingConfig(steps=2))\n'
        "EngineConfig(), SuiteSettings(policy='oracle'), InjectionSettings(rate=0.5), ProceduralSettings(seed=1)\n"
    )
    files = []
    for index, text in enumerate([*(snippet.text for snippet in of("python")), every_setting]):
        files.append(tmp_path / f"snippet_{index}.py")
        files[-1].write_text(text, encoding="utf-8")
    monkeypatch.setenv("MYPYPATH", str(ROOT / "src"))
    cache = ROOT / ".mypy_cache" / "snippets"
    out, errors, status = mypy.api.run(["--config-file", str(config), "--cache-dir", str(cache), *map(str, files)])
    assert status == 0, out + errors


# --- commands and recipes ----------------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, str]]:
    """(where, command) of each line of a block that starts with `fissile`, synopses left out."""
    for snippet in snippets():
        for line in snippet.text.replace("\\\n", " ").splitlines():
            bare = re.split(r"\s#\s", line)[0]
            for command in bare.split("&&"):
                is_synopsis = re.search(r"[A-Z]{3,}\.toml|[\[|]|\S\s{3,}\S", command)
                if command.strip().startswith("fissile ") and not is_synopsis:
                    yield str(snippet), command.strip()


def known(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that some words name, and the words behind it."""
    command: click.Command = typer.main.get_command(app)
    while words and isinstance(getattr(command, "commands", None), dict):
        inner = command.commands.get(words[0])  # type: ignore[attr-defined]
        if inner is None:
            break
        command, words = inner, words[1:]
    return command, words


@pytest.mark.parametrize(("where", "command"), sorted(set(commands())))
def test_commands_are_known_and_their_recipes_valid(where: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    _, *words = shlex.split(command.rstrip(" ."))
    leaf, rest = known(words)
    context = leaf.make_context(str(leaf.name), list(rest))
    given = context.params.get("recipe") or context.params.get("spec") or context.params.get("specs")
    if not given:
        return
    overrides = list(context.params.get("overrides") or [])
    for file in given if isinstance(given, list | tuple) else [given]:
        if words[0] == "lab":
            load_spec(file)
        elif words[0] == "simulate":
            load_simulator_recipe(file, overrides)
        else:
            load_config(file, overrides)


def mentions() -> Iterator[tuple[str, str]]:
    """(where, text) of every synopsis and of every `fissile ...` inside a sentence."""
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            texts = re.findall(r"`(fissile [^`]*)`", line)
            texts += re.findall(r"^(fissile \S.*?)(?:\s{3,}.*|\s&&.*)?$", line)
            yield from ((f"{page.name}:{number}", text) for text in texts)


@pytest.mark.parametrize(("where", "text"), sorted(set(mentions())))
def test_commands_in_sentences_exist_with_their_options(where: str, text: str) -> None:
    words = [word for word in text.split()[1:] if not word.startswith("#")]
    chosen = [index for index, word in enumerate(words) if "|" in word and "[" not in word]
    alternatives = words[chosen[0]].split("|") if chosen else [""]
    for alternative in alternatives:
        spelled = [alternative if chosen and index == chosen[0] else word for index, word in enumerate(words)]
        command, rest = known(spelled)
        assert not hasattr(command, "commands") or not rest or command.name == "eval", f"{where}: {text}"
        options = {option for parameter in command.params for option in parameter.opts}
        used = set(re.findall(r"--[a-z][a-z-]*", text))
        assert used <= options | {"--help"}, f"{where}: {used - options}"


@pytest.mark.parametrize("snippet", of("toml"), ids=str)
def test_pieces_of_recipes_are_valid(snippet: Snippet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = tomllib.loads(snippet.text)
    (tmp_path / "my_prompt.txt").write_text("{failure}", encoding="utf-8")
    (tmp_path / "spec.toml").write_text(snippet.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    if "arms" in fields:
        load_spec("spec.toml")
    else:
        parse_config(fields)
