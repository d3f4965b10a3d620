"""Judging feedback sources side by side: their words on unseen functions, and what one policy makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from fissile.calls import JSON
from fissile.config import EngineConfig, RunConfig
from fissile.config.simulator import SimulatorRecipe
from fissile.engines import Engine, Sampling
from fissile.engines.attempts import Attempter
from fissile.engines.injection import SingleStepInjector
from fissile.errors import ConfigError, RunError
from fissile.evaluation.simulator import judge_source, unseen_only
from fissile.evaluation.usefulness import failed_first_attempts, next_attempts, usefulness_report
from fissile.feedback import Diagnoser, FeedbackSource, FixedMessage
from fissile.journal import JsonLines, write_json
from fissile.metrics import Episode
from fissile.rollouts import InjectionSettings, Step
from fissile.simulator.record import DiagnosedFailure
from fissile.simulator.settings import LearnedSettings, SimulatorSettings
from fissile.simulator.sources import make_source
from fissile.tasks import Task
from fissile.training.course import SingleStepCourse
from fissile.training.engines import Engines
from fissile.training.folder import RunFolder
from fissile.training.policy import load_model, load_policy, load_tokenizer
from fissile.training.progress import Progress
from fissile.training.simulator import chat_of, load_learned, nothing_said
from fissile.training.simulator_folder import SimulatorFolder

TABLE = ("fixed", "environment", "rules", "learned")
"""The sources that are compared unless others are named; `endpoint` where the recipe has a server."""


@dataclass
class PolicyUnderTest:
    """The policy whose recovery tells how useful a diagnosis is: that of a run of `fissile train`.

    Attributes:
        run: its run folder.
        recipe: gives the sampling.
        rows: of the simulator's data; tasks with a function of its training side are left out.
    """

    run: str
    recipe: SimulatorRecipe
    rows: Sequence[DiagnosedFailure]

    @cached_property
    def config(self) -> RunConfig:
        """Of its run.

        Raises:
            RunError: the folder holds no run.
            ConfigError: a run in a live world.
        """
        path = Path(self.run).expanduser() / "config.json"
        try:
            config = RunConfig.model_validate(json.loads(path.read_text(encoding="utf-8"))["config"])
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"'{self.run}' is no run folder of this version ({error}). Make one: fissile train recipes/reader.toml"
            ) from None
        if config.is_live:
            raise ConfigError(f"'{self.run}' was trained in a live world. Name a run on single-step tasks.")
        return config

    @cached_property
    def adapter(self) -> Path | str | None:
        """The last adapter of the run."""
        folder = RunFolder(Path(self.run).expanduser())
        saved = [path for path in (folder.adapter, folder.cold_start / "adapter") if path.exists()]
        return saved[0] if saved else self.config.model.adapter

    @cached_property
    def sampling(self) -> Sampling:
        """Of first and of next attempts."""
        settings = self.recipe.evaluation
        return Sampling(
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_k=settings.top_k,
            seed=settings.seed,
        )

    @cached_property
    def _course(self) -> SingleStepCourse:
        return SingleStepCourse(self.config, chat_of(self.config.model), nothing_said)

    @cached_property
    def _engine(self) -> Engine:
        model = self.config.model
        policy = load_policy(model, self.adapter) if self.adapter else load_model(model.path, model.dtype)
        return Engines(self.config.engine).over(policy, self._course.sampler.chat, remember=True)

    @property
    def _attempter(self) -> Attempter:
        sampler = self._course.sampler
        assert isinstance(sampler, Attempter)
        return sampler

    @cached_property
    def tasks(self) -> list[Task]:
        """Its held-out tasks with functions that the simulator has not seen.

        Raises:
            RunError: there are none.
        """
        found = unseen_only(self._course.split.test, self.rows)[: self.recipe.evaluation.tasks]
        if not found:
            raise RunError(
                f"The simulator was taught with functions of every held-out task of '{self.run}'. Make the data with "
                "data.split_like = the recipe of that run."
            )
        return found

    @cached_property
    def failed(self) -> list[Step]:
        """Its distinct failures at first attempts."""
        samples = self.recipe.evaluation.first_samples
        return failed_first_attempts(self._engine, self._attempter, self.tasks, self.sampling, samples)

    @cached_property
    def injected(self) -> list[Step]:
        """One forced failure of each task."""
        settings = InjectionSettings(rate=1.0, seed=self.recipe.evaluation.seed)
        injector = SingleStepInjector(settings, self._attempter, Diagnoser(FixedMessage()))
        return injector.failures([self._attempter.context(task) for task in self.tasks])

    def recover(self, diagnoser: Diagnoser, progress: Callable[[int, int], None]) -> list[Episode]:
        """Its next attempts after the diagnoses of its own failures, then of the forced ones."""
        samples = self.recipe.evaluation.samples
        total = samples * (len(self.failed) + len(self.injected))
        recover = partial(next_attempts, self._engine, self._attempter)
        arguments = (diagnoser, self.sampling, samples)
        own = recover(self.failed, *arguments, progress=lambda done, _: progress(done, total))
        forced = recover(
            self.injected, *arguments, injected=True, progress=lambda done, _: progress(len(own) + done, total)
        )
        return [*own, *forced]


@dataclass
class SourceEvaluation:
    """The evaluation of several sources over one folder; what was done before is not repeated.

    Attributes:
        recipe: of the simulator.
        folder: with its data, and its adapter where `learned` is judged.
        policy_run: run folder of the policy under test; None leaves the usefulness out.
        progress: what a person sees.
        adapter: of `learned`, instead of the folder's.
    """

    recipe: SimulatorRecipe
    folder: SimulatorFolder
    policy_run: str | None
    progress: Progress
    adapter: str | None = None

    def run(self, names: Sequence[str]) -> dict[str, Any]:
        """Judge the sources and write `evaluation.json`.

        Raises:
            InputError: a source that cannot be made, or a policy that cannot be used.
        """
        rows = self.folder.read_rows()
        tested = [row for row in rows if row.side == "test"][: self.recipe.evaluation.rows]
        if not tested:
            raise RunError(f"'{self.folder.path}' holds no test rows. Make the data with data.test_rows above 0.")
        policy = PolicyUnderTest(self.policy_run, self.recipe, rows) if self.policy_run else None
        for name in names:
            self._judge(name, tested, policy)
        return self._collect(names, policy)

    def _judge(self, name: str, rows: Sequence[DiagnosedFailure], policy: PolicyUnderTest | None) -> None:
        settings = self._settings(name)
        stage = f"evaluation/{name}"
        if self.folder.is_done(stage, settings):
            self.progress.say(f"{name}: judged before")
            return
        source = make_source(name, self._simulators(), self._load, cache=self.folder.path / "simulator_cache.jsonl")
        tokenizer = load_tokenizer(self.recipe.model.path)
        with self.progress.phase(f"judge {name}"):
            report, records = judge_source(
                source, rows, lambda text: len(tokenizer.encode(text)), self.progress.tenths(f"{name}: diagnoses")
            )
        useful: dict[str, JSON] = {}
        if policy is not None:
            diagnoser = Diagnoser(source)
            with self.progress.phase(f"next attempts after {name}"):
                episodes = policy.recover(diagnoser, self.progress.tenths(f"{name}: next attempts"))
            useful = {"policy": self._policy_facts(policy), "shown": diagnoser.report()}
            self._write(f"{name}.episodes", [episode.to_dict() for episode in episodes])
        self._write(f"{name}.diagnoses", records)
        self.folder.finish(stage, settings, {"report": report, **useful})

    def _collect(self, names: Sequence[str], policy: PolicyUnderTest | None) -> dict[str, Any]:
        records = {
            name: json.loads(self.folder.record(f"evaluation/{name}").read_text(encoding="utf-8")) for name in names
        }
        sources = {name: record["report"] for name, record in records.items()}
        outcome: dict[str, Any] = {"rows": self.recipe.evaluation.rows, "sources": sources}
        if policy is not None:
            episodes = {name: self._episodes(name) for name in names}
            outcome["policy"] = next(record["policy"] for record in records.values() if "policy" in record)
            for name, useful in usefulness_report(episodes).items():
                sources[name]["usefulness"] = {**useful, "shown": records[name]["shown"]}
        write_json(self.folder.evaluation, outcome)
        return outcome

    def _settings(self, name: str) -> dict[str, JSON]:
        fields = self.recipe.model_dump(mode="json", include={"data", "evaluation", "seed"})
        if name == "endpoint" and self.recipe.endpoint is not None:
            fields["endpoint"] = self.recipe.endpoint.model_dump(mode="json")
        if name == "learned":
            fields["learned"] = {"adapter": str(self._adapter), "model": self.recipe.model.path}
        return {**fields, "policy": self.policy_run}

    def _simulators(self) -> SimulatorSettings:
        learned = LearnedSettings(
            model=self.recipe.model.path,
            adapter=str(self._adapter),
            dtype=self.recipe.model.dtype,
            template_options=self.recipe.model.template_options,
            max_new_tokens=self.recipe.max_new_tokens,
        )
        return SimulatorSettings(learned=learned, endpoint=self.recipe.endpoint)

    @property
    def _adapter(self) -> Path:
        return Path(self.adapter) if self.adapter else self.folder.adapter

    def _load(self, settings: LearnedSettings) -> FeedbackSource:
        return load_learned(settings, EngineConfig())

    def _policy_facts(self, policy: PolicyUnderTest) -> dict[str, JSON]:
        return {
            "run": policy.run,
            "model": policy.config.model.path,
            "taught_with": policy.config.cold_start_feedback,
            "failures": len(policy.failed),
            "injected": len(policy.injected),
            "tasks": len(policy.tasks),
        }

    def _write(self, name: str, records: Sequence[dict[str, JSON]]) -> None:
        path = self.folder.path / "evaluation" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with JsonLines(path) as lines:
            for record in records:
                lines.append(record)

    def _episodes(self, name: str) -> list[Episode]:
        path = self.folder.path / "evaluation" / f"{name}.episodes.jsonl"
        return [Episode.from_dict(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
