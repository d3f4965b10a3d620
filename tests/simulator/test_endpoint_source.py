"""The source `endpoint` against a real server on a real socket, which fails in every way it knows."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asked_endpoints import HANGS, SAID, failure, failures, reasons, source

from fault_server import (
    Handler,
    after,
    completion,
    cuts,
    dies,
    drips,
    free_port,
    hangs_up,
    refuses,
    says,
    sends,
    serving,
)
from fissile.errors import ConfigError
from fissile.feedback import SOURCES, Diagnoser, Failure, NoDiagnosis
from fissile.simulator import endpoint as endpoint_module
from fissile.simulator.breaker import VAIN_BATCHES
from fissile.simulator.reply import Said
from fissile.simulator.settings import LearnedSettings, SimulatorSettings
from fissile.simulator.sources import make_source
from fissile.simulator.typed import read_fields
from fissile.tasks import Task
from tiny import AREA


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


# --- answers ---------------------------------------------------------------------------------------------------------


def test_every_failure_gets_its_own_answer_in_order() -> None:
    def echo(handler: Handler) -> None:
        number = handler.body["messages"][1]["content"].split("square of ")[1].split("?")[0]
        handler.server.closing.wait(0.05 * (number < "4"))  # the first answers come last
        handler.send(200, completion(f"<think>{number}</think>Error {number}.\x1b"))

    with serving(echo) as server:
        said = source(server).diagnose(failures(8))
    assert said == [f"Error {number}." for number in range(8)]
    assert server.busiest <= 4
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.0, 160)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_what_the_server_does_not_take_is_left_out_and_the_prompt_is_the_users(tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Be brief.\n---\nLook:\n$comparison\n", encoding="utf-8")
    with serving(says(SAID)) as server:
        asked = source(
            server,
            prompt_file=str(prompt),
            omit=("temperature",),
            length_parameter="max_completion_tokens",
            max_new_tokens=9,
            extra_body={"chat_template_kwargs": {"enable_thinking": False}},
        )
        assert asked.diagnose([failure()]) == [SAID]
    (body,) = server.bodies
    assert "temperature" not in body
    assert "max_tokens" not in body
    assert body["max_completion_tokens"] == 9
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["messages"][0]["content"] == "Be brief."
    assert body["messages"][1]["content"].startswith("Look:\n")


def test_fields_are_asked_for_and_taken_where_they_are_written() -> None:
    line = "wrong_type | area | side | type integer"
    answers = [says(f"{line}\n{SAID}"), says(SAID), says(f"wrong | area | side | -\n{SAID}")]
    with serving(*answers) as server:
        asked = source(server, concurrency=1)
        said = asked.explain(failures(3))
        assert "kind | tool | argument | rule" in server.bodies[0]["messages"][0]["content"]
        assert asked.diagnose(failures(2)) == [SAID, SAID]
    assert said == [Said(SAID, read_fields(line)), Said(SAID), NoDiagnosis("no_fields")]


def test_equal_questions_are_asked_once() -> None:
    with serving(says(SAID)) as server:
        assert source(server).diagnose([failure(1), failure(2), failure(1)]) == [SAID] * 3
    assert len(server.bodies) == 2


def test_nothing_to_diagnose_sends_nothing() -> None:
    with serving(says(SAID)) as server:
        assert source(server).diagnose([]) == []
    assert server.bodies == []


def test_lone_surrogates_are_sent_and_cached(tmp_path: Path) -> None:
    with serving(says(SAID)) as server:
        assert source(server, tmp_path / "cache.jsonl").diagnose([failure(text="\ud800")]) == [SAID]
        assert source(server, tmp_path / "cache.jsonl").diagnose([failure(text="\ud800")]) == [SAID]
    assert len(server.bodies) == 1


def test_a_failure_that_cannot_be_put_into_words_costs_only_itself() -> None:
    with serving(says(SAID)) as server:
        asked = source(server)
        messages = asked.prompt.messages

        class Prompt:
            def messages(self, failed: Failure) -> Any:
                return 1 / 0 if failed.task.id == "t1" else messages(failed)

        asked.prompt = Prompt()
        assert asked.diagnose(failures(3)) == [SAID, NoDiagnosis("ZeroDivisionError"), SAID]


# --- faults ----------------------------------------------------------------------------------------------------------

FAULTS = [
    (refuses(401), "status 401"),
    (refuses(403), "status 403"),
    (refuses(404), "status 404"),
    (refuses(408), "status 408"),
    (refuses(409), "status 409"),
    (refuses(429), "status 429"),
    (refuses(500), "status 500"),
    (refuses(503), "status 503"),
    (refuses(400), "status 400"),
    (refuses(413), "context_too_long"),
    (refuses(400, "too long", code="context_length_exceeded"), "context_too_long"),
    (cuts(completion(SAID)), "connection"),
    (cuts(""), "connection"),
    (hangs_up, "connection"),
    (dies, "connection"),
    (sends(200, "<html>Bad gateway</html>"), "unreadable"),
    (sends(200, ""), "unreadable"),
    (sends(200, "null"), "unreadable"),
    (sends(200, '{"choices": []}'), "unreadable"),
    (sends(200, '{"choices": [{"message": null}]}'), "unreadable"),
    (sends(200, '{"choices": [{"message": {"tool_calls": [7]}}]}'), "unreadable"),
    (sends(200, "[" * 200_000), "unreadable"),
    (sends(200, '{"error": {"message": "overloaded"}}'), "unreadable"),
    (says(""), "empty"),
    (says(None), "empty"),
    (says("<think>and on and on"), "empty"),
    (says("", [("area", "{}")]), "empty"),
    (refuses(429, headers={"Retry-After": "3600"}), "status 429"),
    (drips(0.02), "deadline"),
    (HANGS, "deadline"),
]
"""Everything that the server of the tests can do wrong, and what it is counted as."""


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
def test_a_fault_costs_a_diagnosis_and_is_told_by_its_reason(fault: Any, reason: str) -> None:
    with serving(fault) as server:
        said, seconds = timed(lambda: source(server, deadline_seconds=0.3).diagnose([failure()]))
    assert said == [NoDiagnosis(reason)]
    assert seconds < 1.0


@pytest.mark.parametrize("fault", [refuses(500), hangs_up, cuts(completion(SAID)), sends(200, "{}"), refuses(429)])
def test_a_passing_fault_is_tried_again(fault: Any) -> None:
    with serving(fault, says(SAID)) as server:
        assert source(server).diagnose([failure()]) == [SAID]
    assert len(server.bodies) == 2


def test_a_slow_request_is_told_from_a_late_batch() -> None:
    with serving(HANGS) as server:
        assert source(server, timeout_seconds=0.1, retries=0).diagnose([failure()]) == [NoDiagnosis("timeout")]


def test_nobody_listening() -> None:
    said = source(f"http://127.0.0.1:{free_port()}/v1").diagnose(failures(2))
    assert reasons(said) == {"connection": 2}


def test_one_bad_answer_does_not_cost_the_others_theirs() -> None:
    with serving(says(SAID), refuses(400), says(SAID), says(""), says(SAID)) as server:
        said = source(server, concurrency=1).diagnose(failures(5))
    assert said == [SAID, NoDiagnosis("status 400"), SAID, NoDiagnosis("empty"), SAID]


def test_what_is_late_is_left_behind_and_the_rest_is_kept() -> None:
    with serving(says(SAID), HANGS, says(SAID), HANGS) as server:
        said, seconds = timed(lambda: source(server, deadline_seconds=0.4).diagnose(failures(4)))
    assert reasons(said) == {"": 2, "deadline": 2}
    assert 0.35 < seconds < 0.9


def test_a_server_that_hangs_costs_the_deadline_once_a_batch_and_soon_nothing() -> None:
    with serving(HANGS) as server:
        asked = source(server, deadline_seconds=0.3, concurrency=2, max_failures=100)
        for _ in range(VAIN_BATCHES):
            said, seconds = timed(lambda: asked.diagnose(failures(9)))  # more than fit at once
            assert reasons(said) == {"deadline": 9}
            assert 0.25 < seconds < 0.6
        said, seconds = timed(lambda: asked.diagnose(failures(9)))
        assert reasons(said) == {"gone": 9}
        assert seconds < 0.1
        assert len(server.bodies) <= 2 * VAIN_BATCHES + 2


def test_a_large_batch_has_time_as_long_as_answers_come() -> None:
    with serving(after(0.15, says(SAID))) as server:
        said, seconds = timed(lambda: source(server, deadline_seconds=0.4, concurrency=2).diagnose(failures(8)))
    assert said == [SAID] * 8
    assert seconds > 0.55


def test_a_server_that_keeps_failing_is_left_alone() -> None:
    with serving(refuses(500)) as server:
        asked = source(server, max_failures=3, retries=0, concurrency=1)
        assert reasons(asked.diagnose(failures(6))) == {"status 500": 3, "gone": 3}
        assert reasons(asked.diagnose(failures(6))) == {"gone": 6}
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_an_unknown_model_is_asked_once_and_no_more(status: int) -> None:
    with serving(refuses(status)) as server:
        asked = source(server, concurrency=1)
        for _ in range(3):
            assert reasons(asked.diagnose(failures(4))) == {f"status {status}": 4}
    assert len(server.bodies) == 1


@pytest.mark.parametrize(("fault", "batches"), [(refuses(500), 1), (refuses(401), 1), (HANGS, VAIN_BATCHES)])
def test_after_a_cool_down_one_probe_finds_the_server_back(fault: Any, batches: int) -> None:
    with serving(*[fault] * batches, fault, says(SAID)) as server:
        asked = source(server, max_failures=1, retries=0, concurrency=1, cool_down_seconds=0.6, deadline_seconds=0.15)
        for _ in range(batches + 1):
            assert "" not in reasons(asked.diagnose(failures(3)))
        assert len(server.bodies) == batches
        time.sleep(0.65)
        assert "" not in reasons(asked.diagnose(failures(3)))  # the probe, in vain
        assert "" not in reasons(asked.diagnose(failures(3)))
        time.sleep(0.65)
        assert "" not in reasons(asked.diagnose(failures(3)))  # the cool-down has doubled
        assert len(server.bodies) == batches + 1
        time.sleep(0.6)
        assert asked.diagnose(failures(3)) == [SAID] * 3


# --- budget ----------------------------------------------------------------------------------------------------------


def test_the_budget_counts_retries_and_ends_in_fallbacks() -> None:
    with serving(refuses(500), says(SAID)) as server:
        asked = source(server, max_calls=3, concurrency=1)
        assert asked.diagnose(failures(4)) == [SAID, SAID, *[NoDiagnosis("budget")] * 2]
        for _ in range(VAIN_BATCHES + 1):
            assert reasons(asked.diagnose(failures(4, first=4))) == {"budget": 4}
        assert asked.diagnose(failures(2)) == [SAID, SAID]  # what is known costs nothing
    assert len(server.bodies) == 3


# --- making it -------------------------------------------------------------------------------------------------------


def test_what_the_user_must_change_is_told_when_the_source_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"prompt file .* cannot be read"):
        source("http://127.0.0.1:1/v1", prompt_file=str(tmp_path / "none.txt"))
    monkeypatch.setenv("OPENAI_API_KEY", "two words")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        source("http://127.0.0.1:1/v1")


def test_sources_are_made_by_name(tmp_path: Path) -> None:
    loaded: list[LearnedSettings] = []

    class Local:
        name = "learned"

    def load(settings: LearnedSettings) -> Any:
        loaded.append(settings)
        return Local()

    settings = SimulatorSettings.model_validate(
        {"learned": {"adapter": "here"}, "endpoint": {"server": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}}
    )
    made = {name: make_source(name, settings, load, tmp_path / "cache.jsonl") for name in SOURCES}
    assert [one.name for one in made.values()] == list(SOURCES)
    assert [one.adapter for one in loaded] == ["here"]
    for name in ("learned", "endpoint", "oracle"):
        with pytest.raises(ConfigError, match=f"feedback source '{name}'"):
            make_source(name, SimulatorSettings(), load)


HANGING = """
import time
from fissile.simulator.endpoint import EndpointSource
from fissile.simulator.settings import ServedSettings
server = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
asked = EndpointSource(ServedSettings(server=server, deadline_seconds=0.2))
asked._server.complete = lambda request, until: time.sleep(60)
began = time.monotonic()
replies = asked._ask([(name, {}) for name in "abc"])
print(sorted(reply.reason for reply in replies.values()), time.monotonic() - began < 1)
"""


def test_a_thread_that_hangs_holds_up_neither_the_batch_nor_the_exit() -> None:
    """Not even where the time limits of the client fail."""
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=50)
    assert done.stdout.strip() == "['deadline', 'deadline', 'deadline'] True", done.stderr


def test_neither_torch_nor_the_client_is_imported_with_the_module() -> None:
    heavy = ("openai", "httpx2", "torch", "transformers")
    lazy = f"import sys, {endpoint_module.__name__}; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", lazy]).returncode == 0


# --- under the guard -------------------------------------------------------------------------------------------------


def test_a_leaking_server_is_blocked_and_the_rules_stand_in() -> None:
    with serving(says("The side must be 42."), says(SAID)) as server:
        diagnoser = Diagnoser(source(server, concurrency=1))
        task = Task("t", ({"role": "user", "content": "The usual."},), (AREA,), failure(42).task.ground_truth)
        leak, clean = diagnoser.diagnose([Failure(task, failure().attempt), failure(1)])
    assert (leak.source, leak.leaked != "", "42" in leak.text) == ("rules", True, False)
    assert (clean.text, clean.source) == (SAID, "endpoint")
