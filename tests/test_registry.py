"""Names, our own and those of other packages' entry points."""

from typing import Any, Protocol, runtime_checkable

import pytest

from fissile.errors import ConfigError
from fissile.registry import Registry
from installed import Offer

GROUP = "fissile.numbers"


def numbers() -> Registry[int]:
    return Registry("number", GROUP, {"one": 1, "limit": "fissile.feedback.leaks:MAX_CHARACTERS"}, int)


def test_own_things_are_found_by_name_and_imported_when_asked_for():
    assert numbers().get("one") == 1
    assert numbers().get("limit") > 1
    assert list(numbers()) == ["one", "limit"]


def test_an_entry_point_of_another_package_extends_the_names(offer: Offer):
    offer("seven_things", "SEVEN = 7", GROUP, seven="seven_things:SEVEN")
    assert list(numbers()) == ["one", "limit", "seven"]
    assert "seven" in numbers()
    assert numbers().get("seven") == 7


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"no number 'on'.*did you mean 'one'.*one, limit.*fissile\.numbers"):
        numbers().get("on")


def test_an_entry_point_that_fails_to_import_is_named(offer: Offer):
    offer("broken_things", "raise OSError('no disk')", GROUP, two="broken_things:TWO")
    with pytest.raises(ConfigError, match=r"'two' of the package 'broken_things'.*OSError: no disk"):
        numbers().get("two")
    assert numbers().get("one") == 1


def test_an_attribute_that_is_missing_is_named(offer: Offer):
    offer("empty_things", "", GROUP, three="empty_things:THREE")
    with pytest.raises(ConfigError, match=r"'three' of the package 'empty_things'.*THREE"):
        numbers().get("three")


def test_two_packages_with_one_name_are_refused(offer: Offer):
    offer("first_things", "FOUR = 4", GROUP, four="first_things:FOUR")
    offer("second_things", "FOUR = 44", GROUP, four="second_things:FOUR")
    with pytest.raises(ConfigError, match=r"'(first|second)_things' and the package '(first|second)_things' all offer"):
        numbers().get("four")


def test_a_package_cannot_take_one_of_our_names(offer: Offer):
    offer("greedy_things", "ONE = 11", GROUP, one="greedy_things:ONE")
    with pytest.raises(ConfigError, match=r"'one' is Fissile's own, and the package 'greedy_things'"):
        numbers().get("one")


def test_what_is_something_else_is_refused(offer: Offer):
    offer("wordy_things", "FIVE = 'five'", GROUP, five="wordy_things:FIVE")
    with pytest.raises(ConfigError, match=r"is no int but 'five'"):
        numbers().get("five")


@runtime_checkable
class Speaker(Protocol):
    name: str

    def say(self) -> str: ...


class Greeter:
    def __init__(self) -> None:
        self.name = "greeter"

    def say(self) -> str:
        return "hello"


def speakers(**own: Any) -> Registry[Speaker]:
    return Registry("speaker", "fissile.speakers", own, Speaker)


def test_what_is_made_is_the_object_or_the_one_object_of_its_class():
    object_itself = Greeter()
    known = speakers(object=object_itself, kind=Greeter, alias=Greeter)
    assert known.made("object") is object_itself
    assert known.made("kind") is known.made("alias") is known.made("kind")


SPEAKERS = """
class Shouter:
    name = "shouter"

    def say(self):
        return "HELLO"


class Silent:
    pass


class Unmade(Shouter):
    def __init__(self, volume):
        pass


shouter = Shouter()
"""


def test_an_entry_point_may_be_an_object_or_a_class_without_arguments(offer: Offer):
    offer("loud", SPEAKERS, "fissile.speakers", kind="loud:Shouter", thing="loud:shouter")
    assert speakers().made("kind").say() == speakers().made("thing").say() == "HELLO"


def test_a_class_that_cannot_be_made_or_makes_something_else_is_named(offer: Offer):
    offer("loud", SPEAKERS, "fissile.speakers", unmade="loud:Unmade", silent="loud:Silent")
    with pytest.raises(ConfigError, match=r"'unmade' \(loud\.Unmade\).*without arguments.*volume"):
        speakers().made("unmade")
    with pytest.raises(ConfigError, match=r"'silent' is no Speaker but <loud\.Silent"):
        speakers().made("silent")
