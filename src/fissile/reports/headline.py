"""What a run was, in one sentence, and its figures before and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fissile.evaluation.losses import counted
from fissile.methods import METHODS, get_method
from fissile.reports.definitions import HEADLINE, Metric
from fissile.reports.run_lines import StageReport
from fissile.reports.run_record import MALFORMED, RunRecord
from fissile.reports.wording import interval_text, listed, plural
from fissile.statistics import Ratio
from fissile.training.run_folder import told_shown

SOURCES = {"bfcl": "BFCL"}
"""Task sources as their authors write them."""


@dataclass(frozen=True, slots=True)
class Change:
    """A figure after the last stage, the one before that stage, and the earlier ones.

    Attributes:
        metric: what is counted.
        after: (stage, ratio) of the last evaluation.
        before: (stage, ratio) of the evaluation before it; None where there is one evaluation only.
        earlier: (stage, ratio) of those before that.
    """

    metric: Metric
    after: tuple[str, Ratio]
    before: tuple[str, Ratio] | None
    earlier: tuple[tuple[str, Ratio], ...]

    @property
    def overlap(self) -> str:
        """Whether the two intervals overlap, said in words; "" where there are not two."""
        if self.before is None or not interval_text(self.before[1]) or not interval_text(self.after[1]):
            return ""
        one, other = self.before[1], self.after[1]
        apart = max(one.low or 0.0, other.low or 0.0) > min(one.high or 0.0, other.high or 0.0)
        return "The intervals do not overlap." if apart else "The intervals overlap."


def headline_changes(stages: tuple[StageReport, ...]) -> list[Change]:
    """The figures that the page opens with, as far as the evaluations have them."""
    return list(_changes(stages))


def _changes(stages: tuple[StageReport, ...]) -> Iterator[Change]:
    for metric in HEADLINE:
        found = [(stage.stage, stage.ratios[metric.key]) for stage in stages if metric.key in stage.ratios]
        if found:
            before = found[-2] if len(found) > 1 else None
            yield Change(metric, found[-1], before, tuple(found[:-2]))


def title(run: RunRecord) -> str:
    """`Fission-GRPO on smollm2-135m`."""
    model = str(run.setting("model", "path", default="")) or "a model that config.json would name"
    if run.config and not run.setting("training", "steps") and not run.setting("cold_start", "examples"):
        return f"Evaluation of {model}"
    return f"{method_title(run)} on {model}"


def sentence(run: RunRecord) -> str:
    """What the run was: steps, tasks, start, evaluation and seed."""
    seed = run.setting("seed", default=run.summary.get("seed"))
    training = " ".join(part for part in (_steps(run), _tasks(run)) if part)
    parts = [
        ", ".join(part for part in (training, _start(run)) if part),
        _evaluation(run),
        f"seed {seed}" if seed is not None else "",
    ]
    written = "; ".join(part for part in parts if part)
    return f"{written[:1].upper()}{written[1:]}." if written else ""


def status(run: RunRecord) -> str:
    """Why the run ended early or is not finished; "" for a finished one."""
    if run.finished:
        return f"Stopped early: {run.summary['stopped']}" if run.summary.get("stopped") else ""
    if not run.setting("training", "steps") and not run.setting("cold_start", "examples") and run.config:
        return "" if run.stages else "Not finished: there is no evaluation yet."
    planned = run.setting("training", "steps")
    reached = run.steps[-1].step if run.steps else 0
    of = f" of {planned}" if planned else ""
    return (
        f"Not finished: step {reached}{of} of the reinforcement learning. This page shows what there is. Go on "
        "with “fissile train” and --resume; make the page again at any time with “fissile report”."
    )


def lost_rollouts(run: RunRecord) -> str:
    """What the training lost to the engine or the world; "" where it lost nothing."""
    keys = ("explore/infrastructure", "fission/infrastructure")
    lost = round(sum(step.figures.get(key, 0.0) for step in run.steps for key in keys))
    if not lost:
        return ""
    reasons = run.summary.get("lost")
    told = f" ({counted(reasons)})" if isinstance(reasons, dict) and reasons else ""
    what = f"{plural(lost, 'rollout')} of the training, to failures of the engine or the world{told}"
    return f"{what}. Nothing was learned from them."


def method_title(run: RunRecord) -> str:
    """What the papers call the method; 'A run' where nothing names it."""
    name = str(run.setting("method", "name", default=run.summary.get("method", "")))
    return (get_method(name).title if name in METHODS.own else name) or "A run"


def _steps(run: RunRecord) -> str:
    phases = [step.phase for step in run.steps]
    fissions, explores = phases.count("fission"), phases.count("explore")
    if not run.steps:
        return ""
    if not fissions:
        return plural(explores, "explore step")
    return f"{explores:,} explore and {plural(fissions, 'fission step')}"


def _tasks(run: RunRecord) -> str:
    source = run.setting("tasks", "source")
    if not source:
        return ""
    categories = run.setting("tasks", "categories", default=[])
    if source not in SOURCES or not isinstance(categories, list) or not categories:
        return f"on tasks of {SOURCES.get(str(source), source)}"
    return f"on tasks of {SOURCES[source]} ({listed([str(category) for category in categories])})"


def _start(run: RunRecord) -> str:
    try:
        return f"after a cold start on {told_shown(run.cold_start)}"
    except MALFORMED:  # not finished
        examples = run.setting("cold_start", "examples")
        known = isinstance(examples, int) and examples > 0
        return f"after a cold start on at most {plural(examples, 'example')}" if known else ""


def _evaluation(run: RunRecord) -> str:
    if not run.stages:
        return ""
    last = run.stages[-1]
    feedback = f" with “{last.feedback}” feedback" if last.feedback else ""
    injection = f" ({last.injection})" if last.injection else ""
    return f"evaluated on {plural(last.n_tasks, 'held-out task')}{feedback}{injection}"
