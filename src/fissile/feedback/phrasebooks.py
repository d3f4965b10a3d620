"""The words for a diagnosis: one table of sentences for each voice, keyed by error kind and hint.

`rules` reads like the run-time errors of Python, `service` like the error body of a web service. They state the same
findings in different sentences, so that a policy trained with one can be evaluated with the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fissile.calls import JSON
from fissile.errors import ErrorKind
from fissile.feedback.base import Failure
from fissile.feedback.fixed import FIXED_MESSAGE
from fissile.feedback.rules import Finding, Hint, find

MAX_NAME = 60
"""Longest name of the model's own that is repeated to it, in characters."""

MAX_OFFERED = 200
"""Longest name that is offered instead, in characters: one that is cut cannot be used."""

MAX_DETAIL = 300
"""Longest quotation of a parser or an environment, in characters."""

Sentences = dict[tuple[ErrorKind, Hint], str]
"""(kind, hint) -> sentence with {slots}. Where a hint has none, that of `Hint.NONE` stands in."""


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A feedback source that words the findings of `rules.find`."""

    name: str  # of the source
    word: Callable[[Sequence[Finding]], str]  # findings, at least one, to text

    def diagnose(self, failures: Sequence[Failure]) -> list[str]:
        """One text for each failure, in order; the fixed message where no error is on record."""
        return [self.word(findings) if (findings := find(failure)) else FIXED_MESSAGE for failure in failures]


PYTHON: Sentences = {
    (ErrorKind.MALFORMED_CALL, Hint.NONE): "SyntaxError: the tool call cannot be parsed ({detail}{position}).",
    (ErrorKind.TRUNCATED, Hint.NONE): "EOFError: the response was cut off before its tool call was complete.",
    (ErrorKind.MISSING_CALL, Hint.NONE): "RuntimeError: no tool was called; the tools are {names}.",
    (ErrorKind.MISSING_CALL, Hint.TOO_FEW): "RuntimeError: fewer tools were called than the user asked for.",
    (ErrorKind.EXTRA_CALL, Hint.NONE): "RuntimeError: more tools were called than the user asked for.",
    (ErrorKind.EXTRA_CALL, Hint.UNASKED): "RuntimeError: no tool fits what the user asked for; do not call any.",
    (ErrorKind.UNKNOWN_TOOL, Hint.NONE): "NameError: no tool is named '{tool}'; the tools are {names}.",
    (ErrorKind.WRONG_TOOL, Hint.NONE): "RuntimeError: {tool}() does not do what the user asked for; use another tool.",
    (ErrorKind.MISSING_ARGUMENT, Hint.NONE): "TypeError: {tool}() missing {count} required {noun}: {arguments}.",
    (
        ErrorKind.MISSING_ARGUMENT,
        Hint.NEEDED,
    ): "TypeError: {tool}() cannot do what the user asked for without {arguments}.",
    (ErrorKind.UNEXPECTED_ARGUMENT, Hint.NONE): "TypeError: {tool}() got an unexpected argument {arguments}.",
    (ErrorKind.UNEXPECTED_ARGUMENT, Hint.SIMILAR): (
        "TypeError: {tool}() got an unexpected argument {arguments}. Did you mean {names}?"
    ),
    (ErrorKind.UNEXPECTED_ARGUMENT, Hint.UNASKED): (
        "ValueError: argument {arguments} is not part of what the user asked for; leave it out."
    ),
    (ErrorKind.WRONG_TYPE, Hint.NONE): "TypeError: argument {arguments} must be {expected}, not {given}.",
    (ErrorKind.WRONG_VALUE, Hint.NONE): "ValueError: {tool}() was given a value that does not agree with the request.",
    (ErrorKind.WRONG_VALUE, Hint.CHOICES): "ValueError: argument {arguments} must be one of {choices}.",
    (ErrorKind.WRONG_VALUE, Hint.BOUND): "ValueError: argument {arguments} must {bound}.",
    (ErrorKind.WRONG_VALUE, Hint.PICK): (
        "ValueError: argument {arguments} must be the one of {choices} that the user asked for."
    ),
    (ErrorKind.WRONG_VALUE, Hint.OPTIONAL): (
        "ValueError: the value of {arguments} does not agree with the request; "
        "take it from the user's message or leave it out."
    ),
    (ErrorKind.WRONG_VALUE, Hint.COUNT): "ValueError: argument {arguments} has the wrong number of items.",
    (ErrorKind.WRONG_VALUE, Hint.IN_MESSAGE): (
        "ValueError: the value of {arguments} does not agree with the request; take it from the user's message."
    ),
    (ErrorKind.WRONG_VALUE, Hint.FORM): (
        "ValueError: the value of {arguments} does not agree with the request; "
        "write it in the form that the tool describes."
    ),
    (ErrorKind.WRONG_VALUE, Hint.DISAGREES): "ValueError: the value of {arguments} does not agree with the request.",
    (ErrorKind.MISSING_ARGUMENT, Hint.WHOLE): "TypeError: {detail}",
    (ErrorKind.UNEXPECTED_ARGUMENT, Hint.WHOLE): "TypeError: {detail}",
    (ErrorKind.WRONG_TYPE, Hint.WHOLE): "TypeError: {detail}",
    (ErrorKind.WRONG_VALUE, Hint.WHOLE): "ValueError: {detail}",
    (ErrorKind.TIMEOUT, Hint.WHOLE): "TimeoutError: {detail}",
    (ErrorKind.DOMAIN_ERROR, Hint.NONE): "RuntimeError: {tool}() failed: {detail}",
    (ErrorKind.EXCEPTION, Hint.NONE): "RuntimeError: {tool}() raised an exception: {detail}",
    (ErrorKind.TIMEOUT, Hint.NONE): "TimeoutError: {tool}() did not finish in time.",
    (ErrorKind.WRONG_STATE, Hint.NONE): "AssertionError: the calls ran, but did not do what the user asked for.",
}

SERVICE: Sentences = {
    (ErrorKind.MALFORMED_CALL, Hint.NONE): "Could not decode the request body: {detail}{position}",
    (ErrorKind.TRUNCATED, Hint.NONE): "The request body ended early. Send a shorter one.",
    (ErrorKind.MISSING_CALL, Hint.NONE): "An operation is expected here. Available: {names}",
    (ErrorKind.MISSING_CALL, Hint.TOO_FEW): "Part of the request was not served: further operations are expected.",
    (ErrorKind.EXTRA_CALL, Hint.NONE): "There are surplus operations. Send only those that the client requested.",
    (ErrorKind.EXTRA_CALL, Hint.UNASKED): "None of the operations applies to this client request.",
    (ErrorKind.UNKNOWN_TOOL, Hint.NONE): "No such operation. Available: {names}",
    (ErrorKind.WRONG_TOOL, Hint.NONE): "This operation does not serve the client request. Select a different one.",
    (ErrorKind.MISSING_ARGUMENT, Hint.NONE): "A mandatory field is absent.",
    (ErrorKind.MISSING_ARGUMENT, Hint.NEEDED): "The client request specifies this field too. Include it.",
    (ErrorKind.UNEXPECTED_ARGUMENT, Hint.NONE): "This field is not defined for the operation. Remove it.",
    (ErrorKind.UNEXPECTED_ARGUMENT, Hint.SIMILAR): (
        "This field is not defined for the operation. Closest match: {names}"
    ),
    (ErrorKind.UNEXPECTED_ARGUMENT, Hint.UNASKED): "The client request does not specify this field. Omit it.",
    (ErrorKind.WRONG_TYPE, Hint.NONE): "Type mismatch. Expected: {expected}. Received: {given}.",
    (ErrorKind.WRONG_VALUE, Hint.NONE): "Validation against the client request failed. Review every field.",
    (ErrorKind.WRONG_VALUE, Hint.CHOICES): "Unsupported option. Supported: {choices}",
    (ErrorKind.WRONG_VALUE, Hint.BOUND): "Constraint not met: {bound}",
    (ErrorKind.WRONG_VALUE, Hint.PICK): "A supported option, but not the requested one. Supported: {choices}",
    (ErrorKind.WRONG_VALUE, Hint.OPTIONAL): "Does not correspond to the client request. Correct this field or omit it.",
    (ErrorKind.WRONG_VALUE, Hint.COUNT): "The length of this array does not correspond to the client request.",
    (ErrorKind.WRONG_VALUE, Hint.IN_MESSAGE): "Does not correspond to the client request. Copy what the client wrote.",
    (ErrorKind.WRONG_VALUE, Hint.FORM): (
        "Does not correspond to the client request. Check the documented notation and unit of this field."
    ),
    (ErrorKind.WRONG_VALUE, Hint.DISAGREES): "Does not correspond to the client request.",
    (ErrorKind.MISSING_ARGUMENT, Hint.WHOLE): "The fields do not go together: {detail}",
    (ErrorKind.UNEXPECTED_ARGUMENT, Hint.WHOLE): "This field has no name. Remove it.",
    (ErrorKind.WRONG_TYPE, Hint.WHOLE): "The fields do not go together: {detail}",
    (ErrorKind.WRONG_VALUE, Hint.WHOLE): "The fields do not go together: {detail}",
    (ErrorKind.TIMEOUT, Hint.WHOLE): "Validation was given up: {detail}",
    (ErrorKind.DOMAIN_ERROR, Hint.NONE): "The operation was refused: {detail}",
    (ErrorKind.EXCEPTION, Hint.NONE): "Internal failure of the operation: {detail}",
    (ErrorKind.TIMEOUT, Hint.NONE): "The operation timed out.",
    (ErrorKind.WRONG_STATE, Hint.NONE): "The operations were served, but the client request is not satisfied.",
}

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")

_PYTHON_TYPES = {
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "boolean": "a boolean",
    "array": "a list",
    "object": "an object",
    "null": "null",
}

_PYTHON_BOUNDS = {
    "minimum": "be at least {0}",
    "maximum": "be at most {0}",
    "exclusiveMinimum": "be greater than {0}",
    "exclusiveMaximum": "be less than {0}",
    "multipleOf": "be a multiple of {0}",
    "minLength": "have at least {0} characters",
    "maxLength": "have at most {0} characters",
    "minItems": "have at least {0} items",
    "maxItems": "have at most {0} items",
    "uniqueItems": "not hold an item twice",
    "pattern": "match the pattern {0!r}",
}


def python_errors(findings: Sequence[Finding]) -> str:
    """One line for each finding, as the interpreter would end a traceback."""
    return "\n".join(map(_python_error, findings))


def service_body(findings: Sequence[Finding]) -> str:
    """A JSON body: {"error": {...}}, or {"errors": [...]} for several findings."""
    errors = [_service_error(finding) for finding in findings]
    body: JSON = {"error": errors[0]} if len(errors) == 1 else {"errors": errors}
    return json.dumps(body, ensure_ascii=False)


def _python_error(finding: Finding) -> str:
    where = f"in the {_ordinal(finding.call_index)} call: " if finding.call_index is not None else ""
    keyword, limit = finding.bound or ("", None)
    return where + _sentence(PYTHON, finding).format(
        tool=_folded(finding.tool, MAX_NAME),
        arguments=_listed(finding.arguments, " and "),
        count=len(finding.arguments),
        noun="argument" if len(finding.arguments) == 1 else "arguments",
        names=_listed(finding.names, ", ", MAX_OFFERED) or "those that were offered",
        expected=" or ".join(_PYTHON_TYPES.get(kind, kind) for kind in finding.expected) or "of another type",
        given=_PYTHON_TYPES.get(finding.given, finding.given),
        choices=list(finding.choices) or "the values that the tool lists",
        bound=_PYTHON_BOUNDS[keyword].format(limit) if keyword else "",
        detail=_folded(finding.detail, MAX_DETAIL),
        position="" if finding.position is None else f" at character {finding.position}",
    )


def _service_error(finding: Finding) -> JSON:
    keyword, limit = finding.bound or ("", None)
    message = _sentence(SERVICE, finding).format(
        names=" | ".join(_folded(name, MAX_OFFERED) for name in finding.names) or "see the documentation",
        expected=" | ".join(finding.expected) or "another one",
        given=finding.given,
        choices=" | ".join(map(str, finding.choices)) or "see the documentation",
        bound=f"{keyword} = {json.dumps(limit, ensure_ascii=False)}",
        detail=_folded(finding.detail, MAX_DETAIL),
        position="" if finding.position is None else f", offset {finding.position}",
    )
    fields = {
        "code": finding.kind.value,
        "request": _ordinal(finding.call_index) if finding.call_index is not None else "",
        "operation": _folded(finding.tool, MAX_NAME),
        "field": ", ".join(_folded(argument, MAX_NAME) for argument in finding.arguments),
        "message": message,
    }
    return {key: value for key, value in fields.items() if value}


def _sentence(sentences: Sentences, finding: Finding) -> str:
    return sentences.get((finding.kind, finding.hint)) or sentences[finding.kind, Hint.NONE]


def _ordinal(index: int) -> str:
    return _ORDINALS[index] if index < len(_ORDINALS) else "next"


def _listed(names: Sequence[str], separator: str, limit: int = MAX_NAME) -> str:
    return separator.join(f"'{_folded(name, limit)}'" for name in names)


def _folded(text: str, limit: int) -> str:
    """Text of a stranger on one line, cut to a length."""
    line = " ".join(text[: 2 * limit].split())
    return line if len(line) <= limit else f"{line[:limit]}..."


RULES = RuleSource("rules", python_errors)
SERVICE_RULES = RuleSource("service", service_body)
