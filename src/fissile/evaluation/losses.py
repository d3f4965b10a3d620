"""What an evaluation lost to the engine or the world: counted by reason, and no result where nothing else is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from fissile.errors import RunError


def by_reason(lost: Iterable[str]) -> dict[str, int]:
    """Short reason to how often, the most frequent first, of texts such as `fissile.rollouts.Completion.lost`."""
    return dict(Counter(said.partition(": ")[0] or "unknown" for said in lost).most_common())


def counted(counts: Mapping[str, int]) -> str:
    """`12 x status 400, 3 x timeout`."""
    return ", ".join(f"{count} x {reason}" for reason, count in counts.items())


def refuse_total_loss(lost: Sequence[str], made: int, what: str) -> None:
    """See that something is left that tells of the policy.

    Args:
        lost: for each that was lost, why.
        made: how many were not.
        what: they are, in the plural.

    Raises:
        RunError: nothing is left; the message counts the reasons, and has the last words of the most frequent one.
    """
    if made or not lost:
        return
    counts = by_reason(lost)
    most = next(iter(counts))
    words = next((said for said in reversed(lost) if said.startswith(f"{most}: ")), "").removeprefix(f"{most}: ")
    told = f" The last words of '{most}': {words}{'' if words[-1] in '.!?' else '.'}" if words else ""
    raise RunError(
        f"All {len(lost)} {what} were lost, so nothing is known about the policy. Reasons: {counted(counts)}.{told} "
        "Mend that, then run the command again, with --resume where it takes that."
    )
