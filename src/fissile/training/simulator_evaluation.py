"""Judging feedback sources side by side: their words on unseen functions, and what one policy makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from fissile.calls import JSON
from fissile.config import RunConfig
from fissile.config.simulator_recipe import ENDPOINT, SimulatorRecipe
from fissile.engines import Engine, Sampling
from fissile.engines.injection import InjectionSettings, Injector
from fissile.errors import ConfigError, RunError
from fissile.evaluation.source_judging import judge_source, unseen_only
from fissile.evaluation.usefulness import failed_first_attempts, next_attempts, usefulness_report
from fissile.feedback import SOURCES, Diagnoser, FeedbackSource
from fissile.feedback.source_names import LEARNED
from fissile.journal import JsonLines, write_json
from fissile.machine import machine
from fissile.metrics import Episode
from fissile.rollouts import Step
from fissile.serial import from_json, to_json
from fissile.simulator.diagnosed_failure import DiagnosedFailure
from fissile.simulator.endpoint import EndpointSource
from fissile.simulator.settings import CACHE, SimulatorSettings
from fissile.simulator.sources import check_source, make_source, refuse_outage
from fissile.tasks import Task
from fissile.training.course import Course
from fissile.training.engine_choice import Engines
from fissile.training.policy_model import load_model, load_policy, load_tokenizer
from fissile.training.progress import Progress
from fissile.training.run_folder import RunFolder
from fissile.training.simulator_data import nothing_said
from fissile.training.simulator_folder import SimulatorFolder, asked_settings, data_settings, digest
from fissile.training.simulator_making import chat_of, check_adapter, load_learned

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

    SETTINGS: ClassVar = ("evaluation", "policy", "policy_adapter")
    """Keys of `settings`."""

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(Path(self.run).expanduser())

    @cached_property
    def config(self) -> RunConfig:
        """Of its run.

        Raises:
            RunError: the folder holds no run.
            ConfigError: a run in a live world.
        """
        config = self._folder.read_config("Make one: fissile train recipes/reader.toml")
        if config.is_live:
            raise ConfigError(f"'{self.run}' was trained in a live world. Name a run on single-step tasks.")
        return config

    @cached_property
    def adapter(self) -> Path | str | None:
        """The last adapter of the run."""
        saved = [path for path in (self._folder.adapter, self._folder.cold_start / "adapter") if path.exists()]
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
    def _course(self) -> Course:
        return Course(self.config, chat_of(self.config.model), None, nothing_said)

    @cached_property
    def _engine(self) -> Engine:
        model = self.config.model
        policy = load_policy(model, self.adapter) if self.adapter else load_model(model.path, model.dtype)
        return Engines(self.config.engine).over(policy, self._course.sampler.chat, remember=True)

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
        return failed_first_attempts(self._engine, self._course.sampler, self.tasks, self.sampling, samples)

    @cached_property
    def injected(self) -> list[Step]:
        """One forced failure of each task."""
        settings = InjectionSettings(rate=1.0, seed=self.recipe.evaluation.seed)
        sampler = self._course.sampler
        injector = Injector(settings, sampler.chat.dialect, sampler.writer, sampler.make_environment)
        return injector.failures([sampler.context(task) for task in self.tasks])

    @cached_property
    def settings(self) -> dict[str, JSON]:
        """All that shapes its attempts."""
        sampled = self.recipe.evaluation.model_dump(mode="json", exclude={"rows"})
        return {"evaluation": sampled, "policy": self.run, "policy_adapter": digest(self.adapter or "")}

    @property
    def facts(self) -> dict[str, JSON]:
        """What a card says of it."""
        return {
            "run": self.run,
            "model": self.config.model.path,
            "taught_with": self.config.cold_start_feedback,
            "failures": len(self.failed),
            "injected": len(self.injected),
            "tasks": len(self.tasks),
        }

    def recover(self, diagnoser: Diagnoser, progress: Callable[[int, int], None]) -> list[Episode]:
        """Its next attempts after the diagnoses of its own failures, then of the forced ones."""
        samples = self.recipe.evaluation.samples
        total = samples * (len(self.failed) + len(self.injected))
        recover = partial(next_attempts, self._engine, self._course.sampler)
        arguments = (diagnoser, self.sampling, samples)
        own = recover(self.failed, *arguments, progress=lambda done, _: progress(done, total))
        forced = recover(
            self.injected, *arguments, injected=True, progress=lambda done, _: progress(len(own) + done, total)
        )
        return [*own, *forced]


@dataclass
class SourceEvaluation:
    """The evaluation of several sources over one folder; what was done before with equal settings is not repeated.

    Attributes:
        recipe: of the simulator.
        folder: with its data, and its adapter where `learned` is judged.
        policy_run: run folder of the policy under test; None makes no new attempts.
        progress: what a person sees.
        adapter: of `learned`, instead of the folder's.
    """

    recipe: SimulatorRecipe
    folder: SimulatorFolder
    policy_run: str | None
    progress: Progress
    adapter: str | None = None

    def run(self, names: Sequence[str]) -> dict[str, Any]:
        """Judge the sources, and write `evaluation.json` with all that were judged with these settings.

        Raises:
            InputError: a source that cannot be made, or that failed too often, or a policy that cannot be used.
        """
        for name in names:
            check_source(name, self._simulators)
            if name == LEARNED:
                check_adapter(self._simulators.learned)
        rows = self.folder.read_rows()
        tested = [row for row in rows if row.side == "test"][: self.recipe.evaluation.rows]
        if not tested:
            raise RunError(f"'{self.folder.path}' holds no test rows. Make the data with data.test_rows above 0.")
        policy = PolicyUnderTest(self.policy_run, self.recipe, rows) if self.policy_run else None
        for name in names:
            source = cache(lambda name=name: self._source(name))  # made for the first stage that is not done
            self._judge(name, source, tested)
            if policy is not None:
                self._recover(name, source, policy)
        outcome = self._collected(policy)
        write_json(self.folder.evaluation, outcome)
        return outcome

    def _judge(self, name: str, make: Callable[[], FeedbackSource], rows: Sequence[DiagnosedFailure]) -> None:
        """What a source says, and what it is worth."""
        stage, settings = _judging(name), self._settings(name)
        if self.folder.is_done(stage, settings):
            self.progress.say(f"{name}: judged before")
            return
        source, tokenizer = make(), load_tokenizer(self.recipe.model.path)
        is_timed = not (isinstance(source, EndpointSource) and len(source.cache))  # else the disk is timed
        with self.progress.phase(f"judge {name}"):
            told = self.progress.count(name, "a diagnosis", "diagnoses")
            report, records = judge_source(source, rows, lambda text: len(tokenizer.encode(text)), told, is_timed)
        refuse_outage(name, report["missing"], len(rows))
        self._write(f"{name}.diagnoses", records)
        self.folder.finish(stage, settings, {"report": report})

    def _recover(self, name: str, make: Callable[[], FeedbackSource], policy: PolicyUnderTest) -> None:
        """What the policy makes of it."""
        stage, settings = _usefulness(name), self._settings(name, policy.settings)
        if self.folder.is_done(stage, settings):
            self.progress.say(f"{name}: next attempts were made before")
            return
        diagnoser = Diagnoser(make())
        with self.progress.phase(f"next attempts after {name}"):
            episodes = policy.recover(diagnoser, self.progress.count(name, "an attempt", "next attempts"))
        refuse_outage(name, diagnoser.fallbacks, diagnoser.diagnosed)
        self._write(f"{name}.episodes", [to_json(episode) for episode in episodes])
        self.folder.finish(stage, settings, {"policy": policy.facts, "shown": diagnoser.report()})

    def _collected(self, policy: PolicyUnderTest | None) -> dict[str, Any]:
        """All that was judged with these settings, and one policy's attempts: this one's, else an earlier one's."""
        ordered = dict.fromkeys([*TABLE, ENDPOINT, *SOURCES])
        names = [name for name in ordered if self.folder.is_done(_judging(name), self._settings(name))]
        sources = {name: self._record(_judging(name))["report"] for name in names}
        outcome: dict[str, Any] = {
            "rows": self.recipe.evaluation.rows,
            "adapter": self.adapter,
            "machine": machine(),
            "sources": sources,
        }
        of_policy = self._policy_settings(names) if policy is None else policy.settings
        useful = [name for name in names if self.folder.is_done(_usefulness(name), self._settings(name, of_policy))]
        if of_policy and useful:
            records = {name: self._record(_usefulness(name)) for name in useful}
            outcome["policy"] = records[useful[0]]["policy"]
            for name, figures in usefulness_report({name: self._episodes(name) for name in useful}).items():
                sources[name]["usefulness"] = {**figures, "shown": records[name]["shown"]}
        return outcome

    def _policy_settings(self, names: Sequence[str]) -> dict[str, JSON]:
        """Those of the policy that met these sources before; empty where none did."""
        for name in names:
            before = self.folder.settings(_usefulness(name)) or {}
            of_policy = {key: before[key] for key in PolicyUnderTest.SETTINGS if key in before}
            if of_policy and before == self._settings(name, of_policy):
                return of_policy
        return {}

    def _settings(self, name: str, of_policy: Mapping[str, JSON] = MappingProxyType({})) -> dict[str, JSON]:
        """All that shapes what is found of a source."""
        return {
            **data_settings(self.recipe),
            "rows": self.recipe.evaluation.rows,
            "source": asked_settings(name, self._simulators),
            **of_policy,
        }

    @cached_property
    def _simulators(self) -> SimulatorSettings:
        learned = self.recipe.learned(self.adapter or self.folder.adapter)
        return SimulatorSettings(learned=learned, endpoint=self.recipe.endpoint)

    def _source(self, name: str) -> FeedbackSource:
        return make_source(name, self._simulators, load_learned, cache=self.folder.path / CACHE)

    def _record(self, stage: str) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.folder.record(stage).read_text(encoding="utf-8"))
        return record

    def _write(self, name: str, records: Sequence[dict[str, JSON]]) -> None:
        path = self.folder.path / "evaluation" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with JsonLines(path) as lines:
            for record in records:
                lines.append(record)

    def _episodes(self, name: str) -> list[Episode]:
        path = self.folder.path / "evaluation" / f"{name}.episodes.jsonl"
        return [from_json(Episode, json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _judging(name: str) -> str:
    return f"evaluation/{name}"


def _usefulness(name: str) -> str:
    return f"evaluation/{name}.usefulness"
