"""JSON Schema's keywords as they are applied to what a model wrote: numbers as written, patterns and steps limited.

The rest is jsonschema's. A check that runs out of its limits stops as a whole with `LimitError`: inside `not`, `if`
or `oneOf` a rule that was not checked must not count as one that holds, nor as one that is broken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from fissile.calls import JSON
from fissile.tools.equality import as_written, is_number, json_equal, json_key
from fissile.tools.patterns import SlowPatternError, matches
from fissile.tools.references import NO_REMOTE_SCHEMAS, References

MAX_STEPS = 50_000
"""Keywords that one check may apply."""

MAX_SECONDS = 0.1
"""Processor time that the patterns of one check may take together."""

FORBIDDEN = "forbidden"
"""Stands for the keyword where a property must not be there at all."""

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]
"""(validator, the keyword's value, instance, the schema that holds it) -> what is wrong."""


class LimitError(Exception):
    """A check that takes too long: on the text that a pattern was matched with, None for too many steps."""

    def __init__(self, text: str | None = None, pattern: str = "") -> None:
        super().__init__(pattern)
        self.text = text
        self.pattern = pattern


@dataclass
class Check:
    """One validation under way, with the steps and the seconds of matching that are left."""

    references: References
    steps: int = MAX_STEPS
    seconds: float = MAX_SECONDS

    def step(self, count: int = 1) -> None:
        """Count a keyword, or several comparisons; LimitError where it was one too many."""
        self.steps -= count
        if self.steps < 0:
            raise LimitError

    def matches(self, pattern: str, text: str) -> bool:
        """True where the pattern occurs in the text; LimitError where the time is over."""
        start = time.process_time()
        try:
            return matches(pattern, text, self.seconds)
        except SlowPatternError:
            raise LimitError(text, pattern) from None
        finally:
            self.seconds -= time.process_time() - start

    def violations(self, validator: Any, value: JSON) -> list[ValidationError]:
        """What a `validator_of` a schema finds wrong, as jsonschema says it; LimitError if it takes too long."""
        token = _check.set(self)
        try:
            return list(validator.iter_errors(value))
        finally:
            _check.reset(token)


_check: ContextVar[Check] = ContextVar("check")


def _properties(validator: Any, rules: dict[str, JSON], value: JSON, _schema: JSON) -> Iterator[ValidationError]:
    for name, rule in rules.items() if isinstance(value, dict) else ():
        if name in value:
            yield from _descend(validator, value[name], rule, name)


def _pattern_properties(validator: Any, patterns: JSON, value: JSON, _schema: JSON) -> Iterator[ValidationError]:
    for pattern, rule in patterns.items() if isinstance(value, dict) else ():
        for name, inner in value.items():
            if _check.get().matches(pattern, name):
                yield from _descend(validator, inner, rule, name)


def _additional_properties(validator: Any, rule: JSON, value: JSON, schema: JSON) -> Iterator[ValidationError]:
    for name in value if isinstance(value, dict) else ():
        if not _is_named(name, schema):
            yield from _descend(validator, value[name], rule, name)


def _unevaluated_properties(validator: Any, rule: JSON, value: JSON, schema: JSON) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        evaluated = _evaluated(validator, value, {key: schema[key] for key in schema if key != "unevaluatedProperties"})
        if (target := _check.get().references.target(schema)) is not True:
            evaluated |= _evaluated(validator, value, target)
        for name in value:
            if name not in evaluated:
                yield from _descend(validator, value[name], rule, name)


def _property_names(validator: Any, rule: JSON, value: JSON, _schema: JSON) -> Iterator[ValidationError]:
    for name in value if isinstance(value, dict) else ():
        if not validator.evolve(schema=rule).is_valid(name):
            yield ValidationError("is no allowed name", FORBIDDEN, path=[name])


def _reference(validator: Any, _reference: str, value: JSON, schema: JSON) -> Iterator[ValidationError]:
    yield from validator.descend(value, _check.get().references.target(schema))


def _descend(validator: Any, value: JSON, rule: JSON, name: str) -> Iterator[ValidationError]:
    """What is wrong with a property; jsonschema forgets the name where the rule is `false`."""
    if rule is False:
        yield ValidationError("is not allowed", FORBIDDEN, path=[name])
    else:
        yield from validator.descend(value, rule, path=name)


def _evaluated(validator: Any, value: dict[str, JSON], schema: JSON) -> set[str]:
    """The names of a value that a schema, and those that stand in place in it, speak of where they hold."""
    if not isinstance(schema, dict):
        return set()
    _check.get().step()
    names = {name for name in value if _is_named(name, schema)}
    if {"additionalProperties", "unevaluatedProperties"} & schema.keys():
        names |= set(value)
    holding = [schema.get("if"), *(schema.get(keyword) or [] for keyword in ("allOf", "anyOf", "oneOf"))]
    inside = [_check.get().references.target(schema)]
    inside += [inner for found in holding for inner in (found if isinstance(found, list) else [found])]
    inside += [rule for name, rule in schema.get("dependentSchemas", {}).items() if name in value]
    if "if" in schema:
        branch = "then" if validator.evolve(schema=schema["if"]).is_valid(value) else "else"
        inside.append(schema.get(branch))
    for inner in inside:
        if isinstance(inner, dict) and validator.evolve(schema=inner).is_valid(value):
            names |= _evaluated(validator, value, inner)
    return names


def _is_named(name: str, schema: dict[str, JSON]) -> bool:
    """True where a schema itself has a rule for that name."""
    patterns = schema.get("patternProperties", ())
    return name in schema.get("properties", ()) or any(_check.get().matches(pattern, name) for pattern in patterns)


def _holds(is_right: Callable[[Any, JSON], bool]) -> Keyword:
    """A keyword that says one thing of a value: `is_right(the keyword's value, the value)`."""

    def keyword(_validator: Any, rule: Any, value: JSON, _schema: JSON) -> Iterator[ValidationError]:
        if not is_right(rule, value):
            yield ValidationError("is not right")

    return keyword


def _is_matched(pattern: str, value: JSON) -> bool:
    return not isinstance(value, str) or _check.get().matches(pattern, value)


def _is_among(choices: list[JSON], value: JSON) -> bool:
    if isinstance(value, str):
        return value in choices
    _check.get().step(len(choices) // 4)
    return any(json_equal(value, choice) for choice in choices)


def _is_unique(unique: bool, value: JSON) -> bool:
    return not unique or not isinstance(value, list) or len(set(map(json_key, value))) == len(value)


def _of_numbers(is_right: Callable[[Fraction, Fraction], bool]) -> Keyword:
    """A keyword that compares a number with its own, both as people write them."""
    return _holds(lambda limit, value: not is_number(value) or is_right(as_written(value), as_written(limit)))


def _counted(keyword: Keyword) -> Keyword:
    def counted(validator: Any, rule: Any, value: JSON, schema: JSON) -> Iterator[ValidationError] | None:
        _check.get().step()
        return keyword(validator, rule, value, schema)

    return counted


_KEYWORDS: Mapping[str, Keyword] = {
    **Draft202012Validator.VALIDATORS,
    "$ref": _reference,
    "properties": _properties,
    "pattern": _holds(_is_matched),
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "unevaluatedProperties": _unevaluated_properties,
    "propertyNames": _property_names,
    "const": _holds(json_equal),
    "enum": _holds(_is_among),
    "uniqueItems": _holds(_is_unique),
    "multipleOf": _of_numbers(lambda value, factor: (value / factor).denominator == 1),
    "minimum": _of_numbers(lambda value, limit: value >= limit),
    "maximum": _of_numbers(lambda value, limit: value <= limit),
    "exclusiveMinimum": _of_numbers(lambda value, limit: value > limit),
    "exclusiveMaximum": _of_numbers(lambda value, limit: value < limit),
}

_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {name: _counted(keyword) for name, keyword in _KEYWORDS.items()}
)


def validator_of(schema: JSON) -> Any:
    """What applies a schema of draft 2020-12 to values, within a `Check`."""
    return _Validator(schema, registry=NO_REMOTE_SCHEMAS)
