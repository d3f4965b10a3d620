"""How good a source's diagnoses are, over many failures: rates with counts and intervals, lengths, duplicates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fissile.feedback import Failure
from fissile.simulator.quality import Assessment, assess
from fissile.simulator.reply import Said
from fissile.statistics import Ratio, proportion

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

Rates = Mapping[str, Ratio]
"""Shares of a set of diagnoses, each with its counts and 95 % interval clustered by task: the `JUDGEMENTS`, and
"duplicates": the same text, white space folded, was given for a different failure."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Quantiles of the lengths of texts.

    Attributes:
        count: texts.
        words: length in words at each of `QUANTILES`, by its name ("50%"); empty where there is no text.
        characters: length in characters likewise.
    """

    count: int
    words: Mapping[str, int]
    characters: Mapping[str, int]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Lengths:
        """The lengths of `texts`."""
        return cls(len(texts), _quantiles([len(text.split()) for text in texts]), _quantiles(list(map(len, texts))))


@dataclass(frozen=True, slots=True)
class QualityReport:
    """What `summarize` finds; `fissile.serial.to_json` makes it a report.

    Attributes:
        count: diagnoses.
        distinct: distinct texts, white space folded.
        rates: of all.
        lengths: of the diagnoses.
        real_lengths: of the real error messages that they should resemble.
        by_kind: error kind to the rates of the failures that have it; a failure of several kinds counts under each.
        by_fault: corruption to the rates of its failures; empty where none were given.
    """

    count: int
    distinct: int
    rates: Rates
    lengths: Lengths
    real_lengths: Lengths
    by_kind: Mapping[str, Rates]
    by_fault: Mapping[str, Rates]


@dataclass(frozen=True, slots=True)
class _Judged:
    """A diagnosis with what it was given for."""

    task_id: str
    assessment: Assessment
    is_duplicate: bool


def summarize(
    said: Sequence[Said], failures: Sequence[Failure], real_messages: Sequence[str] = (), faults: Sequence[str] = ()
) -> QualityReport:
    """The quality of diagnoses.

    Args:
        said: one for each failure, in order.
        failures: what they were given for.
        real_messages: error messages of real run-times, to compare the lengths with.
        faults: what was done to the right calls to make each failure, "" for a policy's own; may be left out.

    Raises:
        ValueError: the sequences differ in length.
    """
    given_for: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    texts = [one.sentence for one in said]
    for text, failure in zip(texts, failures, strict=True):
        given_for[_folded(text)].add((failure.task.id, failure.attempt.signature))
    judged = [
        _Judged(failure.task.id, assess(one, failure), len(given_for[_folded(one.sentence)]) > 1)
        for one, failure in zip(said, failures, strict=True)
    ]
    of_kind: defaultdict[str, list[_Judged]] = defaultdict(list)
    for one, failure in zip(judged, failures, strict=True):
        for kind in failure.attempt.error_kinds:
            of_kind[kind.value].append(one)
    of_fault: defaultdict[str, list[_Judged]] = defaultdict(list)
    for one, fault in zip(judged, faults or [""] * len(judged), strict=True):
        if fault:
            of_fault[str(fault)].append(one)
    return QualityReport(
        len(texts),
        len(given_for),
        _rates(judged),
        Lengths.of(texts),
        Lengths.of(real_messages),
        {kind: _rates(of_kind[kind]) for kind in sorted(of_kind)},
        {fault: _rates(of_fault[fault]) for fault in sorted(of_fault)},
    )


def _rates(judged: Sequence[_Judged]) -> Rates:
    rates: dict[str, Ratio] = {}
    for name, is_so in JUDGEMENTS.items():
        found = [(one.task_id, is_so(one.assessment)) for one in judged]
        rates[name] = proportion((task_id, so, 1) for task_id, so in found if so is not None)
    return {**rates, "duplicates": proportion((one.task_id, one.is_duplicate, 1) for one in judged)}


def _quantiles(lengths: list[int]) -> dict[str, int]:
    """The nearest rank at each of `QUANTILES`."""
    ordered = sorted(lengths)
    if not ordered:
        return {}
    return {f"{round(100 * share)}%": ordered[round(share * (len(ordered) - 1))] for share in QUANTILES}


def _folded(text: str) -> str:
    return " ".join(text.split())
