from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import TOOLS, write_run

from fissile.errors import RunError
from fissile.reports import write_report

VOID = {"meta", "br", "hr", "img", "input", "link"}
SECTIONS = ["result", "learning", "errors", "fissions", "corrections", "cost", "definitions", "configuration"]


class Page(HTMLParser):
    """Tags, ids, attributes and text of a page; fails on tags that are not balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for key, value in attrs if key == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def page_of(folder: Path) -> Page:
    report = write_report(folder)
    assert report == folder / "report.html"
    return Page(report.read_text(encoding="utf-8"))


def test_a_finished_run_fills_every_section(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run"))
    assert page.ids == SECTIONS
    for words in ("Fission-GRPO on smollm2-135m", "Next-attempt recovery", "The intervals do not overlap", "Staleness"):
        assert words in page.text
    assert page.tags.count("details") == 8 + 3
    assert ("class", "missing") not in page.attributes


def test_the_page_is_one_file_without_scripts_or_network(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run"))
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [key for key, _ in page.attributes if key.startswith("on") or key in {"src", "srcset", "style"}]
    assert all(value and value.startswith("#") for key, value in page.attributes if key == "href")
    assert ("http-equiv", "Content-Security-Policy") in page.attributes
    assert "url(" not in (tmp_path / "run" / "report.html").read_text()


def test_every_drawing_has_a_label(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run"))
    drawings = page.tags.count("svg")
    assert drawings == sum(key in {"aria-label", "aria-hidden"} for key, _ in page.attributes) - labelled_regions(page)


def labelled_regions(page: Page) -> int:
    """Labels that belong to no drawing: the navigation, scrolling tables, and the arrows between figures."""
    regions = sum(attribute == ("role", "region") for attribute in page.attributes)
    arrows = sum(attribute == ("class", "arrow") for attribute in page.attributes)
    return page.tags.count("nav") + regions + arrows


def test_an_unfinished_run_has_a_page_that_says_so(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", steps=13, finished=False))
    assert page.ids == SECTIONS
    assert "step 13 of 48" in page.text


def test_grpo_has_no_fissions(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", method="grpo"))
    assert "GRPO does not fission." in page.text
    assert "fission steps" not in page.text


def test_every_file_may_be_missing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        file.unlink()
        assert page_of(folder).ids == SECTIONS, file
        file.write_bytes(content)


def test_the_worlds_answers_stand_between_the_steps_of_a_recovery(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run"))
    shown = page.text[page.text.index("No table is free at that time.") :]
    between = shown[: shown.index("Reserved.")]
    assert any(f"{name}(" in between for name, *_ in TOOLS), "the second response, between the two answers"


def test_every_cell_of_a_wide_table_names_its_column_for_narrow_screens(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run"))
    named = [value for key, value in page.attributes if key == "data-column"]
    metrics = named.count("base model")
    assert metrics == named.count("cold start") == named.count("Fission-GRPO") >= 7
    assert {"failed", "next right", "repeated"} <= set(named)


def test_a_folder_with_a_configuration_only_says_what_is_not_there(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    for file in [path for path in folder.rglob("*") if path.is_file() and path.name != "config.json"]:
        file.unlink()
    page = page_of(folder)
    assert page.ids == SECTIONS
    assert page.attributes.count(("class", "missing")) == 6


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_is_the_users_error(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "report.html").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        write_report(folder)


def poisoned(value: Any, skip: frozenset[str]) -> Any:
    """Every text of a JSON value, and every key that a task or model may choose, with markup inside it."""
    match value:
        case str():
            return f"{value}<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\x1b\u202e"
        case list():
            return [poisoned(item, skip) for item in value]
        case dict():
            return {
                (f"{key}<script>" if key in {"city", "restaurant"} else key): item
                if key in skip
                else poisoned(item, skip)
                for key, item in value.items()
            }
    return value


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run whose every text field holds a script; only the keys that types depend on stay."""
    folder = write_run(tmp_path / "run")
    skip = frozenset({"event", "kind", "error_kinds", "method"})
    for file in [*folder.glob("*.json"), *folder.glob("evaluations/*.json")]:
        file.write_text(json.dumps(poisoned(json.loads(file.read_text()), skip)))
    for file in [*folder.glob("*.jsonl"), *folder.glob("evaluations/*.jsonl")]:
        records = [poisoned(json.loads(line), skip) for line in file.read_text().splitlines()]
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    evaluation = folder / "evaluations" / "fission.json"
    fields = json.loads(evaluation.read_text())
    fields["error_kinds"] = {f"<script>{kind}": counts for kind, counts in fields["error_kinds"].items()}
    (folder / "evaluations" / "x<script>y.json").write_text(json.dumps(fields))
    log = folder / "metrics.jsonl"
    log.write_text(log.read_text() + '{"step": 49, "errors/<script>": 900, "reward": 1e308, "<b>": NaN}\n')
    return folder


def test_nothing_of_a_model_or_a_task_becomes_markup(hostile: Path) -> None:
    page = page_of(hostile)
    assert page.ids == SECTIONS
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "<b> was not finite at 1 step" in page.text
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 50
    assert "⟨U+001B⟩⟨U+202E⟩" in page.text
    assert not set("\x1b\u202e") & set(page.text)


def test_the_page_needs_no_torch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=4)
    program = (
        "import sys; from pathlib import Path; from fissile.reports import write_report; "
        "write_report(Path(sys.argv[1])); sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True)
