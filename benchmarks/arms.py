"""Arms that run in turn: each is a process of its own, and only one of them computes at any time.

The speed of a machine drifts by a third within minutes, so figures taken one after the other cannot be compared.
Here every arm does one repetition before any does the next, and a ratio is taken within a round.

The protocol, one line each, JSON from the child:

    child   {"ready": true, ...facts}              after it has loaded everything
    parent  go
    child   {"seconds": 1.2, ...}                  after one repetition; "kind" tells apart what alternates
    parent  stop
    child   {"peak_memory_bytes": 123}
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self

import psutil

Reply = dict[str, Any]
"""What a child answers."""

_PATIENCE = 4
"""Repetitions that a round waits for each kind."""

_TAIL = 20
"""Last lines of a failed child's output that are shown."""


# --- the child's end ---------------------------------------------------------------------------------------------


class Stopped(Exception):  # noqa: N818 - not an error: the parent has all it wants
    """The parent asked the arm to stop."""


@dataclass(frozen=True)
class Channel:
    """The child's end of the protocol."""

    orders: IO[str]
    answers: IO[str]

    @classmethod
    def claim(cls) -> Self:
        """Take stdin and stdout; from now on, what a library prints goes to stderr."""
        answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return cls(sys.stdin, answers)

    def ready(self, **facts: Any) -> None:
        """Everything is loaded."""
        self._send({"ready": True, **facts})

    def wait(self) -> None:
        """Sleep until it is this arm's turn.

        Raises:
            Stopped: there is no further turn.
        """
        if self.orders.readline().strip() != "go":
            raise Stopped

    def report(self, seconds: float, **facts: Any) -> None:
        """One repetition is done."""
        self._send({"seconds": seconds, **facts})

    def repeat(self, repetition: Callable[[], None], before: Callable[[], None] = lambda: None, **facts: Any) -> None:
        """Announce readiness with `facts`, then run `repetition` once a turn until stopped; `before` is not counted."""
        self.ready(**facts)
        while True:
            self.wait()
            before()
            start = time.perf_counter()
            repetition()
            self.report(time.perf_counter() - start)

    def finish(self) -> None:
        """The last line."""
        self._send({"peak_memory_bytes": peak_memory_bytes()})

    def _send(self, reply: Reply) -> None:
        self.answers.write(json.dumps(reply) + "\n")
        self.answers.flush()


def peak_memory_bytes() -> int:
    """Peak resident memory of this process and of those that it started and that still live."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return own + sum(_high_water(child.pid) for child in psutil.Process().children(recursive=True))


def _high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


# --- the parent's end --------------------------------------------------------------------------------------------


class ArmFailed(RuntimeError):  # noqa: N818 - the message says which arm and why
    """A child ended, or answered something else than was due."""


@dataclass(frozen=True)
class Arm:
    """One thing to be measured.

    Attributes:
        name: stands in the table.
        command: starts the child.
        kinds: what the child's repetitions alternate between. A round goes on until each kind was done once; what
            the child does beyond that is not counted.
    """

    name: str
    command: tuple[str, ...]
    kinds: tuple[str, ...] = ("",)

    def label(self, kind: str) -> str:
        """The name of a row of the table."""
        return f"{self.name} {kind}".strip()


@dataclass
class Measured:
    """What a case gave.

    Attributes:
        rounds: the replies of each label, one a counted round.
        facts: what each arm said when it was ready.
        peaks: peak memory of each arm in bytes.
        notes: what a reader must know: arms that failed, rounds left out.
    """

    rounds: dict[str, list[Reply]] = field(default_factory=dict)
    facts: dict[str, Reply] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def measure(
    arms: Sequence[Arm], repeats: int, budget_seconds: float, say: Callable[[str], None] = lambda text: None
) -> Measured:
    """One uncounted round, then up to `repeats` counted ones; at least one, fewer than `repeats` when time is up.

    An arm that fails is named in the notes, and the others go on without it.

    Args:
        arms: who takes part; the order of a round moves on by one each time.
        repeats: counted rounds.
        budget_seconds: no further round begins after this many seconds of repetitions, warm-up included.
        say: told what happens.
    """
    found = Measured()
    with ExitStack() as stack:
        workers: dict[str, _Worker] = {}

        def drop(arm: Arm, error: ArmFailed) -> None:
            found.notes.append(str(error))
            workers.pop(arm.name, None)
            say(str(error))

        for arm in arms:
            say(f"{arm.name}: loading")
            try:
                workers[arm.name] = worker = stack.enter_context(_child(arm))
                found.facts[arm.name] = worker.begin()
            except ArmFailed as error:
                drop(arm, error)
        found.rounds = {arm.label(kind): [] for arm in arms for kind in arm.kinds}
        start = time.monotonic()
        for number in range(repeats + 1):
            if number > 1 and time.monotonic() - start > budget_seconds:
                found.notes.append(f"{number - 1} of {repeats} rounds: {budget_seconds:g} s were over.")
                break
            for arm in in_turn([arm for arm in arms if arm.name in workers], number):
                try:
                    replies = workers[arm.name].round()
                except ArmFailed as error:
                    drop(arm, error)
                    continue
                for kind, reply in zip(arm.kinds, replies, strict=True):
                    say(f"{arm.label(kind)}: {reply['seconds']:.2f} s{'' if number else ' (warm-up)'}")
                    if number:
                        found.rounds[arm.label(kind)].append(reply)
        for arm in [arm for arm in arms if arm.name in workers]:
            try:
                found.peaks[arm.name] = workers[arm.name].end()
            except ArmFailed as error:
                drop(arm, error)
    return found


def in_turn(arms: Sequence[Arm], number: int) -> list[Arm]:
    """The order of a round: another arm begins each time, so that none always runs on a warmer machine."""
    first = number % len(arms) if arms else 0
    return [*arms[first:], *arms[:first]]


@dataclass
class _Worker:
    """A running child, seen from the parent."""

    arm: Arm
    process: subprocess.Popen[str]
    log: IO[str]

    def begin(self) -> Reply:
        facts = self._answer("ready")
        return {key: value for key, value in facts.items() if key != "ready"}

    def round(self) -> list[Reply]:
        done: dict[str, Reply] = {}
        for _ in range(_PATIENCE * len(self.arm.kinds)):
            self._order("go")
            reply = self._answer("seconds")
            done.setdefault(reply.get("kind", ""), reply)
            if done.keys() >= set(self.arm.kinds):
                return [done[kind] for kind in self.arm.kinds]
        raise ArmFailed(f"{self.arm.name} failed: it did {sorted(done)} where {sorted(self.arm.kinds)} were due.")

    def end(self) -> int:
        self._order("stop")
        return int(self._answer("peak_memory_bytes")["peak_memory_bytes"])

    def _order(self, word: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def _answer(self, key: str) -> Reply:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._failure()
        reply: Reply = json.loads(line)
        if key not in reply:
            raise ArmFailed(f"{self.arm.name} failed: it answered {line.strip()} where '{key}' was due.")
        return reply

    def _failure(self) -> ArmFailed:
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().splitlines()[-_TAIL:]
        print("\n".join(lines), file=sys.stderr)
        return ArmFailed(f"{self.arm.name} failed with exit status {code}: {lines[-1] if lines else 'no output'}")


@contextmanager
def _child(arm: Arm) -> Iterator[_Worker]:
    """Start a child; whatever happens, it is gone afterwards. Its output is kept for the case that it fails."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(arm.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        with process:
            try:
                yield _Worker(arm, process, log)
            finally:
                process.kill()
