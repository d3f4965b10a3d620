"""What a diagnosis states about the schema and the call: types, choices, bounds, names. Whether it is so: `truths`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from fissile.simulator.judging.blame import NAMES, SUGGESTION, blamed
from fissile.simulator.judging.kind_words import MISSING, UNEXPECTED, UNKNOWN_TOOL
from fissile.simulator.judging.kinds_said import KindsSaid, expanded
from fissile.simulator.judging.passages import MARK, TYPE_WORDS, Clause, Mark


class About(StrEnum):
    """What is stated."""

    TYPE = "type"
    """The schema wants a value of one of these types."""
    ITEM_TYPE = "item_type"
    """The schema wants items of one of these types."""
    GIVEN_TYPE = "given_type"
    """The attempt gave a value of this type."""
    CHOICES = "choices"
    """The schema enumerates exactly these."""
    EXAMPLES = "examples"
    """These are among what the schema enumerates."""
    BOUND = "bound"
    """The schema limits a value by this number."""
    PATTERN = "pattern"
    """The schema wants a value of this pattern."""
    MISSING = "missing"
    """The call lacks an argument that it needs."""
    UNEXPECTED = "unexpected"
    """The call has an argument that it must not have."""
    ARGUMENT = "argument"
    """There is such an argument."""
    NO_TOOL = "no_tool"
    """There is no such tool, and it was called."""
    TOOL = "tool"
    """There is such a tool."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    Attributes:
        about: what is stated.
        subject: the argument or tool that it is about.
        tool: the tool that the clause is about, "" if it names none.
        values: types, choices or numbers.
        words: the clause.
    """

    about: About
    subject: Mark
    tool: str = ""
    values: tuple[str, ...] = ()
    words: str = ""


def statements(clause: Clause, said: KindsSaid, before: Mark | None) -> Iterator[Statement]:
    """What a clause states.

    Args:
        clause: a clause that is nobody else's words.
        said: the kinds that it claims.
        before: the argument that was spoken of last.
    """
    tools = clause.marked(kinds="T")
    tool = next((mark.name for mark in tools if mark.known), clause.operation.name if clause.operation else "")
    for read in _READERS:
        for statement in read(_Place(clause, said, before)):
            yield replace(statement, tool=tool, words=clause.words)


@dataclass(frozen=True, slots=True)
class _Place:
    """A clause and what is known where it stands; see `statements`."""

    clause: Clause
    said: KindsSaid
    before: Mark | None

    def subjects(self, at: int) -> list[Mark]:
        """The arguments that something at this offset is about: those named last before it, or the body's field."""
        group: list[Mark] = []
        for found in _GROUP.finditer(self.clause.text[:at]):
            group = self.clause.marked(found[0])
        if group or self.clause.fields:
            return group or list(self.clause.fields)
        behind = self.clause.marked(SUGGESTION.sub(" ", self.clause.text[at:]), "A")
        return behind[:1] or ([self.before] if self.before else [])


_GROUP = re.compile(r"⟦A\d+⟧(?:(?:, and |, | and | or )⟦A\d+⟧)*")
"""Arguments that are spoken of together."""


_VALUES = r"(?P<values>⟦L\d+⟧|[^.;)]+)"
_CHOICES = re.compile(
    r"(?:(?:must|should|has to|needs to|can only|may only|can|may) be (?:exactly |only )?(?:the )?(?:one|any)(?:"
    r" out)? of(?: the following| these)?"
    r"(?: (?:values|choices|options))?:? "
    r"|\b(?:supported|allowed|valid|possible|accepted|permitted|available|legal|listed|known)"
    r" (?:values?|options?|choices?|ones|settings)(?: (?:for|of|here|in) (?:⟦A\d+⟧|the schema|it))?(?: are|:| is)"
    r" ?(?:only |either )?"
    r"|\b(?:supported|allowed|permitted|accepted|options|choices)(?: are|:) ?"
    r"|\b(?:choose|pick|select|take) (?:one )?(?:from|of|between|among|out of) (?:the following )?:?"
    r"|\bnot (?:one|any) of (?:the (?:choices|values|options|allowed \w+) )?|\bnot among (?=⟦L)|\b(?:must|should"
    r"|has to|needs to|can) be either (?=[^.]* or )"
    rf"|\b(?:only|just) (?=⟦[LQA]\d+⟧(?:,| or| and)))(?P<open>(?:such as|like|e\.g\.|for example|including|among"
    rf" others) )?{_VALUES}",
    re.IGNORECASE,
)
_OPEN = re.compile(r"\b(?:such as|like|e\.g\.|for example|including|among others|etc)\b|\.\.\.|…", re.IGNORECASE)
_NO_LIST = re.compile(r"^(?:the|those|what|its|see|these|which|that|you|when|as)\b", re.IGNORECASE)
_SEPARATOR = re.compile(r"\s*(?:,\s*(?:or|and)\b|,|\||/|\bor\b|\band\b)\s*")


def _choices(place: _Place) -> Iterator[Statement]:
    for found in _CHOICES.finditer(place.clause.text):
        values = _listed(found["values"], place.clause)
        if values:
            is_open = found["open"] or _OPEN.search(found["values"])
            for subject in place.subjects(found.start()):
                yield Statement(About.EXAMPLES if is_open else About.CHOICES, subject, values=values)
            return


def _listed(text: str, clause: Clause) -> tuple[str, ...]:
    """The choices that a text lists: a list in brackets, quotations, or words with commas between them."""
    lists = clause.marked(text, "L")
    if lists:
        return _list_items(lists[0].name)
    if " | " in text:
        return tuple(_unmarked(item, clause).strip() for item in text.split(" | ") if item.strip())
    quoted = re.match(r"(?:either |only )?((?:⟦[AQT]\d+⟧(?:\s*(?:,\s*(?:or|and)?|\||/|or|and)\s*)?)+)", text.strip())
    named = clause.marked(quoted[1]) if quoted else []
    if named and all(mark.text != mark.name for mark in named):
        return tuple(mark.name for mark in named)
    if _NO_LIST.match(text.strip()) or not _SEPARATOR.search(text):
        return ()
    items = [item.strip() for item in _SEPARATOR.split(_OPEN.sub("", text.strip().rstrip(".!?")))]
    written = [_unmarked(item, clause) for item in items if item]
    return tuple(written) if all(len(item.split()) <= 4 for item in written) else ()


def _unmarked(text: str, clause: Clause) -> str:
    return MARK.sub(lambda found: clause.marks[int(found[2])].name, text)


def _list_items(text: str) -> tuple[str, ...]:
    """The items of a list as Python or JSON writes it, or of bare words."""
    items = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|([^\s,'\"][^,'\"]*)", text)
    return tuple("".join(parts).replace("\\'", "'").strip() for parts in items if "".join(parts).strip())


_TYPES = r"(?P<{name}>{{TYPE}}(?:(?: or |\s?\|\s?|/)(?:an? )?{{TYPE}})*)(?: of (?P<{name}_items>{{TYPE}}))?"
_WANTED = re.compile(
    expanded(
        r"(?:\b(?:must|should|has to|have to|needs? to|ought to|shall|can only) be (?:given |passed |provided "
        r"|sent |written |all )?(?:as )?(?:of (?:the )?type )?"
        r"|\b(?:expects?|expected|expecting|requires|takes|wants|needs|accepts)(?: only)?:? (?:type |the type "
        r"|values of type )?"
        r"|\bis not (?:of type |a valid )?(?=(?:an? )?{TYPE}\W*$)|\b(?:pass|write|give|send|use|provide|supply"
        r"|make|turn|convert)(?: it| ⟦A\d+⟧)?(?: as| into| to)? (?=an? ))"
        r"(?:an? |one |single |plain |json |valid |positive |the )*"
        + _TYPES.format(name="wanted")
        + r"(?! (?:that is|you|was|is) )"
    ),
    re.IGNORECASE,
)
_GIVEN = re.compile(
    expanded(
        r"(?:\b(?:but|it|⟦A\d+⟧|you|we|call|value|and)? ?(?:got|(?:was|were|is|are)(?: given| passed| sent|"
        r" provided| written)?|given|passed|received|sent|wrote|written"
        r"|provided|supplied|gave)(?: it)?(?: as)?:? (?!not)(?:an? )?|, not |\binstead of |\brather than |\band"
        r" not )(?:an? |the )?(?:json )?"
        + _TYPES.format(name="given")
        + r"(?! (?:is|was|are)? ?(?:expected|required|needed|wanted))(?! of)"
    ),
    re.IGNORECASE,
)
_REVERSED = re.compile(
    expanded(
        r"\b(?:is|was|got|given|passed|received|sent|written|wrote|provided)(?: as)? (?:an? )?(?P<given>{TYPE})"
        r" (?:instead of|rather than|where|when|but) "
        r"(?:the schema |it |⟦[AT]\d+⟧ )?(?:(?:expects|wants|needs|requires|takes|must be|should be|has to be)"
        r" )?(?:an? )?(?P<wanted>{TYPE})"
    ),
    re.IGNORECASE,
)
_ITEMS = re.compile(r"\b(?:each|every|all|items?|elements?|entries|members?|values in|contents)\b", re.IGNORECASE)


def _types(place: _Place) -> Iterator[Statement]:
    text, item_type = place.clause.text, bool(_ITEMS.search(place.clause.text))
    wanted_about = About.ITEM_TYPE if item_type else About.TYPE
    reversed_ = _REVERSED.search(text)
    if reversed_:
        for subject in place.subjects(reversed_.start()):
            yield Statement(wanted_about, subject, values=_type_names(reversed_["wanted"]))
            if not item_type:
                yield Statement(About.GIVEN_TYPE, subject, values=_type_names(reversed_["given"]))
        return
    wanted = _WANTED.search(text)
    if wanted:
        for subject in place.subjects(wanted.start()):
            yield Statement(wanted_about, subject, values=_type_names(wanted["wanted"]))
            if wanted["wanted_items"]:
                yield Statement(About.ITEM_TYPE, subject, values=_type_names(wanted["wanted_items"]))
    given = _GIVEN.search(text, wanted.end() if wanted else 0) or (_GIVEN.search(text) if not wanted else None)
    if given and not item_type:
        for subject in place.subjects(given.start()):
            yield Statement(About.GIVEN_TYPE, subject, values=_type_names(given["given"]))


def _type_names(words: str) -> tuple[str, ...]:
    """The JSON Schema names of "an integer or a list"."""
    lowered = (
        words.lower().replace("true or false", "boolean").replace("true/false", "boolean").replace("whole ", "int ")
    )
    found = [TYPE_WORDS[word] for word in re.findall(r"[a-z]+", lowered) if word in TYPE_WORDS]
    return tuple(dict.fromkeys(found[:1] if lowered.startswith("int number") else found))


_NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
_NUMBER = rf"-?\d+(?:\.\d+)?|{'|'.join(_NUMBER_WORDS)}"
_BOUND = re.compile(
    r"\b(?:at least|at most|no (?:more|less|fewer|greater|longer) than|greater than(?: or equal to)?|more than"
    r"|less than(?: or equal to)?|larger than"
    r"|smaller than|below|above|up to|multiple of|maximum(?: of| is)?|minimum(?: of| is)?|between|exceeds?|longer"
    r" than|shorter than"
    r"|(?:exclusive)?(?:minimum|maximum)|multipleOf|(?:min|max)(?:Length|Items)) ?[=:]? ?"
    rf"(?P<number>{_NUMBER})\b(?: and (?P<second>{_NUMBER})\b)?",
    re.IGNORECASE,
)
_BOUND_CUE = re.compile(
    r"\b(?:must|should|has to|have to|cannot|can only|may not|constraint|limit|allowed|range|needs)\b", re.IGNORECASE
)
_PATTERN = re.compile(r"\bpattern (?:= )?⟦Q(\d+)⟧")


def _bounds(place: _Place) -> Iterator[Statement]:
    for found in _BOUND.finditer(place.clause.text) if _BOUND_CUE.search(place.clause.text) else ():
        numbers = tuple(_NUMBER_WORDS.get(number.lower(), number) for number in found.groups() if number)
        for subject in place.subjects(found.start()):
            yield Statement(About.BOUND, subject, values=numbers)
    for found in _PATTERN.finditer(place.clause.text):
        for subject in place.subjects(found.start()):
            yield Statement(About.PATTERN, subject, values=(place.clause.marks[int(found[1])].name,))


_NAMED_ARGUMENT = re.compile(
    expanded(
        r"\b{ARG}(?: is)?(?: named| called)?:? ?(⟦Q\d+⟧)|(⟦Q\d+⟧)(?: is an?)? (?:\w+ )?(?:argument|parameter)s?\b"
        r"|\bmissing (⟦Q\d+⟧)|\bunexpected (⟦Q\d+⟧)"
    ),
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")


def _presence(place: _Place) -> Iterator[Statement]:
    """Arguments that are said to be missing or too many, and names of arguments that there are not."""
    strangers = [mark for mark in place.clause.fields if not mark.known]
    for found in _NAMED_ARGUMENT.finditer(place.clause.text):
        strangers += [mark for mark in place.clause.marked(found[0], "Q") if _IDENTIFIER.fullmatch(mark.name)]
    for mark in strangers:
        yield Statement(About.ARGUMENT, mark)
    for kinds, about in ((MISSING, About.MISSING), (UNEXPECTED, About.UNEXPECTED)):
        if kinds in place.said.told and len([told for told in place.said.told if told in (MISSING, UNEXPECTED)]) == 1:
            yield from (Statement(about, mark) for mark in blamed(place.clause) if mark.known)
    for span in SUGGESTION.finditer(place.clause.text):
        if (
            UNEXPECTED in place.said.told
            or MISSING in place.said.told
            or re.match(r"did you|closest|rename", span[0], re.IGNORECASE)
        ):
            for mark in place.clause.marked(span[1], "Q"):
                if _IDENTIFIER.fullmatch(mark.name):
                    yield Statement(About.ARGUMENT, mark)


_NAMED_TOOL = re.compile(
    expanded(r"\b{TOOL}(?: is| are| named| called)* (⟦[QT]\d+⟧)|(⟦Q\d+⟧) (?:tool|function|operation)\b"), re.IGNORECASE
)
_TOOL_LIST = re.compile(
    expanded(
        rf"\b(?:tools|functions|operations|ones|names)(?: that were offered| on offer)?(?: are|:) {NAMES}"
        rf"|\bavailable: (?P<bare>[^.]+)"
    ),
    re.IGNORECASE,
)


def _tools(place: _Place) -> Iterator[Statement]:
    """Tools that are said not to exist, and names of tools that there are not."""
    text = place.clause.text
    listed = _TOOL_LIST.search(text)
    offered: list[Mark] = []
    if listed and listed["bare"]:
        offered = [mark for mark in place.clause.marked(listed["bare"]) if _IDENTIFIER.fullmatch(mark.name)]
    elif listed:
        offered = place.clause.marked(listed[0])
    yield from (Statement(About.TOOL, mark) for mark in offered)
    denied = []
    if UNKNOWN_TOOL in place.said.told:
        rest = text.replace(listed[0], " ") if listed else text
        denied = place.clause.marked(rest, "TQA")[:1]
        denied = denied or ([place.clause.operation] if place.clause.operation else [])
        yield from (Statement(About.NO_TOOL, mark) for mark in denied)
    named = [mark for found in _NAMED_TOOL.finditer(text) for mark in place.clause.marked(found[0])]
    named += [mark for mark in place.clause.marked(kinds="T") if not mark.known]
    named += [place.clause.operation] if place.clause.operation else []
    for mark in named:
        if not mark.known and mark not in denied and _IDENTIFIER.fullmatch(mark.name):
            yield Statement(About.TOOL, mark)


Reader = Callable[[_Place], Iterator[Statement]]

_READERS: tuple[Reader, ...] = (_types, _choices, _bounds, _presence, _tools)
