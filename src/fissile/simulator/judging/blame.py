"""Whom a clause blames: the arguments that it names, apart from those that it offers, excuses or compares with."""

from __future__ import annotations

import re

from fissile.simulator.judging.kinds_said import expanded
from fissile.simulator.judging.passages import Clause, Mark

NAMES = r"((?:⟦[ATQL]\d+⟧(?:,? (?:and|or) |, | \| | / )?)+)"
SUGGESTION = re.compile(
    expanded(
        r"\b(?:did you mean|do you mean|you (?:probably |perhaps |may have |might have )?meant|perhaps|closest"
        r" match(?: is)?:?|\bclosest(?: name)?(?: is)?:?"
        r"|rename (?:it |⟦[AQ]\d+⟧ )?to|renamed(?: to)?|(?:is|it's|are) (?:called|named|spelled|spelt|written)"
        r"|(?:name|spelling|argument|parameter|field) is"
        r"|similar to|close to|resembles|looks like|instead use|try|use|(?:should|must) be|(?:takes?|accepts?"
        r"|knows?|has|have|are|is) (?:only )?"
        r"(?:(?:the )?(?:valid |known |accepted |defined )?{ARG}:? )?(?=⟦A\d+⟧(?:,|$|\.| and| or| \|))|(?:known"
        r"|valid|accepted|available|defined|right|correct|real|expected) {ARG}(?: name)?"
        r"(?: is| are)?:?|instead,?(?: of)? use) (?:the |an? )?(?:{ARG} )?(?:named |called )?"
    )
    + NAMES,
    re.IGNORECASE,
)
_EXCUSE = re.compile(
    expanded(
        r"(?:{A}(?: {ARG})?(?:,? and {A}|, {A})* (?:is|are|was|were|looks?|seems?) (?:all |both )?(?:fine|right"
        r"|correct|ok|okay|good|valid)\b"
        r"|(?:,| and|;) not {A}|\bapart from {A}|\bexcept (?:for )?{A})"
    ),
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    expanded(
        r"\b(?:than|after|before|like|unlike|alongside|beside|besides|next to|together with|in addition to|as well as"
        r"|instead of the one in|same (?:\w+ )?as) (?:the |that of |its )?(?:{ARG} |value of )?{A}(?! (?:is|was"
        r"|must|should|has|does))"
    ),
    re.IGNORECASE,
)
_LISTED_CHOICES = re.compile(r"⟦L\d+⟧|(?:,? ?(?:or|and|,|\||/) ?⟦[QA]\d+⟧){2,}")


def blamed(clause: Clause) -> list[Mark]:
    """The arguments that a clause names as wrong: not those that it offers, excuses, compares with or enumerates."""
    text = clause.text
    for pattern in (SUGGESTION, _LISTED_CHOICES, _EXCUSE, _REFERENCE):
        text = pattern.sub(" ", text)
    return [*clause.fields, *clause.marked(text, "A")]
