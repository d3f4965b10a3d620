"""The metrics in the order of the page: what they are called, which way is better, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One ratio of an evaluation.

    Attributes:
        key: its key in `evaluations/<stage>.json`.
        title: its name on the page.
        better: which way is better; "" where neither is.
        definition: one sentence for the reader.
        is_share: a share of 1; otherwise a mean.
    """

    key: str
    title: str
    better: Literal["higher", "lower", ""]
    definition: str
    is_share: bool = True


METRICS = (
    Metric(
        "next_attempt_recovery_rate",
        "Next-attempt recovery",
        "higher",
        "Of the failed attempts that were followed by another attempt, the share whose next attempt is right. In a "
        "live world one that the judge blames is not, nor is giving up: to end a wrong turn without another call.",
    ),
    Metric(
        "repeat_rate",
        "Repeat rate",
        "lower",
        "Of the failed attempts that were followed by another attempt, the share followed by the same invalid call.",
    ),
    Metric(
        "first_attempt_accuracy",
        "First-attempt accuracy",
        "higher",
        "Of all episodes, the share whose first attempt is right (in a live world: raised no error and is not "
        "blamed by the judge). No feedback has been read by then.",
    ),
    Metric(
        "recovery_rate",
        "Tasks recovered",
        "higher",
        "Of the episodes with at least one failed attempt, the share that ends right. In single-step tasks with one "
        "retry this is the same count as next-attempt recovery.",
    ),
    Metric(
        "final_accuracy",
        "Final accuracy",
        "higher",
        "Of all episodes, the share that ends right: by its last attempt, in a live world by the judge of every turn.",
    ),
    Metric(
        "give_up_rate",
        "Gave up",
        "lower",
        "In a live world: of the failed attempts that were followed by another response, the share that ended the turn "
        "without another call, and wrong.",
    ),
    Metric(
        "silent_failure_rate",
        "Silent failures",
        "lower",
        "In a live world: of the attempts that raised no error, the share that the judge blames for a wrong turn.",
    ),
    Metric(
        "calls_per_task",
        "Calls per task",
        "",
        "Calls in all attempts of an episode, malformed ones included, per episode.",
        is_share=False,
    ),
)

HEADLINE = METRICS[:3]
"""The figures that the page opens with."""

TERMS = (
    ("Attempt", "One response of the model that calls tools, or should have."),
    (
        "Failed attempt",
        "An attempt with at least one error. In a single-step task a mismatch with the expected call is an error.",
    ),
    (
        "Interval",
        "95 %, clustered by task: attempts of one task are not independent. Shares have Wilson's interval at the "
        "effective sample size; means have the normal one. Counts are added up before they are divided.",
    ),
    (
        "Explore step",
        "GRPO on the tasks themselves: a group of attempts is sampled for each task, and each attempt is compared with "
        "its group.",
    ),
    (
        "Fission step",
        "GRPO on corrective contexts: the task, a failed attempt and its diagnosis. A group of recoveries is sampled "
        "from the current policy and compared inside the group only.",
    ),
    (
        "Group without variance",
        "All its rewards are equal, so every advantage is zero and it teaches nothing.",
    ),
    ("Staleness", "Optimizer steps between the interception of a failure and the fission of it."),
    (
        "Feedback",
        "Who writes the diagnosis after a failed attempt. An evaluation uses another source than the training did.",
    ),
)
"""The other words of the page."""
