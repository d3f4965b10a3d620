"""How good one diagnosis is: does it leak, and does it say the right kind, tool, argument and rule.

Fields are judged by equality with what the judge set (`fissile.simulator.typed.truths`). Of free text nothing is known
but the names in it: it is judged by the argument and the tool that it names. Which kind of error it states, and whether
what it says is true, is not judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fissile.feedback import Failure, LeakGuard
from fissile.simulator.reply import Said
from fissile.simulator.typed import truths, without_indices

MAX_READ = 4000
"""Characters of a text in which names are looked for; the leak guard blocks what is longer."""

_QUOTES = "['\"`]"


@dataclass(frozen=True, slots=True)
class Assessment:
    """One diagnosis judged.

    Attributes:
        leak: why the leak guard blocks its sentence, "" if it does not.
        right_kind: its kind is that of an error that is there; None for free text.
        right_tool: its tool is that of one, or free text names it; None where no tool is concerned.
        right_field: its argument is that of one; free text names one, and none that was written and is right. None
            where no argument is wrong.
        right_whole: kind, tool, argument and rule are those of one error; None for free text.
        characters: length of the sentence.
        words: its length in words.
        lines: its lines that are not blank.
    """

    leak: str
    right_kind: bool | None
    right_tool: bool | None
    right_field: bool | None
    right_whole: bool | None
    characters: int
    words: int
    lines: int


def assess(said: Said, failure: Failure) -> Assessment:
    """Judge a diagnosis of `failure`. Never raises, whatever its text."""
    true, sentence, fields = truths(failure), said.sentence, said.fields
    tools = {one.tool for one in true if one.tool}
    wrong = {one.argument for one in true if one.argument}
    if fields is None:
        has_tool, has_argument = bool(named(sentence, tools)), _blames(sentence, wrong, failure)
    else:
        has_tool, has_argument = fields.tool in tools, fields.argument in wrong
    return Assessment(
        leak=LeakGuard().check(sentence, failure),
        right_kind=None if fields is None else any(fields.kind is one.kind for one in true),
        right_tool=has_tool if tools else None,
        right_field=has_argument if wrong else None,
        right_whole=None if fields is None else fields in true,
        characters=len(sentence),
        words=len(sentence.split()),
        lines=sum(1 for line in sentence.splitlines() if line.strip()),
    )


def _blames(text: str, wrong: set[str], failure: Failure) -> bool:
    """True where it names a wrong argument, and none that was written and is right."""
    written = {without_indices(name) for call in failure.attempt.calls for name in call.arguments or ()}
    right = {name for name in written if not any(f"{one}.".startswith(f"{name}.") for one in wrong)}
    return bool(named(text, wrong)) and not named(text, right)


def named(text: str, names: set[str]) -> set[str]:
    """The names that stand in a text: in quotes, or bare where they cannot be words of a sentence."""
    return {name for name in names if re.search(_pattern(name), text[:MAX_READ])}


def _pattern(name: str) -> str:
    """Also with the indices of lists in it: "items.0.name"."""
    path = r"(?:\.\d+)*\.".join(map(re.escape, name.split("."))) + r"(?:\.\d+)*"
    bare = rf"(?<![\w.]){path}(?!\w)"
    if name.isalpha() and name.lower() == name:
        return rf"(?<={_QUOTES}){bare}|{bare}(?={_QUOTES}|\()"
    return bare
