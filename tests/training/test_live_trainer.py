"""Live rollouts through the real trainer: masks, rewards, fission from the state before the failure, checkpoints."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl import GRPOConfig

from fissile import FissionGRPOTrainer
from fissile.corrections import Correction
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import Sampling
from fissile.engines.sampler import Sampler
from fissile.environments.python import PythonTools, PythonWorld
from fissile.errors import ConfigError, ErrorKind, InfrastructureError
from fissile.methods import FissionGRPO, Phase
from fissile.rewards import RewardConfig
from fissile.rollouts import Completion, End, Limits
from fissile.serial import from_json
from fissile.tasks import World, instances, load_jsonl
from fissile.tasks.task import Task
from idle_training import train_idly
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_llama

EXAMPLES = Path(__file__).parents[2] / "examples"
TOOLS = PythonTools.from_file(EXAMPLES / "shop.py")
TASKS = load_jsonl(EXAMPLES / "shop.jsonl", tools=TOOLS.tools, world=World("python"))
CHAT = ChatFormat(tiny_tokenizer(), HermesDialect())


def call(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def turn(task_id: str, index: int) -> Task:
    (task,) = (task for task in TASKS if task.id == task_id)
    return next(instance for instance in instances(task) if instance.start == index)


@dataclass
class TextEngine:
    """Answers with the texts of a script: (number of the call, index of the prompt) -> text."""

    script: Callable[[int, int], str]
    prompts: list[list[tuple[int, ...]]] = field(default_factory=list)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        self.prompts.append([tuple(prompt) for prompt in prompts for _ in range(samples)])
        number, rows = len(self.prompts) - 1, len(self.prompts[-1])
        return [Completion(CHAT.completion_ids(self.script(number, index))) for index in range(rows)]


def trainer(folder: Path, engine: TextEngine, tasks: Sequence[Task], **changes: Any) -> FissionGRPOTrainer:
    torch.manual_seed(0)
    model = get_peft_model(
        tiny_llama(267, max_position_embeddings=8192),
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "num_generations": 4,
        "max_steps": 2,
        "max_completion_length": 128,
        "learning_rate": 1e-2,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        **changes.pop("args", {}),
    }
    return FissionGRPOTrainer(
        model=model,
        args=GRPOConfig(**settings),
        train_dataset=list(tasks),
        processing_class=CHAT.tokenizer,
        make_environment=lambda task: PythonWorld(TOOLS),
        limits=Limits(steps_per_turn=3),
        make_engine=lambda policy, chat: engine,
        **changes,
    )


RIGHT, WRONG, DONE = call("put", item="tea", quantity=1), call("put", item="tee", quantity=1), "Done."


def explore(number: int, index: int) -> str:
    """Sample 0 is right, 1 fails and mends it, 2 fails and gives up, 3 calls nothing."""
    return ((RIGHT, DONE, DONE), (WRONG, RIGHT, DONE), (WRONG, DONE, DONE), (DONE, DONE, DONE))[index][number]


class Explore:
    """`explore` as an engine sees it: rollouts that have ended send no further prompt."""

    alive = ((0, 1, 2, 3), (0, 1, 2), (1,))

    def __call__(self, number: int, index: int) -> str:
        return explore(number, self.alive[number][index])


def test_rollouts_of_several_steps_are_rewarded_and_masked(tmp_path: Path) -> None:
    engine = TextEngine(Explore())
    made = trainer(tmp_path, engine, [turn("shop-0", 0)], args={"max_steps": 1})
    batches: list[dict[str, Any]] = []
    generate = made._generate_and_score_completions

    def watched(inputs: Any) -> dict[str, Any]:
        batches.append(generate(inputs))
        return batches[-1]

    made._generate_and_score_completions = watched  # type: ignore[method-assign]
    made.train()
    (batch,) = batches
    rollouts = [scored.rollout for scored in made._scored]
    assert [rollout.correct for rollout in rollouts] == [True, True, False, False]
    assert [len(rollout.steps) for rollout in rollouts] == [2, 3, 2, 1]
    for row, rollout in enumerate(rollouts):
        length = len(rollout.completion_ids)
        assert batch["completion_ids"][row, :length].tolist() == list(rollout.completion_ids)
        assert batch["tool_mask"][row, :length].tolist() == list(rollout.mask)
        written = [token for token, own in zip(rollout.completion_ids, rollout.mask, strict=True) if own]
        assert written == [token for step in rollout.steps for token in step.completion.ids]
    answered = CHAT.tokenizer.decode(
        [token for token, own in zip(rollouts[1].completion_ids, rollouts[1].mask, strict=True) if not own]
    )
    assert "there is no 'tee'" in answered  # the world's words are in the context, outside the mask
    rewards = [scored.reward for scored in made._scored]
    assert [reward.corr == 2 for reward in rewards if reward] == [True, True, False, False]


def test_tokens_of_the_world_carry_no_gradient(tmp_path: Path) -> None:
    """The loss of a batch is the same whatever the labels of the world's tokens: their log-probabilities drop out."""
    made = trainer(tmp_path, TextEngine(Explore()), [turn("shop-0", 0)], args={"max_steps": 1})
    losses: list[float] = []
    compute = made._compute_loss

    def twice(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss = compute(model, inputs)
        log_probs = made._get_per_token_logps_and_entropies

        def shifted(*arguments: Any, **options: Any) -> Any:
            values, entropies, aux = log_probs(*arguments, **options)
            return values + 3.0 * (1 - inputs["tool_mask"][: len(values)]), entropies, aux

        made._get_per_token_logps_and_entropies = shifted  # type: ignore[method-assign]
        losses.extend((float(loss), float(compute(model, inputs))))
        made._get_per_token_logps_and_entropies = log_probs  # type: ignore[method-assign]
        return loss

    made._compute_loss = twice  # type: ignore[method-assign]
    made.train()
    assert losses[0] == pytest.approx(losses[1], abs=1e-7)


@pytest.mark.parametrize("feedback", ["environment", "rules", "fixed"])
def test_recoveries_restart_in_the_world_before_the_failed_call(tmp_path: Path, feedback: str) -> None:
    """Turn 1 begins with tea in the cart; a failed response of two calls first puts bread there, which is undone."""
    both = f"{call('put', item='bread', quantity=1)}\n{call('put', item='milk', quantity=99)}"
    task = turn("shop-0", 1)  # and one milk, please
    script = {0: both, 1: DONE, 2: call("put", item="milk", quantity=1), 3: DONE}
    engine = TextEngine(lambda number, index: script[number])
    records: list[dict[str, Any]] = []
    made = trainer(tmp_path, engine, [task], method=FissionGRPO(feedback=feedback, interval=1), journal=records.append)
    train_idly(made)
    assert dict(made.updates) == {"explore": 1, "fission": 1}
    (intercepted,) = (record for record in records if record["event"] == "intercepted")
    (fission,) = (record for record in records if record["event"] == "fission")
    correction = from_json(Correction, intercepted)
    assert correction.context(task).turn == 1
    assert [recovery["attempt"].get("errors", []) for recovery in fission["recoveries"]] == [[]] * 4
    for scored in made._scored:
        assert scored.reward is not None
        assert scored.reward.corr == 2  # the cart holds tea and milk: the bread of the failed response is gone
    prompt = CHAT.tokenizer.decode(list(made._scored[0].rollout.context.prompt_ids))
    said = correction.history[-1].feedback
    assert said in prompt
    assert ("only 2 of 'milk' are left" in said) == (feedback in ("environment", "rules"))


def test_a_silent_failure_is_fissioned(tmp_path: Path) -> None:
    """Two teas instead of one: no tool complains, the judge does."""
    script = {0: call("put", item="tea", quantity=2), 1: DONE, 2: RIGHT, 3: DONE}
    records: list[dict[str, Any]] = []
    made = trainer(
        tmp_path,
        TextEngine(lambda number, index: script[number]),
        [turn("shop-0", 0)],
        method=FissionGRPO(feedback="rules"),
        journal=records.append,
    )
    train_idly(made)
    (intercepted,) = (record for record in records if record["event"] == "intercepted")
    failed = from_json(Correction, intercepted).history[-1]
    assert failed.attempt.error_kinds == (ErrorKind.WRONG_STATE,)
    assert "quantity" in failed.feedback  # rules compare with the truth of the turn
    assert made._scored[0].rollout.correct
    assert made.state.log_history[0]["explore/silent_failures"] == 4


def test_a_repeat_earns_nothing(tmp_path: Path) -> None:
    script = {0: WRONG, 1: DONE, 2: WRONG, 3: DONE}
    made = trainer(
        tmp_path,
        TextEngine(lambda number, index: script[number]),
        [turn("shop-0", 0)],
        reward=RewardConfig(repeat_earns_nothing=True),
    )
    train_idly(made)
    assert [scored.reward.corr for scored in made._scored if scored.reward] == [0.0] * 4
    assert made.state.log_history[1]["fission/repeat"] == 1.0


def test_a_lost_world_leaves_the_batch_without_a_reward(tmp_path: Path) -> None:
    class Lost(PythonWorld):
        def execute(self, calls: Any) -> Any:
            raise InfrastructureError("worker", "the worker cannot be started")

    made = trainer(tmp_path, TextEngine(Explore()), [turn("shop-0", 0)], args={"max_steps": 1})
    made.groups.sampler = Sampler(CHAT, lambda task: Lost(TOOLS), limits=Limits(steps_per_turn=3))
    train_idly(made)
    ends = [scored.rollout.end for scored in made._scored]
    assert ends == [End.INFRASTRUCTURE] * 3 + [End.DONE]
    assert [scored.reward is None for scored in made._scored] == [True, True, True, False]
    assert made.state.log_history[0]["explore/infrastructure"] == 3


def test_a_context_without_room_learns_nothing(tmp_path: Path) -> None:
    made = trainer(tmp_path, TextEngine(Explore()), [turn("shop-0", 0)], args={"max_steps": 1})
    made.groups.sampler = Sampler(CHAT, lambda task: PythonWorld(TOOLS), limits=Limits(context_tokens=10))
    train_idly(made)
    assert {scored.rollout.end for scored in made._scored} == {End.CONTEXT_LIMIT}
    assert made.state.log_history[0]["loss"] == 0


def test_a_live_method_resumes_from_its_state(tmp_path: Path) -> None:
    engine = TextEngine(lambda number, index: {0: WRONG}.get(number, DONE))
    made = trainer(tmp_path, engine, [turn("shop-0", 0)], args={"max_steps": 1})
    train_idly(made)
    state = json.loads(json.dumps(made.method.state_dict()))
    again = trainer(tmp_path, engine, [turn("shop-0", 0)])
    again.method.load_state_dict(state)
    explore_context = again.groups.context(turn("shop-0", 0))
    plans = [method.plan([explore_context], 4, 1) for method in (made.method, again.method)]
    assert plans[0].phase is Phase.FISSION
    assert plans[0] == plans[1]


def test_live_and_single_step_tasks_are_not_mixed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one kind at a time"):
        FissionGRPOTrainer(
            model=tiny_llama(267),
            args=GRPOConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True, num_generations=2, report_to=[]),
            train_dataset=[turn("shop-0", 0), *squares(1)],
            processing_class=CHAT.tokenizer,
        )


def test_the_logged_entropy_is_that_of_the_tokens_that_the_policy_wrote(tmp_path: Path) -> None:
    """Rows without an advantage cost no forward; the entropy of the others is scaled to what TRL would log."""
    made = trainer(tmp_path, TextEngine(Explore()), [turn("shop-0", 0)], args={"max_steps": 1})
    seen: list[tuple[float, float]] = []
    compute = made._compute_loss

    def watched(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        inputs["advantages"] = inputs["advantages"] * torch.tensor([1.0, 1.0, 0.0, 0.0])
        loss = compute(model, inputs)
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        made._active_rows = None
        _, entropies, _ = made._get_per_token_logps_and_entropies(
            model, ids, mask, inputs["completion_ids"].size(1), compute_entropy=True
        )
        assert entropies is not None
        own = (inputs["completion_mask"] * inputs["tool_mask"])[:2]
        wanted = (entropies[:2].detach() * own).sum() / own.sum()
        seen.append((made._metrics["train"]["entropy"][-1], float(wanted)))
        return loss

    made._compute_loss = watched  # type: ignore[method-assign]
    made.train()
    ((logged, wanted),) = seen
    assert logged == pytest.approx(wanted, rel=1e-4)
