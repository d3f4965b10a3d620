from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from fissile.reports.svg import Scale, drawing, tag, ticks

FIGURES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_gives_well_formed_svg(text: str) -> None:
    svg = drawing(10, 10, text, [tag("text", text, data_note=text)])
    root = ElementTree.fromstring(str(svg))
    assert [child.tag for child in root] == ["text"]
    assert len(root[0]) == 0


def test_markup_is_nested_and_text_is_escaped() -> None:
    assert (
        str(tag("g", tag("line", x1=0.5, class_="a b"), "<b>")) == '<g><line x1="0.5" class="a b"></line>&lt;b&gt;</g>'
    )


@given(FIGURES, FIGURES)
def test_ticks_cover_their_range_with_few_round_values(one: float, other: float) -> None:
    low, high = sorted((one, other))
    values = ticks(low, high)
    tolerance = 1e-6 * max(1.0, abs(low), abs(high))
    assert values[0] <= low + tolerance
    assert values[-1] >= high - tolerance
    assert 2 <= len(values) <= 8
    assert values == sorted(values)


def test_ticks_are_round() -> None:
    assert ticks(0, 0.273, 3) == [0, 0.1, 0.2, 0.3]
    assert ticks(0.78, 1.17) == [0.7, 0.8, 0.9, 1.0, 1.1, 1.2]


def test_a_scale_maps_its_ends_and_survives_a_constant() -> None:
    scale = Scale(1, 3, 100, 0)
    assert (scale(1), scale(2), scale(3)) == (100, 50, 0)
    assert Scale(2, 2, 40, 80)(2) == 40
