"""Docstrings in the styles of Google, NumPy, Sphinx (reST) and Epydoc: the description, and a text for each argument.

`docstring_parser` reads them. It drops what stands between or behind the sections, so those paragraphs are moved to
their front; and where it would still lose a word, the docstring is kept whole as the description.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from docstring_parser import Docstring, DocstringParam, ParseError, epydoc, numpydoc, rest
from docstring_parser.common import DocstringExample, DocstringMeta, DocstringRaises, DocstringReturns
from docstring_parser.google import GoogleParser, Section, SectionType

_ARGUMENTS = ("Args", "Arguments", "Parameters", "Params", "Keyword Args", "Keyword Arguments", "Other Parameters")
_OUTCOMES = {"Returns": "returns", "Return": "returns", "Yields": "yields", "Raises": "raises", "Raise": "raises"}
_NOTES = ("Example", "Examples", "Note", "Notes", "Warning", "Warnings", "Usage", "Tip", "Important", "Deprecated")
_ASIDES = ("See Also", "References", "Todo", "Attributes")
_TITLES = (*_ARGUMENTS, *_OUTCOMES, *_NOTES, *_ASIDES)


def _sections() -> list[Section]:
    """The sections of Google's style, their titles in the usual cases."""
    keyed = [
        *((title, "param", SectionType.MULTIPLE) for title in _ARGUMENTS),
        *((title, key, SectionType.SINGULAR) for title, key in _OUTCOMES.items()),
        *((title, title.lower(), SectionType.SINGULAR) for title in (*_NOTES, *_ASIDES)),
    ]
    return [Section(spelt, key, kind) for title, key, kind in keyed for spelt in (title, title.lower(), title.upper())]


@dataclass(frozen=True)
class _Style:
    """One style: what matches where a docstring has a section, and the library's parser."""

    begins: re.Pattern[str]
    parse: Callable[[str], Docstring]
    section: re.Pattern[str] | None = None  # its first line; None where no indentation shows its end
    glued: bool = False  # a line without indentation right below a section still belongs to it


_TITLE = rf"(?:{'|'.join(_TITLES)}|{'|'.join(_TITLES).lower()}|{'|'.join(_TITLES).upper()})"
_UNDERLINED = re.compile(rf"^({_TITLE}):?[ \t]*\n-{{3,}}[ \t]*$", re.MULTILINE)
_FIELD = "(?:param|parameter|arg|argument|key|keyword|type|returns?|rtype|raises?|yields?)"
_HEADING = re.compile(rf"^{_TITLE}:[ \t]*$", re.MULTILINE)
_SPACED_TYPE = re.compile(
    r"^(:(?:param|parameter|arg|argument|key|keyword)) +([^:\n]*\S) +(\*{0,2}\w+ *:)", re.MULTILINE
)

_MARKS = (":", "@")
"""What begins a field, and no prose."""

_STYLES = (
    _Style(_UNDERLINED, numpydoc.parse),
    _Style(re.compile(rf"^:{_FIELD}\b[^:\n]*:", re.MULTILINE), rest.parse, re.compile(rf"^:{_FIELD}\b"), glued=True),
    _Style(re.compile(rf"^@{_FIELD}\b[^:\n]*:", re.MULTILINE), epydoc.parse, re.compile(rf"^@{_FIELD}\b"), glued=True),
    _Style(_HEADING, GoogleParser(_sections()).parse, _HEADING),
)


def read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, and the text of each argument that has one; each in one paragraph.

    Of a docstring without its indentation. The description holds everything but the arguments and what comes of
    a call (`Returns`, `Raises`). A text in which the sections cannot be told apart is a description as a whole.
    """
    for style in _STYLES:
        if style.begins.search(text):
            try:
                parsed = style.parse(_normal(text, style))
                documented: dict[str, str] = {}
                for name, told in _documented(parsed):  # one may be documented twice
                    documented[name] = f"{documented.get(name, '')} {told}".strip()
            except (ParseError, ValueError):
                break
            if _loses_words(text, parsed):
                break
            return _description(parsed), documented
    return _folded(text), {}


def _normal(text: str, style: _Style) -> str:
    """The text as the parsers want it: underlines as long as titles, types in one word, prose before the sections."""
    text = _UNDERLINED.sub(lambda title: f"{title[1]}\n{'-' * len(title[1])}", text)
    text = _SPACED_TYPE.sub(lambda field: f"{field[1]} {''.join(field[2].split())} {field[3]}", text)
    if style.section is None:
        return text
    prose: list[str] = []
    sections: list[str] = []
    target, above = prose, ""
    for line in text.splitlines():
        if style.section.match(line):
            target = sections
        elif target is sections and line[:1].strip() and not (style.glued and above.strip()):
            target = prose
            prose.append("")
        target.append(f" {line}" if target is prose and line[:1] in _MARKS else line)
        above = line
    return "\n".join([*prose, "", *sections])


def _documented(parsed: Docstring) -> Iterator[tuple[str, str]]:
    """Argument to its text. Raises ValueError where something else than an argument is documented as one."""
    for entry in parsed.meta:
        if not isinstance(entry, DocstringParam) or entry.args[0] == "attribute":
            continue
        for written in entry.arg_name.split(","):
            name = written.strip().lstrip("*\\")
            if not name.isidentifier() or name == "None":
                raise ValueError(f"{name!r} is no name of an argument")
            told = _told_type(entry.type_name or "")
            yield name, _folded(f"{entry.description or ''} {told}")


_OF_A_HINT = re.compile(
    r"(?i:str|string|text|int|integer|float|number|bool|boolean|list|dict|dictionary|map|mapping|tuple|set|array|object"
    r"|bytes|any|none|null|optional|of|or|and|sequence|iterable|union|date|datetime)|[A-Z]\w*|\w*\..*"
)


def _told_type(name: str) -> str:
    """A type as far as it says more than a type hint does: "{'c', 'f'}", "positive integer"."""
    is_hint = all(map(_OF_A_HINT.fullmatch, re.findall(r"[\w.]+", name)))
    return "" if is_hint and "'" not in name and '"' not in name else f"({name})"


def _description(parsed: Docstring) -> str:
    parts = [parsed.short_description or "", parsed.long_description or ""]
    for entry in parsed.meta:
        title = " ".join(entry.args).replace("_", " ")
        title = title.capitalize() if title.title() in _TITLES else title
        if isinstance(entry, DocstringParam | DocstringReturns | DocstringRaises) or title.title() in _ASIDES:
            continue
        snippet = entry.snippet or "" if isinstance(entry, DocstringExample) else ""
        parts.append(f"{title}: {snippet} {entry.description or ''}")
    return _folded(" ".join(parts))


def _loses_words(text: str, parsed: Docstring) -> bool:
    """True where a word of the text stands nowhere in what was parsed."""
    kept = [parsed.short_description, parsed.long_description, *_TITLES, "optional", "default", "or"]
    for entry in parsed.meta:
        kept += _texts(entry)
    lost = _words(text) - _words(" ".join(filter(None, kept)))
    return any(not re.fullmatch(_FIELD, word) for word in lost)


def _texts(entry: DocstringMeta) -> Iterator[str | None]:
    if not isinstance(entry, DocstringParam):
        yield from entry.args
    for name in ("arg_name", "type_name", "description", "snippet", "version", "default"):
        yield getattr(entry, name, None)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _folded(text: str) -> str:
    return " ".join(text.split())
