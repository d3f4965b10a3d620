"""The model card of an error simulator's adapter; its figures stand in the card of `fissile simulate eval`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fissile.config.simulator_recipe import SimulatorRecipe
from fissile.simulator.diagnosed_failure import DiagnosedFailure
from fissile.training.base_model import base_model
from fissile.training.model_card import DATASETS, CardFacts, model_card, portable
from fissile.training.policy_model import EMBEDDED
from fissile.training.run_folder import versions


def adapter_card(recipe: SimulatorRecipe, rows: Sequence[DiagnosedFailure], examples: int, loss: float) -> str:
    """The card.

    Args:
        recipe: that it was made by.
        rows: the data.
        examples: rows that it was taught with.
        loss: mean of the training, in nats a token of the diagnoses.
    """
    base = base_model(recipe.model.path, EMBEDDED)
    path = EMBEDDED if recipe.model.path == EMBEDDED else base.id
    facts = CardFacts(
        title=f"Error simulator on {base.id}",
        base=base,
        summary=[
            "A LoRA adapter that reads a failed tool call and says what is wrong with it, never what is right. Its "
            "diagnoses are for training and measuring recovery; a guard against leaks has to stand over them."
        ],
        training=[
            f"LoRA of rank {recipe.model.lora_rank}, alpha {recipe.model.lora_alpha}, weights below it in "
            f"{recipe.model.dtype}",
            f"supervised on {examples} rows, {recipe.training.epochs} times each, learning rate "
            f"{recipe.training.learning_rate:g}; mean loss {loss:.3f} nats a token of the diagnoses",
            f"seed {recipe.seed}; " + ", ".join(f"{name} {version}" for name, version in versions().items()),
        ],
        data=list(_data(recipe, rows)),
        dataset=DATASETS.get(recipe.data.source, ""),
        recipe=recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": path})}),
        command="fissile simulate train",
        use=[
            "`prompt.txt` in this folder is what it must be asked with. It answers with a line (kind | tool | "
            "argument | rule), then a sentence. `simulator.learned.adapter` takes it into a run, "
            "`fissile simulate merge --adapter` makes a whole model for a server, `fissile simulate eval` measures it."
        ],
        tags=["sft", "error-simulator"],
    )
    return model_card(facts)


def _data(recipe: SimulatorRecipe, rows: Sequence[DiagnosedFailure]) -> Iterator[str]:
    sides = [row.side for row in rows]
    yield (
        f"{len(rows)} failed calls with a diagnosis, {sides.count('train')} to train on and {sides.count('test')} of "
        "functions that no training row calls"
    )
    yield f"tasks of {portable(recipe.data.source) or 'a service'}; diagnoses by {', '.join(recipe.data.teachers)}"
