"""The tables that `fissile eval bfcl` prints: every share with its numerator, denominator and interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from fissile.engines.injection import told_injection

RECOVERY = {
    "recovery_rate": "episodes with an error that end right",
    "next_attempt_recovery_rate": "next attempt right",
    "repeat_rate": "same invalid call repeated",
    "give_up_rate": "gave up instead of another attempt",
    "silent_failure_rate": "silent failures, of error-free attempts",
    "calls_per_task": "calls per episode",
}
"""Keys of a recovery report, and what they are called."""

INJECTED = {
    "recovery_rate": "episodes with an injected failure that end right",
    "answered_rate": "injected failure followed by an attempt",
    "next_attempt_recovery_rate": "next attempt right after it",
    "repeat_rate": "injected call repeated",
}
"""The same for its part on injected failures."""


def suite_tables(report: Mapping[str, Any]) -> Iterator[Table]:
    """Accuracy per category, and recovery over all of them."""
    yield _accuracy(report)
    yield _recovery(report)


def _accuracy(report: Mapping[str, Any]) -> Table:
    title = f"BFCL v4 multi-turn, {report['protocol']} protocol, feedback: {report['feedback']}{_injection(report)}"
    table = Table("category", "valid", "without noisy labels", "turns right", title=title, title_justify="left")
    for name, category in report["categories"].items():
        table.add_row(
            name.removeprefix("multi_turn_"),
            _share(category["accuracy"]),
            _share(category["without_noisy_labels"]),
            _share(category["turn_accuracy"]),
        )
    table.add_section()
    table.add_row("multi-turn score", _score(report["multi_turn"]), _score(report["without_noisy_labels"]), "")
    return table


def _recovery(report: Mapping[str, Any]) -> Table:
    recovery = report["recovery"]
    table = Table("recovery", "", title_justify="left")
    for key, name in RECOVERY.items():
        if key in recovery:
            table.add_row(name, _share(recovery[key], percent=key != "calls_per_task"))
    if "injected" in recovery:
        table.add_section()
        for key, name in INJECTED.items():
            table.add_row(name, _share(recovery["injected"][key]))
    table.add_section()
    for kind, counts in recovery["error_kinds"].items():
        next_right, repeated = counts["next_attempt_recovery_rate"], counts["repeat_rate"]
        table.add_row(
            f"{kind}: {counts['attempts']} attempts"
            + (f", {forced} injected" if (forced := counts.get("injected")) else ""),
            f"next right {next_right['num']}/{next_right['den']}, repeated {repeated['num']}/{repeated['den']}",
        )
    table.add_section()
    for reason, count in report["reasons"].items():
        table.add_row(f"not valid: {reason}", str(count))
    for reason, count in report.get("lost", {}).items():
        table.add_row(f"left out, the engine failed: {reason}", str(count))
    return table


def _injection(report: Mapping[str, Any]) -> str:
    told = told_injection(report)
    return f"; {told}" if told else ""


def _score(score: Mapping[str, Any]) -> str:
    if score["score"] is None:
        return "-"
    pooled = score["pooled"]
    return _share(pooled) if pooled else f"{100 * score['score']:.2f} % (mean of the categories)"


def _share(ratio: Mapping[str, Any], percent: bool = True) -> str:
    if ratio["rate"] is None:
        return f"- ({ratio['num']}/{ratio['den']})"
    scale, unit = (100, " %") if percent else (1, "")
    low, high = scale * ratio["low"], scale * ratio["high"]
    return f"{scale * ratio['rate']:.2f}{unit} ({ratio['num']}/{ratio['den']}), {low:.1f} to {high:.1f}"
