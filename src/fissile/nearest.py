"""What a misspelt name probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)`, or "" where nothing known is like it. Case, dashes and underscores do not count."""
    plain = {_plain(one): one for one in known}
    found = difflib.get_close_matches(_plain(name), plain, n=1)
    return f" (did you mean '{plain[found[0]]}'?)" if found else ""


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")
