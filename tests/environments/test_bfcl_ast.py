from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fissile.calls import ParseError, ToolCall
from fissile.environments import bfcl_ast
from fissile.environments.bfcl_ast import is_valid, official_verdict
from fissile.errors import DataError
from fissile.tasks import Task
from fissile.tasks.bfcl_single_turn import tool_from_doc

DOC = {
    "name": "shop.order",
    "description": "",
    "parameters": {
        "type": "dict",
        "properties": {
            "item": {"type": "string"},
            "price": {"type": "float"},
            "options": {"type": "dict", "properties": {}},
            "rows": {"type": "array", "items": {"type": "dict"}},
        },
        "required": ["item"],
    },
}
TRUTH = {
    "item": ["Green tea"],
    "price": ["", 2.0],
    "options": ["", {"size": ["big", "large"], "gift": ["", True]}],
    "rows": ["", [{"n": [1]}]],
}


def task(truth: list[Any], category: str = "simple_python") -> Task:
    reference = {"function": [DOC], "possible_answer": truth, "category": category}
    return Task("t", (), (tool_from_doc(DOC),), (), source="bfcl", category=category, reference=reference)


ONE = task([{"shop.order": TRUTH}])
TWO = task([{"shop.order": TRUTH}, {"shop.order": {"item": ["milk"]}}], "parallel")


def call(name: str | None = "shop.order", **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments, "")


@pytest.mark.parametrize(
    "arguments",
    [
        {"item": "Green tea"},
        {"item": "green-TEA"},
        {"item": "green tea", "price": 2},
        {"item": "green tea", "options": {"size": "large"}},
        {"item": "green tea", "rows": [{"n": 1}]},
    ],
)
def test_right_calls_are_valid(bfcl: Path, arguments: dict[str, Any]) -> None:
    verdict = official_verdict(ONE, [call(**arguments)])
    assert (verdict.valid, verdict.error_type, verdict.message) == (True, "", "")


@pytest.mark.parametrize(
    ("calls", "error_type"),
    [
        ([], "simple_function_checker:wrong_count"),
        ([call(item="green tea")] * 2, "simple_function_checker:wrong_count"),
        ([call("shop_order", item="green tea")], "simple_function_checker:wrong_func_name"),
        ([call()], "simple_function_checker:missing_required"),
        ([call(item="green tea", colour="red")], "simple_function_checker:unexpected_param"),
        ([call(item="black tea")], "value_error:string"),
        ([call(item=3)], "type_error:simple"),
        ([call(item="green tea", price=float("nan"))], "value_error:others"),
        ([call(item="green tea", price=10**400)], "checker_exception"),
        ([call(item="green tea", rows=[1])], "checker_exception"),
        ([call(item="green tea", options={"size": ["big"]})], "value_error:dict_value"),
    ],
)
def test_wrong_calls_are_invalid_with_the_official_reason(bfcl: Path, calls: list[ToolCall], error_type: str) -> None:
    verdict = official_verdict(ONE, calls)
    assert (verdict.valid, verdict.error_type) == (False, error_type)
    assert not is_valid(ONE, calls)


def test_parallel_calls_may_come_in_any_order(bfcl: Path) -> None:
    calls = [call(item="milk"), call(item="green tea")]
    assert is_valid(TWO, calls)
    assert is_valid(TWO, calls[::-1])
    assert not is_valid(TWO, calls[:1])
    assert not is_valid(TWO, [calls[0], calls[0]])


def test_a_malformed_call_is_invalid_and_never_shown_to_the_checker(bfcl: Path) -> None:
    bad = ToolCall("shop.order", None, "{", 0, ParseError("not JSON", 1))
    verdict = official_verdict(TWO, [call(item="milk"), bad])
    assert (verdict.valid, verdict.error_type, verdict.message) == (False, "malformed_call", "not JSON")


def test_a_task_of_another_source_is_refused() -> None:
    with pytest.raises(DataError, match="no BFCL reference"):
        official_verdict(Task("mine", (), (), ()), [])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["size", "n", "x"]), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            lambda name, arguments: ToolCall(name, arguments, ""),
            st.sampled_from(["shop.order", "other", ""]),
            st.dictionaries(st.sampled_from(["item", "price", "options", "rows", "x"]), json_values),
        ),
        max_size=3,
    ),
    st.sampled_from([ONE, TWO]),
)
def test_no_value_makes_it_raise(calls: list[ToolCall], judged: Task) -> None:
    verdict = official_verdict(judged, calls)
    assert verdict.valid == (verdict.error_type == "")


def test_deep_values_are_invalid(bfcl: Path) -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert official_verdict(ONE, [call(item=deep)]).error_type == "checker_exception"


def test_an_installed_package_of_that_name_is_left_alone(bfcl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = ModuleType("bfcl_eval")
    monkeypatch.setitem(sys.modules, "bfcl_eval", installed)
    before = {name for name in sys.modules if name.startswith("bfcl_eval")}
    bfcl_ast._checker.__wrapped__()
    assert sys.modules["bfcl_eval"] is installed
    assert {name for name in sys.modules if name.startswith("bfcl_eval")} == before


def test_the_checker_needs_no_torch_and_leaves_no_modules_or_folders(bfcl: Path) -> None:
    program = (
        "import sys\n"
        "from fissile.environments.bfcl_ast import _checker\n"
        "_checker()\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('bfcl_eval', 'torch', 'transformers', 'datasets')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not [path for path in bfcl.rglob("*") if path.name in ("result", "score", ".file_locks")]
