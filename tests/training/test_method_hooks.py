"""Every hook of a method through the real trainer, with a two-layer random policy; what a method may not do."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from trl import GRPOConfig, GRPOTrainer

from fissile import FissionGRPOTrainer
from fissile.errors import ConfigError, RunError
from fissile.methods import GRPO, Batch, Credit, FissionGRPO, FissionSettings, Method, Phase, Plan
from fissile.methods.base import Draw, Report, Sample
from fissile.training.updates import loss_mask
from tiny import squares, tiny_tokenizer
from tiny_models import tiny_llama

PROMPTS, GROUP = 2, 4
ROWS = PROMPTS * GROUP


def trainer(
    folder: Path, method: Method | str, steps: int = 2, args: dict[str, Any] | None = None, **others: Any
) -> Any:
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": ROWS,
        "num_generations": GROUP,
        "max_steps": steps,
        "max_completion_length": 40,
        "temperature": 2.0,
        "learning_rate": 1e-2,
        "loss_type": "grpo",
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        **(args or {}),
    }
    return FissionGRPOTrainer(
        model=get_peft_model(
            tiny_llama(267, max_position_embeddings=2048),
            LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"),
        ),
        args=GRPOConfig(**settings),
        train_dataset=squares(8),
        processing_class=tiny_tokenizer(),
        method=method,
        **others,
    )


def run(made: Any) -> None:
    """Train to the end, whether the random policy's rewards gave a signal or not."""
    try:
        made.train()
    except RunError as error:
        assert "No update was made" in str(error)  # noqa: PT017


class Noted(Method):
    """Notes the order of its hooks, and tells and keeps a number."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.steps = 0

    def begin(self, draw: Draw, sample: Sample) -> None:
        batch = sample(Plan(Phase.EXPLORE, tuple(draw(3, "some")), 2), "begin")
        self.calls.append(f"begin {len(batch.scored)}")

    def plan(self, explore: Any, samples: int, step: int) -> Plan:
        self.calls.append(f"plan {step}")
        return super().plan(explore, samples, step)

    def revise(self, batch: Batch, sample: Sample) -> Batch:
        self.calls.append("revise")
        return batch

    def credit(self, batch: Batch) -> Credit | None:
        self.calls.append("credit")
        return None

    def observe(self, batch: Batch, step: int) -> None:
        assert batch.step == step
        self.steps += 1
        self.calls.append("observe")

    def report(self) -> Report:
        return {"noted/steps": float(self.steps), "noted": {"steps": self.steps}}

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


def test_the_hooks_are_called_in_their_order_and_begin_is_not_called_again_on_a_resume(tmp_path: Path) -> None:
    args = {"save_strategy": "steps", "save_steps": 1}
    method = Noted()
    made = trainer(tmp_path, method, 2, args)
    run(made)
    step = ["revise", "credit", "observe"]
    assert method.calls == ["begin 6", "plan 0", *step, "plan 1", *step]
    assert [log["noted/steps"] for log in made.state.log_history if "noted/steps" in log] == [1, 2]
    assert made.spent.rollouts == 6 + 2 * ROWS
    again = Noted()
    trainer(tmp_path, again, 3, args).train_from(tmp_path / "checkpoint-2")
    assert (again.calls, again.steps) == (["plan 2", *step], 3)


def test_an_evaluation_only_explores(tmp_path: Path) -> None:
    method = Noted()
    made = trainer(tmp_path, method)
    made.evaluate(squares(2))
    assert method.calls == []


class Credited(Method):
    """Gives what a function of the batch says."""

    def __init__(self, give: Callable[[Batch], Credit]) -> None:
        super().__init__()
        self.give = give
        self.batches: list[Batch] = []

    def credit(self, batch: Batch) -> Credit:
        self.batches.append(batch)
        return self.give(batch)


def inputs_of(made: Any) -> dict[str, Any]:
    """What the first micro-batch of a training gives to the loss."""
    batches: list[dict[str, Any]] = []
    compute = made._compute_loss
    made._compute_loss = lambda model, inputs: (batches.append(inputs), compute(model, inputs))[1]
    run(made)
    return batches[0]


def by_token(batch: Batch) -> list[Any]:
    """Another number for each token of each own response."""
    return [
        [[0.1 * row + 0.01 * at for at in range(len(step.completion.ids))] for step in entry.rollout.own]
        for row, entry in enumerate(batch.scored, 1)
    ]


def test_credit_for_each_token_is_spread_over_the_tokens_that_enter_the_loss(tmp_path: Path) -> None:
    made = trainer(tmp_path, Credited(lambda batch: Credit(by_token(batch))), 1)
    inputs = inputs_of(made)
    mask = loss_mask(inputs)
    row, at = torch.meshgrid(torch.arange(1, ROWS + 1), torch.arange(mask.shape[1]), indexing="ij")
    torch.testing.assert_close(inputs["advantages"], (0.1 * row + 0.01 * at) * mask)
    assert mask.sum(1).min() < mask.shape[1]  # some rows are padded


@pytest.mark.parametrize("as_tensor", [False, True])
def test_credit_for_rollouts_equals_trls_advantages_of_one_a_row(tmp_path: Path, as_tensor: bool) -> None:
    numbers = [0.5, -1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]
    give = torch.tensor(numbers) if as_tensor else numbers
    made = trainer(tmp_path, Credited(lambda batch: Credit(give)), 1)  # type: ignore[arg-type]
    inputs = inputs_of(made)
    assert inputs["advantages"].shape == loss_mask(inputs).shape

    def gradients(advantages: torch.Tensor) -> list[torch.Tensor]:
        made.model.zero_grad()
        made._compute_loss(made.model.train(), {**inputs, "advantages": advantages}).backward()
        return [p.grad.clone() for p in made.model.parameters() if p.requires_grad]

    for one, other in zip(gradients(inputs["advantages"]), gradients(torch.tensor(numbers)), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo"])
def test_credit_and_kl_weights_by_token_equal_the_loss_written_out(tmp_path: Path, loss_type: str) -> None:
    """The packed loss, against the definition over TRL's padded log-probabilities, token by token."""
    method = Credited(lambda batch: Credit(by_token(batch), [[float(row % 3)] for row in range(len(batch.scored))]))
    made = trainer(tmp_path, method, 1, {"loss_type": loss_type, "beta": 0.3})
    inputs = inputs_of(made)
    mask = loss_mask(inputs)
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    made.model.train()
    padded = MethodType(GRPOTrainer._get_per_token_logps_and_entropies, made)
    now, _, _ = padded(made.model, ids, attention, mask.shape[1])
    assert now.requires_grad
    total = torch.zeros(())
    for row in range(ROWS):
        of_row = torch.zeros(())
        for at in range(mask.shape[1]):
            if not mask[row, at]:
                continue
            ratio = torch.exp(now[row, at] - now[row, at].detach())
            towards = inputs["ref_per_token_logps"][row, at] - now[row, at]
            kl = (torch.exp(towards) - towards - 1) * ratio  # use_bias_correction_kl, which is the default
            of_row = of_row - ratio * inputs["advantages"][row, at] + 0.3 * (row % 3) * kl
        divisor = {"grpo": mask[row].sum() * ROWS, "dr_grpo": ROWS * 40, "dapo": mask.sum()}[loss_type]
        total = total + of_row / divisor
    packed = made._compute_loss(made.model, inputs)
    torch.testing.assert_close(packed, total, atol=1e-5, rtol=1e-4)
    trained = [weight for weight in made.model.parameters() if weight.requires_grad]
    for one, other in zip(torch.autograd.grad(packed, trained), torch.autograd.grad(total, trained), strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm() + 1e-8
    assert type(made.beta) is float


def test_credit_sees_the_rewards_of_the_users_functions_too(tmp_path: Path) -> None:
    def one_more(attempt: list[Any], **columns: Any) -> list[float]:
        return [10.0 for _ in attempt]

    method = Credited(lambda batch: Credit(list(range(len(batch.scored)))))
    run(trainer(tmp_path, method, 1, {"reward_weights": [1.0, 0.5]}, reward_funcs=one_more))
    (batch,) = method.batches
    for reward, entry in zip(batch.rewards, batch.scored, strict=True):
        assert entry.total is not None
        assert reward == pytest.approx(entry.total + 5.0)


class Replacing(Method):
    """Puts the first group in the place of all others."""

    def revise(self, batch: Batch, sample: Sample) -> Batch:
        others = sample(replace(batch.plan, contexts=batch.plan.contexts[:1]), "again")
        first = [batch.groups[0], *others.groups]
        return batch.regrouped([batch.plan.contexts[0]] * PROMPTS, first, batch.groups[1:])


def test_what_revise_gives_is_what_is_learned_from(tmp_path: Path) -> None:
    made = trainer(tmp_path, Replacing(), 1)
    inputs = inputs_of(made)
    assert len({tuple(prompt.tolist()) for prompt in inputs["prompt_ids"]}) == 1
    assert made.spent.rollouts == ROWS + GROUP
    groups = inputs["completion_ids"].view(PROMPTS, -1)
    assert not torch.equal(groups[0], groups[1])  # another draw


# --- what a method may not do ------------------------------------------------------------------------------------


def with_plan(plan: Callable[[Any], Plan]) -> Method:
    class Planning(Method):
        def plan(self, explore: Any, samples: int, step: int) -> Plan:
            return plan(explore)

    return Planning()


def revising(revise: Callable[[Batch], Batch]) -> Method:
    class Revising(Method):
        def revise(self, batch: Batch, sample: Sample) -> Batch:
            return revise(batch)

    return Revising()


@pytest.mark.parametrize(
    ("method", "told"),
    [
        (Credited(lambda batch: Credit([1.0])), "advantages of the method 'Credited' are 1, .* 8 rollouts"),
        (
            Credited(lambda batch: Credit([math.nan] * ROWS)),
            "method 'Credited' in row 0 are not finite",
        ),
        (Credited(lambda batch: Credit([[1.0, 2.0]] * ROWS)), "'Credited', row 0: 2 entries for 1 own responses"),
        (
            Credited(lambda batch: Credit([[[1.0]]] * ROWS)),
            r"row \d: 1 numbers for a response of \d+ tokens",
        ),
        (Credited(lambda batch: Credit([1.0] * ROWS, [1.0] * ROWS)), "'Credited' weights the KL .* set training.beta"),
        (revising(lambda batch: replace(batch, scored=batch.scored[:4])), "'Revising' leaves 4 of the 8 rollouts"),
        (revising(lambda batch: replace(batch, scored=())), "'Revising' leaves no rollout of a step"),
        (revising(lambda batch: replace(batch, scored=batch.scored[::-1])), "rollouts of another task"),
        (with_plan(lambda explore: Plan(Phase.EXPLORE, tuple(explore), 2)), "'Planning' plans 2 contexts x 2 samples"),
    ],
)
def test_what_a_hook_gives_wrong_is_one_message(tmp_path: Path, method: Method, told: str) -> None:
    made = trainer(tmp_path, method, 1)
    with pytest.raises((RunError, ConfigError), match=told):
        made.train()
    assert made.state.global_step == 0
    assert not list(tmp_path.glob("checkpoint-*"))


def test_negative_kl_weights_are_refused(tmp_path: Path) -> None:
    made = trainer(tmp_path, Credited(lambda batch: Credit([1.0] * ROWS, [-1.0] * ROWS)), 1, {"beta": 0.1})
    with pytest.raises(RunError, match="KL weights of the method 'Credited' are negative"):
        made.train()


def test_a_method_is_given_by_object_or_name_with_its_own_settings_only(tmp_path: Path) -> None:
    assert trainer(tmp_path, "dapo").method.settings.refills == 2
    assert (
        trainer(tmp_path, FissionGRPO(FissionSettings(interval=3)), source="fixed").method.diagnoser.report()["source"]
        == "fixed"
    )
    with pytest.raises(ConfigError, match=r"no method 'gpro' \(did you mean 'grpo'\?\)\. Choose one of grpo, dapo"):
        trainer(tmp_path, "gpro")
    with pytest.raises(ConfigError, match="'grpo' takes MethodSettings, and was given FissionSettings"):
        GRPO(FissionSettings())


@pytest.mark.parametrize("name", ["grpo", "dapo", "fission_grpo", "offline_grpo"])
def test_a_resumed_run_is_byte_equal(tmp_path: Path, name: str) -> None:
    args = {"save_strategy": "steps", "save_steps": 2}
    lines: list[list[dict[str, Any]]] = [[], []]
    whole = trainer(tmp_path / "a", name, 4, args, journal=lines[0].append)
    run(whole)
    shutil.copytree(tmp_path / "a" / "checkpoint-2", tmp_path / "b" / "checkpoint-2")
    again = trainer(tmp_path / "b", name, 4, args, journal=lines[1].append)
    again.train_from(tmp_path / "b" / "checkpoint-2")
    assert [line for line in lines[0] if line["step"] >= 2] == lines[1]
    one, other = (json.loads((tmp_path / part / "checkpoint-4/fissile_state_0.json").read_text()) for part in "ab")
    for table in (one, other):
        table["method"].get("feedback", {}).pop("seconds", None)
    assert one == other
    for key, value in whole.model.named_parameters():
        assert torch.equal(value, dict(again.model.named_parameters())[key]), key
