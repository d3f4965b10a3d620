"""A diagnosis taken apart: its clauses, with every name, quotation and list in them marked for what it is.

Patterns over raw text stumble over what is quoted in it: a right value that holds a full stop, an argument that is
called "type". So quotations, lists and names become marks before anything is looked for. In a clause ⟦A0⟧ is an
argument, ⟦T1⟧ a tool, ⟦Q2⟧ any other quotation and ⟦L3⟧ a list in brackets; `Clause.marks` holds what they stand for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from fissile.calls import JSON
from fissile.simulator.judging.vocabulary import Vocabulary

MAX_READ = 4000
"""Characters of a text that are read; the leak guard blocks what is longer."""

MarkKind = Literal["A", "T", "Q", "L"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a mark stands for.

    Attributes:
        kind: "A" argument, "T" tool or anything written as a call, "Q" quotation, "L" list.
        name: the argument's path, the tool's name, or what is quoted; of a list the text between the brackets.
        text: as it stood in the diagnosis.
        known: an argument or tool of the task, or one that the attempt wrote.
    """

    kind: MarkKind
    name: str
    text: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a diagnosis that says one thing.

    Attributes:
        text: with marks.
        marks: what they stand for, by number; shared by the clauses of a text.
        fields: arguments that a JSON body gives as the ones concerned.
        operation: the tool that a JSON body gives as the one concerned.
        code: the kind of error that a JSON body gives.
        is_error_body: the clause is what a JSON body gives as its error.
        line: number of the line, or of the string of a JSON body, that it stands in.
    """

    text: str
    marks: tuple[Mark, ...]
    line: int = 0
    fields: tuple[Mark, ...] = ()
    operation: Mark | None = None
    code: str = ""
    is_error_body: bool = False

    @property
    def words(self) -> str:
        """The clause as it was written."""
        return MARK.sub(lambda found: self.marks[int(found[2])].text, self.text)

    def marked(self, text: str | None = None, kinds: str = "ATQL") -> list[Mark]:
        """The marks of these kinds in a part of the clause, or in all of it."""
        found = MARK.finditer(self.text if text is None else text)
        return [self.marks[int(mark[2])] for mark in found if mark[1] in kinds]


MARK = re.compile(r"⟦([ATQL])(\d+)⟧")

_FIELD_KEYS = (
    "field",
    "fields",
    "argument",
    "arguments",
    "parameter",
    "param",
    "parameters",
    "property",
    "path",
    "loc",
)
_TOOL_KEYS = ("operation", "tool", "function", "name", "tool_name", "function_name")
_CODE_KEYS = ("code", "kind", "error_type", "error_code", "type", "status")
_QUIET_KEYS = frozenset({*_FIELD_KEYS, *_TOOL_KEYS, *_CODE_KEYS, "request", "id", "call", "call_id", "position"})


def clauses(text: str, vocabulary: Vocabulary) -> tuple[Clause, ...]:
    """The clauses of a diagnosis: of a JSON body those of its strings, each with the field that goes with it."""
    text = text[:MAX_READ].replace("⟦", "(").replace("⟧", ")")
    bodies = _bodies(text)
    marker = _Marker(vocabulary)
    if not any(body.fields or body.operation for body in bodies):
        marker.read_plain_words = not any(marker.quotes_argument(body.text) for body in bodies)
    return tuple(clause for line, body in enumerate(bodies) for clause in marker.clauses(body, line))


@dataclass(frozen=True, slots=True)
class _Body:
    """A text with what a JSON object says beside it."""

    text: str
    fields: tuple[str, ...] = ()
    operation: str = ""
    code: str = ""
    is_error: bool = False


def _bodies(text: str) -> list[_Body]:
    """The whole text or its lines as JSON, where they are; else as they stand."""
    whole = _json(text)
    if whole is not None:
        return list(_strings(whole, _Body("")))
    bodies = []
    for line in text.splitlines():
        value = _json(line)
        bodies += list(_strings(value, _Body(""))) if value is not None else [_Body(line)]
    return bodies


def _json(text: str) -> JSON:
    """The object or array that `text` is; None if it is none."""
    stripped = text.strip().removeprefix("```json").strip("`").strip()
    if not stripped.startswith(("{", "[{")):
        return None
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return None


def _strings(value: JSON, beside: _Body, depth: int = 0) -> Iterator[_Body]:
    """The strings in a JSON body that say something, each with the field, tool and code of its object."""
    if depth > 8:
        return
    match value:
        case dict():
            fields = [name for key in _FIELD_KEYS for name in _names(value.get(key))]
            operation = next((value[key] for key in _TOOL_KEYS if isinstance(value.get(key), str)), beside.operation)
            code = next((value[key] for key in _CODE_KEYS if isinstance(value.get(key), str)), beside.code)
            here = _Body("", tuple(fields) or beside.fields, operation, code, beside.is_error or "error" in value)
            said = [inner for key, inner in value.items() if key not in _QUIET_KEYS]
            if not any(isinstance(inner, (str, dict, list)) for inner in said):
                yield here
            for inner in said:
                yield from _strings(inner, here, depth + 1)
        case list():
            for inner in value:
                yield from _strings(inner, beside, depth + 1)
        case str():
            yield _Body(value, beside.fields, beside.operation, beside.code, beside.is_error)


def _names(value: JSON) -> Iterator[str]:
    if isinstance(value, list):
        yield from (str(name) for name in value if isinstance(name, (str, int)))
    elif isinstance(value, str) and value:
        yield value


_QUOTED = r"`[^`\n]{1,300}`|\"[^\"\n]{1,300}\"|“[^”\n]{1,300}”|‘[^’\n]{1,300}’|(?<!\w)'[^'\n]{1,300}'(?!\w)"
_TOKEN = re.compile(
    rf"""(?P<list>\[(?:'[^'\n]*'|"[^"\n]*"|[^\[\]'"\n]){{0,500}}\]|\{{(?:'[^'\n]*'|"[^"\n]*"|[^{{}}:'"\n]){{0,500}}\}})
      | (?P<quoted>{_QUOTED})
      | (?P<call>[A-Za-z_][\w.]*(?=\())(?:\(\))?
      | (?P<word>[A-Za-z_]\w*(?:\.\w+)*(?:\.\.\.)?)""",
    re.VERBOSE,
)
_MIXED = re.compile(r"[a-z][A-Z]|\.")
_OF_TOOL = re.compile(r"(?:tool|function|operation)s?(?: is)?(?: named| called)? *$")
_SENTENCE = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<=[.!?;])\s+|\n")
_CLAUSE = re.compile(
    r",? (?:but|while|whereas|although|so|because) (?=[^.]*⟦|\S+ )|(?:,|, and| and) (?=(?:the |its )?(?:\w+"
    r" )?⟦A\d+⟧ (?:is|was|must|should|has|needs)\b)"
)


_CONTRACTIONS = (("’", "'"), ("can't", "cannot"), ("won't", "will not"), ("n't", " not"))


@dataclass
class _Marker:
    """Puts marks into texts."""

    vocabulary: Vocabulary
    read_plain_words: bool = False
    marks: list[Mark] = field(default_factory=list)

    def quotes_argument(self, text: str) -> bool:
        """True where an argument is quoted."""
        quotations = (self._mark(found) for found in _TOKEN.finditer(text) if found["quoted"])
        return any(mark is not None and mark.kind == "A" for mark in quotations)

    def clauses(self, body: _Body, line: int) -> Iterator[Clause]:
        """The clauses of one text; at least one, since its JSON object may say all beside it."""
        fields = tuple(mark for name in body.fields for mark in self._fields(name))
        operation = self._operation(body.operation) if body.operation else None
        marked = _TOKEN.sub(self._replaced, body.text)
        if self.read_plain_words:
            for pattern, path in self.vocabulary.plain_names:
                marked = self._with_argument(marked, pattern, path)
        for short, long in _CONTRACTIONS:
            marked = marked.replace(short, long)
        parts = [part for sentence in _SENTENCE.split(marked) for part in _CLAUSE.split(sentence) if part.strip()]
        for part in parts or [""]:
            yield Clause(part.strip(), tuple(self.marks), line, fields, operation, body.code, body.is_error)

    def _with_argument(self, text: str, pattern: re.Pattern[str], path: str) -> str:
        return pattern.sub(lambda found: self._put(Mark("A", path, found[0])), text)

    def _fields(self, name: str) -> Sequence[Mark]:
        """A field may be one path, or several with commas between them."""
        names = [name] if self.vocabulary.argument(name) is not None else [part.strip() for part in name.split(", ")]
        paths: Mapping[str, str | None] = {part: self.vocabulary.argument(part) for part in names if part}
        return [Mark("A", path or part, part, path is not None) for part, path in paths.items()]

    def _operation(self, name: str) -> Mark:
        tool = self.vocabulary.tool(name)
        return Mark("T", tool or name, name, tool is not None)

    def _put(self, mark: Mark) -> str:
        self.marks.append(mark)
        return f"⟦{mark.kind}{len(self.marks) - 1}⟧"

    def _replaced(self, found: re.Match[str]) -> str:
        mark = self._mark(found)
        return found[0] if mark is None else self._put(mark)

    def _mark(self, found: re.Match[str]) -> Mark | None:
        """What a token stands for; None for a mere word."""
        if found["list"]:
            return Mark("L", found[0][1:-1], found[0])
        if found["call"]:
            tool = self.vocabulary.tool(found["call"])
            return Mark("T", tool or found["call"], found[0], tool is not None)
        quoted = found["quoted"]
        name = quoted[1:-1].strip() if quoted else found["word"]
        if self.vocabulary.tool(name) is None:  # a name that was cut is known with its three points
            name = name.removesuffix("...")
        has_underscore = "_" in name.strip("_")
        known = self._known(name, found) if quoted or has_underscore or _MIXED.search(name) else None
        is_stranger = name.lower() not in TYPE_WORDS if quoted else has_underscore
        return known or (Mark("Q", name, found[0], known=False) if is_stranger else None)

    def _known(self, name: str, found: re.Match[str]) -> Mark | None:
        """The argument or tool of that name, or the tool of which it is a call; in doubt what the words before say."""
        path, tool = self.vocabulary.argument(name), self.vocabulary.tool(name)
        if path is not None and (
            tool is None or not _OF_TOOL.search(found.string, max(0, found.start() - 40), found.start())
        ):
            return Mark("A", path, found[0])
        head = re.match(r"([A-Za-z_][\w.]*)\s*\(", name)
        tool = self.vocabulary.tool(head[1]) if head else tool
        return Mark("T", tool, found[0]) if tool is not None else None


TYPE_WORDS: Mapping[str, str] = {
    word: kind
    for kind, words in {
        "integer": "integer integers int ints",
        "number": "number numbers float floats double decimal numeric",
        "string": "string strings str text",
        "boolean": "boolean booleans bool bools",
        "array": "array arrays list lists tuple",
        "object": "object objects dict dicts dictionary dictionaries mapping map",
        "null": "null none nonetype",
    }.items()
    for word in words.split()
}
"""A word for a type to the type's name in JSON Schema."""
