"""References inside a schema: each is resolved once, and must lead to a schema of the same tool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from fissile.calls import JSON
from fissile.tools.normal import SchemaError
from fissile.tools.positions import all_schemas, in_place, inner_schemas

NO_REMOTE_SCHEMAS: Registry[Any] = Registry()
"""A `$ref` to a remote schema is an error; it is never fetched."""


class References:
    """The targets of all references of a schema.

    Raises:
        SchemaError: one that leads nowhere, outside of the schema, to what is no schema, or back to itself.
    """

    def __init__(self, schema: JSON) -> None:
        self._targets: dict[int, JSON] = {}
        self.places: dict[int, str] = {}
        root = NO_REMOTE_SCHEMAS.resolver_with_root(DRAFT202012.create_resource(schema))
        waiting: list[tuple[str, JSON, Any]] = [("", schema, root)]
        while waiting:
            path, node, resolver = waiting.pop()
            if not isinstance(node, dict):
                continue
            self.places[id(node)] = path
            inside = resolver.in_subresource(DRAFT202012.create_resource(node))
            if "$ref" in node:
                self._targets[id(node)] = _resolved(node["$ref"], inside, path)
            waiting += [(f"{path}.{place}" if path else place, inner, inside) for place, inner in inner_schemas(node)]
        for node in all_schemas(schema):
            target = self.target(node)
            if not isinstance(target, bool) and id(target) not in self.places:
                problem = f"'$ref': '{node['$ref']}' leads to what is no schema; put the definition under '$defs'"
                raise SchemaError(self.places[id(node)], problem)
        self._refuse_circles(schema)

    def target(self, node: dict[str, JSON]) -> JSON:
        """What the `$ref` of a schema refers to; True where it has none."""
        return self._targets.get(id(node), True)

    def same_value(self, node: JSON) -> Iterator[JSON]:
        """The schemas that speak of the same value as a schema: what it refers to, and what stands in place."""
        if isinstance(node, dict) and id(node) in self._targets:
            yield self._targets[id(node)]
        yield from in_place(node)

    def _refuse_circles(self, schema: JSON) -> None:
        """A schema whose rule is itself could never be applied."""
        done: set[int] = set()
        for start in all_schemas(schema):
            open_: list[tuple[JSON, Iterator[JSON]]] = [(start, self._rules(start))]
            on_way = {id(start)}
            while open_:
                node, rest = open_[-1]
                following = next(rest, None)
                if following is None:
                    open_.pop()
                    on_way.discard(id(node))
                    done.add(id(node))
                elif id(following) in on_way:
                    raise SchemaError(self.places[id(following)], "a '$ref' leads back to where it stands")
                elif isinstance(following, dict) and id(following) not in done:
                    on_way.add(id(following))
                    open_.append((following, self._rules(following)))

    def _rules(self, node: JSON) -> Iterator[JSON]:
        yield from (inner for inner in self.same_value(node) if isinstance(inner, dict))
        if isinstance(node.get("not"), dict):
            yield node["not"]


def _resolved(reference: JSON, resolver: Any, path: str) -> JSON:
    if not isinstance(reference, str):
        raise SchemaError(path, f"'$ref' must be a string, not {reference!r}")
    try:
        return resolver.lookup(reference).contents
    except (Unresolvable, ValueError, TypeError, LookupError, AttributeError):  # the last ones are the library's own
        name = reference.rpartition("/")[2] or "Name"
        problem = (
            f"'$ref': '{reference}' leads to nothing inside the tool's own schema, and nothing is fetched. "
            f"Put the definition under '$defs' and write '#/$defs/{name}'"
        )
        raise SchemaError(path, problem) from None
