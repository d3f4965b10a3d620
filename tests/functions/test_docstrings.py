from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fissile.functions.docstrings import read_docstring

GOOGLE = """Set items aside.

    They stay in the store
    until they are paid.

    Note:
        Prices are in cents.

    Args:
        item (str, optional): Its name: as in
            the catalogue.

            Or its number.
        quantity: How many.
    Returns:
        dict: what was set aside.

    Dates are ISO.

    Raises:
        KeyError: there is no item.
    """
NUMPY = """Search the shop.

    Parameters
    ----------
    query: str
        What to look for: words.
    limit, offset : int, optional
        How many.
    unit : {'c', 'f'}, default 'c'
        The unit.

    Returns
    ---------
    list of str
        Names.

    Notes
    -----
    Case counts.
    """
SPHINX = """Search :class:`Shop`.

    :meth:`find` finds one.

    :param query: What to look for: words,
        all of them.
    :type query: str
    :param int limit: How many.
    :param dict[str, int] counts: Counts.
    :returns: Names.
    :rtype: list[str]
    :raises KeyError: never

    Case counts.
    """
EPYDOC = """Search.

    @param query: What to look for,
        in words.
    @type query: str
    @return: Names.
    """


@pytest.mark.parametrize(
    ("text", "description", "documented"),
    [
        (
            GOOGLE,
            "Set items aside. They stay in the store until they are paid. Dates are ISO. Note: Prices are in cents.",
            {"item": "Its name: as in the catalogue. Or its number.", "quantity": "How many."},
        ),
        (
            NUMPY,
            "Search the shop. Notes: Case counts.",
            {
                "query": "What to look for: words.",
                "limit": "How many.",
                "offset": "How many.",
                "unit": "The unit. ({'c', 'f'})",
            },
        ),
        (
            SPHINX,
            "Search :class:`Shop`. :meth:`find` finds one. Case counts.",
            {"query": "What to look for: words, all of them.", "limit": "How many.", "counts": "Counts."},
        ),
        (EPYDOC, "Search.", {"query": "What to look for, in words."}),
        ("Do it.\nArgs:\n    x: The x.\nReturns:\n    y", "Do it.", {"x": "The x."}),
        ("Do it.\n\nargs:\n    x: The x.", "Do it.", {"x": "The x."}),
        ("Do it.\n\nArgs:\n    x (one of 'a', 'b'): The x.", "Do it.", {"x": "The x. (one of 'a', 'b')"}),
        ("Do it.\n\nArgs:\n    x (list[str]): The x.", "Do it.", {"x": "The x."}),
        ("Do it.\n\nExample:\n    >>> f(1)\n    2", "Do it. Example: >>> f(1) 2", {}),
        ("", "", {}),
    ],
)
def test_every_style_gives_a_description_and_the_arguments(
    text: str, description: str, documented: dict[str, str]
) -> None:
    assert read_docstring(inspect.cleandoc(text)) == (description, documented)


@pytest.mark.parametrize(
    "text",
    [
        "Convert. Example: 5 km: 3 mi.",
        "Do it.\n\nParameters:\n  The values: given as text\n  another line",
        "Do it.\n\nArgs:\nitem: the name\nquantity: how many",
        "Do it.\n\nArgs:\n    item - the name",
        "Do it.\n\nArgs:\n    None",
        "Do it.\n\nNote:\n    one\n\nArgs:\n    x: y\n\nNote:\n    two",
        "Do it.\n\n## Arguments\n\n- `x`: the x",
        "Do it.\n\n@param x the x",
    ],
)
def test_what_only_looks_like_a_section_is_kept_whole(text: str) -> None:
    assert read_docstring(text) == (" ".join(text.split()), {})


written = ["alpha", "beta:", "gamma.", "(delta)", ":eta", "@zeta", "-", "`theta`"]
words = st.lists(st.sampled_from(written), min_size=1, max_size=5)
lines = st.builds(lambda indent, line: " " * indent + " ".join(line), st.sampled_from([0, 0, 4, 8]), words)
titles = st.sampled_from(["Args:", "Note:", "Parameters", "----------", ":param x: y", "@param x: y", "", "Examples:"])


@given(st.lists(lines | titles, max_size=12))
def test_no_word_of_a_docstring_is_lost(texts: list[str]) -> None:
    text = inspect.cleandoc("\n".join(["Head.", *texts]))
    description, documented = read_docstring(text)
    told = " ".join([description, *documented, *documented.values()])
    for word in ("alpha", "beta", "gamma", "delta", "eta", "zeta", "theta"):
        assert (word in text) == (word in told)
