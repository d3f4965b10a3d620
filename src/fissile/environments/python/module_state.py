"""State that tools keep in their module, where no episode has its own: found in the code, and refused."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from typing import Any

from fissile.errors import DataError

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_CONTAINERS = (MutableMapping, MutableSequence, MutableSet, deque)
_WRITERS = frozenset(
    (
        *("add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "insert"),
        *("intersection_update", "pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort"),
        *("subtract", "symmetric_difference_update", "update"),
    )
)
"""Methods of Python's containers that change them."""
_PARTS = frozenset({"get", "setdefault", "values", "items", "elements"})
"""Methods that hand out what a container holds."""


def refuse_module_state(names: Iterable[str], code: bytes | str, namespace: Mapping[str, Any]) -> None:
    """Refuse tools that write to variables of their module, themselves or through what they call there.

    Such state is neither set back between episodes nor compared, and each worker has its own.

    Args:
        names: of functions or classes at the module's top.
        code: of the module.
        namespace: what the module holds.

    Raises:
        DataError: one writes; the message names the variable and the function.
    """
    tree = ast.parse(code)
    defined = {node.name: node for node in tree.body if isinstance(node, _Definition)}
    variables = {name.id for node in _top(tree) for name in _stored(node)} | defined.keys()
    waiting, seen = [name for name in names if name in defined], set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        for function in ast.walk(defined[name]):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for line, variable in _written(function, variables, defined, namespace):
                raise DataError(
                    f"{function.name}() writes to '{variable}' of its module (line {line}), which all episodes would "
                    "share. Write a class whose methods are the tools, and set it in __init__ "
                    f"('self.{variable.strip('_').lower()} = ...'): its instance is the state of an episode. What is "
                    "only a cache belongs behind functools.cache."
                )
        waiting += [one.id for one in ast.walk(defined[name]) if isinstance(one, ast.Name) and one.id in defined]


def _top(tree: ast.Module) -> Iterator[ast.AST]:
    """The statements that run at import, those under `if` and `try` among them."""
    waiting: list[ast.AST] = [*tree.body]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
            waiting += [
                child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt | ast.excepthandler)
            ]


def _stored(node: ast.AST) -> Iterator[ast.Name]:
    """The names that a statement binds."""
    targets: list[ast.expr] = []
    match node:
        case ast.Assign():
            targets = node.targets
        case ast.AnnAssign() | ast.AugAssign() | ast.For() | ast.AsyncFor() | ast.NamedExpr() | ast.comprehension():
            targets = [node.target]
        case ast.withitem(optional_vars=ast.expr() as target):
            targets = [target]
    for target in targets:
        parts = target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
        yield from (part for part in parts if isinstance(part, ast.Name))


def _written(
    function: _Function, variables: set[str], defined: Mapping[str, ast.AST], namespace: Mapping[str, Any]
) -> Iterator[tuple[int, str]]:
    """(line, variable of the module) of each place in a function that changes one."""
    inner = [*_own_nodes(function)]
    said = {name for one in inner if isinstance(one, ast.Global) for name in one.names}
    stored = [name for one in inner for name in _stored(one)]
    yield from ((name.lineno, name.id) for name in stored if name.id in said)
    own = ({name.id for name in stored} | {one.arg for one in _parameters(function)}) - said
    yield from _changes(inner, {name: name for name in (variables | said) - own}, defined, namespace)


def _changes(
    inner: Sequence[ast.AST], meant: dict[str, str], defined: Mapping[str, ast.AST], namespace: Mapping[str, Any]
) -> Iterator[tuple[int, str]]:
    """(line, variable) of what changes a variable, under its own name or under one that holds a part of it.

    Args:
        inner: the function's nodes, in the order of the code.
        meant: name to the variable that it stands for; names of parts are added.
        defined: the functions and classes of the module.
        namespace: what the module holds.
    """
    bound: dict[str, list[str]] = {}
    for one in inner:  # after `order = ORDERS[id]`, order is a part of ORDERS
        found = _root(_value(one), meant)
        for name in _stored(one):
            bound.setdefault(name.id, []).append(found)
            meant |= {name.id: found} if found else {}
    for local, roots in bound.items():
        if "" in roots:  # it stands for something else, too, such as a copy
            meant.pop(local, None)
    for one in inner:
        line = getattr(one, "lineno", 0)
        match one:
            case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                pass
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                targets = [target]
            case ast.Call(func=ast.Attribute(attr=method, value=value)) if variable := _root(value, meant):
                if _writes(method, value, namespace.get(variable), defined):
                    yield line, variable
                continue
            case _:
                continue
        parts = (target for target in targets if isinstance(target, ast.Subscript | ast.Attribute))
        yield from ((line, variable) for target in parts if (variable := _root(target, meant)))


def _writes(method: str, owner: ast.expr, variable: Any, defined: Mapping[str, ast.AST]) -> bool:
    """Whether a method changes the variable, a container or an instance of the module's own class, or a part of it."""
    if method in _WRITERS and (isinstance(variable, _CONTAINERS) or not isinstance(owner, ast.Name)):
        return True
    kind = defined.get(type(variable).__name__)
    for node in kind.body if isinstance(kind, ast.ClassDef) else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == method:
            itself = {one.arg: "self" for one in _parameters(node)[:1]}
            return any(_changes([*_own_nodes(node)], itself, {}, {"self": {}}))
    return False


def _own_nodes(function: _Function) -> Iterator[ast.AST]:
    """What a function's body holds, in the order of the code, without the functions in it."""
    waiting: list[ast.AST] = [*reversed(function.body)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        yield node
        waiting += reversed([*ast.iter_child_nodes(node)])


def _parameters(function: _Function) -> list[ast.arg]:
    arguments = function.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [one for one in listed if one is not None]


def _value(node: ast.AST) -> ast.expr | None:
    """What a statement binds its names to, or to parts of."""
    match node:
        case ast.Assign() | ast.NamedExpr() | ast.AnnAssign():
            return node.value
        case ast.For() | ast.AsyncFor() | ast.comprehension():
            return node.iter
    return None


def _root(value: ast.expr | None, meant: dict[str, str]) -> str:
    """The variable that an expression is, or is a part of; "" for none."""
    while value is not None:
        match value:
            case ast.Name():
                return meant.get(value.id, "")
            case ast.Subscript() | ast.Attribute():
                value = value.value
            case ast.Call(func=ast.Attribute(attr=method) as method_of) if method in _PARTS:
                value = method_of.value
            case _:
                return ""
    return ""
