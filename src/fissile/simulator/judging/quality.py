"""How good one diagnosis is: does it leak, does it name the right argument and kind, is it free of false statements.

Right or wrong is decided by the failure's record: its typed errors, the schemas, the call, and in a live world the
comparison with the turn's truth (`truths`). What a text claims is read by patterns (`claims`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fissile.calls import JSON
from fissile.feedback import Failure, LeakGuard
from fissile.simulator.judging.claims import Claims, read_claims
from fissile.simulator.judging.truths import Truths, false_words


@dataclass(frozen=True, slots=True)
class Assessment:
    """One diagnosis judged.

    Attributes:
        leak: why the leak guard blocks it, "" if it does not.
        right_field: it names at least one wrong argument and blames no right one; None where no argument is wrong.
        right_kind: it claims a kind of error that is there, and none that is not.
        false_statements: clauses that the schema or the call contradicts.
        characters: its length.
        words: its length in words.
        lines: lines that are not blank.
    """

    leak: str
    right_field: bool | None
    right_kind: bool
    false_statements: tuple[str, ...]
    characters: int
    words: int
    lines: int

    @property
    def is_empty(self) -> bool:
        """True for a text that says nothing at all."""
        return self.words == 0

    def to_dict(self) -> dict[str, JSON]:
        """A JSON-ready dict."""
        return {
            "leak": self.leak,
            "right_field": self.right_field,
            "right_kind": self.right_kind,
            "false_statements": list(self.false_statements),
            "characters": self.characters,
            "words": self.words,
            "lines": self.lines,
            "empty": self.is_empty,
        }


def assess(text: str, failure: Failure) -> Assessment:
    """Judge `text` as a diagnosis of `failure`. Never raises, whatever the text."""
    claims, truths = read_claims(text, failure), Truths(failure)
    return Assessment(
        leak=LeakGuard().check(text, failure),
        right_field=_right_field(claims, truths),
        right_kind=_right_kind(claims, truths),
        false_statements=tuple(false_words(truths, claims.statements)),
        characters=len(text),
        words=len(re.findall(r"\S+", text)),
        lines=sum(1 for line in text.splitlines() if line.strip()),
    )


def _right_field(claims: Claims, truths: Truths) -> bool | None:
    if not truths.wrong:
        return None
    return bool(claims.blamed) and all(map(truths.is_wrong, claims.blamed))


def _right_kind(claims: Claims, truths: Truths) -> bool:
    return bool(claims.kinds) and all(kinds & truths.kinds for kinds in claims.kinds)
