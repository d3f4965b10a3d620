from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_lab import write_lab, write_object, write_run

from fissile.errors import RunError
from fissile.reports.lab import update_page, write_lab_report
from fissile.reports.lab.markdown import code_block, plain_text
from fissile.reports.lab.writing import replace_section

STEP = {"fission/is_fission": 0.0, "explore/zero_variance_groups": 0.5, "grad_norm": 1.0, "explore/correct": 0.5}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Three arms of three seeds in the order that is claimed, one run failed, one not started, and a knob."""
    folder = write_lab(
        tmp_path / "small",
        {
            "grpo": {"label": "GRPO"},
            "fixed": {"label": "Fission | fixed"},
            "rules": {"label": "Fission, rules"},
            "knob_delta": {"label": "delta 0.5", "group": "Knobs", "reference": "rules"},
        },
        seeds=3,
        order=["grpo", "fixed", "rules"],
    )
    for seed in range(3):
        write_run(folder, "grpo", seed, (10 + seed, 40), steps=[STEP])
        write_run(folder, "rules", seed, (20 + seed, 40), stage="fission", steps=[STEP])
    write_run(folder, "fixed", 0, (12, 40), stage="fission", steps=[STEP])
    write_object(folder / "arms/fixed/seed-1.failure.json", {"error": "the process died (signal 9)"})
    write_run(folder, "knob_delta", 0, (30, 40), stage="fission", steps=[STEP])
    write_run(folder, "knob_delta", 1, (32, 40), stage="fission", steps=[STEP])
    write_run(folder, "knob_delta", 2, (31, 40), stage="fission", steps=[STEP])
    return folder


def lines_with(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


def test_the_page_tells_figures_differences_and_order(lab: Path) -> None:
    write_lab_report(lab)
    text = (lab / "results.md").read_text()
    assert text.startswith("## A small lab\n\n```\nfissile lab run recipes/lab.toml\n```\n")
    assert "- Runs: 10 of 12 finished, seeds 0 to n - 1 with n = 3" in text
    assert "- Commit: abc1234-dirty" in text
    assert "The pretrained start is one and the same" in text
    figures, difference = lines_with(text, "| Fission, rules |")[:2]
    assert figures.startswith("| Fission, rules | 3 of 3 | 52.5\u00a0% (63/120), 50.0 to 55.0 |")
    # 10/40 more in every seed; the order's step from fixed has seed 0 alone: 8/40.
    assert difference.startswith("| Fission, rules | **+25.0**, +25.0 to +25.0; 3 of 3, p = 0.250 |")
    (tasks,) = lines_with(text, "| Tasks recovered |")
    assert tasks == (
        "| Tasks recovered | holds in the mean; not every interval excludes 0 | +5.0; 1 of 1 | +20.0; 1 of 1 |"
    )
    (repeats,) = lines_with(text, "| Repeat rate |")
    assert "does not hold (2 of 2 steps equal or the other way)" in repeats
    (knob,) = lines_with(text, "| delta 0.5 − Fission, rules |")
    assert knob.startswith("| delta 0.5 − Fission, rules | **+25.0**, +22.5 to +27.5; 3 of 3, p = 0.250")


def test_a_lab_of_knobs_alone_has_no_empty_table_of_differences(tmp_path: Path) -> None:
    write_lab(tmp_path, {"grpo": {"label": "GRPO"}, "knob": {"label": "delta 1", "group": "delta"}}, seeds=1)
    for arm, right in (("grpo", 10), ("knob", 12)):
        write_run(tmp_path, arm, 0, (right, 40), steps=[STEP])
    write_lab_report(tmp_path)
    text = (tmp_path / "results.md").read_text()
    between = text.split("### Paired differences")[1].split("### delta")[0]
    assert "|" not in between
    assert lines_with(text, "| delta 1 − GRPO |") == ["| delta 1 − GRPO |" + 5 * " +5.0; 1 of 1 |"]


def test_lost_runs_are_told_with_their_reason(lab: Path) -> None:
    write_lab_report(lab)
    text = (lab / "results.md").read_text()
    assert "| Fission \\| fixed | 1 of 3 |" in text
    assert "| Fission \\| fixed | 1 | failed | the process died (signal 9) |" in text
    assert "| Fission \\| fixed | 2 | not started | no folder yet |" in text


def test_runs_that_ended_early_are_told_with_why(tmp_path: Path) -> None:
    arms = {"grpo": {}, "rules": {"label": "Fission | rules"}, "more": {"label": "GRPO, tokens", "match": "rules"}}
    arms["dapo"] = {"label": "DAPO"}
    folder = write_lab(tmp_path, arms, seeds=4)
    for seed, ended_by in enumerate(("steps", "tokens", "steps", "patience")):
        stopped = "no group had any variance" if ended_by == "patience" else ""
        write_run(folder, "more", seed, (1, 4), steps=[STEP], ended_by=ended_by, stopped=stopped)
        write_run(folder, "rules", seed, (1, 4), stage="fission", steps=[STEP], ended_by="steps")
        limit = "rollouts" if seed else "steps"
        write_run(folder, "dapo", seed, (1, 4), steps=[STEP], ended_by=limit, budgets={"rollouts": 6400})
    write_run(folder, "grpo", 0, (1, 4), steps=[STEP], ended_by="patience", stopped="nothing | learned")
    write_lab_report(folder)
    section = (folder / "results.md").read_text().partition("### Runs that ended early")[2].partition("###")[0]
    missed = "has not spent the tokens of Fission \\| rules: ended by"
    assert lines_with(section, "| ")[2:] == [
        "| grpo | 0 | stopped: nothing \\| learned |",
        f"| GRPO, tokens | 0, 2 | {missed} steps |",
        f"| GRPO, tokens | 3 | {missed} patience; stopped: no group had any variance |",
        "| DAPO | 0 | has not spent its 6,400 rollouts: ended by steps |",
    ]


def test_runs_whose_diagnoses_were_not_their_arms_are_told(lab: Path) -> None:
    for seed, missing in enumerate((3, 5, 40)):
        report = {"source": "learned", "diagnosed": 80, "leaks": {"value": 1}, "fallbacks": {"timeout": missing - 1}}
        write_run(lab, "rules", seed, (20 + seed, 40), stage="fission", steps=[STEP], feedback=report)
    write_lab_report(lab)
    section = (lab / "results.md").read_text().partition("### Diagnoses that were not the arm's own")[2]
    assert lines_with(section.partition("###")[0], "| ")[2:] == [
        "| Fission, rules | 1 | learned | 5 of 80 | 4 timeout |",
        "| Fission, rules | 2 | learned | 40 of 80 | 39 timeout |",
    ]


def test_runs_that_the_specification_no_longer_has_are_told(lab: Path) -> None:
    write_run(lab, "grpo", 7, (1, 40), steps=[STEP])
    write_run(lab, "dropped", 0, (1, 40), steps=[STEP])
    write_lab_report(lab)
    text = (lab / "results.md").read_text()
    assert "- Runs: 10 of 12 finished" in text
    for run in ("dropped | 0", "grpo | 7"):
        assert f"| {run} | not asked for | the specification has no such arm or seed |" in text


def test_every_plot_is_linked_and_there(lab: Path) -> None:
    (lab / "plots").mkdir()
    (lab / "plots/of_an_earlier_report.svg").write_text("")
    write_lab_report(lab)
    text = (lab / "results.md").read_text()
    drawn = {path.name for path in (lab / "plots").iterdir()}
    assert {line.partition("(plots/")[2].removesuffix(")") for line in lines_with(text, "![")} == drawn
    assert {"differences.svg", "variations.svg", "informative_groups.svg", "costs.svg"} <= drawn


def test_results_hold_every_figure_and_the_same_folder_gives_the_same_bytes(lab: Path) -> None:
    write_lab_report(lab)
    names = ["results.md", "results.json", "plots/differences.svg", "plots/informative_groups.svg"]
    before = [(lab / name).read_bytes() for name in names]
    write_lab_report(lab)
    assert [(lab / name).read_bytes() for name in names] == before
    held = json.loads((lab / "results.json").read_text())
    assert held["arms"]["rules"]["recovery_rate"] == {"num": 63, "den": 120, "rate": 0.525, "low": 0.5, "high": 0.55}
    assert held["arms"]["fixed"]["lost"] == {
        "1": "failed: the process died (signal 9)",
        "2": "not started: no folder yet",
    }
    assert held["order"][0]["holds"] is True
    assert held["commit"] == "abc1234-dirty"


def test_a_lab_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    folder = write_lab(tmp_path / "lab", {"grpo": {}, "rules": {}}, order=["grpo", "rules"])
    results = write_lab_report(folder)
    text = (folder / "results.md").read_text()
    assert "0 of 4 finished" in text
    assert "cannot be told yet" in text
    assert results.curves == {}


def test_a_page_of_several_labs_keeps_what_stands_around_the_sections(lab: Path, tmp_path: Path) -> None:
    other = write_lab(tmp_path / "other", {"grpo": {}}, title="Another lab")
    page = tmp_path / "docs/results.md"
    page.parent.mkdir()
    page.write_text("# Mine\n\n<!-- lab: small -->\nold\n<!-- /lab: small -->\n\nAfter.\n")
    update_page([lab, other], page)
    text = page.read_text()
    assert text.startswith("# Mine\n\n<!-- lab: small -->\n## A small lab\n")
    assert "old" not in text.splitlines()
    assert "<!-- /lab: small -->\n\nAfter.\n\n<!-- lab: other -->\n## Another lab\n" in text
    assert "](results/small/plots/differences.svg)" in text
    assert (page.parent / "results/small/plots/differences.svg").is_file()
    assert (page.parent / "results/small/results.json").read_bytes() == (lab / "results.json").read_bytes()
    update_page([lab, other], page)
    assert page.read_text() == text


def test_a_new_page_is_made_and_two_labs_of_one_name_are_refused(lab: Path, tmp_path: Path) -> None:
    page = tmp_path / "new/results.md"
    update_page([lab], page)
    assert page.read_text().startswith("# Results\n")
    twin = write_lab(tmp_path / "twin/small", {"grpo": {}})
    with pytest.raises(RunError, match="Two lab folders are called 'small'"):
        update_page([lab, twin], page)


@pytest.mark.parametrize(
    "text",
    [
        "<!-- lab: a -->\n",
        "<!-- /lab: a -->\n<!-- lab: a -->\n",
        "<!-- lab: a --><!-- /lab: a --><!-- lab: a --><!-- /lab: a -->",
    ],
)
def test_marks_without_their_other_one_are_refused(text: str) -> None:
    with pytest.raises(RunError, match="once each"):
        replace_section(text, "a", "section", Path("results.md"))


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    label = "<img src=x> | `a` **b** [c](d) <!-- /lab: lab -->\n# e"
    folder = write_lab(tmp_path / "lab", {"grpo": {"label": label}}, seeds=1, title=label)
    write_object(folder / "arms/grpo/seed-0.failure.json", {"error": "boom | \u202e\n" * 100})
    page = tmp_path / "page.md"
    update_page([folder], page)
    update_page([folder], page)
    text = page.read_text()
    assert "<img" not in text
    assert text.count("<!-- /lab: lab -->") == 1
    assert "\u202e" not in text
    assert max(map(len, lines_with(text, "| \\&lt;img") or lines_with(text, "| &lt;img"))) < 2500


def test_a_command_holds_no_mark(tmp_path: Path) -> None:
    folder, page = write_lab(tmp_path / "lab", {"grpo": {}}), tmp_path / "page.md"
    fields = json.loads((folder / "lab.json").read_text())
    write_object(folder / "lab.json", {**fields, "command": "fissile lab run '<!-- /lab: lab -->.toml'"})
    update_page([folder], page)
    text = page.read_text()
    assert "fissile lab run '<! -- /lab: lab -->.toml'" in text
    update_page([folder], page)
    assert page.read_text() == text


@pytest.mark.parametrize("name", [".", "notes", "notes.txt", "folder.md"])
def test_what_is_no_markdown_page_is_refused_before_anything_is_written(lab: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(RunError, match=r"that is no Markdown file\. Give one, such as docs/results.md"):
        update_page([lab], Path(name) if name == "." else tmp_path / name)
    assert not (lab / "results.json").exists()
    assert not list(tmp_path.rglob("*.svg"))


def test_a_page_that_is_no_text_is_one_message(lab: Path, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_bytes(b"caf\xe9")
    with pytest.raises(RunError, match=r"page.md' cannot be read .*Write it in UTF-8"):
        update_page([lab], tmp_path / "page.md")
    assert not (lab / "results.json").exists()


def test_text_is_escaped_and_a_fence_outlasts_its_content() -> None:
    assert plain_text("a|b *c* <d>\n e_f") == "a\\|b \\*c\\* &lt;d&gt; e\\_f"
    assert code_block("a ``` b") == "````\na ``` b\n````"


def test_the_page_tells_who_made_parts_of_it_before_and_what_intervals_cover(tmp_path: Path) -> None:
    folder = write_lab(tmp_path / "lab", {"grpo": {}}, seeds=1, start=None, run={"tasks": {"source": "bfcl"}})
    fields = json.loads((folder / "lab.json").read_text())
    write_object(folder / "lab.json", {**fields, "earlier": [{"commit": "0ld", "date": "2026-11-20"}]})
    write_lab_report(folder)
    text = (folder / "results.md").read_text()
    assert "- Parts were made before by (1): commit 0ld; date 2026-11-20" in text
    assert "cover sampling and not the choice of tasks" in text
    assert "The pretrained start" not in text
