"""Rollouts in the tally, played response by response."""

from __future__ import annotations

from fissile.calls import ParsedResponse, ToolCall
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines.sampler import Sampler
from fissile.engines.token_policy import TokenWriter
from fissile.environments.base import Environment, ErrorPolicy, ErrorProtocol
from fissile.rollouts import Completion, Limits, OpenRollout, Response, Rollout, StopReason
from fissile.tasks import Task
from tally_world import LIVE, Tally
from tiny import tiny_tokenizer

HERMES = HermesDialect()
CHAT = ChatFormat(tiny_tokenizer(), HERMES)
RECOVERY, OFFICIAL = (protocol.policy for protocol in ErrorProtocol)
MALFORMED = '<tool_call>{"name": "add", "arguments": {"n": </tool_call>'
CUT = '<tool_call>{"name": "add", "argu'


def calls(*numbers: object, name: str = "add") -> str:
    return HERMES.render_calls([ToolCall(name, {"n": number}, "") for number in numbers])


DOUBLE = HERMES.render_calls([ToolCall("double", {}, "")])
FOUR = calls(1, 2, 1)
STOP = "Done."


def said(text: str, stop: StopReason = StopReason.END) -> Response:
    """What a policy over tokens answers; the log-probability of a token tells its place."""
    ids = CHAT.completion_ids(text)
    if stop is StopReason.LENGTH:
        ids = ids[: -len(CHAT.end_of_turn)]
    return Response(text, HERMES.parse(text), Completion(ids, tuple(-float(at) for at in range(len(ids))), stop))


LOST = Response("", ParsedResponse(()), Completion((), None, StopReason.INFRASTRUCTURE))


def begun(
    task: Task = LIVE, errors: ErrorPolicy = RECOVERY, world: Environment | None = None, **limits: int
) -> OpenRollout:
    made = world or Tally()
    if isinstance(made, Tally):
        made.errors = errors
    rollout = OpenRollout(made, TokenWriter(CHAT), Limits(**limits))
    rollout.begin(task, Sampler(CHAT, lambda task: Tally()).demonstrate)
    return rollout


def run(*responses: str | Response, rollout: OpenRollout | None = None) -> Rollout:
    rollout = rollout or begun()
    for response in responses:
        rollout.answer(said(response) if isinstance(response, str) else response)
    return rollout.record()


def length(*responses: str) -> int:
    """Tokens of the context behind some responses."""
    rollout = begun()
    run(*responses, rollout=rollout)
    assert rollout.context is not None
    return len(rollout.context.prompt_ids)


EPISODE = (calls("x"), MALFORMED, FOUR, STOP, STOP, DOUBLE, calls(5), STOP)
