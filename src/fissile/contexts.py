"""What a policy is asked to continue: the task's first messages, and the path of exchanges that leads on from them.

Token in, token out: the first messages are tokenised once, and each exchange holds the tokens that the policy wrote and
those of the answer that it then read, once. A context is a path of such exchanges, shared with every context that goes
the same way; what it reads as a whole is their concatenation. So a step in the middle of an episode can be left out or
replaced without building the rest anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fissile.calls import JSON, Attempt, FailedTurn, ToolCall
from fissile.tasks import Message, Task


@dataclass(frozen=True, slots=True)
class Exchange:
    """One response of the policy, and what it was answered.

    Attributes:
        attempt: the response, its calls, and what was wrong with them when they were made.
        results: the tools' answers: one for each call, or a single diagnosis of the whole response.
        messages: the user's next scripted turn, where the response ended one.
        wrote: token ids of the response; empty for a policy that writes text.
        read: token ids of the answer, up to where the next response begins.
        provider: fields of the server's own that it wants back as they came, such as its reasoning and signatures:
            "message" of the assistant's message, "calls" of each call, in order. Empty where nothing was sent.
    """

    attempt: Attempt
    results: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    wrote: tuple[int, ...] = ()
    read: tuple[int, ...] = ()
    provider: Mapping[str, JSON] = field(default_factory=dict, hash=False)

    @property
    def text(self) -> str:
        """The response as decoded."""
        return self.attempt.text

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Its calls in order, malformed ones included."""
        return self.attempt.calls

    @property
    def failed(self) -> bool:
        """True where the response was a failed attempt."""
        return self.attempt.failed

    @property
    def ends_turn(self) -> bool:
        """True where the user's next turn follows: either the user speaks, or nobody answered the response."""
        return bool(self.messages) or not self.results

    @property
    def executed(self) -> tuple[ToolCall, ...]:
        """The calls whose effects are in the world, as far as can be told.

        None of a failed attempt of one call, and none of one with a diagnosis, before which the world was restored;
        those of a failed attempt of several, each with its answer: the ones that failed are among them.
        """
        undone = self.failed and not 1 < len(self.calls) == len(self.results)
        return () if undone else self.calls


@dataclass(frozen=True, slots=True)
class Context:
    """What the policy is asked to continue.

    Attributes:
        task: the task.
        opening: token ids of the task's first messages, its tools and the generation prompt; empty for a policy that
            reads messages.
        dialogue: what was said since, oldest first.
        state: the world's snapshot at this point; None where the world has no state.
    """

    task: Task
    opening: tuple[int, ...] = ()
    dialogue: tuple[Exchange, ...] = ()
    state: JSON = None

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        """Every token before the next response."""
        return (*self.opening, *(token for part in self.dialogue for token in (*part.wrote, *part.read)))

    @property
    def length(self) -> int:
        """Number of `prompt_ids`."""
        return len(self.opening) + sum(len(part.wrote) + len(part.read) for part in self.dialogue)

    @property
    def turn(self) -> int:
        """Index of the scripted turn at hand."""
        return sum(exchange.ends_turn for exchange in self.dialogue)

    @property
    def current(self) -> tuple[Exchange, ...]:
        """The exchanges of the scripted turn at hand, oldest first."""
        return current_turn(self.dialogue)

    @property
    def history(self) -> tuple[FailedTurn, ...]:
        """The failed attempts of the turn at hand with what answered them, oldest first."""
        return tuple(FailedTurn(part.attempt, "\n".join(part.results)) for part in self.current if part.failed)

    @property
    def depth(self) -> int:
        """Number of failed attempts of this turn in the context; 0 for exploring."""
        return sum(part.failed for part in self.current)

    @property
    def goal(self) -> Task:
        """The single-turn task of the turn at hand, its truth less the calls that were made in this turn already."""
        goal = self.task.at_turn(self.turn)
        made = [call.signature for exchange in self.current for call in exchange.executed]
        left = []
        for expected, call in zip(goal.ground_truth, goal.oracle_calls(), strict=True):
            if call.signature in made:
                made.remove(call.signature)
            else:
                left.append(expected)
        return goal if len(left) == len(goal.ground_truth) else goal.with_truth(tuple(left))

    @property
    def offered(self) -> frozenset[str]:
        """Names of the tools that are offered in the turn at hand."""
        return frozenset(tool.name for tool in self.task.at_turn(self.turn).tools)

    @property
    def shown(self) -> Iterator[str]:
        """Every text of the dialogue, in order: responses, answers, and the user's later messages."""
        for part in self.dialogue:
            yield from (part.text, *part.results, *(message["content"] for message in part.messages))

    def after(self, exchange: Exchange, state: JSON = None) -> Context:
        """The context behind one more exchange, in the world as it is then."""
        return replace(self, dialogue=(*self.dialogue, exchange), state=state)


def current_turn(exchanges: Sequence[Exchange]) -> tuple[Exchange, ...]:
    """Those of the scripted turn at hand: what was said since the last exchange that ended one."""
    start = max((index + 1 for index, exchange in enumerate(exchanges) if exchange.ends_turn), default=0)
    return tuple(exchanges[start:])
