"""The BFCL v4 multi-turn suite: the official score, and the recovery metrics beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from fissile.evaluation.live import FEEDBACK, LiveEpisode
from fissile.evaluation.losses import by_reason
from fissile.metrics import evaluate_episodes
from fissile.rollouts import End, ErrorProtocol, InjectionSettings
from fissile.serial import to_json
from fissile.statistics import Ratio, proportion
from fissile.tasks import MULTI_TURN_CATEGORIES
from fissile.tasks.bfcl_multi_turn import NOISY_LABELS


def bfcl_report(
    episodes: Sequence[LiveEpisode], protocol: ErrorProtocol, injection: InjectionSettings | None = None
) -> dict[str, Any]:
    """Everything that the suite reports, JSON-ready.

    Episodes that the engine failed on are left out and counted. The multi-turn score is the plain mean of the
    categories' accuracies, as on the leaderboard; its interval pools the episodes, clustered by scenario (entry *i* is
    the same scenario in every category), and is given where the categories have equally many.

    Args:
        episodes: the records.
        protocol: under which they were made.
        injection: of failures into them. Where there was some, the report names it, and no score is BFCL's.

    Returns:
        "lost" (reasons, where episodes are), "multi_turn" and "without_noisy_labels" (score, and the pooled ratio),
        "recovery" over all episodes, "reasons" and "ends" with counts, and "categories" with the same for each.
    """
    judged = [episode for episode in episodes if episode.end != End.INFRASTRUCTURE]
    lost = [episode.lost for episode in episodes if episode.end == End.INFRASTRUCTURE]
    by_category = {
        category: chosen
        for category in dict.fromkeys((*MULTI_TURN_CATEGORIES, *(episode.category for episode in judged)))
        if (chosen := [episode for episode in judged if episode.category == category])
    }
    return {
        "protocol": protocol.value,
        "feedback": FEEDBACK[protocol],
        **({"injection": injection.model_dump(mode="json")} if injection and injection.rate else {}),
        "episodes": len(judged),
        "infrastructure_failures": len(lost),
        **({"lost": by_reason(lost)} if lost else {}),
        "multi_turn": _score(list(by_category.values())),
        "without_noisy_labels": _score([_clean(chosen) for chosen in by_category.values()]),
        "recovery": _recovery(judged, protocol),
        "reasons": _counted(episode.reason for episode in judged if not episode.valid),
        "ends": _counted(episode.end for episode in judged),
        "categories": {name: _category(chosen, protocol) for name, chosen in by_category.items()},
    }


def scenario(task_id: str) -> str:
    """What episodes share: "multi_turn_base_17" and "multi_turn_miss_func_17" are the scenario "17"."""
    return task_id.rpartition("_")[2]


def cluster(episode: LiveEpisode) -> str:
    """What makes episodes dependent: BFCL's scenario, for other tasks the task."""
    return scenario(episode.task_id) if episode.category in MULTI_TURN_CATEGORIES else episode.task_id


def accuracy(episodes: Sequence[LiveEpisode]) -> Ratio:
    """Valid episodes of all, clustered by scenario."""
    return proportion((cluster(episode), episode.valid, 1) for episode in episodes)


def _category(episodes: Sequence[LiveEpisode], protocol: ErrorProtocol) -> dict[str, Any]:
    return {
        "accuracy": to_json(accuracy(episodes)),
        "without_noisy_labels": to_json(accuracy(_clean(episodes))),
        "turn_accuracy": to_json(_turn_accuracy(episodes)),
        "recovery": _recovery(episodes, protocol),
        "reasons": _counted(episode.reason for episode in episodes if not episode.valid),
        "ends": _counted(episode.end for episode in episodes),
    }


def _score(categories: Sequence[Sequence[LiveEpisode]]) -> dict[str, Any]:
    """The plain mean of the categories, and the pooled ratio where that is the same thing."""
    filled = [episodes for episodes in categories if episodes]
    if not filled:
        return {"score": None, "pooled": None}
    rates = [accuracy(episodes).rate or 0.0 for episodes in filled]
    equal = len({len(episodes) for episodes in filled}) == 1
    pooled = to_json(accuracy([episode for episodes in filled for episode in episodes])) if equal else None
    return {"score": sum(rates) / len(rates), "pooled": pooled}


def _turn_accuracy(episodes: Sequence[LiveEpisode]) -> Ratio:
    """Finished turns that the judge accepted, of all finished turns. Later turns inherit a wrong state."""
    return proportion((cluster(episode), not reason, 1) for episode in episodes for reason in episode.verdicts)


def _recovery(episodes: Sequence[LiveEpisode], protocol: ErrorProtocol) -> dict[str, Any]:
    made = [episode.episode(FEEDBACK[protocol], cluster(episode)) for episode in episodes]
    return to_json(evaluate_episodes([episode for episode in made if episode is not None]))


def _clean(episodes: Sequence[LiveEpisode]) -> list[LiveEpisode]:
    return [episode for episode in episodes if episode.task_id not in NOISY_LABELS]


def _counted(keys: Any) -> dict[str, int]:
    return dict(Counter(keys).most_common())
