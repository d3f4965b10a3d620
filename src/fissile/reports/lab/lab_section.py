"""The section of a laboratory on the results page, in Markdown. The same folder gives the same text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fissile.feedback.diagnoser import stood_in
from fissile.reports.lab.lab_record import Arm, Lab, LabRun
from fissile.reports.lab.lab_results import COMPARED, FIGURES, ArmOrder, ArmResults, Difference, LabResults
from fissile.reports.lab.markdown import code_block, plain_text, table
from fissile.reports.wording import NONE, count_text, interval_text, listed, plural, ratio_text
from fissile.statistics import BAND_RESAMPLES, RESAMPLES, SEED, Estimate

COST_TITLES = {
    "steps": "steps",
    "rollouts": "rollouts",
    "context_tokens": "context tokens",
    "sampled_tokens": "sampled tokens",
    "training_seconds": "seconds of training",
    "evaluation_seconds": "seconds of evaluations",
}

IN_TABLES = {
    "differences": "Paired differences",
    "variations": "Paired differences of the variations",
    "costs": "Cost of a run",
}
"""Plots that stand by their table, the others come last; and what a reader who does not see them is told."""

STOOD_IN = 0.05
"""Share of foreign diagnoses above which a run is named."""


def lab_page(results: LabResults, drawn: Collection[str], folder: str) -> str:
    """The section, from its heading of the second level to its last line.

    Args:
        results: of the laboratory.
        drawn: names of the plots that there are.
        folder: theirs, relative to the page.
    """
    curves = {name: f"{figure.title}, by {figure.x}" for name, figure in results.curves.items()}
    images = {name: f"![{told}]({folder}/{name}.svg)" for name, told in (IN_TABLES | curves).items() if name in drawn}
    beside = {name: [images[name]] if name in images else [] for name in IN_TABLES}
    others = [image for name, image in images.items() if name not in IN_TABLES]
    parts = [
        f"## {plain_text(results.lab.title)}",
        *_provenance(results.lab),
        *_reading(results),
        *_arms(results),
        *_order(results),
        *_differences(results),
        *beside["differences"],
        *_variations(results),
        *beside["variations"],
        *_costs(results),
        *beside["costs"],
        *(("### During training", *others) if others else ()),
        *_ended_early(results.lab),
        *_stood_in(results.lab),
        *_lost(results.lab),
    ]
    return "\n\n".join(parts) + "\n"


def _provenance(lab: Lab) -> Iterator[str]:
    if lab.command:
        yield code_block(lab.command)
    finished, wanted = sum(len(arm.finished) for arm in lab.arms), sum(len(arm.runs) for arm in lab.arms)
    facts = {"Runs": f"{finished} of {wanted} finished, {_seeds_text(lab)}", **_makers(lab.provenance)}
    facts["Specification"] = str(lab.provenance.get("fingerprint", ""))
    facts |= {
        f"Parts were made before by ({number})": "; ".join(f"{name.lower()} {fact}" for name, fact in made.items())
        for number, made in enumerate(map(_makers, lab.provenance.get("earlier", ())), start=1)
    }
    yield "\n".join(f"- {name}: {plain_text(fact)}" for name, fact in facts.items() if fact)


def _makers(fields: Mapping[str, Any]) -> dict[str, str]:
    """Who made figures: commit, versions, hardware and date, as far as they are told."""
    versions = fields.get("versions") or {}
    facts = {
        "Commit": fields.get("commit"),
        "Versions": ", ".join(f"{name} {version}" for name, version in dict(versions).items()),
        "Hardware": fields.get("hardware"),
        "Date": fields.get("date"),
    }
    return {name: str(fact) for name, fact in facts.items() if fact}


def _seeds_text(lab: Lab) -> str:
    counts = sorted({len(arm.runs) for arm in lab.arms if arm.runs}, reverse=True)
    return f"seeds 0 to n - 1 with n = {listed([str(count) for count in counts])}" if counts else "no seeds"


def _reading(results: LabResults) -> Iterator[str]:
    lab = results.lab
    drawn = (
        "A seed draws another world (other tools, other tasks) and other samples, so the intervals cover worlds and "
        "sampling."
        if lab.draws_worlds
        else "A seed draws other samples and another order of the same tasks, so the intervals cover sampling and not "
        "the choice of tasks."
    )
    start = (
        "The pretrained start is one and the same in all runs: what another start would give, they do not cover."
        if lab.has_start
        else "The model that the runs start from is one and the same: what another model would give, they do not cover."
    )
    yield (
        "Rates are counts summed over seeds. Intervals are 95 %, by percentile bootstrap over seeds "
        f"({RESAMPLES:,} resamples, seed {SEED}; {BAND_RESAMPLES:,} for the bands of the plots). {drawn} {start} "
        "Percentile intervals over few seeds are too narrow: on normal figures those of 8 seeds cover about 88 % and "
        "those of 4 about 80 %; the differences therefore carry the p of an exact sign-flip test too, which with n "
        "seeds cannot be below 2 / 2^n."
    )


def _arms(results: LabResults) -> Iterator[str]:
    yield "### Held-out tasks after training"
    yield _figures_table([results.arms[arm.name] for arm in results.lab.main])
    yield "  \n".join(f"**{metric.title}**: {metric.definition}" for metric in FIGURES)


def _figures_table(arms: Sequence[ArmResults]) -> str:
    rows = []
    for held in arms:
        cells = []
        for metric in FIGURES:
            ratio = held.ratios[metric.key]
            between = interval_text(ratio, metric.is_share)
            told = f"{ratio_text(ratio, metric.is_share)} ({count_text(ratio)})"
            cells.append(NONE if ratio.rate is None else told + (f", {between}" if between else ""))
        rows.append([plain_text(held.arm.label), _n_text(held), *cells])
    return table(["arm", "seeds", *(metric.title.lower() for metric in FIGURES)], rows)


def _n_text(held: ArmResults) -> str:
    return f"{len(held.arm.finished)} of {len(held.arm.runs)}"


def _order(results: LabResults) -> Iterator[str]:
    if not results.order:
        return
    lab = results.lab
    labels = [_label(lab, name) for name in lab.order]
    yield "### The claimed order"
    yield f"Claimed: {' < '.join(labels)} (for repeats: >). Each step is an arm minus the one before it, in points."
    heads = [f"{_label(lab, step.arm)} − {_label(lab, step.reference)}" for step in results.order[0].steps]
    rows = [[o.metric.title, _verdict(o), *(_difference_text(step) for step in o.steps)] for o in results.order]
    yield table(["metric", "the order", *heads], rows)


def _verdict(order: ArmOrder) -> str:
    if order.holds is None:
        return "cannot be told yet"
    if not order.holds:
        wrong = sum(gain is not None and gain <= 0 for gain in map(order.gain, order.steps))
        return f"does not hold ({wrong} of {plural(len(order.steps), 'step')} equal or the other way)"
    if all(step.mean is not None and step.mean.excludes_zero for step in order.steps):
        return "**holds**, and every interval excludes 0"
    return "holds in the mean; not every interval excludes 0"


def _differences(results: LabResults) -> Iterator[str]:
    baseline = results.lab.find(results.lab.baseline)
    yield "### Paired differences"
    if baseline is None:
        yield f"There is no arm '{plain_text(results.lab.baseline)}' to compare with."
        return
    yield (
        f"An arm minus {plain_text(baseline.label)}, by seed, in points. Bold: the interval excludes 0. Then: seeds in "
        "which the difference is positive, and p."
    )
    if results.differences:
        yield _differences_table(results, results.differences, with_reference=False)


def _variations(results: LabResults) -> Iterator[str]:
    for group, arms in results.lab.variations.items():
        names = {arm.name for arm in arms}
        held = [difference for difference in results.variations if difference.arm in names]
        yield f"### {plain_text(group)}"
        if held:
            yield "An arm minus its reference, by seed, in points; as above."
            yield _differences_table(results, held, with_reference=True)
        alone = [arm.label for arm in arms if results.lab.find(arm.reference) in (None, arm)]
        if alone:
            yield f"Without a reference to compare with: {plain_text(listed(alone))}."
        yield _figures_table([results.arms[arm.name] for arm in arms])


def _differences_table(results: LabResults, held: Sequence[Difference], with_reference: bool) -> str:
    by_pair: dict[tuple[str, str], dict[str, Difference]] = {}
    for difference in held:
        by_pair.setdefault((difference.arm, difference.reference), {})[difference.metric] = difference
    rows = []
    for (arm, reference), of_metric in by_pair.items():
        name = _label(results.lab, arm)
        cells = [_difference_text(of_metric[metric.key]) for metric in COMPARED]
        rows.append([f"{name} − {_label(results.lab, reference)}" if with_reference else name, *cells])
    return table(["arm", *(metric.title.lower() for metric in COMPARED)], rows)


def _difference_text(difference: Difference) -> str:
    """`**+6.1**, +2.0 to +10.3; 8 of 8, p = 0.008`."""
    mean = difference.mean
    if mean is None:
        return "no common seed"
    value = _points(mean.value)
    between = "" if mean.low is None or mean.high is None else f", {_points(mean.low)} to {_points(mean.high)}"
    p = "" if difference.p is None or mean.n < 2 else f", p = {difference.p:.3f}"
    return f"{f'**{value}**' if mean.excludes_zero else value}{between}; {difference.positive} of {mean.n}{p}"


def _points(difference: float) -> str:
    """A difference of shares in points, with its sign: `+6.1`, `−0.4`, `0.0`."""
    written = f"{100 * difference:+.1f}"
    return "0.0" if float(written) == 0 else written.replace("-", "−")


def _costs(results: LabResults) -> Iterator[str]:
    yield "### Cost"
    yield "Means of a finished run with intervals. Context tokens count once for each rollout."
    rows = [
        [plain_text(held.arm.label), _n_text(held), *(_cost_text(held.costs.get(name)) for name in COST_TITLES)]
        for held in results.arms.values()
    ]
    yield table(["arm", "seeds", *COST_TITLES.values()], rows)


def _cost_text(cost: Estimate | None) -> str:
    if cost is None:
        return NONE
    if cost.low is None or cost.high is None or cost.low == cost.high:
        return f"{cost.value:,.0f}"
    return f"{cost.value:,.0f}, {cost.low:,.0f} to {cost.high:,.0f}"


def _ended_early(lab: Lab) -> Iterator[str]:
    seeds: dict[tuple[str, str], list[str]] = {}
    for arm in lab.arms:
        for run in arm.finished:
            if why := _why_early(lab, arm, run):
                seeds.setdefault((plain_text(arm.label), why), []).append(str(run.seed))
    if seeds:
        yield "### Runs that ended early"
        yield "They count in all figures above."
        yield table(["arm", "seeds", "why"], [[label, ", ".join(held), why] for (label, why), held in seeds.items()])


def _stood_in(lab: Lab) -> Iterator[str]:
    """The runs of which a good part was trained with diagnoses of another source than their arm's."""
    rows = []
    for arm in lab.arms:
        for run in arm.finished:
            missing, diagnosed = stood_in(run.feedback)
            if missing > STOOD_IN * diagnosed:
                fallen = ", ".join(f"{count} {reason}" for reason, count in run.feedback.get("fallbacks", {}).items())
                shown = [str(run.feedback.get("source", "")), f"{missing} of {diagnosed}", fallen or NONE]
                rows.append([plain_text(arm.label), str(run.seed), *map(plain_text, shown)])
    if rows:
        yield "### Diagnoses that were not the arm's own"
        yield (
            "These runs count in all figures above, but other sources stood in for their arm's: it is not that source "
            f"alone that was compared. Runs with at most {STOOD_IN:.0%} are not listed.".replace("%", " %")
        )
        yield table(["arm", "seed", "source", "not its own", "without an answer"], rows)


def _why_early(lab: Lab, arm: Arm, run: LabRun) -> str:
    """What a finished run lacks of what was asked for; "" where it lacks nothing."""
    parts = [_missed_budget(lab, arm, run), f"stopped: {plain_text(run.stopped)}" if run.stopped else ""]
    return "; ".join(part for part in parts if part)


def _missed_budget(lab: Lab, arm: Arm, run: LabRun) -> str:
    """What was to be spent before something else ended the training; "" where it is spent or nothing was to be."""
    budgets = {name: f"its {limit:,} {name}" for name, limit in run.budgets.items()}
    if arm.match:
        budgets = {"tokens": f"the tokens of {_label(lab, arm.match)}"}
    if not budgets or run.ended_by in ("", *budgets):
        return ""
    return f"has not spent {' or '.join(budgets.values())}: ended by {run.ended_by}"


def _lost(lab: Lab) -> Iterator[str]:
    rows = [
        [plain_text(arm.label), str(run.seed), run.state.value, plain_text(run.reason)]
        for arm in lab.arms
        for run in arm.lost
    ]
    why = "the specification has no such arm or seed"
    rows += [[plain_text(arm), str(seed), "not asked for", why] for arm, seed in lab.unasked]
    if rows:
        yield "### Runs that do not count"
        yield table(["arm", "seed", "state", "reason"], rows)


def _label(lab: Lab, name: str) -> str:
    arm = lab.find(name)
    return plain_text(name if arm is None else arm.label)
