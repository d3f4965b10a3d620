"""A resumable evaluation on the BFCL v4 multi-turn suite: its settings, its folder, and the run over both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fissile.calls import JSON
from fissile.dialects import HermesDialect, get_dialect
from fissile.engines.base import Sampling
from fissile.engines.injection import InjectionSettings, Injector, drawn_turns
from fissile.engines.policy import Policy
from fissile.environments.base import EnvironmentMaker, ErrorProtocol
from fissile.environments.worlds import make_environment, obeying
from fissile.errors import ConfigError, DataError, RunError
from fissile.evaluation.bfcl_layout import write_official_results
from fissile.evaluation.bfcl_report import bfcl_report
from fissile.evaluation.episodes import EpisodeRecord, begun_turns, evaluate
from fissile.evaluation.losses import refuse_total_loss
from fissile.journal import JsonLines, write_json
from fissile.rollouts import End, Limits, Writer
from fissile.serial import from_json, to_json
from fissile.tasks import MULTI_TURN_CATEGORIES, Task, load_bfcl_multi_turn
from fissile.tasks.scenarios import DOMAINS, Domain, scenario_index

NATIVE = "native"
"""The dialect of an endpoint's own tool calls."""


class SuiteSettings(BaseModel):
    """What decides the figures of an evaluation; stated in every report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policy: str = Field(description="Who is evaluated: a model, an endpoint's model, or a scripted policy.")
    adapter: str | None = Field(default=None, description="A PEFT adapter on top of a local model.")
    dialect: str = Field(default="hermes", description="Tool-call format; 'native' for an endpoint's own.")
    template_options: dict[str, Any] = Field(
        default={}, description="Variables of the chat template, such as enable_thinking for Qwen 3."
    )
    categories: tuple[str, ...] = Field(default=MULTI_TURN_CATEGORIES, description="Multi-turn categories of BFCL v4.")
    domain: Domain | None = Field(
        default=None, description="Only the scenarios of one domain, such as the held-out one."
    )
    tasks: int | None = Field(default=None, ge=1, description="Only the first so many of each category.")
    docs: Literal["full", "brief"] = Field(default="full", description="'brief' cuts each description to a sentence.")
    protocol: ErrorProtocol = Field(
        default=ErrorProtocol.OFFICIAL,
        description="'official' is BFCL's; 'recovery' answers malformed calls with their error.",
    )
    steps_per_turn: int = Field(
        default=21, ge=1, description="Responses of a turn that are executed at most; BFCL's is 21."
    )
    steps: int | None = Field(
        default=None, ge=1, description="Responses of a whole episode at most; BFCL has no limit."
    )
    context_tokens: int | None = Field(
        default=None, ge=64, description="Longest context, answer included, of a local model."
    )
    max_new_tokens: int = Field(default=512, ge=8, description="Limit of a response.")
    temperature: float = Field(default=0.0, ge=0, description="0 is greedy; BFCL uses 0.001.")
    top_k: int = Field(default=0, ge=0, description="0 keeps all tokens.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="1 keeps all tokens.")
    seed: int = Field(default=0, description="Of sampling.")
    injection: InjectionSettings = Field(
        default=InjectionSettings(), description="Forced failures; with some, the score is not BFCL's."
    )

    @field_validator("categories")
    @classmethod
    def _categories_are_known(cls, categories: tuple[str, ...]) -> tuple[str, ...]:
        for category in categories:
            if category not in MULTI_TURN_CATEGORIES:
                raise ValueError(f"'{category}' is not one of {', '.join(MULTI_TURN_CATEGORIES)}")
        return tuple(dict.fromkeys(categories))

    @field_validator("dialect")
    @classmethod
    def _dialect_is_known(cls, dialect: str) -> str:
        if dialect != NATIVE:
            get_dialect(dialect)
        return dialect

    def within(self, positions: int | None) -> SuiteSettings:
        """The same for a model of so many positions: they limit the context; None where they are not known.

        Raises:
            ConfigError: no room is left for a prompt.
        """
        known = [limit for limit in (positions, self.context_tokens) if limit is not None]
        if not known:
            return self
        if min(known) <= self.max_new_tokens:
            raise ConfigError(
                f"A context of {min(known)} tokens has no room for a response of {self.max_new_tokens}. Lower "
                "--max-new-tokens, or raise --context-tokens."
            )
        return self.model_copy(update={"context_tokens": min(known)})

    @property
    def limits(self) -> Limits:
        """Where an episode is cut."""
        room = None if self.context_tokens is None else self.context_tokens - self.max_new_tokens
        return Limits(steps_per_turn=self.steps_per_turn, context_tokens=room, steps=self.steps)

    @property
    def sampling(self) -> Sampling:
        """Of every response."""
        return Sampling(self.max_new_tokens, self.temperature, self.top_k, self.top_p, self.seed)

    @property
    def make_environment(self) -> EnvironmentMaker:
        """The worlds, under the protocol."""
        return obeying(make_environment, self.protocol.policy)

    def injector(self, writer: Writer) -> Injector:
        """Forces failures. Native calls are written as Hermes' here, as in every record."""
        dialect = HermesDialect() if self.dialect == NATIVE else get_dialect(self.dialect)
        return Injector(self.injection, dialect, writer, self.make_environment, self.limits)

    def load_tasks(self) -> list[Task]:
        """The tasks to evaluate, in the order of the files.

        Raises:
            DataError: there is none.
            AssetError: BFCL cannot be fetched.
        """
        chosen: list[Task] = []
        for category in self.categories:
            tasks = load_bfcl_multi_turn([category], docs=self.docs).tasks
            wanted = range(len(tasks)) if self.domain is None else DOMAINS[self.domain]
            chosen += [task for task in tasks if scenario_index(task) in wanted][: self.tasks]
        if not chosen:
            raise DataError("No task is left to evaluate. Name other categories or another domain.")
        return chosen


@dataclass(frozen=True)
class SuiteFolder:
    """What an evaluation leaves on disk: `settings.json`, `episodes.jsonl`, `report.json`, and `result/`.

    `result/` is for the official scorer, and left out where failures were injected.
    """

    path: Path

    @property
    def settings(self) -> Path:
        """What was asked for."""
        return self.path / "settings.json"

    @property
    def episodes(self) -> Path:
        """One record for each finished episode, in the order in which they ended."""
        return self.path / "episodes.jsonl"

    @property
    def report(self) -> Path:
        """The figures; it exists exactly when the evaluation is finished."""
        return self.path / "report.json"

    def answered(self) -> set[str]:
        """Ids of the tasks whose episodes are kept; those that were lost are tried again."""
        text = self.episodes.read_text(encoding="utf-8") if self.episodes.exists() else ""
        records = map(json.loads, text[: text.rfind("\n") + 1].splitlines())  # a killed one may leave a torn line
        return {record["task_id"] for record in records if record["end"] != End.INFRASTRUCTURE}

    def refuse_occupied(self, resume: bool) -> None:
        """Check that an evaluation may be written here, before anything costly is done. Writes nothing.

        Raises:
            RunError: the folder holds an evaluation and `resume` is off, or something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"'{self.path}' is not a folder. Choose another one with --output.")
        if self.settings.exists():
            if not resume:
                raise RunError(
                    f"'{self.path}' already holds an evaluation. Go on with it with --resume, or choose another "
                    "folder with --output."
                )
        elif self.path.exists() and any(self.path.iterdir()):
            raise RunError(f"'{self.path}' is not empty and holds no evaluation. Choose another folder with --output.")

    def enter(self, settings: SuiteSettings, resume: bool, endpoint: Mapping[str, JSON] | None = None) -> None:
        """Make the folder, or check that it may be resumed.

        Args:
            settings: what decides the figures.
            resume: go on with what is there.
            endpoint: what of the requests is changed for the server's sake, which decides them as well.

        Raises:
            RunError: as in `refuse_occupied`; or it holds an evaluation of other settings, or cannot be made.
        """
        self.refuse_occupied(resume)
        asked = settings.model_dump(mode="json") | ({"endpoint": dict(endpoint)} if endpoint else {})
        if self.settings.exists():
            before = json.loads(self.settings.read_text(encoding="utf-8"))
            if not self.answered():  # a server that refused everything is asked otherwise
                before["endpoint"] = asked.get("endpoint")
            _refuse_changes(self.path, before, asked)
        write_json(self.settings, asked)


def run_suite(
    settings: SuiteSettings,
    policy: Policy,
    folder: SuiteFolder,
    progress: Callable[[int, int], None] = lambda done, total: None,
    window: int | None = None,
    tasks: Sequence[Task] | None = None,
) -> dict[str, Any]:
    """Evaluate what is not evaluated yet, and report on everything.

    An episode that the engine failed on is tried again when the evaluation is resumed. A resumed evaluation ends like
    an undisturbed one where responses depend on their context alone; those that are sampled in batches also depend on
    what is in the batch and when.

    Args:
        settings: what decides the figures.
        policy: who answers.
        folder: entered before.
        progress: called with (episodes done, episodes in all).
        window: episodes side by side of a policy that answers in batches.
        tasks: instead of `settings.load_tasks()`.

    Returns:
        The report, as in `report.json`.

    Raises:
        RunError: every episode was lost. There is no report then.
    """
    tasks = settings.load_tasks() if tasks is None else tasks
    folder.report.unlink(missing_ok=True)
    with JsonLines(folder.episodes) as lines:
        done = {
            episode.task_id: episode
            for episode in (from_json(EpisodeRecord, fields) for fields in lines.records())
            if not episode.is_lost
        }
        progress(len(done), len(tasks))

        def record(episode: EpisodeRecord) -> None:
            lines.append(to_json(episode))
            done[episode.task_id] = episode
            progress(len(done), len(tasks))

        evaluate(
            policy,
            [task for task in tasks if task.id not in done],
            settings.make_environment,
            settings.sampling,
            record,
            settings.limits,
            window=window,
            inject=settings.injector(policy).begin_turn,
        )
    episodes = [done[task.id] for task in tasks]
    lost = [episode.lost for episode in episodes if episode.is_lost]
    refuse_total_loss(lost, len(episodes) - len(lost), "episodes")
    figures = bfcl_report(episodes, settings.protocol, settings.injection)
    told = {name: getattr(policy, attribute, None) for name, attribute in (("remark", "remark"), ("endpoint", "facts"))}
    settings_used = settings.model_dump(mode="json")
    report = {"settings": settings_used, **{name: value for name, value in told.items() if value}, **figures}
    if settings.injection.rate:
        judged = [episode for episode in episodes if not episode.is_lost]
        report["injected_turns"] = drawn_turns(settings.injection, begun_turns(tasks, judged))
    else:
        write_official_results(folder.path, settings.policy, tasks, episodes, settings.protocol)
    write_json(folder.report, report)
    return report


def _refuse_changes(path: Path, before: dict[str, Any], asked: dict[str, Any]) -> None:
    changed = [key for key in sorted(asked.keys() | before.keys()) if asked.get(key) != before.get(key)]
    if changed:
        told = "; ".join(f"{key}: {before.get(key)!r} there, {asked.get(key)!r} now" for key in changed[:5])
        raise RunError(
            f"'{path}' holds an evaluation of other settings ({told}). Resume with those, or choose another folder "
            "with --output."
        )
