"""State in module variables has no episode of its own: tools that write it are refused by name."""

from pathlib import Path

import pytest

from fissile.environments.python import PythonTools
from fissile.errors import DataError

HEAD = """
import functools
from collections import Counter, defaultdict, deque
ITEMS = {}
_orders = [{"id": 1, "status": "open"}]
total = 0
PRICES = {"apple": 3}
class Store:
    def __init__(self):
        self.items = {}
    def put(self, name):
        self.items[name] = 1
    def has(self, name):
        return name in self.items
STORE = Store()
TOOLS = [add]
"""

WRITES = {
    "a key": "ITEMS[item] = 1",
    "a key that grows": "ITEMS[item] += 1",
    "a key that goes": "del ITEMS[item]",
    "a method": "_orders.append({'id': 2})",
    "a method of a part": "ITEMS.setdefault(item, []).append(1)",
    "a global": "global total\n    total += 1",
    "a global made here": "global connection\n    connection = item",
    "a part under another name": "order = _orders[0]\n    order['status'] = 'cancelled'",
    "a part in a loop": "for order in _orders:\n        if order['id'] == 1:\n            order['status'] = item",
    "a part that is got": "order = ITEMS.get(item)\n    order['n'] = 1",
    "an instance": "STORE.put(item)",
    "a part of an instance": "STORE.items[item] = 1",
    "an attribute": "STORE.name = item",
    "an attribute of a class": "Store.count = 1",
    "an attribute of the function": "add.calls = 1",
    "another name": "items = ITEMS\n    items.update({item: 1})",
    "a function it calls": "_note(item)",
}
READS = {
    "a constant": "return str(PRICES[item])",
    "a constant in small letters": "return str(_orders[0])",
    "a local of that name": "ITEMS = {}\n    ITEMS[item] = 1",
    "a copy": "mine = dict(PRICES)\n    mine[item] = 1",
    "a copy under the same name": "order = _orders[0]\n    order = order | {'n': 1}\n    order['status'] = item",
    "a number": "count = PRICES[item]\n    count += 1",
    "an argument": "item.strip().split().append('x')",
    "a method that reads": "return str(STORE.has(item))",
    "an instance of its own": "store = Store()\n    store.put(item)\n    store.items['x'] = 1",
    "a cache": "return _slow(item)",
}


def module(tmp_path: Path, body: str) -> Path:
    file = tmp_path / "tools.py"
    head, declared = HEAD.split("TOOLS")
    file.write_text(
        f"{head}\ndef _note(item):\n    ITEMS[item] = 1\n\n@functools.cache\ndef _slow(item):\n    return item\n\n"
        f'def add(item: str) -> str:\n    """Add it."""\n    {body}\n\nTOOLS{declared}'
    )
    return file


@pytest.mark.parametrize("body", WRITES.values(), ids=WRITES.keys())
def test_functions_that_write_to_their_module_are_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(DataError, match=r"writes to '\w+' of its module \(line \d+\).*Write a class"):
        PythonTools.from_file(module(tmp_path, body))


@pytest.mark.parametrize("body", READS.values(), ids=READS.keys())
def test_functions_that_only_read_are_tools(tmp_path: Path, body: str) -> None:
    assert [tool.name for tool in PythonTools.from_file(module(tmp_path, body)).tools] == ["add"]


def test_a_class_that_writes_to_its_module_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(
        "SOLD = []\n\nclass Shop:\n"
        "    def sell(self, item: str) -> str:\n        'Sell it.'\n        SOLD.append(item)\n"
    )
    with pytest.raises(DataError, match=r"sell\(\) writes to 'SOLD' of its module \(line 6\)"):
        PythonTools.from_file(file)


LOG: list[str] = []


def note(text: str) -> int:
    """Note it."""
    LOG.append(text)
    return len(LOG)


def test_functions_given_in_python_are_looked_at_too() -> None:
    with pytest.raises(DataError, match=r"note\(\) writes to 'LOG'"):
        PythonTools.from_functions([note])
