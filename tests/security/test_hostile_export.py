"""Hostile outputs on their way out: the official result files and their scorer, and the page of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from fissile.calls import ToolCall
from fissile.environments.base import ErrorProtocol
from fissile.environments.bfcl import BFCLWorld, function_names
from fissile.evaluation.bfcl_layout import INVALID_CALL, call_text, write_official_results
from fissile.evaluation.episodes import EpisodeRecord
from fissile.reports import write_report
from fissile.tasks import Task, load_bfcl_multi_turn
from reports.synthetic_run import write_run
from security.execution_canary import nothing_runs
from security.hostile_cases import ECHO, FORMATS, corpus, small_cases
from security.hostile_rollouts import Arena, shortened, with_all_classes
from security.official_scorer import OwnCalls, decoded, official_score


@pytest.fixture(scope="module")
def task(bfcl: Path) -> Task:
    """A real task in a world of all classes."""
    return with_all_classes(shortened(load_bfcl_multi_turn(["multi_turn_base"]).tasks[0]))


# --- the official result files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "protocol"), [("hermes", "recovery"), ("python", "official")])
def test_the_official_scorer_runs_nothing_and_agrees(task: Task, name: str, protocol: str, tmp_path: Path) -> None:
    """Each case in its own file line; the scorer runs the world's functions, and its verdict is ours."""
    arena = Arena(task, BFCLWorld, FORMATS[name], ErrorProtocol(protocol))
    played = []
    for case in small_cases(ECHO):
        try:
            played.append((case, EpisodeRecord.of(arena.play(case).rollout)))
        except OverflowError:  # the parser's failure, which the tests of parsers show
            continue
    cases, episodes = zip(*played, strict=True)
    tasks = [replace(task, id=f"{task.id}_{index}") for index in range(len(cases))]
    (file,) = write_official_results(tmp_path, "hostile", tasks, episodes, arena.protocol)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [task.id for task in tasks]
    official_score(task, lines[0])  # what is imported at first use is imported now
    differing = {}
    for case, episode, line in zip(cases, episodes, lines, strict=True):
        with nothing_runs(OwnCalls(task)):
            verdict = official_score(task, line)
        if verdict != (episode.valid, episode.reason) and INVALID_CALL not in line:
            differing[case.name] = (verdict, (episode.valid, episode.reason))
    assert differing == {}
    assert sum(episode.valid for episode in episodes) > 50


@pytest.mark.parametrize("function", ["echo", "post_tweet"])
def test_a_value_arrives_as_itself_or_not_at_all(task: Task, function: str) -> None:
    """The decoder would write keys unquoted, and an object of objects as a call: code, where a model chose them."""
    argument = {"echo": "content", "post_tweet": "content"}[function]
    lost = []
    for record in corpus()["values"]:
        call = ToolCall(function, {argument: record["value"]}, "")
        text = call_text(call, function_names(task))
        if text == INVALID_CALL:
            continue
        (told,) = decoded(f"[{text}]") or [""]
        given: list[Any] = []
        with nothing_runs(OwnCalls(task)):
            names = {function: lambda given=given, **arguments: given.append(arguments), "json": json}
            if told:
                eval(told, {"__builtins__": {}}, names)
        if json.dumps(given) != json.dumps([call.arguments]):
            lost.append(record["name"])
    assert lost == []


HOSTILE_MODELS = [
    "../../../etc/cron.d/x",
    "..",
    "/etc/passwd",
    "a/../../b",
    "~/x",
    "C:\\x",
    "-rf",
    "a\x00b",
    "a\nb",
    "\u202eleft",
    "\ud800",
    "",
    "...",
    "7b-sft",
    "ckpt@100",
    "run=3",
    "x" * 60 + "/..",
    "__import__('os').system('touch pwned')",
]


@pytest.mark.parametrize("model", HOSTILE_MODELS, ids=range(len(HOSTILE_MODELS)))
def test_a_models_name_is_one_folder_and_one_python_name(task: Task, model: str, tmp_path: Path) -> None:
    episode = EpisodeRecord.of(Arena(task, BFCLWorld, FORMATS["hermes"]).play(small_cases()[0]).rollout)
    (file,) = write_official_results(tmp_path, model, [task], [episode], ErrorProtocol.RECOVERY)
    result, folder, *_ = file.relative_to(tmp_path).parts
    assert (result, len(file.relative_to(tmp_path).parts)) == ("result", 4)
    assert not {".."} & set(file.parts)
    assert file.resolve().is_relative_to(tmp_path.resolve())
    name = folder.translate(dict.fromkeys(map(ord, "-./:"), "_"))  # as the executor makes its instances' names
    assert name.isidentifier()
    assert name.isascii()


# --- the page of a run -----------------------------------------------------------------------------------------------


class Markup(HTMLParser):
    """Names of the tags and of their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, ...]] = set()
        self.links: set[str | None] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, *sorted(name for name, _ in attrs)))
        self.links |= {value for name, value in attrs if name in {"href", "src", "action", "style"}}

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile_texts() -> list[str]:
    """Every text of the corpus, the names and values among them."""
    records = [record for kind in corpus().values() for record in kind]
    told = [record.get("text", record.get("value")) for record in records]
    return [text if isinstance(text, str) else json.dumps(text) for text in told if text is not None]


def batches(texts: list[str], characters: int = 3000) -> Iterator[str]:
    """The texts, as few together as the page shows in full."""
    batch = ""
    for text in texts:
        if batch and len(batch) + len(text) > characters:
            yield batch
            batch = ""
        batch += f"{text}\n"
    yield batch


def poisoned(value: Any, text: str) -> Any:
    """A record with the text in the place of all that a model, a tool or a task wrote."""
    match value:
        case dict():
            return {key: text if key in WRITTEN and isinstance(item, str) else poisoned(item, text)
                    for key, item in value.items()}  # fmt: skip
        case list():
            return [poisoned(item, text) for item in value]
        case _:
            return value


WRITTEN = frozenset({"text", "name", "feedback", "message", "request", "task_id", "tool", "argument", "reason"})


def test_nothing_hostile_becomes_markup(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=12)
    records = {path: path.read_text() for path in [*folder.glob("*.jsonl"), *folder.glob("evaluations/*.jsonl")]}
    plain = Markup(write_report(folder).read_text(encoding="utf-8"))
    pages = []
    for text in batches(hostile_texts()):
        for path, lines in records.items():
            if path.name != "metrics.jsonl":
                written = [json.dumps(poisoned(json.loads(line), text)) for line in lines.splitlines()]
                path.write_text("\n".join(written) + "\n")
        pages.append(Markup(write_report(folder).read_text(encoding="utf-8")))
    shown = "".join(page.text for page in pages)
    assert set().union(*(page.tags for page in pages)) <= plain.tags
    assert set().union(*(page.links for page in pages)) <= plain.links
    assert "<script>alert(1)</script>" in shown
    assert "</style><style>" in shown
    assert not set("\x00\x1b\x07\x9b\u202e\u2066\ufeff\ud800") & set(shown)
