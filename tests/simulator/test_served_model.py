"""A taught model, merged and served by `transformers serve` over a real socket, says what it says in this process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fault_server import free_port
from fissile.cli import app
from fissile.config.simulator_recipe import load_simulator_recipe
from fissile.errors import RunError
from fissile.simulator.endpoint import EndpointSource
from fissile.simulator.reply import Said
from fissile.simulator.settings import ServedSettings
from fissile.simulator.typed import truths
from fissile.training.simulator_folder import SimulatorFolder
from fissile.training.simulator_making import load_learned
from tiny import tiny_tokenizer
from tiny_models import tiny_llama

RECIPE = """\
output = "{folder}/simulator"
max_new_tokens = 300
[model]
path = "{folder}/model"
dtype = "float32"
lora_rank = 16
[data]
source = "procedural"
procedural = {{ train_tasks = 12, test_tasks = 8 }}
rows = 12
test_rows = 4
[training]
examples = 1
epochs = 60
learning_rate = 1e-2
batch_examples = 1
micro_batch_examples = 1
"""

MISSING = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
SECONDS = 120


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of a tiny model that knows one diagnosis by heart, merged."""
    folder = tmp_path_factory.mktemp("served")
    tiny_llama(267, max_position_embeddings=2048).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    path = folder / "simulator.toml"
    path.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    for command in ("train", "merge"):
        result = CliRunner().invoke(app, ["simulate", command, str(path)], catch_exceptions=False)
        assert result.exit_code == 0
    assert f"transformers serve {folder}/simulator/merged" in result.output.replace("\n", "")
    return path


@contextmanager
def transformers_serve(model: Path, log: Path) -> Iterator[str]:
    """The address of a server of the model, while it runs."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--port", str(port)]
    with log.open("w", encoding="utf-8") as told:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        server = subprocess.Popen(
            [*command, "--device", "cpu", "--dtype", "float32"], stdout=told, stderr=told, env=environment
        )
    try:
        end = time.monotonic() + SECONDS
        while not _is_up(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < end
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(20)


def _is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, TimeoutError):
        return False


def test_a_tiny_model_learns_the_form(recipe: Path) -> None:
    config = load_simulator_recipe(recipe)
    folder = SimulatorFolder(Path(config.output))
    row = next(row for row in folder.read_rows() if row.side == "train")
    (said,) = load_learned(config.learned(folder.adapter)).explain([row.failure])
    assert said == Said(row.diagnosis, truths(row.failure)[0])


@pytest.mark.skipif(bool(MISSING), reason=f"`transformers serve` needs {MISSING}: pip install 'transformers[serving]'")
def test_a_merged_model_is_served_and_says_the_same(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    config = load_simulator_recipe(recipe)
    folder = SimulatorFolder(Path(config.output))
    failures = [row.failure for row in folder.read_rows() if row.side == "train"][:1]
    learned = load_learned(config.learned(folder.adapter)).explain(failures)
    merged = folder.path / "merged"
    with transformers_serve(merged, folder.path / "server.txt") as url:
        server = {"base_url": url, "model": str(merged), "timeout_seconds": 60.0}
        settings = ServedSettings(
            server=server, prompt_file=str(merged / "prompt.txt"), max_new_tokens=300, deadline_seconds=120
        )
        served = EndpointSource(settings).explain(failures)
    assert served == learned
    assert isinstance(served[0], Said)


def test_what_is_merged_holds_no_adapter_and_is_not_written_over(recipe: Path) -> None:
    merged = recipe.parent / "simulator" / "merged"
    names = {file.name for file in merged.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "prompt.txt"} <= names
    assert not [name for name in names if "adapter" in name]
    with pytest.raises(RunError, match=r"is there already. Delete it, or name another folder with --to"):
        CliRunner().invoke(app, ["simulate", "merge", str(recipe)], catch_exceptions=False)


def test_there_must_be_an_adapter_to_merge(recipe: Path) -> None:
    command = ["simulate", "merge", str(recipe), "--adapter", "nothing", "--to", str(recipe.parent / "other")]
    with pytest.raises(Exception, match="There is no adapter at 'nothing'"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert not (recipe.parent / "other").exists()
