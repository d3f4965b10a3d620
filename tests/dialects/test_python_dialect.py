import ast
import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fissile.calls import ParseError, ToolCall
from fissile.dialects import PythonDialect
from fissile.dialects.json_calls import MAX_DEPTH, MAX_DIGITS, RejectedError
from fissile.dialects.python_literals import read_literal

PYTHON = PythonDialect()
GOOD = "f(a=1, b='x')"
WANTED = ("f", {"a": 1, "b": "x"})


def read(text: str):
    return [(call.name, call.arguments) for call in PYTHON.parse(text).calls]


def only_call(text: str) -> ToolCall:
    (call,) = PYTHON.parse(text).calls
    return call


# --- well-formed ---


@pytest.mark.parametrize(
    "text",
    [
        f"[{GOOD}]",
        f"  [ {GOOD} , ]",
        f"[{GOOD}",
        GOOD,
        f"{GOOD}]",
        f"{GOOD};",
        "[f (\n  a = 1,  # one\n  b = 'x',\n)]",
        f"```python\n[{GOOD}]\n```",
        f"```\n{GOOD}\n```",
        f"```python\n[{GOOD}]",
    ],
)
def test_one_call_in_all_its_dresses(text):
    parsed = PYTHON.parse(text)
    assert [(call.name, call.arguments) for call in parsed.calls] == [WANTED]
    assert parsed.content == ""
    (call,) = parsed.calls
    assert text[call.position :].startswith(call.text)


@pytest.mark.parametrize(
    "text", [f"[{GOOD}, g()]", f"{GOOD}\ng()", f"{GOOD}, g()", f"{GOOD};\ng()", f"[{GOOD}]\n[g()]"]
)
def test_several_calls(text):
    parsed = PYTHON.parse(text)
    assert read(text) == [WANTED, ("g", {})]
    assert parsed.content == ""
    assert [call.text for call in parsed.calls] == [GOOD, "g()"]


def test_prose_and_reasoning_around_the_list_are_kept_apart():
    parsed = PYTHON.parse(f"<think>[g(1)]\ng(</think>I call:\n\n[{GOOD}]\n\nThat is all (really).")
    assert [(call.name, call.arguments) for call in parsed.calls] == [WANTED]
    assert parsed.reasoning == "[g(1)]\ng("
    assert parsed.content == "I call:\n\n\n\nThat is all (really)."


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("None", None), ("null", None), ("True", True), ("true", True), ("False", False), ("false", False),
        ("-3", -3), ("- 3", -3), ("1_000", 1000), ("0x1F", 31), ("-2.5e-3", -0.0025), (".5", 0.5), ("5.", 5.0),
        ("()", []), ("(1)", 1), ("(1,)", [1]), ("[1, (2, 3),]", [1, [2, 3]]), ("{}", {}),
        ("{'k': {'l': []},}", {"k": {"l": []}}),
        ('"it\'s"', "it's"), ("'a' \"b\"\n 'c'", "abc"), (r"r'\d'", r"\d"), ("u'x'", "x"), ("'''a\nb'c'''", "a\nb'c"),
        (r"'\x41\u00e9\U0001f600\N{BULLET}\101\n\\'", "Aé😀•A\n\\"), (r"'\d'", r"\d"), ("'a\\\nb'", "ab"),
        ("'\x00\ud800'", "\x00\ud800"), ("'# no comment'", "# no comment"), ("'[g(x)]'", "[g(x)]"), ("''", ""),
    ],
)  # fmt: skip
def test_literals(literal, value):
    (call,) = PYTHON.parse(f"[f(a={literal})]").calls
    assert call.arguments == {"a": value}
    assert repr(call.arguments) == repr({"a": value})


@pytest.mark.parametrize("text", ["[a.b_c.d()]", "a.b_c.d()", "[get-weather()]", "größe()", "[_f2()]"])
def test_names(text):
    assert read(text) == [(text.strip("[]").removesuffix("()"), {})]


def test_names_of_arguments_that_python_refuses_round_trip():
    arguments = {"from": 1, "class": 2, "a b": 3, "": 4, "'": 5, "-x": 6, "ﬁ": 7}
    rendered = PYTHON.render_calls([ToolCall("f", arguments, "")])
    assert rendered == """[f(from=1, class=2, **{'a b': 3}, **{'': 4}, **{"'": 5}, **{'-x': 6}, ﬁ=7)]"""
    assert read(rendered) == [("f", arguments)]


def test_surrogates_that_would_make_a_pair_in_json_stay_two():
    arguments = {"a": "\ud800\udfff"}
    assert read(PYTHON.render_calls([ToolCall("f", arguments, "")])) == [("f", arguments)]


def test_a_malformed_call_renders_as_it_was_written():
    assert PYTHON.render_calls(PYTHON.parse("[f(1), g(2)]").calls) == "[f(1), g(2)]"


# --- no call ---


@pytest.mark.parametrize(
    "text",
    [
        "", "hello", "[]", "[1, 2]", "I would use f (or g).", "see f(a=1)", "x[f(1)]", "[text](http://x)", "['f(1)']",
        "{'f': (1)}", "None", "```python\n```", "- f(a=1)", "</b>(", "Step (1): look",
    ],
)  # fmt: skip
def test_text_that_begins_no_call_is_content(text):
    parsed = PYTHON.parse(text)
    assert parsed.calls == ()
    assert parsed.content == text


# --- malformed ---


@pytest.mark.parametrize(
    ("argument", "reason", "at"),
    [
        ("5", "an argument is written name=value; a value without its name cannot be passed", "5"),
        ("*x", "an argument is written name=value; a value without its name cannot be passed", "*x"),
        ("a==1", "an argument is written name=value; a value without its name cannot be passed", "a==1"),
        ("**kw", "'kw' is a name, not a literal value; a text stands in quotes", "kw"),
        ("**[]", "only a dict can stand behind '**'", "**"),
        ("a=1, a=2", "the argument 'a' is given twice", "a=2"),
        ("a=x", "'x' is a name, not a literal value; a text stands in quotes", "x"),
        ("a=inf", "'inf' is a name, not a literal value; a text stands in quotes", "inf"),
        ("a=lambda: 1", "'lambda' is a name, not a literal value; a text stands in quotes", "lambda"),
        ("a=os.system('x')", "'os' is a name, not a literal value; a text stands in quotes", "os"),
        ("a=g(1)", "the value is a call of 'g'; only literal values can be passed", "g"),
        ("a=1 + 2", "expected ',' or ')' behind an argument; only literal values can be passed", "+"),
        ("a='x'.y", "expected ',' or ')' behind an argument; only literal values can be passed", ".y"),
        ("a=[1][0]", "expected ',' or ')' behind an argument; only literal values can be passed", "[0]"),
        ("a='it's'", "expected ',' or ')' behind an argument; only literal values can be passed", "s'"),
        ("a=[1 for x in y]", "expected ',' or ']' behind a value; only literal values can be passed", "for"),
        ("a=f'{x}'", "a string with the prefix 'f' is not a literal text", "f'"),
        ("a=rb'x'", "a string with the prefix 'rb' is not a literal text", "rb'"),
        ("a=1j", "1j is not a JSON number", "1j"),
        ("a=01", "01 is not a JSON number", "01"),
        ("a=1e999", "1e999 is too large for a number", "1e999"),
        ("a=" + "9" * (MAX_DIGITS + 1), f"a number has more than {MAX_DIGITS} digits", "9"),
        ("a=0x" + "f" * (MAX_DIGITS - 2), f"0x{'f' * 38}... is too large for a number", "0x"),
        ("a=+1", "'+' does not begin a literal value", "+"),
        ("a=...", "'.' does not begin a literal value", "..."),
        ("a=-True", "'-' can stand before a number only", "True"),
        ("a={1, 2}", "a set is not a JSON value", "1, 2"),
        ("a={1: 2}", "a key must be a string", "1: 2"),
        ("a={'k': 1, 'k': 2}", "the key 'k' stands twice in one dict", "'k': 2"),
        ("a={**x}", "'*' does not begin a literal value", "**x"),
        ("a='x\ny'", "the string is not closed on its line; write a line break in it as \\n", "\ny"),
        (r"a='\x1'", "the escape \\x is incomplete", "\\x1"),
        (r"a='\N{no such name}'", "\\N{no such name} stands for no character", "\\N"),
        (r"a='\U00110000'", "\\U00110000 stands for no character", "\\U"),
        ("a=" + "[" * 80 + "]" * 80, f"the call is nested deeper than {MAX_DEPTH} levels", None),
        ("a=" + "[" * 100_000, f"the call is nested deeper than {MAX_DEPTH} levels", None),
    ],
)
@pytest.mark.parametrize("dress", ["[{}]", "{}"], ids=["list", "bare"])
def test_malformed_calls_say_why_and_where(argument, reason, at, dress):
    text = f"So:\n{dress.format(f'f({argument})')}"
    call = only_call(text)
    assert call.text.startswith("f(")
    assert (call.name, call.arguments) == (None, None)
    assert call.parse_error is not None
    assert call.parse_error.reason == reason
    if at is not None and reason.find("closed on its line") < 0:
        assert text[call.parse_error.position :].startswith(at)


def test_the_calls_before_the_trouble_are_kept():
    parsed = PYTHON.parse(f"[{GOOD}, g(1), h()] bye")
    assert [call.text for call in parsed.calls] == [GOOD, "g(1), h()"]
    assert [call.is_well_formed for call in parsed.calls] == [True, False]
    assert parsed.content == "bye"


@pytest.mark.parametrize(
    ("text", "rest", "reason"),
    [
        (f"[{GOOD}, 'x']", "'x'", "a call is written name(argument=value)"),
        (f"[{GOOD} g()]", "g()", "expected ',' or ']' behind a call; only literal values can be passed"),
        (f"{GOOD} is it", "is it", "expected the end of the line behind a call"),
        (f"{GOOD}.strip()", ".strip()", "expected the end of the line behind a call"),
    ],
)
def test_what_stands_behind_a_call_must_be_another(text, rest, reason):
    good, bad = PYTHON.parse(text).calls
    assert (good.name, good.arguments) == WANTED
    assert bad.text == rest
    assert bad.parse_error == ParseError(reason, len(text.removesuffix("]")) - len(rest))


LIST = f"[{GOOD}, g(c=[1, {{'k': None}}], d=-2.5)]"


@pytest.mark.parametrize("cut", range(3, len(LIST)))
def test_a_list_cut_off_anywhere_ends_in_a_call_that_says_so(cut):
    calls = PYTHON.parse(LIST[:cut]).calls
    broken = [call for call in calls if not call.is_well_formed]
    whole = [f"{GOOD}", LIST[1:-1].removeprefix(f"{GOOD}, ")]
    assert [call.text for call in calls if call.is_well_formed] == whole[: len(calls) - len(broken)]
    for call in broken:
        assert call is calls[-1]
        assert call.parse_error == ParseError("the text ends inside the call", len(LIST[:cut].rstrip()))


# --- against Python itself ---

python_values = st.recursive(
    st.sampled_from(
        [
            "None",
            "True",
            "1",
            "-1",
            "- 2",
            "1_0",
            "0x1f",
            "0b1",
            "1.",
            ".5",
            "-1e3",
            "1E-2",
            "00",
            "01",
            "1__0",
            "1e",
            "'a' 'b'",
        ]
    )
    | st.integers().map(repr)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.text().map(repr)
    | st.text(st.sampled_from("abx01'\"\\{}uUNr\n ")).map(lambda body: f"'{body}'")
    | st.text(st.sampled_from("ab'\"\\\n #")).map(lambda body: f'"""{body}"""'),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(inner, max_size=3).map(lambda items: f"({', '.join(items)})")
        | st.lists(inner, max_size=3).map(lambda items: f"( {' , '.join(items)} ,)")
        | st.lists(st.tuples(inner, inner), max_size=2).map(
            lambda items: "{" + ", ".join(f"{key}: {value} # c\n" for key, value in items) + "}"
        )
    ),
    max_leaves=6,
)


def as_json(value):
    match value:
        case dict():
            return {key: as_json(item) for key, item in value.items()}
        case list() | tuple():
            return [as_json(item) for item in value]
        case set():
            raise ValueError("not in JSON")
        case _:
            return value


def python_reads(text: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return repr(as_json(ast.literal_eval(text)))
        except (SyntaxError, ValueError, TypeError):
            return "nothing"


def we_read(text: str):
    try:
        value, end = read_literal(text, 0)
    except RejectedError as rejected:
        return f"nothing: {rejected.reason}"
    return repr(value) if end == len(text) else "nothing"


@given(python_values)
@example("'\\x41' '\\u00e9' r'\\x41' u'a'")
@example("[1, 2, (3,), ((4)), ()]")
@example("{'a' # c\n, 'b'}")
def test_a_literal_is_read_as_python_reads_it(text):
    """But for a key that is no string, and one that stands twice: JSON has neither."""
    ours = we_read(text)
    if ours.endswith(("a key must be a string", "stands twice in one dict")):
        assert "{" in text
    else:
        assert ours.partition(":")[0] == "nothing" if python_reads(text) == "nothing" else ours == python_reads(text)


def test_no_warning_is_given_for_what_a_model_writes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(r"[f(a='\d', b=1)]") == [("f", {"a": r"\d", "b": 1})]
        assert not only_call("[f(a=1if 2else 3, b='' is '')]").is_well_formed


def test_a_result_is_a_user_turn_with_bfcls_list():
    assert PYTHON.render_result("it's") == {"role": "user", "content": """[{'role': 'tool', 'content': "it's"}]"""}
