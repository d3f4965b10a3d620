"""The specification of a laboratory: arms x seeds in one TOML file, validated run by run before torch is imported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from fissile.config import RunConfig, Section, SimulatorRecipe, parse_config
from fissile.config.loading import load, parse
from fissile.config.method import SPELLING, inline, respelled, shown, switched
from fissile.config.start_recipe import StartConfig
from fissile.errors import ConfigError
from fissile.feedback.source_names import LEARNED
from fissile.tasks.procedural import SOURCE as PROCEDURAL
from fissile.training.simulator_folder import ADAPTER

START = "start"
"""Folder of the small policy inside the folder of the laboratory."""

SIMULATOR = "simulator"
"""Folder of the error simulator inside the folder of the laboratory."""

OWNED = ("output", "seed", "tasks.procedural.seed")
"""Keys of a run that the laboratory sets itself, from the arm and the seed."""

TOKENS = "training.tokens"
"""The budget that `match` sets."""

ArmName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""A name that is a folder everywhere: small letters, digits, _ and -."""


class ArmSpec(Section):
    """One arm: what it changes over the runs of all arms."""

    label: str = Field(default="", description="Name in tables and plots; by default that of the table.")
    seeds: int | None = Field(
        default=None, ge=1, description="Seeds of this arm; by default as many as the laboratory has."
    )
    match: str | None = Field(
        default=None,
        description="Another arm: a seed ends when it has spent the context and sampled tokens that this seed of the "
        "other arm spent; training.steps stays its upper limit.",
    )
    set: dict[str, Any] = Field(
        default={},
        description="Keys of a run, nested as in a recipe, over those in [run]. "
        "With another method.name, what that method does not have of [run.method] is left out.",
    )
    group: str = Field(
        default="", description="Heading under which the report lists it apart, such as a knob; '' for main arms."
    )
    reference: str | None = Field(
        default=None, description="The arm that the report compares it with; by default the laboratory's baseline."
    )


class LabSpec(Section):
    """A laboratory: arms that are compared over seeds.

    Seed k of every arm has `seed = k` and, in the procedural world, `tasks.procedural.seed = k`: the arms share world,
    tasks and evaluation, so that their differences are paired by seed.
    """

    title: str = Field(default="", description="Of the page.")
    output: str = Field(default="runs/lab", description="Folder of the laboratory.")
    seeds: int = Field(default=8, ge=1, description="Seeds of an arm, counted from 0.")
    baseline: str = Field(default="grpo", description="The arm that the report compares the others with.")
    order: list[str] = Field(
        default=[], description="Arms that are claimed to be ever better, worst first; the report checks it."
    )
    start: StartConfig | None = Field(
        default=None,
        description="The small policy that every run starts from, made once; without it [run.model] names one.",
    )
    simulator: dict[str, Any] | None = Field(
        default=None,
        description="The source 'learned' of the arms that ask it: keys of a recipe of `fissile simulate`. It is made "
        "after the start, once, when a run that asks it is to be made; with [start] its model is that.",
    )
    run: dict[str, Any] = Field(
        default={}, description="Keys of a run, as in a recipe of `fissile train`, of all arms."
    )
    arms: dict[ArmName, ArmSpec] = Field(..., min_length=1, description="The arms, a table each.")

    @model_validator(mode="after")
    def _matches_are_possible(self) -> Self:
        for name, arm in self.arms.items():
            if arm.match is None:
                continue
            if arm.match not in self.arms:
                raise ValueError(f"arms.{name}.match: there is no arm '{arm.match}'; known: {', '.join(self.arms)}")
            if name in self.matched(name):
                raise ValueError(f"arms.{name}.match = '{arm.match}': these arms wait for each other")
            if self.seeds_of(name) > self.seeds_of(arm.match):
                raise ValueError(
                    f"arms.{name} has {self.seeds_of(name)} seeds and matches '{arm.match}', which has "
                    f"{self.seeds_of(arm.match)}: give it no more"
                )
        return self

    @model_validator(mode="after")
    def _labels_tell_the_arms_apart(self) -> Self:
        named: dict[str, str] = {}
        for name in self.arms:
            other = named.setdefault(self.label_of(name), name)
            if other != name:
                raise ValueError(f"arms.{other} and arms.{name} are both called '{self.label_of(name)}': rename one")
        return self

    @model_validator(mode="after")
    def _compared_arms_exist(self) -> Self:
        named = {f"arms.{name}.reference": arm.reference for name, arm in self.arms.items() if arm.reference}
        named |= {f"order, place {place}": arm for place, arm in enumerate(self.order, 1)}
        for where, arm in named.items():
            if arm not in self.arms:
                raise ValueError(f"{where}: there is no arm '{arm}'; known: {', '.join(self.arms)}")
        return self

    def seeds_of(self, arm: str) -> int:
        """How many seeds an arm has."""
        return self.arms[arm].seeds or self.seeds

    def label_of(self, arm: str) -> str:
        """How tables and plots call an arm."""
        return self.arms[arm].label or arm

    def matched(self, arm: str) -> list[str]:
        """The arms that must run before an arm, the nearest first; with itself at the end where they form a circle."""
        before: list[str] = []
        following = self.arms[arm].match
        while following is not None and following in self.arms and following not in before:
            before.append(following)
            following = self.arms[following].match
        return before

    def simulator_recipe(self) -> SimulatorRecipe | None:
        """How the source 'learned' is made; None where the laboratory makes none.

        Raises:
            ConfigError: it cannot be made.
        """
        if self.simulator is None:
            return None
        fields = merged(self.simulator, {"output": str(Path(self.output) / SIMULATOR)})
        if self.start is not None:
            fields = merged(fields, {"model": {"path": str(Path(self.output) / START)}})
        return parse(SimulatorRecipe, fields, "[simulator]")

    def asks_simulator(self, arm: str) -> bool:
        """Whether the runs of an arm ask the source 'learned' of this laboratory."""
        return self.simulator is not None and LEARNED in self.run_config(arm, 0, Path(self.output)).sources

    def run_fields(self, arm: str, seed: int) -> dict[str, Any]:
        """The keys of a run's configuration, as `fissile.config.parse_config` takes them; without `output`."""
        fields = switched(self.run, merged(self.run, self.arms[arm].set))
        fields["seed"] = seed
        if _find(fields, "tasks.source") == PROCEDURAL:
            fields = merged(fields, {"tasks": {"procedural": {"seed": seed}}})
        if self.start is not None:
            fields = merged(fields, {"model": {"path": str(Path(self.output) / START)}})
        if (recipe := self.simulator_recipe()) is not None:  # of a run that does not ask it, it shapes nothing
            learned = recipe.learned(Path(recipe.output) / ADAPTER).model_dump(mode="json")
            fields = merged(fields, {"simulator": {"learned": learned}})
        return fields

    def run_config(self, arm: str, seed: int, output: Path, tokens: int | None = None) -> RunConfig:
        """The configuration of a run.

        Args:
            arm: its arm.
            seed: its seed.
            output: its folder.
            tokens: for an arm that matches another one: what that one spent.

        Raises:
            ConfigError: it cannot be run.
        """
        fields = merged(self.run_fields(arm, seed), {"output": str(output)})
        if tokens is not None:
            fields = merged(fields, {"training": {"tokens": tokens}})
        return parse_config(fields, f"arm '{arm}' (seed {seed})")


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> LabSpec:
    """A specification from a TOML file and `section.key=value` overrides, such as `run.training.steps=4`.

    Raises:
        ConfigError: the file cannot be read, or a key of it or of any of its runs is wrong; all arms are told at once.
    """
    spec = load(LabSpec, path, overrides)
    if told := "\n\n".join(_respelled(spec)):
        raise ConfigError(f"{path} is in an old spelling. {SPELLING} Write in their place\n\n{told}\n")
    if problems := list(_problems(spec)):
        raise ConfigError("\n".join(problems))
    return spec


def _respelled(spec: LabSpec) -> Iterator[str]:
    """The new spelling of what is in the old one: of the runs' method, and of what arms set."""
    if (run := respelled(spec.run)) is not None:
        yield shown(run, "run.")
    for arm, settings in spec.arms.items():
        if (new := respelled(settings.set)) is not None:
            yield f"[arms.{arm}]\nset = {inline(new)}"


def _problems(spec: LabSpec) -> Iterator[str]:
    """What is wrong with the baseline and with the runs: one text an arm, that of its first bad seed."""
    compares = len(spec.arms) > 1 or "baseline" in spec.model_fields_set
    if compares and spec.baseline not in spec.arms:
        yield f"baseline: there is no arm '{spec.baseline}' to compare with. Name one of {', '.join(spec.arms)}."
    if taken := _taken(spec.run, _owned(spec)):
        yield f"[run] sets {', '.join(taken)}: the laboratory does that itself. Leave it out."
    if taken := _taken(spec.simulator or {}, ["output", *_given(spec)]):
        yield f"[simulator] sets {', '.join(taken)}: the laboratory does that itself. Leave it out."
    try:
        spec.simulator_recipe()
    except ConfigError as error:
        yield str(error)
        return
    for arm, settings in spec.arms.items():
        owned = _taken(settings.set, _owned(spec))
        if settings.match is not None and _find(merged(spec.run, settings.set), TOKENS) is not None:
            owned.append(TOKENS)
        if owned:
            yield f"arm '{arm}' sets {', '.join(owned)}: the laboratory does that itself. Leave it out."
            continue
        budget = None if settings.match is None else 1
        try:
            for seed in range(spec.seeds_of(arm)):
                spec.run_config(arm, seed, Path(spec.output), budget)
        except ConfigError as error:
            yield str(error)


def _owned(spec: LabSpec) -> list[str]:
    """The keys of a run that the laboratory sets."""
    return [*OWNED, *_given(spec), *(["simulator.learned"] if spec.simulator is not None else [])]


def _given(spec: LabSpec) -> list[str]:
    """The keys of any model that the start sets."""
    return [] if spec.start is None else ["model.path"]


def _taken(fields: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Those of some keys that `fields` set."""
    return [key for key in keys if _find(fields, key) is not None]


def _find(fields: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key in nested tables; None where they do not hold it."""
    inner: Any = fields
    for part in key.split("."):
        if not isinstance(inner, Mapping):
            return None
        inner = inner.get(part)
    return inner


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables laid over each other; values and lists of `above` replace those `below`.

    A value `below` in the place of a table stays, for the validation to name it.
    """
    result = dict(below)
    for key, over in above.items():
        if not isinstance(over, Mapping):
            result[key] = over
        elif isinstance(under := result.get(key, {}), Mapping):
            result[key] = merged(under, over)
    return result
