"""The real trainer with a simulator behind a server that fails in every way: training goes on as with a good one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from trl import GRPOConfig

from fault_server import (
    FaultServer,
    after,
    completion,
    cuts,
    dies,
    drips,
    hangs_up,
    refuses,
    says,
    sends,
    serving,
)
from fissile import FissionGRPOTrainer
from fissile.cli.train import feedback_lines
from fissile.config import load_config
from fissile.errors import ConfigError
from fissile.feedback import FIXED_MESSAGE, Failure
from fissile.methods import FissionGRPO
from fissile.simulator.endpoint import EndpointSource
from fissile.simulator.settings import ServedSettings
from fissile.training.progress import Progress
from fissile.training.run import Run
from fissile.training.run_folder import RunFolder
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_llama
from tiny_world import make_world

TASKS = squares(8)
PROMPTS, GROUP, STEPS = 2, 4, 4
SAID = "TypeError: look at the call again."


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


def source(server: FaultServer, deadline: float = 5.0) -> EndpointSource:
    patience = {"timeout_seconds": 5.0, "retries": 1, "backoff_seconds": 0.01, "max_wait_seconds": 0.05}
    served = {"base_url": server.url, "model": "m", **patience}
    return EndpointSource(ServedSettings(server=served, deadline_seconds=deadline))


def trained(folder: Path, **changes: Any) -> tuple[FissionGRPOTrainer, int]:
    """A trainer after four steps, and the number of rollouts that it learned from."""
    torch.manual_seed(0)
    policy: Any = get_peft_model(
        tiny_llama(267, max_position_embeddings=2048),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    made = FissionGRPOTrainer(
        model=policy,
        args=GRPOConfig(
            output_dir=str(folder),
            per_device_train_batch_size=PROMPTS * GROUP,
            num_generations=GROUP,
            max_steps=STEPS,
            max_completion_length=24,
            temperature=2.0,
            learning_rate=1e-2,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=TASKS,
        processing_class=tiny_tokenizer(),
        **changes,
    )
    rollouts: list[int] = []
    count = made._count

    def watched(plan: Any, advantages: torch.Tensor) -> None:
        rollouts.append(sum(scored.reward is not None for scored in made._scored))
        count(plan, advantages)

    made._count = watched  # type: ignore[method-assign]
    made.train()
    return made, sum(rollouts)


def logs(made: FissionGRPOTrainer) -> list[dict[str, Any]]:
    return [log for log in made.state.log_history if "feedback/diagnosed" in log]


HEALTHY = ({"explore": STEPS // 2, "fission": STEPS // 2}, STEPS * PROMPTS * GROUP)
"""Updates by phase, and rollouts."""

FAULTS = {
    "status 401": refuses(401),
    "status 404": refuses(404),
    "status 429": refuses(429, headers={"Retry-After": "3600"}),
    "status 500": refuses(500),
    "status 503": refuses(503),
    "connection": hangs_up,
    "connection, cut": cuts(completion(SAID)),
    "connection, dead": dies,
    "deadline, dripping": drips(0.02),
    "deadline, hanging": after(30, says(SAID)),
    "unreadable": sends(200, "<html>Bad gateway</html>"),
    "unreadable, wrong shape": sends(200, '{"choices": []}'),
    "empty": says(""),
}


def test_with_a_healthy_server(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = []
    with serving(says(f"<think>3</think>{SAID}")) as server:
        made, rollouts = trained(tmp_path, source=source(server), journal=records.append)
    assert (dict(made.updates), rollouts) == HEALTHY
    said = made.method.report()["feedback"]
    assert said == {"source": "endpoint", "diagnosed": said["diagnosed"], "leaks": {}, "fallbacks": {}}
    intercepted = [record for record in records if record["event"] == "intercepted"]
    assert {record["dialogue"][0]["results"][0] for record in intercepted} == {SAID}
    assert {record["source"] for record in intercepted} == {"endpoint"}
    assert len(server.bodies) <= len(intercepted) == said["diagnosed"] > 0


FAST = {"status 401", "status 500", "connection, dead", "deadline, hanging"}


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[] if fault in FAST else pytest.mark.slow) for fault in FAULTS]
)
def test_with_a_faulty_server(tmp_path: Path, fault: str) -> None:
    records: list[dict[str, Any]] = []
    reason = fault.partition(",")[0]
    with serving(FAULTS[fault]) as server:
        asked = source(server, deadline=0.3 if reason == "deadline" else 5.0)
        made, rollouts = trained(tmp_path, source=asked, journal=records.append)
    assert (dict(made.updates), rollouts) == HEALTHY
    said = made.method.report()["feedback"]
    assert said["source"] == "endpoint"
    assert said["fallbacks"][reason] > 0
    assert set(said["fallbacks"]) <= {reason, "gone"}
    assert sum(said["fallbacks"].values()) == said["diagnosed"] > 0
    intercepted = [record for record in records if record["event"] == "intercepted"]
    assert {record["source"] for record in intercepted} <= {"rules", "fixed"}
    assert Counter(record["fallback"] for record in intercepted) == said["fallbacks"]
    last = logs(made)[-1]
    assert last["feedback/fallbacks"] == last["feedback/diagnosed"] == said["diagnosed"]
    assert last["feedback/leaks"] == 0
    assert max(log["feedback/seconds"] for log in logs(made)) < (0.8 if reason == "deadline" else 5.0)
    parts = [part for line in feedback_lines(said) for part in line]
    assert "bold yellow" in [style for part in parts if isinstance(part, tuple) for style in part[1:]]


def test_with_every_passing_fault_in_turn_among_good_answers(tmp_path: Path) -> None:
    turns = [
        refuses(400),
        says(SAID),
        says(""),
        cuts(completion(SAID)),
        cuts(""),
        sends(200, "null"),
        hangs_up,
        hangs_up,
    ]
    with serving(*turns, says(SAID)) as server:
        made, rollouts = trained(tmp_path, source=source(server), method=FissionGRPO(per_group=4))
    assert (dict(made.updates), rollouts) == HEALTHY
    said = made.method.report()["feedback"]
    assert said["fallbacks"]["status 400"] == said["fallbacks"]["empty"] == 1
    assert 0 < sum(said["fallbacks"].values()) < said["diagnosed"]


class Mine:
    """A user's own source, which does what it likes."""

    name = "mine"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def diagnose(self, failures: list[Failure]) -> Any:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer if answer is None else [answer] * len(failures)


@pytest.mark.parametrize(
    ("answers", "reasons"),
    [
        ((ConfigError("change this"), 7), {"ConfigError", "not_a_text"}),
        ((None, "x" * 100_000), {"TypeError", "too_long"}),
    ],
)
def test_with_a_source_of_the_users_own(tmp_path: Path, answers: tuple[Any, ...], reasons: set[str]) -> None:
    made, rollouts = trained(tmp_path, source=Mine(*answers))
    assert (dict(made.updates), rollouts) == HEALTHY
    assert set(made.method.report()["feedback"]["fallbacks"]) == reasons


def test_without_fission_nobody_is_asked(tmp_path: Path) -> None:
    made, _ = trained(tmp_path, method="grpo", source=Mine(RuntimeError()))
    assert made.method.report() == {}
    assert logs(made) == []


# --- whole runs ------------------------------------------------------------------------------------------------------


@contextmanager
def recipe(folder: Path, server: FaultServer, *overrides: str) -> Iterator[Run]:
    """A whole run of a few seconds in which every diagnosis is asked of a server."""
    chosen = [
        "method.feedback=endpoint",
        "cold_start.feedback=endpoint",
        "evaluation.feedback=service",
        f'simulator.endpoint.server={{model = "m", base_url = "{server.url}", retries = 0}}',
        "training.max_new_tokens=16",
        "evaluation.base=false",
        *overrides,
    ]
    config = load_config(make_world(folder, steps=2), chosen)
    run = RunFolder(Path(config.output))
    run.enter(config, resume=False)
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        yield Run(config, run, Progress(Console(file=log)))


def test_a_run_keeps_answers_and_counts(tmp_path: Path) -> None:
    with serving(says(SAID)) as server, recipe(tmp_path, server) as run:
        summary = run.execute()
        feedback = summary["feedback"]
        assert feedback == json.loads((run.folder.path / "training.json").read_text(encoding="utf-8"))["feedback"]
        assert (feedback["source"], feedback["fallbacks"]) == ("endpoint", {})
        assert feedback["diagnosed"] > 0
        demonstrated = json.loads((run.folder.cold_start / "feedback.json").read_text(encoding="utf-8"))
        assert demonstrated["source"] == "endpoint"
        assert demonstrated["diagnosed"] > 0
        answers = (run.folder.path / "simulator_cache.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(answers) == len(server.bodies) > 0
        stage = json.loads(run.folder.evaluation("fission").read_text(encoding="utf-8"))
        assert stage["diagnoses"]["source"] == stage["feedback"] == "service"
        assert sum(stage["diagnoses"]["fallbacks"].values()) == 0
    assert not any("yellow" in line for line in feedback_lines(feedback))


@pytest.mark.slow
def test_a_run_whose_server_is_dead_from_the_start_ends_normally(tmp_path: Path) -> None:
    with serving(dies) as server, recipe(tmp_path, server, "evaluation.feedback=fixed") as run:
        summary = run.execute()
    assert summary["updates"] == {"explore": 1, "fission": 1}
    feedback = summary["feedback"]
    assert sum(feedback["fallbacks"].values()) == feedback["diagnosed"] > 0
    assert "not those of 'endpoint'" in str(list(feedback_lines(feedback)))


def test_an_evaluation_never_falls_back_on_what_was_trained_with(tmp_path: Path) -> None:
    changes = ["method.feedback=rules", "cold_start.feedback=rules", "evaluation.feedback=endpoint"]
    with serving(refuses(500)) as server, recipe(tmp_path, server, *changes) as run:
        run.execute()
        stage = json.loads(run.folder.evaluation("fission").read_text(encoding="utf-8"))
        episodes = run.folder.episodes("fission").read_text(encoding="utf-8").splitlines()
    assert stage["diagnoses"]["source"] == "endpoint"
    assert sum(stage["diagnoses"]["fallbacks"].values()) == stage["diagnoses"]["diagnosed"] > 0
    assert episodes


def test_what_is_wrong_with_a_source_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    with serving(says(FIXED_MESSAGE)) as server:
        with recipe(tmp_path, server, "simulator.endpoint.prompt_file=none.txt") as run:
            with pytest.raises(ConfigError, match=r"prompt file 'none.txt' cannot be read"):
                run.execute()
            assert not run.folder.cold_start.exists()
        assert server.bodies == []
