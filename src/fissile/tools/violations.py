"""From what jsonschema finds wrong to typed errors: the keyword decides the kind, never a text.

A message states the violated rule in terms of the schema. Of alternatives (`anyOf`, `oneOf`) it is told what the one
that was meant demands, or all the types or values that they allow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema.exceptions import ValidationError

from fissile.calls import JSON, shorten
from fissile.errors import ErrorKind, ToolError
from fissile.tools.keywords import FORBIDDEN
from fissile.tools.types import json_type

MAX_RULE = 200
"""Characters of a rule that a message quotes."""


@dataclass(frozen=True)
class Reporter:
    """Words violations of one call of a tool, which stands in its attempt at `call_index`."""

    tool: str
    call_index: int | None

    def error(self, kind: ErrorKind, message: str, argument: str | None = None) -> ToolError:
        """A typed error of this call."""
        return ToolError(kind, message, self.call_index, self.tool, argument)

    def missing(self, argument: str) -> ToolError:
        """A required argument is absent."""
        message = f"{self.tool}() is missing the required argument '{argument}'."
        return self.error(ErrorKind.MISSING_ARGUMENT, message, argument)

    def unexpected(self, argument: str) -> ToolError:
        """The schema does not know the argument."""
        name = f"an unexpected argument '{argument}'" if argument else "an argument without a name"
        return self.error(ErrorKind.UNEXPECTED_ARGUMENT, f"{self.tool}() got {name}.", argument)

    def errors(self, violation: ValidationError) -> Iterator[ToolError]:
        """One violation as typed errors, at least one."""
        match violation.validator:
            case "required":
                instance: Any = violation.instance
                yield from (
                    self.missing(_inside(violation, name))
                    for name in _list(violation.validator_value)
                    if name not in instance
                )
            case "dependentRequired":
                yield from self._dependents(violation)
            case keyword if keyword == FORBIDDEN:
                yield self.unexpected(_path(violation))
            case "anyOf" | "oneOf":
                yield from self._alternatives(violation)
            case keyword:
                yield self._broken(violation, str(keyword))

    def _dependents(self, violation: ValidationError) -> Iterator[ToolError]:
        rule: Any = violation.validator_value
        instance: Any = violation.instance
        for name, needed in rule.items():
            for other in needed if name in instance else ():
                if other not in instance:
                    argument = _inside(violation, other)
                    message = f"{self.tool}() is missing the argument '{argument}', which '{name}' needs."
                    yield self.error(ErrorKind.MISSING_ARGUMENT, message, argument)

    def _broken(self, violation: ValidationError, keyword: str) -> ToolError:
        """A rule about one value."""
        path = _path(violation)
        rule: Any = violation.validator_value
        match keyword:
            case "type":
                return self._broken_type(violation, [rule] if isinstance(rule, str) else rule)
            case "enum":
                demand = f"must be one of {shown(rule)}"
            case "const":
                demand = f"must be {shown(rule)}"
            case "minProperties" | "maxProperties":
                demand = f"must have at {'least' if keyword == 'minProperties' else 'most'} {rule} entries"
            case "items" | "unevaluatedItems":
                demand = "must not have so many items"
            case "None":  # the schema `false`, in place
                demand = "is not allowed by its schema"
            case "not" | "contains":
                demand = f"violates '{keyword}': {shorten(json.dumps(rule, ensure_ascii=False), MAX_RULE)}"
            case _:
                demand = f"violates '{keyword}': {shorten(repr(rule), MAX_RULE)}"
        return self.error(ErrorKind.WRONG_VALUE, f"{self._subject(path)} {demand}.", path or None)

    def _broken_type(self, violation: ValidationError, types: Sequence[str]) -> ToolError:
        path = _path(violation)
        demand = f"must be of type {' or '.join(types)}, not {json_type(violation.instance)}"
        return self.error(ErrorKind.WRONG_TYPE, f"{self._subject(path)} {demand}.", path or None)

    def _alternatives(self, violation: ValidationError) -> Iterator[ToolError]:
        """What is wrong where none of several schemas holds, or more than one."""
        path, branches = _path(violation), _branches(violation)
        subject = self._subject(path)
        meant = [branch for branch in branches if _allowed_types(branch) is None]
        if not meant:
            yield self._of_no_alternative(violation, branches)
        elif choices := _choices(branches):
            yield self.error(ErrorKind.WRONG_VALUE, f"{subject} must be one of {shown(choices)}.", path or None)
        elif tag := _tag(meant):
            path = _inside(violation, tag[0])
            yield self.error(ErrorKind.WRONG_VALUE, f"argument '{path}' must be one of {shown(tag[1])}.", path)
        elif chosen := _chosen(meant):
            yield from (error for inner in chosen for error in self.errors(inner))
        elif shared := _shared_types(meant):
            yield self._broken_type(*shared)
        elif all(error.validator == "required" and not error.relative_path for branch in meant for error in branch):
            yield from self._one_of_several(violation, [_absent(branch) for branch in meant])
        else:
            message = f"{subject} fits none of the forms that its schema allows."
            yield self.error(ErrorKind.WRONG_VALUE, message, path or None)

    def _of_no_alternative(self, violation: ValidationError, branches: Sequence[list[ValidationError]]) -> ToolError:
        """A value of a type that no alternative allows, or one that fits several where it must fit one."""
        types = list(dict.fromkeys(name for branch in branches for name in _allowed_types(branch) or ()))
        if types:
            return self._broken_type(violation, types)
        path = _path(violation)
        demand = "is not allowed by its schema" if violation.context else "must fit one form of its schema, not several"
        return self.error(ErrorKind.WRONG_VALUE, f"{self._subject(path)} {demand}.", path or None)

    def _one_of_several(self, violation: ValidationError, absent: Sequence[list[str]]) -> Iterator[ToolError]:
        """Properties are missing: those that every alternative needs, or some of several."""
        common = [name for name in absent[0] if all(name in names for names in absent)]
        if common:
            yield from (self.missing(_inside(violation, name)) for name in common)
            return
        path = _path(violation)
        options = dict.fromkeys(" and ".join(map(repr, names)) for names in absent)
        message = f"{self._subject(path)} must have {', or '.join(options)}."
        yield self.error(ErrorKind.WRONG_VALUE if path else ErrorKind.MISSING_ARGUMENT, message, path or None)

    def _subject(self, path: str) -> str:
        return f"argument '{path}'" if path else f"the call of {self.tool}()"


def shown(value: JSON) -> str:
    """A value as a message quotes it: texts in single quotes; true, false and null as JSON has them."""
    match value:
        case list():
            return shorten(f"[{', '.join(map(shown, value))}]", 10 * MAX_RULE)
        case bool() | None | dict():
            return shorten(json.dumps(value, ensure_ascii=False), MAX_RULE)
        case _:
            return shorten(repr(value), MAX_RULE)


def _path(violation: ValidationError) -> str:
    return ".".join(map(str, violation.absolute_path))


def _inside(violation: ValidationError, name: str) -> str:
    """The path of a property of the value that a violation is about."""
    path = _path(violation)
    return f"{path}.{name}" if path else name


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else []


def _absent(branch: Sequence[ValidationError]) -> list[str]:
    """The required names that a branch misses."""
    missing = ((name, error.instance) for error in branch for name in _list(error.validator_value))
    return list(
        dict.fromkeys(name for name, instance in missing if not isinstance(instance, dict) or name not in instance)
    )


def _branches(violation: ValidationError) -> list[list[ValidationError]]:
    """The violations of each alternative; one that is `false` is none."""
    branches: dict[Any, list[ValidationError]] = {}
    for error in (error for error in violation.context or () if error.relative_schema_path):
        branches.setdefault(error.relative_schema_path[0], []).append(error)
    return list(branches.values())


def _allowed_types(branch: Sequence[ValidationError]) -> list[str] | None:
    """The types that an alternative allows, where the value is of none of them; None where its type is right."""
    for error in branch:
        if error.relative_path:
            continue
        if error.validator == "type":
            return _types(error)
        if error.validator in ("anyOf", "oneOf") and error.context:
            nested = [_allowed_types(inner) for inner in _branches(error)]
            if all(types is not None for types in nested):
                return [name for types in nested for name in types or ()]
    return None


def _choices(branches: Sequence[Sequence[ValidationError]]) -> list[JSON] | None:
    """The values that the alternatives allow, where each allows but a few; null is one of them."""
    choices: list[JSON] = []
    for branch in branches:
        here = {error.validator: error.validator_value for error in branch if not error.relative_path}
        if "enum" in here:
            choices += [value for value in _list(here["enum"]) if value not in choices]
        elif "const" in here:
            choices.append(here["const"])
        elif here.get("type") == "null":
            choices.append(None)
        else:
            return None
    return choices


def _tag(branches: Sequence[list[ValidationError]]) -> tuple[str, list[JSON]] | None:
    """The property by which alternatives differ, and its values, where the given one is of none of them."""
    tags = [next((error for error in branch if _is_tag(error)), None) for branch in branches]
    if len(branches) < 2 or len({error.relative_path[0] if error else None for error in tags}) > 1 or not tags[0]:
        return None
    values = [
        error.validator_value if error.validator == "enum" else [error.validator_value] for error in tags if error
    ]
    return str(tags[0].relative_path[0]), [value for some in values for value in _list(some)]


def _chosen(branches: Sequence[list[ValidationError]]) -> list[ValidationError] | None:
    """The alternative that was meant: the only one whose fixed values are right, or whose names are."""
    for is_other in (_is_tag, _is_about_names):
        left = [branch for branch in branches if not any(map(is_other, branch))]
        if len(left) == 1:
            return left[0]
        branches = left or branches
    return branches[0] if len(branches) == 1 else None


def _shared_types(branches: Sequence[list[ValidationError]]) -> tuple[ValidationError, list[str]] | None:
    """A part of the value whose type fits no alternative, and the types that they allow there."""
    for error in branches[0]:
        allowed = [_types_at(branch, error) for branch in branches]
        if all(allowed):
            return error, list(dict.fromkeys(name for types in allowed for name in types))
    return None


def _types_at(branch: list[ValidationError], error: ValidationError) -> list[str]:
    """The types that an alternative allows where another has an error; empty where those there are not wrong."""
    for other in branch:
        if other.validator == "type" and other.relative_path == error.relative_path:
            return _types(other)
    return []


def _types(error: ValidationError) -> list[str]:
    rule: Any = error.validator_value
    return [rule] if isinstance(rule, str) else list(rule)


def _is_tag(error: ValidationError) -> bool:
    """True for a property that must have another value, such as {"kind": {"const": "circle"}}."""
    return error.validator in ("const", "enum") and len(error.relative_path) == 1


def _is_about_names(error: ValidationError) -> bool:
    """True for a property that is missing, or that must not be there."""
    return error.validator in ("required", FORBIDDEN) and len(error.relative_path) <= 1
