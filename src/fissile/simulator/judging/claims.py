"""What a diagnosis claims: which kinds of error, which arguments it blames, what it states about the schema.

The text may be of any voice: a phrasebook's, a world's, a language model's. It is parsed by tables of patterns, never
evaluated. What cannot be read claims nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fissile.errors import ErrorKind
from fissile.feedback import Failure
from fissile.simulator.judging.blame import blamed
from fissile.simulator.judging.kind_words import MISSING, REJECTED, TYPED, UNEXPECTED, Kinds
from fissile.simulator.judging.kinds_said import KindsSaid, expanded, kinds_said
from fissile.simulator.judging.passages import Clause, Mark, clauses
from fissile.simulator.judging.statements import About, Statement, statements
from fissile.simulator.judging.vocabulary import Vocabulary

_FAILED_TOOL = re.compile(expanded(r"{T} (?:failed|raised)"))
_CODES = {kind.value: kind for kind in ErrorKind}
_SAYS_NOTHING = re.compile(
    r"^(?:error|an error occurred|something went wrong|you made a mistake|mistake|failed|failure|wrong|please|try again"
    r"|\W)*$",
    re.IGNORECASE,
)
"""The body of an error that says no more than that there was one."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a diagnosis claims.

    Attributes:
        kinds: sets of kinds; each says that one of its kinds is there.
        blamed: paths of the arguments that are said to be wrong.
        statements: on the schema and the call.
    """

    kinds: tuple[Kinds, ...] = ()
    blamed: frozenset[str] = frozenset()
    statements: tuple[Statement, ...] = ()


def read_claims(text: str, failure: Failure) -> Claims:
    """What `text` claims as a diagnosis of `failure`. Never raises, whatever the text."""
    told: list[Kinds] = []
    hinted: list[Kinds] = []
    named: list[str] = []
    stated: list[Statement] = []
    before: Mark | None = None
    quoted_line: int | None = None
    for clause in clauses(text, Vocabulary(failure)):
        if clause.line == quoted_line:
            continue
        said = kinds_said(clause.text)
        if said.quotes:
            quoted_line = clause.line
            stated += _of_invented_tool(clause)
        code = _CODES.get(clause.code.lower())
        told += _with_code(said, code)
        hinted += said.hinted
        if clause.is_error_body and not _SAYS_NOTHING.match(clause.text):
            hinted.append(REJECTED)
        marks = clause.fields if said.quotes and TYPED not in said.told else blamed(clause)
        named += [mark.name for mark in marks if mark.known]
        if not said.quotes:
            known = _with_presence(said, code)
            stated += statements(clause, known, before)
            before = next(iter(reversed(clause.marked(kinds="A"))), before)
    limits = any(statement.about in (About.CHOICES, About.EXAMPLES, About.BOUND) for statement in stated)
    if not told and (limits or (named and not hinted)):  # what is said of an argument, and no more, is of its value
        told.append(REJECTED)
    return Claims(tuple(dict.fromkeys(told or _narrowest(hinted))), frozenset(named), tuple(dict.fromkeys(stated)))


def _with_code(said: KindsSaid, code: ErrorKind | None) -> list[Kinds]:
    """What is told; a body's own code is the more exact word where its message may mean the same."""
    if code is None:
        return list(said.told)
    return [frozenset({code}), *(kinds for kinds in said.told if code not in kinds)]


def _with_presence(said: KindsSaid, code: ErrorKind | None) -> KindsSaid:
    presence = {ErrorKind.MISSING_ARGUMENT: MISSING, ErrorKind.UNEXPECTED_ARGUMENT: UNEXPECTED}
    kinds = presence.get(code) if code else None
    return KindsSaid((kinds,), said.hinted) if kinds and kinds not in said.told else said


def _of_invented_tool(clause: Clause) -> list[Statement]:
    """Even a clause that quotes must not invent the tool that failed."""
    found = _FAILED_TOOL.search(clause.text)
    marks = clause.marked(found[0]) if found else []
    return [Statement(About.TOOL, mark, words=clause.words) for mark in marks if not mark.known]


def _narrowest(hinted: list[Kinds]) -> list[Kinds]:
    """Of vague words the most exact: "TypeError: cannot ..." is about a type."""
    return sorted(hinted, key=len)[:1]
