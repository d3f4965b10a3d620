"""How good a source's diagnoses are, over many failures: rates with counts and intervals, lengths, duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from fissile.calls import JSON
from fissile.feedback import Failure
from fissile.serial import to_json
from fissile.simulator.quality import Assessment, assess
from fissile.simulator.reply import Said
from fissile.statistics import proportion, quantile

QUANTILES = (0.1, 0.5, 0.9)
"""Of lengths; the last but one figure of a report is the median."""

JUDGEMENTS: Mapping[str, Callable[[Assessment], bool | None]] = MappingProxyType(
    {
        "non_leaking": lambda one: not one.leak,
        "right_kind": lambda one: one.right_kind,
        "right_tool": lambda one: one.right_tool,
        "right_field": lambda one: one.right_field,
        "right_whole": lambda one: one.right_whole,
        "empty": lambda one: not one.words,
    }
)
"""What is asked of each diagnosis; None where the question does not arise, which is then in no denominator."""

_Judged = tuple[str, Assessment, bool]
"""The task's id, what the diagnosis is worth, and whether its text was given for a different failure, too."""


def summarize(
    said: Sequence[Said], failures: Sequence[Failure], real_messages: Sequence[str] = (), faults: Sequence[str] = ()
) -> dict[str, JSON]:
    """The quality of diagnoses.

    Args:
        said: one for each failure, in order.
        failures: what they were given for.
        real_messages: error messages of real run-times, to compare the lengths with.
        faults: what was done to the right calls to make each failure, "" for a policy's own; may be left out.

    Returns:
        JSON-ready: "count" of diagnoses, "distinct" texts, white space folded; "rates" of all, "by_kind" of the
        failures that have an error of that kind (one of several counts under each) and "by_fault"; "lengths" of the
        sentences and "real_lengths". Rates are shares with counts and 95 % interval clustered by task: the
        `JUDGEMENTS`, and "duplicates", whose text was given for a different failure, too.

    Raises:
        ValueError: the sequences differ in length.
    """
    texts = [one.sentence for one in said]
    given_for: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for text, failure in zip(texts, failures, strict=True):
        given_for[_folded(text)].add((failure.task.id, failure.attempt.signature))
    judged: list[_Judged] = []
    of_kind: defaultdict[str, list[_Judged]] = defaultdict(list)
    of_fault: defaultdict[str, list[_Judged]] = defaultdict(list)
    for one, failure, fault in zip(said, failures, faults or [""] * len(texts), strict=True):
        judged.append((failure.task.id, assess(one, failure), len(given_for[_folded(one.sentence)]) > 1))
        for kind in failure.attempt.error_kinds:
            of_kind[kind.value].append(judged[-1])
        if fault:
            of_fault[str(fault)].append(judged[-1])
    return {
        "count": len(texts),
        "distinct": len(given_for),
        "rates": _rates(judged),
        "lengths": lengths(texts),
        "real_lengths": lengths(real_messages),
        "by_kind": {kind: _rates(of_kind[kind]) for kind in sorted(of_kind)},
        "by_fault": {fault: _rates(of_fault[fault]) for fault in sorted(of_fault)},
    }


def lengths(texts: Sequence[str]) -> dict[str, JSON]:
    """How many they are, and at each of the `QUANTILES` ("50%") their length in words and in characters."""
    words, characters = [len(text.split()) for text in texts], list(map(len, texts))
    return {"count": len(texts), "words": _quantiles(words), "characters": _quantiles(characters)}


def _rates(judged: Sequence[_Judged]) -> dict[str, JSON]:
    rates: dict[str, JSON] = {}
    for name, is_so in JUDGEMENTS.items():
        found = [(task_id, is_so(assessment)) for task_id, assessment, _ in judged]
        rates[name] = to_json(proportion((task_id, so, 1) for task_id, so in found if so is not None))
    return {**rates, "duplicates": to_json(proportion((task_id, twice, 1) for task_id, _, twice in judged))}


def _quantiles(values: list[int]) -> dict[str, int]:
    """The nearest rank at each of `QUANTILES`."""
    if not values:
        return {}
    return {f"{round(100 * share)}%": int(quantile(values, share, "nearest")) for share in QUANTILES}


def _folded(text: str) -> str:
    return " ".join(text.split())
