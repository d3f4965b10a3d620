"""The page: a run record, its charts and its trees, laid out by one template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fissile.journal import write_text
from fissile.reports import definitions, wording
from fissile.reports.comparisons import histogram, interval_charts, kind_charts, meter
from fissile.reports.fates import (
    correction_counts,
    fallback_counts,
    fates,
    feedback_counts,
    staleness_counts,
)
from fissile.reports.headline import headline_changes, lost_rollouts, method_title, sentence, status, title
from fissile.reports.learning_curves import error_curves, learning_curves
from fissile.reports.paired import numbered, pairings
from fissile.reports.run_record import RunRecord, read_run
from fissile.reports.trees import branches, choose_trees
from fissile.training.progress import duration
from fissile.training.run_folder import RunFolder

FILTERS = {
    "attempt_text": wording.attempt_text,
    "bytes": wording.memory,
    "count": wording.count_text,
    "duration": duration,
    "figure": wording.figure,
    "interval": wording.interval_text,
    "phase_title": wording.phase_title,
    "plain": wording.plain,
    "plural": wording.plural,
    "ratio": wording.ratio_text,
    "shortened": wording.shortened,
    "stage_title": wording.stage_title,
}
"""How the template writes figures and names."""


def write_report(folder: Path) -> Path:
    """Write `<folder>/report.html` of a run, finished or not.

    Args:
        folder: a run folder; any of its files may be missing or partial.

    Returns:
        The path of the page: one file without scripts that needs no network.

    Raises:
        RunError: the folder holds no run, or the page cannot be written.
    """
    folder = Path(folder)
    report = RunFolder(folder).report
    write_text(report, render(read_run(folder)))
    return report


def render(run: RunRecord) -> str:
    """The page as HTML. Every value is made visible and escaped on its way in."""
    environment = Environment(
        loader=PackageLoader("fissile.reports"),
        autoescape=True,
        finalize=wording.visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("report.html.j2").render(_content(run))


def _content(run: RunRecord) -> dict[str, Any]:
    trees = [(fission, branches(fission)) for fission in choose_trees(run.fissions)]
    rewards = [branch.reward for _, folded in trees for branch in folded if branch.reward is not None]
    staleness = staleness_counts(run.fissions)
    counts = correction_counts(run)
    episodes = [numbered(run.outcomes[stage.stage]) for stage in run.stages]
    return {
        "run": run,
        "title": title(run),
        "sentence": sentence(run),
        "status": status(run),
        "changes": headline_changes(run.stages),
        "pairings": pairings(*episodes[-2:]) if len(episodes) > 1 else [],
        "metrics": definitions.METRICS,
        "headline_metrics": definitions.HEADLINE,
        "lost": lost_rollouts(run),
        "terms": definitions.TERMS,
        "intervals": interval_charts(run.stages),
        "curves": learning_curves(run.steps),
        "error_curves": error_curves(run.steps),
        "kinds": kind_charts(run.stages),
        "every_kind": list(dict.fromkeys(kind for stage in run.stages for kind in stage.kinds)),
        "trees": trees,
        "largest_reward": max(rewards, default=0.0),
        "counts": counts,
        "fates": fates(counts),
        "sources": feedback_counts(run),
        "fallbacks": fallback_counts(run),
        "staleness": histogram(staleness, "Corrections used, by staleness in steps", "steps") if staleness else "",
        "meter": meter,
        "has_fission": any(step.phase == "fission" for step in run.steps),
        "without_fission": method_title(run) if run.config and not run.setting("method", "feedback") else "",
        "configuration": _sections(run.config),
    }


def _sections(config: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(section, its settings); the settings outside any section come first, under ""."""
    outside = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    sections = {"": outside, **{key: value for key, value in config.items() if isinstance(value, Mapping)}}
    return [
        (name, [(str(key), _setting(value)) for key, value in settings.items()])
        for name, settings in sections.items()
        if settings
    ]


def _setting(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(map(str, value)) or "none"
        case _:
            return str(value)
