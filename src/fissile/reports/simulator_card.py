"""The card of an error simulator: Markdown, every figure of it from the simulator's folder but those of its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fissile.errors import RunError
from fissile.reports.wording import NONE
from fissile.simulator.dataset import shortfalls
from fissile.training.progress import duration, ratio_text

Fields = Mapping[str, Any]
"""What a JSON file of the folder holds."""

ORIGINS = {"own": "its own failure", "injected": "an injected one"}
"""Whose failures the policy had to recover from, and how the card says it."""

LIMITS = """\
## Limits

- Leaks are found by the leak guard, not by people; what it misses of its own labelled cases stands in
  `docs/results/leak-guard.json`. It reads the sentence; the fields are never shown to a policy.
- Kind, tool, argument and rule are judged where they are said as fields, by equality with what the judge set. Of free
  text (`fixed`, `environment`, `rules`, `service`, an endpoint without fields) no more is known than which tool and
  which argument it names: its kind, its rule and the truth of what it says are not judged, and neither is the sentence
  beside the fields.
- A usefulness is that of one policy at one temperature. A better reader may gain more from a better diagnosis.
- The failures of the table are corruptions of right calls, one fault each. A policy's own often hold several; the
  fields tell one error, the first."""


def card(folder: Path) -> str:
    """The card.

    Args:
        folder: of a simulator, with `data.json`, `evaluation.json`, and `training.json` where it was trained.

    Raises:
        RunError: it was not evaluated.
    """
    data, training, evaluation = (_read(folder / f"{name}.json") for name in ("data", "training", "evaluation"))
    if not evaluation:
        raise RunError(f"'{folder}' holds no evaluation.json. Make it with `fissile simulate eval`.")
    sources = evaluation["sources"]
    parts = [
        "# Error simulator",
        "Made by `fissile simulate eval` from the figures of one folder; rates are on functions and a domain that no "
        "training row calls, with their counts and 95 % intervals clustered by task.",
        *_data(data),
        *_training(training, evaluation.get("adapter")),
        *_evaluation(evaluation),
        *(_by_group(name, sources[name]) for name in ("learned", "endpoint") if name in sources),
        LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def figures(sources: Mapping[str, Fields]) -> Iterator[tuple[str, list[str]]]:
    """Each figure of the comparison: its title, and one text a source."""
    ratios = {
        "not leaking, without the guard": ("rates", "non_leaking"),
        "not leaking, with the guard": ("non_leaking_after_guard",),
        "right kind of error": ("rates", "right_kind"),
        "right tool": ("rates", "right_tool"),
        "right field": ("rates", "right_field"),
        "kind, tool, argument and rule right": ("rates", "right_whole"),
        "same text as for another failure": ("rates", "duplicates"),
    }
    reports = list(sources.values())
    for title, path in ratios.items():
        yield title, [_ratio(report, *path) for report in reports]
    yield "words, median (real messages)", [_words(report) for report in reports]
    yield "no diagnosis", [_counts(report["missing"]) for report in reports]
    for unit in ("diagnoses", "tokens"):
        yield f"{unit} a second", [_speed(report[f"{unit}_per_second"]) for report in reports]
    if any("usefulness" in report for report in reports):
        for origin, title in ORIGINS.items():
            path = ("usefulness", origin)
            yield f"after {title}: right", [_ratio(report, *path, "next_attempt_recovery_rate") for report in reports]
            yield "difference to `fixed`", [_advantage(report, origin) for report in reports]
            yield f"after {title}: repeated", [_ratio(report, *path, "repeat_rate") for report in reports]
        yield "rules or fixed in its place", [_stood_in(report) for report in reports]


def _data(data: Fields) -> Iterator[str]:
    if not data:
        return
    statistics, settings = data["statistics"], data["settings"]["data"]
    sides = statistics["sides"]
    yield "## Data"
    yield f"{statistics['rows']} rows from {_origin(settings)}"
    rows = [(name, [str(side[name]) for side in sides.values()]) for name in ("rows", "tasks", "functions")]
    for group in ("kinds", "origins", "teachers", "domains"):
        names = dict.fromkeys(name for side in sides.values() for name in side[group])
        rows += [(f"{group[:-1]} {name}", [str(side[group].get(name, 0)) for side in sides.values()]) for name in names]
    yield _table(list(sides), rows)
    yield from shortfalls(statistics)
    if statistics["left_out"]:
        yield f"Left out: {_counts(statistics['left_out'])}."


def _origin(settings: Fields) -> str:
    """Where the rows come from, a sentence or two."""
    if world := settings.get("procedural"):
        executed = ", once more executed in the live world" if world["live"] else ""
        return (
            f"the procedural world of seed {world['seed']}: single-step tasks{executed}; each side has its own tools."
        )
    return (
        f"{settings['source']}: {', '.join(settings['categories'])}; executed in the "
        f"live world: {', '.join(settings['live_categories']) or 'none'}, domain {settings['held_out']} held out. "
        f"Functions that {settings['split_like'] or 'no other recipe'} trains and tests on keep their sides."
    )


def _training(training: Fields, other_adapter: str | None) -> Iterator[str]:
    if other_adapter:
        yield f"## Training\n\n`learned` is the adapter at `{other_adapter}`, which was made elsewhere."
    if other_adapter or not training:
        return
    settings, model = training["settings"]["training"], training["settings"]["model"]
    yield "## Training"
    yield (
        f"{model['path']}, LoRA r = {model['lora_rank']}, alpha = {model['lora_alpha']}; {training['examples']} rows, "
        f"{settings['epochs']} epoch(s), {settings['batch_examples']} rows a step, learning rate "
        f"{settings['learning_rate']:g}, seed {training['settings']['seed']}. Mean loss {training['loss']:.3f} nats a "
        f"token of the diagnoses, {duration(training['seconds'])}, peak memory "
        f"{training['peak_memory_bytes'] / 1e9:.1f} GB."
    )


def _evaluation(evaluation: Fields) -> Iterator[str]:
    sources = evaluation["sources"]
    yield "## Figures"
    counts = " / ".join(str(report["count"]) for report in sources.values())
    yield (
        f"Diagnoses: {counts} of failures made by corruption. {evaluation['machine']['hardware']}, "
        f"{evaluation['machine']['date']}."
    )
    if policy := evaluation.get("policy"):
        yield (
            f"Usefulness: {policy['model']} of `{policy['run']}`, which was taught to read the errors of "
            f"`{policy['taught_with'] or 'no source'}`, failed in {policy['failures']} ways at first attempts on "
            f"{policy['tasks']} tasks, and was given {policy['injected']} wrong calls as its own. After each diagnosis "
            "several next attempts were sampled, with the same numbers for every source."
        )
    yield _table(list(sources), figures(sources))


def _by_group(name: str, report: Fields) -> str:
    titles = ["not leaking", "right kind", "right tool", "right field", "all four right"]
    keys = ["non_leaking", "right_kind", "right_tool", "right_field", "right_whole"]
    groups = [("error kind", report["by_kind"]), ("corruption", report["by_fault"])]
    tables = [
        _table(titles, [(group, [_short(rates[key]) for key in keys]) for group, rates in members.items()], title)
        for title, members in groups
        if members
    ]
    return "\n\n".join([f"### `{name}` by kind and by corruption, without the guard", *tables])


def _table(
    columns: Sequence[str], rows: Iterator[tuple[str, list[str]]] | Sequence[tuple[str, list[str]]], corner: str = ""
) -> str:
    lines = [f"| {corner} | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    return "\n".join([*lines, *(f"| {title} | {' | '.join(cells)} |" for title, cells in rows)])


def _ratio(report: Fields, *path: str) -> str:
    value: Any = report
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return ratio_text(value) if isinstance(value, Mapping) and value["den"] else NONE


def _short(ratio: Fields) -> str:
    return f"{ratio['num']}/{ratio['den']}" if ratio["den"] else NONE


def _words(report: Fields) -> str:
    own, real = (report[name]["words"].get("50%") for name in ("lengths", "real_lengths"))
    return f"{own if own is not None else NONE} ({real if real is not None else NONE})"


def _advantage(report: Fields, origin: str) -> str:
    found = report.get("usefulness", {}).get(origin, {}).get("over_fixed")
    if not found:
        return NONE
    difference, low, high = (100 * found[key] for key in ("difference", "low", "high"))
    times = "" if found["ratio"] is None else f", {found['ratio']:.2f} x"
    return f"{difference:+.1f} points, {low:+.1f} to {high:+.1f}{times}"


def _stood_in(report: Fields) -> str:
    """Of the diagnoses that the policy was shown, those that were not the source's own."""
    shown = report.get("usefulness", {}).get("shown")
    if not shown:
        return NONE
    return _counts({**shown["fallbacks"], **{f"leak: {kind}": count for kind, count in shown["leaks"].items()}})


def _speed(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "0"


def _read(path: Path) -> Fields:
    fields: Fields = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return fields
