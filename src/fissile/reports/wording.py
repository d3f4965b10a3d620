"""How figures, stages and hostile text are written on the page."""

from __future__ import annotations

import json
import math
from typing import Any

from markupsafe import Markup

from fissile.calls import Attempt, ToolCall
from fissile.methods import METHODS, get_method
from fissile.statistics import Ratio

MAX_CHARACTERS = 4000
"""A longer text is cut, and the page says by how much."""

STAGES = {
    "base": "base model",
    "cold_start": "cold start",
    **{method.stage: method.title for method in map(get_method, METHODS.own)},
}
"""Stages in the order in which a run goes through them. Any other stage comes after them under its own name."""

NONE = "–"
"""Stands where there is no figure."""

_UNSEEN = (
    *(code for code in range(0x20) if chr(code) not in "\n\t"),  # C0 controls
    *range(0x7F, 0xA0),  # delete, C1 controls
    0xAD,  # soft hyphen
    *(0x061C, 0x200B, 0x200E, 0x200F),  # zero width, direction marks
    *range(0x2028, 0x202F),  # separators, bidirectional embeddings and overrides
    *range(0x2060, 0x2070),  # word joiner, bidirectional isolates
    *(0xFEFF, 0xFFFE, 0xFFFF),
    *range(0xD800, 0xE000),  # lone surrogates, which UTF-8 cannot hold
    *range(0xE0000, 0xE0080),  # tags: text that only a model sees
)
_SHOWN = {code: f"\u27e8U+{code:04X}\u27e9" for code in _UNSEEN}


def visible(value: Any) -> Any:
    """A string with its control and invisible characters written out; markup of ours and other types unchanged.

    Line feeds and tabs stay, as do the joiners that some scripts need. The template engine passes every value through
    this before it escapes it.
    """
    if value is None:
        return NONE
    if isinstance(value, str) and not isinstance(value, Markup):
        return value.translate(_SHOWN)
    return value


def shortened(text: str, limit: int = MAX_CHARACTERS) -> str:
    """`text`, or its beginning and the number of characters that were left out."""
    return text if len(text) <= limit else f"{text[:limit]} … {len(text) - limit:,} more characters"


def stage_title(stage: str) -> str:
    """`cold_start` as `cold start`."""
    return STAGES.get(stage, stage.replace("_", " "))


def phase_title(phase: str) -> str:
    """`evaluate_cold_start` as `evaluation of the cold start`."""
    before, separator, stage = phase.partition("evaluate_")
    if before or not separator:
        return f"training, {stage_title(phase)}" if phase in STAGES else phase.replace("_", " ")
    article = "the " if stage in ("base", "cold_start") or stage not in STAGES else ""
    return f"evaluation of {article}{stage_title(stage)}"


def plain(key: str) -> str:
    """`wrong_value` as `wrong value`."""
    return key.replace("_", " ")


def percent(share: float) -> str:
    """`0.0481` as `4.8 %`, with a space that does not break."""
    return f"{100 * share:.1f}\u00a0%"


def ratio_text(ratio: Ratio | None, is_share: bool = True) -> str:
    """The rate alone: `4.8 %`, or `1.03` for a mean; a dash where nothing was counted."""
    if ratio is None or ratio.rate is None:
        return NONE
    return percent(ratio.rate) if is_share else f"{ratio.rate:.2f}"


def interval_text(ratio: Ratio | None, is_share: bool = True) -> str:
    """`2.3 to 9.6`, in percent for a share; empty where there is no interval."""
    if ratio is None or ratio.low is None or ratio.high is None:
        return ""
    return f"{100 * ratio.low:.1f} to {100 * ratio.high:.1f}" if is_share else f"{ratio.low:.2f} to {ratio.high:.2f}"


def count_text(ratio: Ratio | None) -> str:
    """`7/146`."""
    return "" if ratio is None else f"{ratio.num:,}/{ratio.den:,}"


def figure(value: float) -> str:
    """Three significant digits, `0.810` and `38.0`, without an exponent where that stays short."""
    if value == 0:
        return "0"
    if not 1e-3 <= abs(value) < 1e7:
        return f"{value:.2e}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def tick_text(value: float) -> str:
    """The shortest form of a round value: `0.5`, `1,200`, `2e-05`."""
    return f"{value:,.0f}" if 1e3 <= abs(value) < 1e7 else f"{value:g}"


def memory(count: float) -> str:
    """Bytes as `1.42 GiB` or `812 MiB`."""
    gibibytes = count / 2**30
    return f"{gibibytes:.2f}\u00a0GiB" if gibibytes >= 1 else f"{count / 2**20:.0f}\u00a0MiB"


def plural(count: int, noun: str) -> str:
    """`1 step`, `40 steps`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(words: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def call_text(call: ToolCall) -> str:
    """A call as a person writes it, `name(argument=value)`, or the model's own text where it could not be parsed."""
    if not call.is_well_formed or call.name is None or not isinstance(call.arguments, dict):
        return shortened(call.text)
    written = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return shortened(f"{call.name}({', '.join(written)})")


def attempt_text(attempt: Attempt) -> str:
    """The calls of an attempt, one a line; without any, what was written instead."""
    if not attempt.calls:
        return shortened(attempt.text.strip()) or "(an empty response)"
    return "\n".join(call_text(call) for call in attempt.calls)
