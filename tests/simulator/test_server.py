"""The served simulator on real sockets: what clients get from it, and what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from fault_server import free_port
from fissile.calls import Attempt, ToolCall
from fissile.cli import app
from fissile.config import ModelConfig
from fissile.dialects import ChatFormat, HermesDialect
from fissile.engines import Engine, Sampling, ScriptedEngine, TransformersEngine
from fissile.errors import ConfigError, ErrorKind, InfrastructureError, ToolError
from fissile.feedback import Failure, NoDiagnosis
from fissile.rollouts import Completion, StopReason
from fissile.simulator.endpoint import EndpointSource
from fissile.simulator.learned import LearnedSource
from fissile.simulator.prompt import SimulatorPrompt
from fissile.simulator.server import Limits, SimulatorServer
from fissile.simulator.settings import ServedSettings
from fissile.tasks import ExpectedCall, Task
from fissile.training.policy_model import load_policy, save_adapter
from tiny import AREA, tiny_tokenizer
from tiny_models import tiny_llama
from tiny_world import make_world

CHAT = ChatFormat(tiny_tokenizer(), HermesDialect())
PATH = "/v1/chat/completions"
QUESTION = {"model": "m", "messages": [{"role": "user", "content": "What is wrong?"}]}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "FISSILE_SIMULATOR_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


def echo(prompt: tuple[int, ...], sample: int) -> Sequence[int]:
    """The last user message, repeated."""
    asked = CHAT.decode([token for token in prompt if token not in CHAT.end_ids])
    return CHAT.completion_ids(f"You said: {asked.split('user')[-1].split('<|im_start|>')[0].strip()}")


@dataclass
class HeldEngine:
    """Answers when it is let go; raises what it is told to.

    Attributes:
        asked: set when a call has begun.
        go: the call goes on.
        trouble: what the next calls raise, in order; None answers.
    """

    inner: ScriptedEngine = field(default_factory=lambda: ScriptedEngine(echo))
    asked: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    trouble: list[Exception | None] = field(default_factory=list)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
        self.asked.set()
        assert self.go.wait(10)
        if self.trouble and (error := self.trouble.pop(0)):
            raise error
        return self.inner.generate(prompts, sampling, samples)


def serve(engine: Engine | None = None, limits: Limits | None = None, **options: Any) -> SimulatorServer:
    return SimulatorServer(engine or ScriptedEngine(echo), CHAT, "m", limits, port=0, **options)


def client(server: SimulatorServer, key: str = "EMPTY") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key=key, max_retries=0, timeout=10)


def says(content: str, **fields: Any) -> dict[str, Any]:
    return {**QUESTION, "max_tokens": 200, "messages": [{"role": "user", "content": content}], **fields}


def send(
    server: SimulatorServer,
    body: object = None,
    method: str = "POST",
    path: str = PATH,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any, http.client.HTTPMessage]:
    """Status, JSON body and headers of one request; `body` is bytes, or an object that is sent as JSON."""
    payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    with closing(http.client.HTTPConnection(*server.server_address[:2], timeout=10)) as connection:
        connection.request(method, path, payload, headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def failures(count: int) -> list[Failure]:
    return [
        Failure(
            Task(
                f"t{number}",
                ({"role": "user", "content": "A square of " + "x" * number},),
                (AREA,),
                (ExpectedCall.exactly("area", {"side": number}),),
            ),
            Attempt(
                "my try",
                (ToolCall("area", {"side": "x" * number}, "{...}"),),
                (ToolError(ErrorKind.WRONG_TYPE, "wrong", 0, "area", "side"),),
            ),
        )
        for number in range(count)
    ]


# --- answers ---------------------------------------------------------------------------------------------------------


def test_the_openai_client_reads_the_answer() -> None:
    with serve() as server:
        whole = client(server).chat.completions.create(**says("hello"))
        cut = client(server).chat.completions.create(**says("hello", max_tokens=None, max_completion_tokens=3))
        listed = client(server).models.list().data
    prompt = CHAT.prompt_ids([{"role": "user", "content": "hello"}], ())
    answer = CHAT.completion_ids("You said: hello")
    (choice,) = whole.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == (
        "assistant",
        "You said: hello",
        "stop",
    )
    assert whole.usage is not None
    assert whole.usage.prompt_tokens == len(prompt)
    assert whole.usage.completion_tokens == len(answer)
    assert whole.usage.total_tokens == len(prompt) + len(answer)
    assert cut.choices[0].finish_reason == "length"
    assert cut.choices[0].message.content == CHAT.decode(answer[:3])
    assert [model.id for model in listed] == ["m"]


def test_a_real_model_is_sampled_as_asked() -> None:
    engine = TransformersEngine(tiny_llama(267), CHAT.end_ids, 0)
    limits = Limits(positions=512, max_new_tokens=12)
    with serve(engine, limits) as server:
        create = client(server).chat.completions.create
        greedy = create(**QUESTION)
        seeded = [create(**QUESTION, temperature=2.0, top_p=0.9, seed=7) for _ in range(2)]
        free = {create(**QUESTION, temperature=2.0).choices[0].message.content for _ in range(4)}
    prompt = CHAT.prompt_ids(QUESTION["messages"], ())
    for completion, sampling in (
        (greedy, Sampling(12, temperature=0.0)),
        (seeded[0], Sampling(12, 2.0, top_p=0.9, seed=7)),
        (seeded[1], Sampling(12, 2.0, top_p=0.9, seed=7)),
    ):
        (expected,) = engine.generate([prompt], sampling)
        assert completion.choices[0].message.content == CHAT.decode(expected.ids)
        assert completion.choices[0].finish_reason == ("stop" if expected.stop is StopReason.END else "length")
    assert len(free) > 1


@pytest.mark.parametrize("all_fit", [True, False])
def test_the_endpoint_source_says_what_the_learned_source_says(tmp_path: Path, all_fit: bool) -> None:
    def diagnose(prompt: tuple[int, ...], sample: int) -> Sequence[int]:
        return CHAT.completion_ids(f"TypeError: 'side' is wrong, {len(prompt)}.\x1b" if len(prompt) % 5 else "```\n```")

    prompt = SimulatorPrompt.named("learned")
    (tmp_path / "prompt.txt").write_text(prompt.text, encoding="utf-8")
    engine, asked = ScriptedEngine(diagnose), failures(12)
    lengths = sorted(len(CHAT.prompt_ids(prompt.messages(failure), ())) for failure in asked)
    positions = lengths[-1 if all_fit else 7] + 80
    learned = LearnedSource(engine, CHAT, prompt, 80, positions - 80)
    with serve(engine, Limits(positions=positions)) as server:
        served = ServedSettings(
            server={"base_url": server.url, "model": "m"}, prompt_file=str(tmp_path / "prompt.txt"), max_new_tokens=80
        )
        heard = EndpointSource(served).diagnose(asked)
    said = learned.diagnose(asked)
    assert [NoDiagnosis("prompt_too_long") if one == NoDiagnosis("context_too_long") else one for one in heard] == said
    assert NoDiagnosis("empty") in said
    assert len({one for one in said if isinstance(one, str)}) > 2
    assert said.count(NoDiagnosis("prompt_too_long")) == (0 if all_fit else 4)


# --- batches ---------------------------------------------------------------------------------------------------------


def test_concurrent_requests_are_answered_together_each_with_its_own() -> None:
    engine = HeldEngine()
    with serve(engine) as server, ThreadPoolExecutor(16) as pool:
        create = client(server).chat.completions.create
        answers = [pool.submit(create, **says(f"number {number}")) for number in range(16)]
        until(lambda: len(server.at_work) == 16)
        engine.go.set()
        contents = [answer.result().choices[0].message.content for answer in answers]
    assert contents == [f"You said: number {number}" for number in range(16)]
    assert len(engine.inner.calls) < 16
    assert sum(len(prompts) for prompts, _, _ in engine.inner.calls) == 16


def test_a_call_holds_equal_settings_and_no_more_than_its_rows() -> None:
    engine = HeldEngine()
    asked = [says(f"number {number}", temperature=0.5 * (number % 2)) for number in range(10)]
    asked += [says(f"seed {number}", temperature=0.5, seed=3) for number in range(2)]
    with serve(engine, Limits(max_rows=3)) as server, ThreadPoolExecutor(13) as pool:
        first = pool.submit(send, server, says("first", max_tokens=100))
        assert engine.asked.wait(10)
        answers = [pool.submit(send, server, one) for one in asked]
        until(lambda: len(server.at_work) == 13)
        time.sleep(0.05)  # from there to the queue
        engine.go.set()
        said = [answer.result()[1]["choices"][0]["message"]["content"] for answer in (first, *answers)]
    assert said == [f"You said: {one['messages'][0]['content']}" for one in (says("first"), *asked)]
    calls = [(len(prompts), sampling.temperature) for prompts, sampling, _ in engine.inner.calls]
    assert sorted(calls) == sorted([(1, 0.0), (3, 0.0), (2, 0.0), (3, 0.5), (2, 0.5), (1, 0.5), (1, 0.5)])
    assert [sampling.seed for prompts, sampling, _ in engine.inner.calls].count(3) == 2


def test_who_hangs_up_while_waiting_is_not_answered() -> None:
    engine = HeldEngine()
    with serve(engine) as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(send, server, says("first"))
        assert engine.asked.wait(10)
        body = json.dumps(says("gone")).encode()
        with socket.create_connection(server.server_address[:2]) as impatient:
            impatient.sendall(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (PATH.encode(), len(body), body))
            until(lambda: len(server.at_work) == 2)
            time.sleep(0.05)
        last = pool.submit(send, server, says("last"))
        until(lambda: len(server.at_work) == 3)
        engine.go.set()
        assert (first.result()[0], last.result()[0]) == (200, 200)
    assert sum(len(prompts) for prompts, _, _ in engine.inner.calls) == 2


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def healthy() -> Iterator[SimulatorServer]:
    """One server for all that it refuses; it must still answer afterwards."""
    with serve(limits=Limits(positions=300, max_body_bytes=5000)) as server:
        yield server
        assert send(server, says("still there?", max_tokens=100))[0] == 200


@pytest.mark.parametrize(
    ("body", "status", "param", "complaint"),
    [
        (b"{", 400, None, "JSON"),
        (b"", 400, None, "JSON"),
        (b"[" * 4000, 400, None, "JSON"),
        (b"\xff\xfe{}", 400, None, "JSON"),
        (b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}', 400, None, "JSON"),
        (b'{"model": "m", "temperature": NaN, "messages": [{"role": "user", "content": "a"}]}', 400, "temperature", ""),
        ([], 400, None, "object"),
        ({"model": "m"}, 400, "messages", "required"),
        ({**QUESTION, "messages": []}, 400, "messages", "at least 1"),
        ({**QUESTION, "messages": [{"role": "god", "content": ""}]}, 400, "messages.0.role", "'user'"),
        ({**QUESTION, "messages": [{"role": "user", "content": None}]}, 400, "messages.0.content", "string"),
        ({**QUESTION, "max_tokens": 0}, 400, "max_tokens", "greater than or equal to 1"),
        ({**QUESTION, "max_tokens": True}, 400, "max_tokens", "integer"),
        ({**QUESTION, "temperature": -1}, 400, "temperature", "greater than or equal to 0"),
        ({**QUESTION, "top_p": 0}, 400, "top_p", "greater than 0"),
        ({**QUESTION, "seed": 2**64}, 400, "seed", "less than"),
        ({**QUESTION, "stream": True}, 400, "stream", "stream is not offered by this server"),
        ({**QUESTION, "n": 2}, 400, "n", "n is not offered by this server"),
        ({**QUESTION, "tools": [{}]}, 400, "tools", "not offered"),
        ({**QUESTION, "model": "other"}, 404, "model", "does not exist"),
        (says("x" * 400), 400, "messages", "exceed the 300 positions"),
        (says("hello", max_tokens=10**9), 400, "messages", "max_tokens"),
        (b" " * 5001, 413, None, "5001 bytes"),
        (b" " * 3_000_000, 413, None, "at most 5000"),
    ],
)
def test_a_request_that_cannot_be_answered(
    healthy: SimulatorServer, body: object, status: int, param: str | None, complaint: str
) -> None:
    answered, answer, _ = send(healthy, body)
    assert answered == status, answer
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert (answer["error"]["param"] or "").startswith(param or "")
    assert complaint in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error"


def test_what_asks_for_nothing_special_is_fine(healthy: SimulatorServer) -> None:
    harmless = {"stream": False, "n": 1, "tools": [], "stop": None, "user": "me", "temperature": 0, "top_p": 1}
    harmless |= {"min_p": 0, "presence_penalty": 0, "response_format": {"type": "text"}, "tool_choice": "none"}
    harmless |= {"metadata": {"run": "1"}, "store": True, "max_completion_tokens": 100, "never_heard_of": None}
    status, answer, _ = send(healthy, says("hello", **{**harmless, "max_tokens": 100}))
    assert status == 200, answer


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"min_p": 0.1}, "min_p"),
        ({"repetition_penalty": 1.1}, "repetition_penalty is not offered"),
        ({"logit_bias": {"5": -100}}, "logit_bias is not offered"),
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs is not offered"),
        ({"presence_penalty": 0.5}, "presence_penalty is not offered"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"reasoning_effort": "low"}, "reasoning_effort is not offered"),
        ({"max_completion_tokens": 7}, "max_tokens and max_completion_tokens are one limit"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": []}]}, "messages.0.tool_calls is not offered"),
    ],
)
def test_a_field_that_would_change_the_answer_is_refused_by_name(
    healthy: SimulatorServer, fields: dict[str, Any], complaint: str
) -> None:
    status, answer, _ = send(healthy, says("hello", **fields))
    assert status == 400
    assert complaint in answer["error"]["message"]


def test_a_long_context_is_told_as_clients_know_it(healthy: SimulatorServer) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client(healthy).chat.completions.create(**says("x" * 400))
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/health", {}, 200),
        ("GET", "/v1/models?x=1", {}, 200),
        ("GET", "/", {}, 404),
        ("GET", PATH, {}, 404),
        ("POST", "/v1/completions", {}, 404),
        ("DELETE", PATH, {}, 501),
        ("POST", PATH, {"Content-Length": "many"}, 411),
        ("POST", PATH, {"Content-Length": "-1"}, 411),
        ("POST", PATH, {"Transfer-Encoding": "chunked"}, 411),
    ],
)
def test_paths_and_methods(
    healthy: SimulatorServer, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert send(healthy, None, method, path, headers)[0] == status


def test_what_is_no_http(healthy: SimulatorServer) -> None:
    with socket.create_connection(healthy.server_address[:2], timeout=10) as connection:
        connection.sendall(b"\x00\x01\x02 nonsense\r\n\r\n")
        assert b'"error"' in connection.recv(10_000)


def test_a_connection_is_kept_over_refusals(healthy: SimulatorServer) -> None:
    with closing(http.client.HTTPConnection(*healthy.server_address[:2], timeout=10)) as connection:
        statuses = []
        for path in (PATH, "/nowhere", PATH):
            connection.request("POST", path, json.dumps(says("hello", max_tokens=100)))
            response = connection.getresponse()
            response.read()
            statuses.append((response.status, connection.sock is not None))
    assert statuses == [(200, True), (404, True), (200, True)]


def test_the_key_is_asked_for() -> None:
    with serve(key="secret") as server:
        assert client(server, "secret").chat.completions.create(**says("hello")).choices
        for key in ("secre", "sécret"):
            status, answer, headers = send(server, QUESTION, headers={"Authorization": f"Bearer {key}"})
            assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
            assert headers["WWW-Authenticate"] == "Bearer"
        assert send(server, None, "GET", "/v1/models")[0] == 401
        assert send(server, None, "GET", "/health")[0] == 200


def test_too_many_waiting_requests_are_turned_away() -> None:
    engine = HeldEngine()
    with serve(engine, Limits(max_waiting=2)) as server, ThreadPoolExecutor(3) as pool:
        first = pool.submit(send, server, says("first"))
        assert engine.asked.wait(10)
        waiting = [pool.submit(send, server, says(f"number {number}")) for number in range(2)]
        until(lambda: len(server.at_work) == 3)
        time.sleep(0.05)
        status, answer, headers = send(server, says("one too many"))
        engine.go.set()
        assert [one.result()[0] for one in (first, *waiting)] == [200, 200, 200]
    assert (status, answer["error"]["code"]) == (503, "overloaded")
    assert float(headers["Retry-After"]) > 0


def test_the_engine_fails_and_the_server_goes_on() -> None:
    engine = HeldEngine(trouble=[InfrastructureError("out_of_memory", "no"), ValueError("what"), None])
    engine.go.set()
    with serve(engine) as server:
        failed = [send(server, says("hello")) for _ in range(2)]
        assert send(server, says("hello"))[0] == 200
    assert [(status, answer["error"]["code"]) for status, answer, _ in failed] == [(500, "engine_failure")] * 2
    assert ["out_of_memory" in failed[0][1]["error"]["message"], "ValueError" in failed[1][1]["error"]["message"]]


def test_a_row_that_the_engine_could_not_produce() -> None:
    @dataclass
    class Broken:
        def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling, samples: int = 1) -> list[Completion]:
            return [Completion((), stop=StopReason.INFRASTRUCTURE)] * len(prompts)

    with serve(Broken()) as server:
        assert send(server, says("hello"))[0] == 500


# --- the end ---------------------------------------------------------------------------------------------------------


def test_closing_answers_what_runs_and_refuses_what_waits() -> None:
    engine = HeldEngine()
    with ThreadPoolExecutor(2) as pool:
        with serve(engine) as server:
            idle = socket.create_connection(server.server_address[:2])  # nobody waits for who says nothing
            first = pool.submit(send, server, says("first"))
            assert engine.asked.wait(10)
            second = pool.submit(send, server, says("second"))
            until(lambda: len(server.at_work) == 2)
            time.sleep(0.05)
            threading.Timer(0.1, engine.go.set).start()
            began = time.monotonic()
        assert time.monotonic() - began < 3
        assert first.result()[0] == 200
        assert (second.result()[0], second.result()[1]["error"]["code"]) == (503, "closing")
        idle.close()
    with pytest.raises(OSError, match="refused"):
        send(server, says("too late"))


def test_a_port_in_use_is_told() -> None:
    with serve() as server, pytest.raises(ConfigError, match=r"Port \d+ of 127.0.0.1 is in use. Choose another --port"):
        SimulatorServer(ScriptedEngine(echo), CHAT, "m", port=server.server_address[1])


def test_a_host_that_is_not_of_this_machine() -> None:
    with pytest.raises(ConfigError, match=r"cannot be taken .* --host"):
        SimulatorServer(ScriptedEngine(echo), CHAT, "m", port=0, host="192.0.2.1")


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe with a model and an adapter that was never trained."""
    folder = tmp_path_factory.mktemp("serve")
    make_world(folder, steps=0)
    save_adapter(
        load_policy(ModelConfig(path=str(folder / "model"), dtype="float32")), folder / "simulator" / "adapter"
    )
    recipe = folder / "simulator.toml"
    lines = [f'output = "{folder}/simulator"', "max_new_tokens = 12", "[model]", f'path = "{folder}/model"']
    recipe.write_text("\n".join([*lines, 'dtype = "float32"', ""]), encoding="utf-8")
    return recipe


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(recipe: Path, monkeypatch: pytest.MonkeyPatch, end: signal.Signals) -> None:
    monkeypatch.setenv("FISSILE_SIMULATOR_KEY", "secret")
    port, heard = free_port(), []

    def ask() -> None:
        asking = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="secret", max_retries=0, timeout=10)
        for _ in range(400):
            try:
                heard.append(asking.chat.completions.create(**{**QUESTION, "model": "mine"}))
                break
            except openai.APIConnectionError:
                time.sleep(0.05)
        os.kill(os.getpid(), end)

    before = signal.getsignal(signal.SIGTERM)
    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    arguments = ["simulate", "serve", str(recipe), "--port", str(port), "--name", "mine"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    asker.join(10)
    assert result.exit_code == 0, result.output
    assert signal.getsignal(signal.SIGTERM) is before
    assert heard[0].usage.completion_tokens == 12
    assert result.output.endswith("closed\n")
    table = result.output[result.output.index("[simulator.endpoint]") : result.output.index("closed")]
    settings = ServedSettings.model_validate(tomllib.loads(table)["simulator"]["endpoint"])
    assert (settings.server.base_url, settings.server.model) == (f"http://127.0.0.1:{port}/v1", "mine")
    assert (settings.server.key_variable, settings.max_new_tokens) == ("FISSILE_SIMULATOR_KEY", 12)
    assert EndpointSource(settings).prompt.text == SimulatorPrompt.named("learned").text


def test_the_command_and_a_port_in_use(recipe: Path) -> None:
    with serve() as server:
        arguments = ["simulate", "serve", str(recipe), "--port", str(server.server_address[1])]
        result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConfigError)  # of which `fissile.cli.main` makes exit code 2
    assert "is in use" in str(result.exception)
