"""Patterns as ECMA 262 reads them, within limits."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fissile.tools.patterns import PatternError, SlowPatternError, compiled, matches


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        (r"^\d$", ["3"], ["٣", "3\n", "a"]),
        (r"^\w+$", ["aZ_9"], ["é", "a-b"]),
        (r"^\s$", [" ", "\u00a0", "\u3000", "\n"], ["\x1c"]),
        (r"^[^\d\s]+$", ["ab"], ["a1", "a b"]),
        (r"^[\s\S]*$", ["a\n\x1c", ""], []),
        (r"^[^]$", ["\n", "a"], [""]),
        (r"^\p{L}+$", ["é", "中"], ["1"]),
        (r"^[\p{L}\p{N}_-]+$", ["é1-_"], ["."]),
        (r"^\P{Lu}$", ["a"], ["A"]),
        (r"^\p{Script=Greek}$", ["α"], ["a"]),
        (r"^(?<year>\d{4})-\k<year>$", ["2024-2024"], ["2024-2025"]),
        (r"^(?P<a>x)(b)\2$", ["xbb"], ["xb"]),
        (r"^(?!\.)[a-z.]+(?<!\.)$", ["a.b"], [".a", "a."]),
        (r"^[\w.-]+@[\w-]+\.[a-z]{2,}$", ["a.b@c-d.org"], ["a@b"]),
        (r"^[\w-.]+$", ["a-.b"], ["a,b"]),
        (r"^[a\-z]+$", ["a-z"], ["b"]),
        (r"^[[&|~]+$", ["[&|~"], ["a"]),
        (r"^x{a}{$", ["x{a}{"], ["xa"]),
        (r"^a\/b\-c$", ["a/b-c"], ["a\\/b"]),
        (r"^\u0041\x42\cJ$", ["AB\n"], ["AB"]),
        (r"^\ud83d\ude00\u{1F600}$", ["😀😀"], ["😀"]),
        (r"\A\d+\Z", ["12"], ["12\n"]),
        (r"(?i)^abc$", ["ABC"], ["abd"]),
        (r"^# b$", ["# b"], ["#b"]),
        (r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", ["-1.5"], ["+", "a"]),
        (r"^.{0,131072}$", ["", "a" * 99], ["\n"]),
        ("b", ["abc"], ["ac"]),
    ],
)
def test_patterns_mean_what_they_mean_in_javascript(pattern, right, wrong):
    assert [text for text in right if not matches(pattern, text, 1)] == []
    assert [text for text in wrong if matches(pattern, text, 1)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "[",
        "[]",
        "*",
        "a**",
        "\\",
        "\\p",
        "\\p{Nope}",
        "\\e",
        "(?R)",
        "(?1)(a)",
        "(?>a)",
        "(?#x)",
        "\\1",
        "\\k<x>",
        "a{3,1}",
        "a{100000000}",
        "((a{1000}){1000}){1000}",
        "(a{1,999999999999999999999})",
        "a" * 30000,
        "(" * 3000 + ")" * 3000,
        "[b-a]",
        "\\u{110000}",
    ],
)
def test_a_pattern_that_cannot_be_used_says_why(pattern):
    with pytest.raises(PatternError, match=r"\w"):
        compiled(pattern)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(a|aa)+$", "a" * 60 + "!"),
        ("^(a|a)*$", "a" * 60 + "!"),
        (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 5000),
        (r"(\w+\s?)+$", "word " * 5000 + "!"),
    ],
)
def test_a_search_ends_in_time(pattern, text):
    with pytest.raises(SlowPatternError):
        matches(pattern, text, 0.05)


@settings(deadline=None)
@given(st.text("ab()[]{}|*+?.^$\\-0123,dwsDpLuxk<>=!:&~é ", max_size=12), st.text("ab-1 \n", max_size=5))
def test_any_text_is_a_pattern_or_is_refused(pattern, text):
    with suppress(PatternError, SlowPatternError):
        matches(pattern, text, 0.5)
