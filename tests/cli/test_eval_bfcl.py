"""`fissile eval bfcl` as a user runs it: fresh, killed, resumed, with bad options, and with a server that dies."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from fault_server import Handler, after, completion, dies, refuses, says, serving
from fissile.cli import main
from tiny_world import make_world

BASE = ("--categories", "multi_turn_base")


def fissile(*arguments: object) -> subprocess.Popen[bytes]:
    """The command in a process of its own."""
    command = [sys.executable, "-c", "from fissile.cli import main; main()", "eval", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ended(*arguments: object, code: int = 0) -> tuple[str, str]:
    """stdout and stderr of the command in this process, white space folded."""
    output, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.setattr(sys, "argv", ["fissile", "eval", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    assert (end.value.code or 0) == code, output.getvalue() + errors.getvalue()
    return " ".join(output.getvalue().split()), " ".join(errors.getvalue().split())


def refused(*arguments: object) -> str:
    """The one message of a refusal."""
    output, errors = ended("bfcl", *arguments, code=2)
    assert output == ""
    assert errors.startswith("error: ") or "Invalid value" in errors
    assert errors.count("error:") <= 1
    return errors


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def lists_once(handler: Handler) -> None:
    """A model that calls `ls` once in each turn, where it is offered, then ends the turn."""
    messages, tools = handler.body["messages"], [tool["function"]["name"] for tool in handler.body["tools"]]
    calls = [("ls", "{}")] if messages[-1]["role"] == "user" and "ls" in tools else []
    handler.send(200, completion("" if calls else "Done.", calls))


def on(url: str, output: Path, *more: object) -> tuple[object, ...]:
    server = ("--endpoint", url, "--model", "m", "--concurrency", 2, "--retries", 0)
    return ("bfcl", *server, *BASE, "--tasks", 12, "--output", output, *more)


def test_a_first_evaluation(bfcl: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    output, _ = ended("bfcl", "--policy", "oracle", "--tasks", 5, "--output", folder)
    assert "100.00 % (20/20)" in output
    report = read(folder / "report.json")
    assert report["multi_turn"]["score"] == 1.0
    assert (report["protocol"], report["settings"]["policy"]) == ("official", "oracle")
    assert {path.name for path in folder.iterdir()} == {"episodes.jsonl", "report.json", "result", "settings.json"}
    assert "already holds an evaluation" in refused("--policy", "oracle", "--tasks", 5, "--output", folder)
    again, _ = ended("bfcl", "--policy", "oracle", "--tasks", 5, "--output", folder, "--resume")
    assert "100.00 % (20/20)" in again
    assert len(lines(folder / "episodes.jsonl")) == 20
    changed = refused("--policy", "oracle", "--tasks", 6, "--output", folder, "--resume", "--protocol", "recovery")
    assert "protocol: 'official' there, 'recovery' now; tasks: 5 there, 6 now" in changed


def test_injected_failures_are_named_and_reported_apart(bfcl: Path, tmp_path: Path) -> None:
    injection = ("--inject-rate", 1, "--inject-seed", 4, "--inject-in-a-row", 2)
    output, _ = ended("bfcl", "--policy", "oracle", *BASE, "--tasks", 3, *injection, "--output", tmp_path)
    assert "injected failures: rate 1, seed 4, at most 2 in a row" in output
    assert "injected failure followed by an attempt" in output
    assert "for the official scorer" not in output
    recovery = read(tmp_path / "report.json")["recovery"]
    assert recovery["injected"]["failures"] == 2 * recovery["injected"]["answered_rate"]["den"] > 0
    assert recovery["injected"]["next_attempt_recovery_rate"]["rate"] == 1.0


def test_injected_calls_reach_an_endpoint_as_its_own_with_the_world_s_answer(bfcl: Path, tmp_path: Path) -> None:
    seen: list[list[dict[str, Any]]] = []

    def says_done(handler: Handler) -> None:
        seen.append(handler.body["messages"])
        handler.send(200, completion("Done."))

    with serving(says_done) as server:
        ended(*on(server.url, tmp_path, "--inject-rate", 1))
    assert seen
    for messages in seen:
        assert [message["role"] for message in messages[-2:]] == ["assistant", "tool"]
        assert messages[-2]["tool_calls"][0]["id"] == messages[-1]["tool_call_id"]
    injected = read(tmp_path / "report.json")["recovery"]["injected"]
    assert (injected["failures"], injected["answered_rate"]["num"]) == (len(seen), 0)  # every time it gave up


def test_the_help_is_fast_and_eval_alone_still_works() -> None:
    output, _ = ended("bfcl", "--help")
    assert "--categories" in output
    assert "bfcl" in ended("--help")[0]
    seen = "import sys, fissile.cli; print({'torch', 'transformers', 'openai'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--policy", "oracle", "--categories", "base"], "'base' is not one of multi_turn_base"),
        (["--policy", "oracle", "--dialect", "esperanto"], "There is no dialect 'esperanto'"),
        (["--policy", "oracle", "--dialect", "native"], "--dialect native is for an --endpoint"),
        (["--policy", "oracle", "--protocol", "lenient"], "--protocol: Input should be 'recovery' or 'official'"),
        (["--policy", "oracle", "--domain", "moon"], "--domain: Input should be"),
        (["--policy", "oracle", "--tasks", "0"], "--tasks: Input should be"),
        (["--policy", "oracle", "--window", "0"], "'--window'"),
        (["--policy", "oracle", "--inject-rate", "2"], "--inject-rate: Input should be less than or equal to 1"),
        (["--policy", "oracle", "--inject-in-a-row", "0"], "--inject-in-a-row: Input should be greater"),
        (["--policy", "oracle", "--adapter", "x"], "--adapter goes on top of a local model"),
        (["--policy", "prophet"], "There is no scripted policy 'prophet'"),
        (["--policy", "oracle", "--endpoint", "http://localhost/v1"], "exclude each other"),
        (["--policy", "oracle", "--template-option", "thinking"], "must look like name=value"),
        (["--endpoint", "http://localhost/v1"], "--endpoint needs --model"),
        (["--policy", "oracle", "--omit", "seed"], "are for an --endpoint"),
        (["--policy", "oracle", "--timeout", "3", "--retries", "5"], "--timeout: these are for an --endpoint"),
        (["--model", "m", "--endpoint", "http://h/v1", "--omit", "seeds"], "--omit: Input should be 'temperature'"),
        (["--model", "m", "--endpoint", "http://h/v1", "--extra-body", "[1]"], "must be a JSON object"),
        (["--model", "m", "--endpoint", "http://h/v1/chat/completions"], "--endpoint: base_url must not end in"),
        (["--model", "m", "--endpoint", "localhost"], "--endpoint: base_url must begin with http"),
        (["--model", "/no/such/model"], "There is no model at '/no/such/model'"),
    ],
)
def test_bad_options_leave_nothing_behind(bfcl: Path, tmp_path: Path, options: list[str], told: str) -> None:
    assert told in refused(*options, "--output", tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_template_options_reach_the_server(bfcl: Path, tmp_path: Path) -> None:
    with serving(lists_once) as server:
        option = ("--template-option", "enable_thinking=false")
        ended(*on(server.url, tmp_path / "run", "--tasks", 1, *option))
    assert all(body["chat_template_kwargs"] == {"enable_thinking": False} for body in server.bodies)
    assert read(tmp_path / "run" / "settings.json")["template_options"] == {"enable_thinking": False}


def test_a_folder_that_cannot_be_used(bfcl: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert "is not a folder" in refused("--policy", "oracle", "--output", tmp_path / "file")
    assert "cannot be written" in refused("--policy", "oracle", "--tasks", 1, "--output", tmp_path / "file" / "run")
    assert "holds no evaluation" in refused("--policy", "oracle", "--output", tmp_path)
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


@pytest.fixture(scope="module")
def undisturbed(bfcl: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report of an evaluation that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with serving(lists_once) as server:
        ended(*on(server.url, folder))
    return read(folder / "report.json")


def test_a_killed_evaluation_goes_on(tmp_path: Path, undisturbed: Any) -> None:
    folder = tmp_path / "run"
    with serving(after(0.05, lists_once)) as server:
        process = fissile(*on(server.url, folder))
        deadline = time.monotonic() + 60
        while len(lines(folder / "episodes.jsonl")) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=10) == -signal.SIGKILL
    kept = lines(folder / "episodes.jsonl")
    assert 3 <= len(kept) < 12
    assert not (folder / "report.json").exists()
    with (folder / "episodes.jsonl").open("ab") as file:
        file.write(b'{"task_id": "multi_turn_base_11", "categ')  # a line that was being written
    with serving(lists_once) as server:
        ended(*on(server.url, folder, "--resume"))
        asked = {body["messages"][0]["content"] for body in server.bodies}
    assert read(folder / "report.json") == undisturbed
    episodes = lines(folder / "episodes.jsonl")
    assert episodes[: len(kept)] == kept
    assert len({episode["task_id"] for episode in episodes}) == len(episodes) == 12
    assert len(asked) <= 12 - len(kept)


def test_a_server_that_dies_in_the_middle(tmp_path: Path, undisturbed: Any) -> None:
    folder = tmp_path / "run"
    with serving(*[lists_once] * 40, dies) as server:
        output, errors = ended(*on(server.url, folder), code=2)
    assert "report:" not in output
    assert errors.count("error:") == 1
    assert server.url in errors
    kept = lines(folder / "episodes.jsonl")
    assert 2 <= len(kept) < 12
    assert not (folder / "report.json").exists()
    with serving(lists_once) as server:
        ended(*on(server.url, folder, "--resume"))
    assert read(folder / "report.json") == undisturbed


def test_episodes_without_an_answer_are_left_out_and_tried_again(tmp_path: Path, undisturbed: Any) -> None:
    folder = tmp_path / "run"
    with serving(*[lists_once] * 9, refuses(500), lists_once) as server:
        output, _ = ended(*on(server.url, folder))
    assert "the engine failed" in output
    report = read(folder / "report.json")
    assert (report["episodes"], report["infrastructure_failures"]) == (11, 1)
    with serving(lists_once) as server:
        ended(*on(server.url, folder, "--resume"))
    assert read(folder / "report.json") == undisturbed


def test_an_evaluation_that_lost_every_episode_ends_with_the_reasons_and_without_a_report(
    bfcl: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with serving(refuses(400, "Unknown parameter: 'seed'."), refuses(500, "Sorry.")) as server:
        output, errors = ended(*on(server.url, folder, "--tasks", 3), code=2)
        assert "report:" not in output
    assert "All 3 episodes were lost" in errors
    assert "2 x status 500, 1 x status 400" in errors
    assert "Sorry." in errors
    assert not (folder / "report.json").exists()
    with serving(lists_once) as server:
        ended(*on(server.url, folder, "--tasks", 3, "--resume", "--omit", "seed"))
        assert all("seed" not in body for body in server.bodies)
    assert read(folder / "report.json")["endpoint"]["omit"] == ["seed"]


def test_episodes_that_were_lost_are_said_with_the_command_that_tries_them_again(bfcl: Path, tmp_path: Path) -> None:
    with serving(lists_once, refuses(400, "no"), lists_once) as server:
        output, _ = ended(*on(server.url, tmp_path / "run", "--tasks", 3))
    assert (
        "1 of 3 episodes were lost and are left out of the figures: 1 x status 400. Try them again: fissile" in output
    )
    assert read(tmp_path / "run" / "report.json")["lost"] == {"status 400": 1}
    (lost,) = [line["lost"] for line in lines(tmp_path / "run" / "episodes.jsonl") if "lost" in line]
    assert lost == "status 400: the server refuses the request: no."


def test_calls_that_a_server_leaves_in_the_text_are_said_with_the_setting(bfcl: Path, tmp_path: Path) -> None:
    text = '<tool_call>\n{"name": "ls", "arguments": {}}\n</tool_call>'
    with serving(says(text)) as server:
        output, _ = ended(*on(server.url, tmp_path / "run", "--tasks", 3))
    assert "ATTENTION" in output
    assert "--dialect hermes" in output
    assert "--dialect hermes" in read(tmp_path / "run" / "report.json")["remark"]


def test_progress_goes_into_a_pipe_with_rate_and_rest(bfcl: Path, tmp_path: Path) -> None:
    with (
        pytest.MonkeyPatch.context() as patch,
        serving(after(0.02, lists_once)) as server,
    ):
        patch.setattr("fissile.training.progress.SHORTEST_PAUSE", 0.0)
        output, _ = ended(*on(server.url, tmp_path / "run", "--tasks", 4))
    assert "bfcl: 0 of 4 episodes" in output
    assert re.search(r"bfcl: [123] of 4 episodes · \S+ s an episode, about \d+ s left", output)
    assert "bfcl: 4 of 4 episodes" in output


def test_a_local_model_and_its_context(bfcl: Path, tmp_path: Path) -> None:
    make_world(tmp_path)
    local = ("--model", tmp_path / "model", *BASE, "--tasks", 2, "--docs", "brief")
    folder = tmp_path / "run"
    told = refused(*local, "--max-new-tokens", 4000, "--output", folder)
    assert "A context of 2048 tokens has no room for a response of 4000" in told
    assert not folder.exists()
    ended("bfcl", *local, "--max-new-tokens", 8, "--output", folder)
    report = read(folder / "report.json")
    assert report["settings"]["context_tokens"] == 2048
    assert report["ends"] == {"context_limit": 2}  # a byte is a token here
    assert report["reasons"] == {"force_terminated": 2}
