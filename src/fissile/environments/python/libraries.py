"""Arrays and tables of numpy, pandas, torch, polars, pyarrow, scipy and their like, known by their methods alone.

Their `repr` shows the ends of what is long and hides the middle; here all of it is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

UNKNOWN = object()
"""What `simpler` gives for a value that no rule knows."""


def simpler(value: Any) -> Any:
    """A value of plain Python types that holds all that an array, a number or a table holds; else `UNKNOWN`.

    A table is a list of records, with its index where that says something; a series a list, or an object by its index;
    "not a time" and "not available" are None. Elements may be of any type.
    """
    if is_missing(value):
        return None
    return next((found for rule in _RULES if (found := rule(value)) is not UNKNOWN), UNKNOWN)


def is_missing(value: Any) -> bool:
    """True for the "not a time" and "not available" of pandas."""
    return type(value).__name__ in ("NaTType", "NAType") and type(value).__module__.startswith("pandas")


def _series(value: Any) -> Any:
    if not _has(value, "reset_index", "to_frame"):
        return UNKNOWN
    if value.index.name is not None or not _unique(value.index.tolist()):
        return _frame(value.to_frame("value" if value.name is None else value.name))
    index = value.index.tolist()
    values = value.tolist() if _counts(index) else dict(zip(index, value.tolist(), strict=True))
    return values if value.name is None else {"name": value.name, "values": values}


def _frame(value: Any) -> Any:
    if not _has(value, "reset_index", "itertuples"):
        return UNKNOWN
    columns, index, name = value.columns.tolist(), value.index.tolist(), value.index.name
    rows = [list(row) for row in value.itertuples(index=False, name=None)]
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    if name is None and _counts(index) and _unique(columns):
        return records
    name = "index" if name is None else name
    if value.index.nlevels > 1 or not _unique([name, *columns]):
        return {"columns": columns, "index": index, "data": rows}
    return [{name: at, **record} for at, record in zip(index, records, strict=True)]


def _array(value: Any) -> Any:
    dtype = getattr(value, "dtype", getattr(value, "typecode", None))
    if dtype is None or not _has(value, "tolist"):
        return UNKNOWN
    if getattr(dtype, "kind", "") in ("m", "M") and _has(value, "astype"):  # numpy would give integers
        return value.astype(str).tolist()
    names = getattr(dtype, "names", None)
    if names and _has(value, "ravel"):  # an array of records
        return [dict(zip(names, row, strict=True)) for row in value.ravel().tolist()]
    return (value.to_dense() if getattr(value, "is_sparse", False) else value).tolist()


def _by_method(value: Any) -> Any:
    """Those whose methods are not told from a user's own by anything but their library."""
    if type(value).__module__.partition(".")[0] not in ("pyarrow", "polars", "datasets", "scipy"):
        return UNKNOWN
    for method in ("to_pylist", "to_dicts", "to_list", "toarray"):
        if _has(value, method):
            return getattr(value, method)()
    return UNKNOWN


_RULES: tuple[Callable[[Any], Any], ...] = (_series, _frame, _array, _by_method)


def _has(value: Any, *methods: str) -> bool:
    return all(callable(getattr(type(value), method, None)) for method in methods)


def _counts(index: list[Any]) -> bool:
    """True for 0, 1, 2, ..., which says nothing."""
    return index == list(range(len(index)))


def _unique(names: list[Any]) -> bool:
    return len(set(map(str, names))) == len(names)
