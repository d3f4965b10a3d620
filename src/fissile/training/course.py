"""What a run trains on and is measured on, and how: its tasks, their worlds, demonstrations and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from fissile.calls import JSON
from fissile.config import EngineConfig, EvaluationConfig, RunConfig
from fissile.config.run_config import TrainingConfig
from fissile.dialects import ChatFormat
from fissile.engines import Engine, Sampling
from fissile.engines.injection import InjectionSettings, Injector, Stage, drawn_turns
from fissile.engines.sampler import Sampler, refuse_uncallable
from fissile.engines.token_policy import TokenPolicy
from fissile.environments.base import ErrorProtocol
from fissile.environments.python import PythonTools
from fissile.environments.worlds import limited, obeying
from fissile.evaluation import EpisodeRecord, bfcl_report, evaluate
from fissile.evaluation.bfcl_report import cluster
from fissile.evaluation.episodes import begun_turns
from fissile.evaluation.losses import by_reason, refuse_total_loss
from fissile.feedback import Diagnoser, FeedbackSource, FixedMessage, get_source
from fissile.feedback.phrasebooks import SERVICE_RULES
from fissile.metrics import evaluate_episodes
from fissile.rollouts import Limits
from fissile.serial import to_json
from fissile.tasks import Task
from fissile.training.cold_start import Shown, demonstrations
from fissile.training.supervised import Example
from fissile.training.task_check import environment_maker
from fissile.training.task_sources import read_source, refuse_too_few, sides_of

Records = dict[str, list[dict[str, JSON]]]
"""Name of a file of an evaluation ("episodes", ...) to its lines."""

FindSource = Callable[[str], FeedbackSource]
"""The feedback source of a name."""


class Course:
    """The tasks of a run, and how they are sampled, demonstrated and evaluated.

    Attributes:
        split: all three sides: of single-step tasks by function name, of whole scenarios otherwise.
        sampler: samples rollouts in training.
        injector: forces failures in explore contexts of training; None for none.
        train: the tasks to train on: single-step ones, or turn-level instances of scenarios.
        evaluated: the held-out tasks.
        demonstrations: diagnoses the corrupted calls of the cold start; None where there are none, or a world answers.
    """

    def __init__(
        self, config: RunConfig, chat: ChatFormat, positions: int | None, find_source: FindSource = get_source
    ) -> None:
        """Read the tasks.

        Args:
            config: of the run.
            chat: how conversations are written as tokens.
            positions: tokens that the model reads at most; None where unknown.
            find_source: gives the sources of demonstrations and evaluations. The default knows those without a model.

        Raises:
            DataError: a source that cannot be used, or no task is left.
            AssetError: BFCL cannot be fetched.
        """
        self._config = config
        self._find_source = find_source
        tools = None if config.tasks.tools is None else PythonTools.from_file(config.tasks.tools)
        obeyed = limited(ErrorProtocol.RECOVERY.policy, config.world.calls_per_response)
        self._make = obeying(environment_maker(config, tools), obeyed)
        self._longest = _shortest(positions, config.world.max_context_tokens, config.engine) if config.is_live else None
        self.sampler = Sampler(chat, self._make, self._limits(config.world.steps_per_turn, config.training))
        self.demonstrations = self._diagnoser(config.cold_start_feedback)
        self.injector = self._injector_of("training", self.sampler)
        sides = sides_of(config, read_source(config, tools).checked(), partial(fits, self.sampler, config))
        self.split, self.train, self.evaluated = sides.split, sides.train, sides.evaluated
        refuse_uncallable(chat, [*self.train, *self.evaluated])
        for task in self.evaluated if tools is not None else ():  # what is amiss with a truth is told before training
            self._make(task).reset(task)
        refuse_too_few(sides, config)
        self._turns = sides.count

    @property
    def summary(self) -> str:
        """One line about the tasks, for a person."""
        split, limit = self.split, self._config.tasks.max_prompt_tokens
        if not self._config.is_live:
            return (
                f"{self._turns} tasks, {self._turns - sum(map(len, split))} left out with more than {limit} "
                f"prompt tokens: {len(split.train)} to train on, {len(split.validation)} for validation, "
                f"{len(split.test)} to test on, no function in common"
            )
        return (
            f"{len(split.train)} training scenarios with {self._turns} turns, {self._turns - len(self.train)} left out "
            f"with more than {limit} prompt tokens; {len(split.validation)} scenarios for "
            f"validation, {len(split.test)} to test on"
        ) + "".join(f"; {told}" for told in self._not_trained_on())

    def _not_trained_on(self) -> Iterator[str]:
        """What a person would not expect of these scenarios and of the turns that are instances."""
        if others := sum(len(task.turns) for task in self.split.train) - self._turns:
            yield f"{others} more turns expect no call, or one that is not offered, and are not trained on"
        limit = self._config.world.steps_per_turn
        if many := sum(len(task.turns[task.start].ground_truth) > limit for task in self.train):
            yield (
                f"{many} turns need more calls than world.steps_per_turn = {limit}: they come right only with several "
                "calls in a response"
            )

    def examples(self, shown: Shown | None = None) -> list[Example]:
        """The examples of the supervised cold start; `shown` counts them."""
        config = self._config
        tasks = _scenarios_of(self.train, self.split.train) if config.is_live else self.train
        return demonstrations(
            tasks, self.sampler, config.cold_start, config.seed, self.demonstrations, limit=self._longest, shown=shown
        )

    def evaluate(
        self, engine: Engine, progress: Callable[[int, int], None], first: int | None = None
    ) -> tuple[Records, dict[str, Any]]:
        """What an evaluation of `engine` leaves, and its report with the recovery metrics at the top level.

        Args:
            engine: who answers.
            progress: called with (made, known so far): attempts of single-step tasks, else episodes.
            first: only the first so many of the held-out tasks.

        Raises:
            RunError: all was lost to the engine or the world.
        """
        config, settings = self._config, self._config.evaluation
        tasks, live = self.evaluated[:first], config.is_live
        sampler = Sampler(
            self.sampler.chat,
            obeying(self._make, limited(config.world.evaluation_protocol.policy, config.world.calls_per_response)),
            self._limits(config.world.evaluation_steps_per_turn, settings, 0 if live else settings.retries),
        )
        diagnoser = None if live else self._evaluating()
        injector = self._injector_of("evaluation", sampler, diagnoser)
        records: list[EpisodeRecord] = []

        def record(episode: EpisodeRecord) -> None:
            records.append(episode)
            if live:
                progress(len(records), len(tasks))

        progress(0, len(tasks) * settings.samples)
        evaluate(
            TokenPolicy(sampler.chat, engine),
            tasks,
            sampler.make_environment,
            _sampling(settings),
            record,
            sampler.limits,
            samples=settings.samples,
            window=config.world.window if live else None,
            inject=injector.begin_turn if injector else lambda rollout: None,
            diagnoser=diagnoser,
            progress=(lambda made, known: None) if live else progress,
        )
        lost = [episode.lost for episode in records if episode.is_lost]
        return self._scenario_report(records, lost) if diagnoser is None else self._report(records, lost, diagnoser)

    def _report(
        self, records: Sequence[EpisodeRecord], lost: Sequence[str], diagnoser: Diagnoser
    ) -> tuple[Records, dict[str, Any]]:
        """Of single-step tasks, in their order."""
        settings, injection = self._config.evaluation, self._config.injection.at("evaluation")
        places = {task.id: place for place, task in enumerate(self.evaluated)}
        ordered = sorted(records, key=lambda record: places[record.task_id])
        made = [(record, record.episode(diagnoser.source.name)) for record in ordered]
        kept = [(record, episode) for record, episode in made if episode is not None]
        episodes = [episode for _, episode in kept]
        refuse_total_loss(lost, len(episodes), "attempts")
        report = {
            **to_json(evaluate_episodes(episodes)),
            **_named(injection, begun_turns(self.evaluated, [record for record, _ in kept])),
            "feedback": settings.feedback,
            "diagnoses": diagnoser.report(),
            "settings": settings.model_dump(mode="json"),
            **({"lost": by_reason(lost)} if lost else {}),
        }
        return {"episodes": [to_json(episode) for episode in episodes]}, report

    def _scenario_report(self, records: Sequence[EpisodeRecord], lost: Sequence[str]) -> tuple[Records, dict[str, Any]]:
        """Of scenarios, in the order in which they ended, with the figures of BFCL's suite."""
        settings, world = self._config.evaluation, self._config.world
        injection = self._config.injection.at("evaluation")
        refuse_total_loss(lost, len(records) - len(lost), "episodes")
        report = bfcl_report(records, world.evaluation_protocol, injection)
        judged = [episode for episode in records if not episode.is_lost]
        made = [episode.episode(report["feedback"], cluster(episode)) for episode in judged]
        kept: Records = {
            "episodes": [to_json(episode) for episode in made if episode is not None],
            "rollouts": [to_json(episode) for episode in records],
        }
        unused = {"samples", "retries", "feedback"}  # one episode a task, and the world itself answers
        asked = {**settings.model_dump(mode="json", exclude=unused), "world": world.model_dump(mode="json")}
        figures = {
            **report["recovery"],
            **_named(injection, begun_turns(self.evaluated, judged)),
            "feedback": report["feedback"],
        }
        named = {"lost": report["lost"]} if lost else {}
        return kept, {**figures, "suite": report, "settings": asked, **named}

    def _limits(self, steps_per_turn: int, stage: TrainingConfig | EvaluationConfig, retries: int = 0) -> Limits:
        room = None if self._longest is None else self._longest - stage.max_new_tokens
        return Limits(steps_per_turn, room, retries=retries)

    def _diagnoser(self, name: str | None) -> Diagnoser | None:
        return Diagnoser(self._find_source(name)) if name else None

    def _injector_of(self, stage: Stage, sampler: Sampler, diagnoser: Diagnoser | None = None) -> Injector | None:
        """Forces the failures of a stage; None where there are none."""
        settings = self._config.injection.at(stage)
        if not settings.rate:
            return None
        diagnoser = diagnoser or self._diagnoser(self._config.injection_feedback)
        dialect = sampler.chat.dialect
        return Injector(settings, dialect, sampler.writer, sampler.make_environment, sampler.limits, diagnoser)

    def _evaluating(self) -> Diagnoser:
        """The evaluation's source; what stands in for it is no source that is trained with either."""
        trained_with = self._config.trained_with
        stand_in = FixedMessage() if SERVICE_RULES.name in trained_with else SERVICE_RULES
        return Diagnoser(self._find_source(self._config.evaluation.feedback), stand_in)


def _named(injection: InjectionSettings, begun: Iterable[tuple[Task, int, bool]]) -> dict[str, Any]:
    """The entries of a report that say which failures were forced, and in how many turns; empty where none were."""
    if not injection.rate:
        return {}
    return {"injection": injection.model_dump(mode="json"), "injected_turns": drawn_turns(injection, begun)}


def _shortest(positions: int | None, wanted: int | None, engine: EngineConfig) -> int | None:
    """The longest context, its answer included, that model, recipe and engine all allow."""
    of_engine = engine.max_model_len if engine.name == "vllm" else None
    return min((limit for limit in (positions, wanted, of_engine) if limit is not None), default=None)


def _scenarios_of(turns: Sequence[Task], scenarios: Sequence[Task]) -> tuple[Task, ...]:
    """The scenarios of which a turn is left, whole."""
    kept = {turn.id.rpartition("#")[0] for turn in turns}
    return tuple(task for task in scenarios if task.id in kept)


def fits(sampler: Sampler, config: RunConfig, task: Task) -> bool:
    """Whether a task's prompt is short enough to be trained on."""
    return sampler.context(task).length <= config.tasks.max_prompt_tokens


def _sampling(settings: EvaluationConfig) -> Sampling:
    return Sampling(
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        seed=settings.seed,
    )
