"""Names, our own and those of other packages' entry points."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fissile.errors import ConfigError
from fissile.registry import Registry

Offer = Callable[..., None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Installs a package that offers entry points, by the two files that an installed package consists of."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(package: str, module: str, **points: str) -> None:
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[fissile.numbers]\n{lines}\n")
        (tmp_path / f"{package}.py").write_text(module)

    return install


def numbers() -> Registry[int]:
    return Registry("number", "fissile.numbers", {"one": 1, "limit": "fissile.feedback.leaks:MAX_CHARACTERS"}, int)


def test_own_things_are_found_by_name_and_imported_when_asked_for():
    assert numbers().get("one") == 1
    assert numbers().get("limit") > 1
    assert list(numbers()) == ["one", "limit"]


def test_an_entry_point_of_another_package_extends_the_names(offer: Offer):
    offer("seven_things", "SEVEN = 7", seven="seven_things:SEVEN")
    assert list(numbers()) == ["one", "limit", "seven"]
    assert "seven" in numbers()
    assert numbers().get("seven") == 7


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no number 'on'.*did you mean 'one'.*one, limit.*fissile\.numbers"):
        numbers().get("on")


def test_an_entry_point_that_fails_to_import_is_named(offer: Offer):
    offer("broken_things", "raise OSError('no disk')", two="broken_things:TWO")
    with pytest.raises(ConfigError, match=r"'two' of the package 'broken_things'.*OSError: no disk"):
        numbers().get("two")
    assert numbers().get("one") == 1


def test_an_attribute_that_is_missing_is_named(offer: Offer):
    offer("empty_things", "", three="empty_things:THREE")
    with pytest.raises(ConfigError, match=r"'three' of the package 'empty_things'.*THREE"):
        numbers().get("three")


def test_two_packages_with_one_name_are_refused(offer: Offer):
    offer("first_things", "FOUR = 4", four="first_things:FOUR")
    offer("second_things", "FOUR = 44", four="second_things:FOUR")
    with pytest.raises(ConfigError, match=r"'(first|second)_things' and the package '(first|second)_things' all offer"):
        numbers().get("four")


def test_a_package_cannot_take_one_of_our_names(offer: Offer):
    offer("greedy_things", "ONE = 11", one="greedy_things:ONE")
    with pytest.raises(ConfigError, match=r"'one' is Fissile's own, and the package 'greedy_things'"):
        numbers().get("one")


def test_what_is_something_else_is_refused(offer: Offer):
    offer("wordy_things", "FIVE = 'five'", five="wordy_things:FIVE")
    with pytest.raises(ConfigError, match=r"is no int but 'five'"):
        numbers().get("five")
