"""How well a policy recovers from its errors: definitions, counts and intervals.

The paper's formula is not public; these definitions are ours.

- **attempt**: one assistant response that calls tools (or should have).
- **failed attempt**: its record carries at least one `ToolError`.
- **right attempt**: no error, not blamed by the judge, and it does not give up: to end a turn without a call after a
  failed attempt, when the judge then finds the turn wrong, is an attempt that is not right (`Episode.is_right`).
- **first-attempt accuracy**: episodes whose first attempt is right, of all episodes that begin with the policy's own.
- **final accuracy**: episodes whose last attempt is right, of all episodes.
- **recovery rate** (the headline): of the episodes with at least one failed attempt, the share that ends right.
  Neither knows how an episode ends whose further attempt was lost to the engine (`Episode.lost`): both leave it out.
- **next-attempt recovery rate**: of the failed attempts that were followed by another attempt, the share whose next
  attempt is right.
- **repeat rate**: of the failed attempts that were followed by another, the share followed by the *same* invalid
  call (`Attempt.signature`).
- **calls per task**: calls in all attempts of an episode, malformed ones included, per episode. Those of injected
  attempts are not the policy's and do not count.
- **give-up rate**: of the failed attempts that were followed by another, the share followed by one that gives up. It
  needs a world with state, as the next one does.
- **silent failure rate**: of the attempts without an error that do not give up, the share that the judge blames for a
  wrong turn. In a single-step task a mismatch with the truth is itself an error, so there is none to report.

In a live world an error is an explicit one (the tool or the parser said so), an episode ends right when every turn
leaves the right state and results behind, and an attempt follows another only within one turn of the user.

A failure that was **injected** (`fissile.rollouts.injection`) is one to recover from: it counts in the recovery rate,
and with the policy's next attempt in the next-attempt recovery and repeat rates. The same is reported for injected
failures alone, with the **answered rate**: of those that the policy had to answer, the share that it answered with
another attempt in the same turn instead of giving up. Figures with injected failures compare only with those of the
same injection.

Counts are added up before they are divided, and every figure carries a 95 % interval clustered by task: episodes and
attempts of one task are not independent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fissile.calls import Attempt
from fissile.errors import DataError, ErrorKind
from fissile.statistics import Ratio, mean, proportion


@dataclass(frozen=True, slots=True)
class Retry:
    """A failed attempt and the one that followed it.

    Attributes:
        key: the cluster of their episode.
        failed: the failed attempt.
        following: the next one.
        right: the next one is right.
        gave_up: the next one gave up.
    """

    key: str
    failed: Attempt
    following: Attempt
    right: bool
    gave_up: bool

    @property
    def repeated(self) -> bool:
        """True when the next attempt is the same invalid call."""
        return self.following.failed and self.following.signature == self.failed.signature


@dataclass(frozen=True, slots=True)
class Episode:
    """One run of a task: a first attempt, and retries after feedback while the last one failed.

    Attributes:
        task_id: the task; episodes of one task form a cluster.
        attempts: at least one, in order.
        feedback: the source of the feedback between them; "" where there was none.
        correct: the judge's word on the whole episode; None where the last attempt decides.
        turns: index of the user's turn in which each attempt was made; empty where there is one turn.
        silent: indices of the attempts that the judge blames although they raised no error.
        cluster: what makes episodes dependent, where it is more than the task.
        injected: indices of the attempts that a fault injector forced.
        lost: a further attempt was lost to the engine, so that nothing is known of how it ends.

    Raises:
        DataError: there is no attempt.
    """

    task_id: str
    attempts: tuple[Attempt, ...]
    feedback: str = ""
    correct: bool | None = None
    turns: tuple[int, ...] = ()
    silent: tuple[int, ...] = ()
    cluster: str = ""
    injected: tuple[int, ...] = ()
    lost: bool = False

    def __post_init__(self) -> None:
        if not self.attempts:
            raise DataError(f"The episode of task '{self.task_id}' holds no attempt. Leave such episodes out.")

    @property
    def final_correct(self) -> bool:
        """True when the judge accepted the episode; without a judge, when the last attempt has no errors."""
        return not self.attempts[-1].failed if self.correct is None else self.correct

    @property
    def first_correct(self) -> bool:
        """True when the first attempt is right."""
        return self.is_right(0)

    def is_right(self, index: int) -> bool:
        """True when an attempt has no error, is not blamed for a wrong turn, and does not give up."""
        return not (self.attempts[index].failed or index in self.silent or self.gives_up(index))

    def gives_up(self, index: int) -> bool:
        """True when an attempt calls nothing after a failed one of its turn, in an episode that the judge rejects."""
        attempt = self.attempts[index]
        follows_failure = index > 0 and self._is_followed(index - 1) and self.attempts[index - 1].failed
        return self.correct is False and follows_failure and not (attempt.calls or attempt.failed)

    @property
    def key(self) -> str:
        """The cluster that it belongs to."""
        return self.cluster or self.task_id

    @property
    def any_failed(self) -> bool:
        """True when at least one attempt failed."""
        return any(attempt.failed for attempt in self.attempts)

    @property
    def retried(self) -> Iterator[Retry]:
        """Each failed attempt that the policy followed with another."""
        for index, failed in enumerate(self.attempts):
            if failed.failed and self._is_followed(index) and index + 1 not in self.injected:
                yield self._retry(index)

    @property
    def forced(self) -> Iterator[Retry | None]:
        """For each injected failure that the policy had to answer, its next attempt; None where it made none."""
        for index in self.injected:
            if not self._is_followed(index):
                yield None
            elif index + 1 not in self.injected:  # else another failure was forced
                yield self._retry(index)

    def _retry(self, index: int) -> Retry:
        failed, following = self.attempts[index : index + 2]
        return Retry(self.key, failed, following, self.is_right(index + 1), self.gives_up(index + 1))

    @property
    def own(self) -> Iterator[Attempt]:
        """The attempts that the policy made."""
        return (attempt for index, attempt in enumerate(self.attempts) if index not in self.injected)

    def _is_followed(self, index: int) -> bool:
        """Whether another attempt follows in the same turn."""
        turns = self.turns or (0,) * len(self.attempts)
        return index + 1 < len(turns) and turns[index] == turns[index + 1]


@dataclass(frozen=True, slots=True)
class KindReport:
    """What became of one kind of error. An attempt with several kinds counts once under each.

    Attributes:
        first_attempts: failed first attempts with this kind.
        attempts: failed attempts of the policy with this kind.
        next_attempt_recovery_rate: of those followed by another attempt, the share whose next attempt is right.
        repeat_rate: of those followed by another attempt, the share followed by the same invalid call.
        injected: injected failures with this kind; they enter the rates.
    """

    first_attempts: int
    attempts: int
    next_attempt_recovery_rate: Ratio
    repeat_rate: Ratio
    injected: int = 0


@dataclass(frozen=True, slots=True)
class InjectedReport:
    """What became of injected failures.

    Attributes:
        failures: injected failures, those included that another one followed.
        recovery_rate: of the episodes with such a failure, the share that ends right.
        answered_rate: of the failures that the policy had to answer, the share after which it did not give up.
        next_attempt_recovery_rate: of those followed by another attempt, the share whose next attempt is right.
        repeat_rate: of those followed by another attempt, the share followed by the same invalid call.
    """

    failures: int
    recovery_rate: Ratio
    answered_rate: Ratio
    next_attempt_recovery_rate: Ratio
    repeat_rate: Ratio


@dataclass(frozen=True, slots=True)
class RecoveryReport:
    """The metrics of the module docstring over a set of episodes.

    Attributes:
        n_tasks: distinct tasks.
        error_kinds: the kinds that occurred, most frequent first.
        silent_failure_rate: None where no world judged the episodes.
        give_up_rate: None where no world judged the episodes.
        injected: None where no failure was injected.
    """

    n_tasks: int
    first_attempt_accuracy: Ratio
    final_accuracy: Ratio
    recovery_rate: Ratio
    next_attempt_recovery_rate: Ratio
    repeat_rate: Ratio
    calls_per_task: Ratio
    error_kinds: dict[ErrorKind, KindReport]
    silent_failure_rate: Ratio | None = None
    give_up_rate: Ratio | None = None
    injected: InjectedReport | None = None


def evaluate_episodes(episodes: Sequence[Episode]) -> RecoveryReport:
    """The metrics of the module docstring. Episodes of one task, in any order, form one cluster."""
    retried = [retry for episode in episodes for retry in episode.retried]
    whole = [episode for episode in episodes if not episode.lost]
    judged = any(episode.correct is not None for episode in episodes)
    return RecoveryReport(
        n_tasks=len({episode.task_id for episode in episodes}),
        first_attempt_accuracy=proportion((e.key, e.first_correct, 1) for e in episodes if 0 not in e.injected),
        final_accuracy=proportion((e.key, e.final_correct, 1) for e in whole),
        recovery_rate=proportion((e.key, e.final_correct, 1) for e in whole if e.any_failed),
        next_attempt_recovery_rate=_recoveries(retried),
        repeat_rate=_repeats(retried),
        calls_per_task=mean((e.key, sum(len(attempt.calls) for attempt in e.own), 1) for e in episodes),
        error_kinds=_error_kinds(episodes, retried),
        silent_failure_rate=_silent_failures(episodes) if judged else None,
        give_up_rate=proportion((retry.key, retry.gave_up, 1) for retry in retried) if judged else None,
        injected=_injected(episodes) if any(episode.injected for episode in episodes) else None,
    )


def _recoveries(retried: Sequence[Retry]) -> Ratio:
    return proportion((retry.key, retry.right, 1) for retry in retried)


def _silent_failures(episodes: Sequence[Episode]) -> Ratio:
    return proportion(
        (episode.key, index in episode.silent, 1)
        for episode in episodes
        for index, attempt in enumerate(episode.attempts)
        if not (attempt.failed or episode.gives_up(index))
    )


def _injected(episodes: Sequence[Episode]) -> InjectedReport:
    forced = [(episode.key, retry) for episode in episodes for retry in episode.forced]
    followed = [retry for _, retry in forced if retry is not None]
    return InjectedReport(
        failures=sum(len(episode.injected) for episode in episodes),
        recovery_rate=proportion((e.key, e.final_correct, 1) for e in episodes if e.injected and not e.lost),
        answered_rate=proportion((key, retry is not None and not retry.gave_up, 1) for key, retry in forced),
        next_attempt_recovery_rate=_recoveries(followed),
        repeat_rate=_repeats(followed),
    )


def _repeats(retried: Sequence[Retry]) -> Ratio:
    return proportion((retry.key, retry.repeated, 1) for retry in retried)


def _error_kinds(episodes: Sequence[Episode], retried: Sequence[Retry]) -> dict[ErrorKind, KindReport]:
    first = Counter(kind for e in episodes if 0 not in e.injected for kind in e.attempts[0].error_kinds)
    every = Counter(kind for episode in episodes for attempt in episode.attempts for kind in attempt.error_kinds)
    forced = Counter(kind for e in episodes for index in e.injected for kind in e.attempts[index].error_kinds)
    table = {}
    for kind, count in every.most_common():
        of_kind = [retry for retry in retried if kind in retry.failed.error_kinds]
        own = count - forced[kind]
        table[kind] = KindReport(first[kind], own, _recoveries(of_kind), _repeats(of_kind), forced[kind])
    return table
