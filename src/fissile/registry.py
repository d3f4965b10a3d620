"""Things by their names: our own, and those that other packages offer as entry points.

A package offers a method with

    [project.entry-points."fissile.methods"]
    my_method = "my_package.my_module:MyMethod"

and likewise a feedback source ("fissile.feedback"), a dialect ("fissile.dialects"), a world ("fissile.worlds") or an
engine ("fissile.engines"). Nothing of it is imported before its name is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from fissile.errors import ConfigError
from fissile.nearest import nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """The things of one kind by their names.

    Args:
        kind: what they are, as a message calls one of them: "method".
        group: of the entry points that extend them: "fissile.methods".
        own: name to the object itself, or to where it stands ("fissile.methods.grpo:GRPO"), imported when asked for.
        base: what each must be, an instance of it or a subclass (of a protocol what `made` gives); None where no
            class says it.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, T | str], base: type | None = None) -> None:
        self.kind = kind
        self.group = group
        self._own = own
        self._base = base
        self._found: dict[str, T] = {}
        self._made: dict[Any, T] = {}

    def __iter__(self) -> Iterator[str]:
        """The names: our own first, then those of other packages."""
        return iter({**dict.fromkeys(self._own), **dict.fromkeys(self._offered())})

    @property
    def own(self) -> tuple[str, ...]:
        """The names of our own things, which no other package can spoil."""
        return tuple(self._own)

    def __contains__(self, name: object) -> bool:
        """True where `get` finds something of this name, or says why it cannot be used."""
        return name in self._own or name in self._offered()

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            ConfigError: nobody offers it (the message lists the names), several do, it cannot be imported, or is
                something else.
        """
        if name not in self._found:
            self._found[name] = self._load(name)
        return self._found[name]

    def made(self, name: str) -> T:
        """The object of that name; where a class stands there, its one object, made without arguments.

        Raises:
            ConfigError: as `get`; or the class cannot be made so, or makes something else.
        """
        thing = self.get(name)
        if not isinstance(thing, type):
            return thing
        if thing not in self._made:
            try:
                made: T = thing()
            except Exception as error:  # whatever a stranger's class raises
                raise ConfigError(
                    f"The {self.kind} '{name}' ({thing.__module__}.{thing.__name__}) cannot be made without arguments: "
                    f"{type(error).__name__}: {error}. Let the entry point name an object instead."
                ) from error
            if self._base is not None and not isinstance(made, self._base):
                raise ConfigError(f"The {self.kind} '{name}' is no {self._base.__name__} but {made!r}.")
            self._made[thing] = made
        return self._made[thing]

    def _load(self, name: str) -> T:
        offers = self._offered().get(name, [])
        if name in self._own and offers:
            raise ConfigError(
                f"The {self.kind} '{name}' is Fissile's own, and {_packages(offers)} offers another of that name. "
                "Uninstall that package, or rename its entry point."
            )
        if len(offers) > 1:
            raise ConfigError(
                f"{_packages(offers)} all offer a {self.kind} '{name}'. Uninstall all but one of them, or rename an "
                f"entry point of the group {self.group}."
            )
        if name in self._own:
            own = self._own[name]
            return _attribute(own) if isinstance(own, str) else own
        if not offers:
            raise ConfigError(
                f"There is no {self.kind} '{name}'{nearest(name, self)}. Choose one of {', '.join(self)}; or install "
                f"the package that offers it as an entry point of the group {self.group}."
            )
        return self._checked(offers[0])

    def _checked(self, offer: EntryPoint) -> T:
        try:
            thing: T = offer.load()
        except Exception as error:  # whatever the import of a stranger's module raises
            raise ConfigError(
                f"The {self.kind} '{offer.name}' of {_packages([offer])} ({offer.value}) cannot be imported: "
                f"{type(error).__name__}: {error}. Mend or uninstall that package."
            ) from error
        if not self._is_one(thing):
            raise ConfigError(
                f"{offer.value}, which {_packages([offer])} offers as the {self.kind} '{offer.name}', is no "
                f"{self._base.__name__ if self._base else self.kind} but {thing!r}."
            )
        return thing

    def _is_one(self, thing: T) -> bool:
        if self._base is None or isinstance(thing, self._base):
            return True
        if not isinstance(thing, type):
            return False
        return getattr(self._base, "_is_protocol", False) or issubclass(thing, self._base)

    def _offered(self) -> dict[str, list[EntryPoint]]:
        """What other packages offer, by name."""
        offered: dict[str, list[EntryPoint]] = {}
        for offer in entry_points(group=self.group):
            others = offered.setdefault(offer.name, [])
            if all((_package(offer), offer.value) != (_package(other), other.value) for other in others):
                others.append(offer)  # a package that is found twice on the path offers it once
        return offered


def _attribute(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _package(offer: EntryPoint) -> str:
    return offer.dist.name if offer.dist is not None else offer.module


def _packages(offers: list[EntryPoint]) -> str:
    return " and ".join(f"the package '{_package(offer)}'" for offer in offers)
