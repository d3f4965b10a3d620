"""Packages of other people that offer entry points, installed for one test: see the fixture `offer`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Offer = Callable[..., None]
"""(package, source text of its one module, group, **name="module:attribute")."""


def installer(folder: Path) -> Offer:
    """Installs packages into a folder of the path, by the two files that an installed package consists of."""

    def install(package: str, module: str, group: str, **points: str) -> None:
        info = folder / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {value}" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
        (folder / f"{package}.py").write_text(module)

    return install
