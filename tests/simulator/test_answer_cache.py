"""What a server answered is kept, and nothing that went wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from asked_endpoints import SAID, failure, failures, source

from fault_server import free_port, refuses, says, serving
from fissile.errors import RunError
from fissile.feedback import NoDiagnosis
from fissile.simulator.answer_cache import AnswerCache


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


def test_what_was_answered_is_not_asked_again_by_a_later_run(tmp_path: Path) -> None:
    cache = tmp_path / "deep" / "cache.jsonl"
    with serving(says(SAID)) as server:
        assert source(server, cache).diagnose(failures(3)) == [SAID] * 3
        assert source(server, cache).diagnose(failures(4)) == [SAID] * 4
        assert len(server.bodies) == 4
        assert source(server, cache, model="other").diagnose([failure()]) == [SAID]
        assert source(server, cache, temperature=0.5).diagnose([failure()]) == [SAID]
        assert source(server, cache, max_new_tokens=9).diagnose([failure()]) == [SAID]
        assert len(server.bodies) == 7
    assert source(f"http://127.0.0.1:{free_port()}/v1", cache).diagnose(failures(4)) == [SAID] * 4


def test_failures_are_never_cached(tmp_path: Path) -> None:
    cache = tmp_path / "cache.jsonl"
    with serving(refuses(400), says(""), says(SAID)) as server:
        asked = source(server, cache)
        said = [asked.diagnose([failure()])[0] for _ in range(3)]
    assert said == [NoDiagnosis("status 400"), NoDiagnosis("empty"), SAID]
    assert len(cache.read_text(encoding="utf-8").splitlines()) == 1


def test_a_torn_last_line_is_forgotten_and_a_broken_one_is_told(tmp_path: Path) -> None:
    cache = tmp_path / "cache.jsonl"
    with serving(says(SAID)) as server:
        source(server, cache).diagnose(failures(2))
        whole = cache.read_bytes()
        cache.write_bytes(whole[:-20])
        assert source(server, cache).diagnose(failures(2)) == [SAID] * 2
        assert len(server.bodies) == 3
        assert len([json.loads(line) for line in cache.read_text(encoding="utf-8").splitlines()]) == 2
        cache.write_bytes(b"what?\n" + whole)
        with pytest.raises(RunError, match=r"cache.jsonl:1 is no answer of a server"):
            source(server, cache)


@pytest.mark.parametrize(
    ("held", "number"),
    [
        ("my notes", 1),
        ("my notes\n", 1),
        ('{"id": 1}\n', 1),
        ('{"key":"a","answer":"b"}\n{"key":"a","answer":null}\n', 2),
        ('{"key":"a","answer":"b"}\n[]', 2),
    ],
)
def test_a_file_that_is_no_cache_is_refused_and_left_as_it_is(tmp_path: Path, held: str, number: int) -> None:
    cache = tmp_path / "notes.txt"
    cache.write_text(held, encoding="utf-8")
    with pytest.raises(RunError, match=rf"notes.txt:{number} is no answer of a server.* name another file as cache"):
        AnswerCache(cache)
    assert cache.read_text(encoding="utf-8") == held


@pytest.mark.parametrize("tail", ["", "{", '{"key":"b","ans', "\0\0\0\n"])
def test_what_a_crash_left_of_a_cache_is_forgotten(tmp_path: Path, tail: str) -> None:
    cache = tmp_path / "cache.jsonl"
    cache.write_text('{"key":"a","answer":"b"}\n' + tail, encoding="utf-8")
    assert (AnswerCache(cache).get("a"), cache.read_text(encoding="utf-8")) == ("b", '{"key":"a","answer":"b"}\n')


def test_a_disk_that_is_full_costs_the_cache_and_not_the_diagnosis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(says(SAID)) as server:
        asked = source(server, tmp_path / "cache.jsonl")

        def full(record: Any) -> None:
            raise RunError("the disk is full")

        monkeypatch.setattr(asked.cache._lines, "append", full)
        assert asked.diagnose(failures(2)) == [SAID] * 2
        assert asked.diagnose(failures(2)) == [SAID] * 2
    assert len(server.bodies) == 2
