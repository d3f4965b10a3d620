"""What a run trains on and is measured on: single-step tasks, or whole episodes in live worlds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

from fissile.calls import JSON
from fissile.config import EngineConfig, EvaluationConfig, RunConfig
from fissile.dialects import ChatFormat
from fissile.engines import Engine, Sampling
from fissile.engines.attempts import Attempter, Sampler
from fissile.engines.injection import LiveContextInjector, SingleStepInjector
from fissile.engines.live import LiveSampler
from fissile.engines.token_policy import TokenPolicy
from fissile.environments import SingleStep
from fissile.environments.bfcl_ast import is_valid
from fissile.environments.python import PythonTools
from fissile.evaluation import LiveEpisode, bfcl_report, evaluate_live, evaluate_recovery
from fissile.evaluation.bfcl import cluster
from fissile.evaluation.live import begun_turns
from fissile.evaluation.losses import by_reason, refuse_total_loss
from fissile.feedback import Diagnoser, FeedbackSource, FixedMessage, get_source
from fissile.feedback.phrasebooks import SERVICE_RULES
from fissile.metrics import Episode, evaluate_episodes
from fissile.rollouts import End, InjectionSettings, Limits, LiveInjector, drawn_turns
from fissile.serial import to_json
from fissile.tasks import Task
from fissile.training.cold_start import Shown, live_examples, supervised_examples
from fissile.training.supervised import Example
from fissile.training.task_check import environment_maker
from fissile.training.task_sources import read_source, refuse_too_few, sides_of

Records = dict[str, list[dict[str, JSON]]]
"""Name of a file of an evaluation ("episodes", ...) to its lines."""


class Course(Protocol):
    """The tasks of a run, and how they are sampled, demonstrated and evaluated.

    Attributes:
        sampler: samples rollouts in training.
        train: the tasks to train on.
        evaluated: the held-out tasks.
        summary: one line about both, for a person.
        trainer_settings: what `FissionGRPOTrainer` is told beyond the configuration, so that it samples alike.
        demonstrations: diagnoses the corrupted calls of the cold start; None where there are none, or a world answers.
    """

    sampler: Sampler
    train: tuple[Task, ...]
    evaluated: tuple[Task, ...]
    summary: str
    trainer_settings: dict[str, Any]
    demonstrations: Diagnoser | None

    def examples(self, shown: Shown | None = None) -> list[Example]:
        """The examples of the supervised cold start; `shown` counts them."""
        ...

    def evaluate(
        self, engine: Engine, progress: Callable[[int, int], None], first: int | None = None
    ) -> tuple[Records, dict[str, Any]]:
        """What an evaluation of `engine` leaves, and its report with the recovery metrics at the top level.

        Args:
            engine: who answers.
            progress: called with (made, known so far).
            first: only the first so many of the held-out tasks.

        Raises:
            RunError: all was lost to the engine or the world.
        """
        ...


FindSource = Callable[[str], FeedbackSource]
"""The feedback source of a name."""


def make_course(
    config: RunConfig, chat: ChatFormat, positions: int | None, find_source: FindSource = get_source
) -> Course:
    """The course that a configuration asks for.

    Args:
        config: of the run.
        chat: how conversations are written as tokens.
        positions: tokens that the model reads at most; None where unknown.
        find_source: gives the sources of demonstrations and evaluations. The default knows those without a model.

    Raises:
        DataError: a source that cannot be used, or no task is left.
        AssetError: BFCL cannot be fetched.
    """
    return LiveCourse(config, chat, positions) if config.is_live else SingleStepCourse(config, chat, find_source)


class SingleStepCourse:
    """One response a task, judged against the truth; split by function name.

    Attributes:
        split: all three sides.
    """

    def __init__(self, config: RunConfig, chat: ChatFormat, find_source: FindSource = get_source) -> None:
        self._config = config
        self._find_source = find_source
        self.trainer_settings: dict[str, Any] = {}
        demonstrated = config.cold_start_feedback
        self.demonstrations = Diagnoser(find_source(demonstrated)) if demonstrated else None
        self._attempter = Attempter(chat, SingleStep(chat.dialect, official=is_valid))
        self.sampler: Sampler = self._attempter
        if config.injection_feedback:
            diagnoser = Diagnoser(find_source(config.injection_feedback))
            injector = SingleStepInjector(config.injection.at("training"), self._attempter, diagnoser)
            self.trainer_settings["injector"] = injector
        sides = sides_of(config, read_source(config).checked(), partial(fits, self.sampler, config))
        self.split = split = sides.split
        fitting = sum(map(len, split))
        self.train, self.evaluated = sides.train, sides.evaluated
        refuse_too_few(sides, config)
        self.summary = (
            f"{sides.count} tasks, {sides.count - fitting} left out with more than {config.tasks.max_prompt_tokens} "
            f"prompt tokens: {len(split.train)} to train on, {len(split.validation)} for validation, "
            f"{len(split.test)} to test on, no function in common"
        )

    def examples(self, shown: Shown | None = None) -> list[Example]:
        """See `Course`."""
        config = self._config
        return supervised_examples(
            self.train, self._attempter, config.cold_start, config.seed, self.demonstrations, shown=shown
        )

    def evaluate(
        self, engine: Engine, progress: Callable[[int, int], None], first: int | None = None
    ) -> tuple[Records, dict[str, Any]]:
        """See `Course`."""
        settings = self._config.evaluation
        diagnoser = self._evaluating()
        lost: list[str] = []
        episodes = evaluate_recovery(
            engine,
            self._attempter,
            self.evaluated[:first],
            diagnoser,
            _sampling(settings),
            retries=settings.retries,
            samples=settings.samples,
            progress=progress,
            injection=(injection := self._config.injection.at("evaluation")),
            lost=lost,
        )
        refuse_total_loss(lost, len(episodes), "attempts")
        report = {
            **to_json(evaluate_episodes(episodes)),
            **_named(injection, _begun(self.evaluated, episodes)),
            "feedback": settings.feedback,
            "diagnoses": diagnoser.report(),
            "settings": settings.model_dump(mode="json"),
            **({"lost": by_reason(lost)} if lost else {}),
        }
        return {"episodes": [to_json(episode) for episode in episodes]}, report

    def _evaluating(self) -> Diagnoser:
        """The evaluation's source; what stands in for it is no source that is trained with either."""
        trained_with = self._config.trained_with
        stand_in = FixedMessage() if SERVICE_RULES.name in trained_with else SERVICE_RULES
        return Diagnoser(self._find_source(self._config.evaluation.feedback), stand_in)


class LiveCourse:
    """Turn-level instances to train on, whole episodes to be measured on."""

    def __init__(self, config: RunConfig, chat: ChatFormat, positions: int | None) -> None:
        self._config = config
        tools = None if config.tasks.tools is None else PythonTools.from_file(config.tasks.tools)
        self._make_environment = environment_maker(config, tools)
        world = config.world
        self._limit = limit = _shortest(positions, world.max_context_tokens, config.engine)
        self._room = None if limit is None else limit - config.evaluation.max_new_tokens
        self.demonstrations: Diagnoser | None = None
        room = None if limit is None else limit - config.training.max_new_tokens
        limits = Limits(world.steps_per_turn, world.calls_per_response, room)
        self.trainer_settings = {"make_environment": self._make_environment, "limits": limits}
        self._live = LiveSampler(chat, self._make_environment, limits=limits)
        self.sampler: Sampler = self._live
        if config.injection.at("training").rate:
            self.trainer_settings["injector"] = LiveContextInjector(config.injection.at("training"), self._live)
        sides = sides_of(config, read_source(config, tools).checked(), partial(fits, self.sampler, config))
        split, self.train, self.evaluated = sides.split, sides.train, sides.evaluated
        for task in self.evaluated if tools is not None else ():  # what is amiss with a truth is told before training
            self._make_environment(task).reset(task)
        self._demonstrated = _scenarios_of(self.train, split.train)
        refuse_too_few(sides, config)
        self.summary = (
            f"{len(split.train)} training scenarios with {sides.count} turns, {sides.count - len(self.train)} left out "
            f"with more than {config.tasks.max_prompt_tokens} prompt tokens; {len(split.validation)} scenarios for "
            f"validation, {len(split.test)} to test on"
        ) + "".join(f"; {told}" for told in self._not_trained_on(split.train, sides.count))

    def _not_trained_on(self, scenarios: Sequence[Task], turns: int) -> Iterator[str]:
        """What a person would not expect of these scenarios and the `turns` of them that are instances."""
        if others := sum(len(task.turns) for task in scenarios) - turns:
            yield f"{others} more turns expect no call, or one that is not offered, and are not trained on"
        limit = self._config.world.steps_per_turn
        if many := sum(len(task.turns[task.start].ground_truth) > limit for task in self.train):
            yield (
                f"{many} turns need more calls than world.steps_per_turn = {limit}: they come right only with several "
                "calls in a response"
            )

    def examples(self, shown: Shown | None = None) -> list[Example]:
        """See `Course`."""
        config = self._config
        return live_examples(
            self._demonstrated, self._live, config.cold_start, config.seed, limit=self._limit, shown=shown
        )

    def evaluate(
        self, engine: Engine, progress: Callable[[int, int], None], first: int | None = None
    ) -> tuple[Records, dict[str, Any]]:
        """See `Course`."""
        settings, world = self._config.evaluation, self._config.world
        injection = self._config.injection.at("evaluation")
        episodes: list[LiveEpisode] = []
        evaluated = self.evaluated[:first]

        def record(episode: LiveEpisode) -> None:
            episodes.append(episode)
            progress(len(episodes), len(evaluated))

        progress(0, len(evaluated))
        evaluate_live(
            TokenPolicy(engine, self.sampler.chat),
            evaluated,
            self._make_environment,
            _sampling(settings),
            record,
            world.evaluation_protocol,
            Limits(world.evaluation_steps_per_turn, world.calls_per_response, self._room),
            world.window,
            LiveInjector(injection, self.sampler.chat.dialect, self._make_environment).begin_turn,
        )
        lost = [episode.lost for episode in episodes if episode.end == End.INFRASTRUCTURE]
        refuse_total_loss(lost, len(episodes) - len(lost), "episodes")
        report = bfcl_report(episodes, world.evaluation_protocol, injection)
        judged = [episode for episode in episodes if episode.end != End.INFRASTRUCTURE]
        made = [episode.episode(report["feedback"], cluster(episode)) for episode in judged]
        records: Records = {
            "episodes": [to_json(episode) for episode in made if episode is not None],
            "rollouts": [episode.to_dict() for episode in episodes],
        }
        unused = {"samples", "retries", "feedback"}  # one episode a task, and the world itself answers
        asked = {**settings.model_dump(mode="json", exclude=unused), "world": world.model_dump(mode="json")}
        injected = _named(injection, begun_turns(evaluated, judged))
        figures = {**report["recovery"], **injected, "feedback": report["feedback"]}
        named = {"lost": report["lost"]} if lost else {}
        return records, {**figures, "suite": report, "settings": asked, **named}


def _named(injection: InjectionSettings, begun: Iterable[tuple[Task, int, bool]]) -> dict[str, Any]:
    """The entries of a report that say which failures were forced, and in how many turns; empty where none were."""
    if not injection.rate:
        return {}
    return {"injection": injection.model_dump(mode="json"), "injected_turns": drawn_turns(injection, begun)}


def _begun(tasks: Sequence[Task], episodes: Sequence[Episode]) -> Iterator[tuple[Task, int, bool]]:
    """The one turn of each single-step episode; see `begun_turns`."""
    by_id = {task.id: task for task in tasks}
    return ((by_id[episode.task_id], 0, bool(episode.injected)) for episode in episodes)


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
    return len(sampler.context(task).prompt_ids) <= config.tasks.max_prompt_tokens


def _sampling(settings: EvaluationConfig) -> Sampling:
    return Sampling(
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_k=settings.top_k,
        seed=settings.seed,
    )
