"""A run folder as a real run leaves it, with made-up figures: enough of everything for every section of the page."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from fissile.calls import Attempt, FailedTurn, ToolCall, canonical_json
from fissile.config import RunConfig
from fissile.errors import ErrorKind, ToolError
from fissile.metrics import Episode, evaluate_episodes
from fissile.serial import to_json
from fissile.training.folder import RunFolder

REQUESTS = (
    "What will the weather be in Reykjavík tomorrow morning? Fahrenheit please.",
    "Book a table for four at Osteria Francescana on 12 May at 19:30, and ask for one by the window.",
    "Find the shortest route from Utrecht to Groningen by bicycle, avoiding ferries.",
    "Convert 2 400 Swiss francs to yen at yesterday's closing rate.",
    "I need the roots of 3x² - 11x - 4.",
)
TOOLS = (
    ("get_forecast", {"city": "Reykjavík", "day": "tomorrow", "unit": "fahrenheit"}, "unit", "F"),
    ("reserve_table", {"restaurant": "Osteria Francescana", "people": 4, "time": "2026-05-12T19:30"}, "people", "four"),
    ("find_route", {"origin": "Utrecht", "destination": "Groningen", "mode": "bicycle"}, "mode", "bike"),
    ("convert_currency", {"amount": 2400, "source": "CHF", "target": "JPY"}, "target", "yen"),
    ("quadratic_roots", {"a": 3, "b": -11, "c": -4}, "b", 11),
)
STAGES = {"base": (0.12, 0.01, 0.64), "cold_start": (0.43, 0.05, 0.63), "fission": (0.47, 0.22, 0.21)}
"""Chance of a right first attempt, of a recovery, and of a repeat."""


def write_run(path: Path, method: str = "fission_grpo", steps: int = 48, finished: bool = True) -> Path:
    """Write a run folder of `steps` steps; an unfinished one has neither summary nor last evaluation."""
    rng = random.Random(7)
    folder = RunFolder(path)
    config = RunConfig.model_validate(
        {
            "output": str(path),
            "method": method,
            "seed": 3,
            "training": {"steps": 48, "learning_rate": 2e-4},
            "cold_start": {"recovery_share": 0.25},
            "evaluation": {"feedback": "service"},
        }
    )
    folder.enter(config, resume=False)
    is_fission = [method == "fission_grpo" and step % 4 == 0 for step in range(1, steps + 1)]
    write_lines(folder.metrics, [metrics_record(rng, step, fission) for step, fission in enumerate(is_fission, 1)])
    if method == "fission_grpo":
        write_lines(folder.corrections, list(correction_records(rng, is_fission)))
    stages = {("grpo" if name == "fission" and method == "grpo" else name): rates for name, rates in STAGES.items()}
    reports = {}
    for stage, rates in list(stages.items())[: None if finished else 2]:
        episodes = [episode(rng, index, *rates) for index in range(282)]
        reports[stage] = {
            **to_json(evaluate_episodes(episodes)),
            "feedback": "service",
            "settings": config.evaluation.model_dump(mode="json"),
        }
        write_object(folder.evaluation(stage), reports[stage])
        write_lines(
            folder.episodes(stage),
            [
                {"task_id": e.task_id, "attempts": [to_json(a) for a in e.attempts], "feedback": e.feedback}
                for e in episodes
            ],
        )
    shown = {"examples": 282, "asked": 518, "recoveries": 71, "left_out": {"longer than 512 tokens": 2}, "loss": 0.31}
    write_object(folder.cold_start_summary, shown)
    write_object(folder.step_evaluation(30), reports["base"])
    phases = {"evaluate_base": 151.2, "cold_start": 203.9, "evaluate_cold_start": 139.0, "fission": 941.5}
    meter = {
        "seconds": {**phases, "evaluate_fission": 141.7},
        "peak_memory_bytes": {phase: int(1.1e9 + 2.3e6 * seconds) for phase, seconds in phases.items()},
    }
    if not finished:
        write_object(folder.meter, meter)
        return path
    summary = {
        "method": method,
        "seed": 3,
        "stages": reports,
        "steps": steps,
        "updates": {"explore": is_fission.count(False), "fission": is_fission.count(True)},
        "corrections": {"intercepted": 131, "deduplicated": 39, "used": 48, "stale": 11, "leaked": 2},
        "stopped": "",
        **meter,
    }
    write_object(folder.summary, summary)
    return path


def attempt(kind: int, wrong: Any = None, errors: tuple[ErrorKind, ...] = (), text: str = "") -> Attempt:
    """The right call of tool `kind`, or one whose critical argument is `wrong`, or free text."""
    if text:
        return Attempt(text, (), (ToolError(ErrorKind.MISSING_CALL, "The response calls no tool."),))
    name, arguments, critical, _ = TOOLS[kind]
    arguments = arguments | ({critical: wrong} if errors else {})
    body = canonical_json({"name": name, "arguments": arguments})
    found = tuple(
        ToolError(error, f"argument '{critical}' is not one of the accepted values.", 0, name, critical)
        for error in errors
    )
    return Attempt(f"<tool_call>{body}</tool_call>", (ToolCall(name, arguments, body, 11),), found)


def failed_attempt(rng: random.Random, kind: int) -> Attempt:
    """Most often the wrong value of the tool, sometimes another mistake."""
    kinds = (ErrorKind.WRONG_VALUE, ErrorKind.WRONG_TYPE, ErrorKind.MISSING_ARGUMENT, ErrorKind.UNKNOWN_TOOL)
    draw = rng.random()
    if draw < 0.12:
        return attempt(kind, text="I am sorry, but I cannot look that up. Could you tell me more about what you need?")
    return attempt(kind, TOOLS[kind][3], (rng.choices(kinds, (6, 2, 1, 1))[0],))


def episode(rng: random.Random, index: int, right: float, recover: float, repeat: float) -> Episode:
    """A first attempt, and one retry after a failure."""
    kind = index % len(TOOLS)
    task_id = f"live_simple_{index}-{index % 7}-0"
    if rng.random() < right:
        return Episode(task_id, (attempt(kind),), "service")
    failed = failed_attempt(rng, kind)
    draw = rng.random()
    if draw < recover:
        retry = attempt(kind)
    elif draw < recover + repeat:
        retry = failed
    else:
        retry = attempt(kind, f"{TOOLS[kind][3]}?", (ErrorKind.WRONG_VALUE,))
    return Episode(task_id, (failed, retry), "service")


def metrics_record(rng: random.Random, step: int, fission: bool) -> dict[str, Any]:
    """One step as the trainer logs it."""
    phase = "fission" if fission else "explore"
    done = step / 48
    record = {
        "step": step,
        "loss": rng.gauss(0, 0.03),
        "grad_norm": abs(rng.gauss(0.5, 0.16)) + (0.25 if fission else 0.0),
        "learning_rate": 2e-4,
        "reward": rng.gauss(0.8 + 0.28 * done - (0.2 if fission else 0), 0.11),
        "reward_std": 0.4,
        "entropy": rng.gauss(0.62 - 0.2 * done, 0.04),
        "step_time": rng.gauss(19 if fission else 16, 1.4),
        "completions/mean_length": rng.gauss(38, 2.5),
        "fission/is_fission": float(fission),
        f"{phase}/correct": min(1.0, max(0.0, rng.gauss((0.05 if fission else 0.38) + 0.2 * done, 0.07))),
        f"{phase}/zero_variance_groups": rng.choice((0.25, 0.5, 0.5, 0.75)) - 0.25 * (done > 0.7),
        "corrections/intercepted": 2.7 * step,
        "corrections/evicted": 0.0,
    }
    if fission:
        record["fission/repeat"] = max(0.0, rng.gauss(0.62 - 0.42 * done, 0.06))
    for kind, share in (("wrong_value", 12), ("missing_argument", 4), ("malformed_call", 2)):
        count = max(0, round(rng.gauss(share * (1 - 0.4 * done), 1.6)))
        record |= {f"errors/{kind}": float(count)} if count else {}
    return record


def correction_records(rng: random.Random, is_fission: list[bool]) -> Any:
    """Interceptions of every explore step, and four fissions in every fission step."""
    for step, fission in enumerate(is_fission):
        for slot in range(4):
            kind = (step + slot) % len(TOOLS)
            failed = attempt(kind, TOOLS[kind][3], (ErrorKind.WRONG_VALUE,))
            turn = FailedTurn(failed, f"TypeError: '{TOOLS[kind][2]}' got an unsupported value. See the schema.")
            shared = {"step": step, "id": f"{step:015x}{slot}", "task_id": f"live_simple_{5 * step + slot}-{slot}-0"}
            history = [to_json(turn)]
            if not fission:
                intercepted = {"prompt_ids": [1, 2, 3], "history": history, "source": "rules", "leaked": ""}
                yield {"event": "intercepted", **shared, **intercepted}
                continue
            yield {
                "event": "fission",
                **shared,
                "request": REQUESTS[kind],
                "staleness": rng.choice((1, 1, 1, 2, 2, 3, 5)),
                "source": "rules",
                "history": history,
                "recoveries": [recovery(rng, kind, failed, step / 48) for _ in range(8)],
            }


def recovery(rng: random.Random, kind: int, failed: Attempt, done: float) -> dict[str, Any]:
    """Repeats at first, more right ones later."""
    draw = rng.random()
    if draw < 0.3 * done:
        made, reward = attempt(kind), 1.67
    elif draw < 0.75 - 0.3 * done:
        made, reward = failed, 0.33
    else:
        made, reward = rng.choice(
            (
                (attempt(kind, f"{TOOLS[kind][3]}.", (ErrorKind.WRONG_VALUE,)), 0.94),
                (attempt(kind, None, (ErrorKind.WRONG_TYPE,)), 0.81),
                (attempt(kind, text="The value is not supported. Which one would you like instead?"), 0.12),
            )
        )
    fields = {"attempt": to_json(made), "reward": reward, "repeat": made.signature == failed.signature}
    return {**fields, "steps": steps_of(kind, made)} if kind else fields


def steps_of(kind: int, last: Attempt) -> list[dict[str, Any]]:
    """Two responses in a live world, each with its answer."""
    first = attempt(kind, "all")
    return [
        {"attempt": to_json(first), "results": ["No table is free at that time."]},
        {"attempt": to_json(last), "results": ["Reserved."]},
    ]


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_object(path: Path, fields: dict[str, Any]) -> None:
    """One JSON object."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields, indent=2))
