"""What a call answers: its text, to the letter that of the official executor, and whether it says that it failed.

The functions report failure through several channels. Replaying the ground truth of all 800 entries gives none of
these, so each is the caller's own error:

- `{"error": ...}`, alone or beside other keys; four functions answer with a list that holds it;
- `SOFT_FAILURES`: answers of particular functions which say in another way that what was asked was not done.

Not errors, though they say "false": answers to questions (`*_get_login_status`, `canDrive`, `healthy_tire_pressure`, a
traveller who does not pass `verify_traveler_information`), empty search results, and states that were wanted and hold
already ("Already logged in", "Already retweeted").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fissile.calls import JSON


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that a function answered.

    Attributes:
        name: the function.
        arguments: of the call; they fit the function's signature.
        result: what it returned.
        instance: what it ran on, as it is after the call.
    """

    name: str
    arguments: Mapping[str, JSON]
    result: Any
    instance: Any


def result_text(result: Any) -> str:
    """The text of a result as the official executor makes it (`multi_turn_utils.execute_multi_turn_func_call`)."""
    if type(result) is str:
        return result
    if type(result) is dict:
        try:
            return json.dumps(result)
        except Exception:  # as there: Decimal, mpf, ...
            return str(result)
    return str(result)


def domain_error(call: Answered) -> str | None:
    """What a result says went wrong; None for a success."""
    result = call.result
    if type(result) is dict:
        if "error" in result:
            return str(result["error"])
    elif call.name in _LISTED_ERRORS and type(result) is list and len(result) == 1:
        return _listed_error(result[0])
    says = SOFT_FAILURES.get(call.name)
    return says(call) if says else None


_LISTED_ERRORS = frozenset({"get_order_history", "get_transaction_history", "get_user_tickets", "get_watchlist"})
"""Functions that wrap their error in a list."""


def _listed_error(item: Any) -> str | None:
    if isinstance(item, dict):
        return str(item["error"]) if "error" in item else None
    return item.removeprefix("Error: ") if isinstance(item, str) and item.startswith("Error: ") else None


Says = Callable[[Answered], str | None]
"""What an answer says went wrong; None where nothing did."""


def _is_false(key: str, message: str) -> Says:
    """A status that is false."""
    return lambda call: message if call.result.get(key) is False else None


def _answers(key: str, answer: str, message: str) -> Says:
    """A certain value in the place of what was asked for."""
    return lambda call: message if call.result.get(key) == answer else None


def _refused_login(call: Answered) -> str | None:
    """A wrong password does not matter to who is logged in already: the truth of scenario 188 gives one."""
    return None if call.result["authentication_status"] or call.instance.authenticated else "Wrong name or password."


def _unknown_stock(call: Answered) -> str | None:
    """The watchlist is answered either way."""
    known = call.arguments["stock"] in call.result["watchlist"]
    return None if known else "The stock was not added: its symbol is unknown."


_NO_USER = "No user is currently logged in"
_BAD_DATE = "Invalid date of birth format. Please use YYYY-MM-DD."

SOFT_FAILURES: Mapping[str, Says] = MappingProxyType(
    {
        "authenticate_twitter": _refused_login,
        "follow_user": _is_false("follow_status", "The user is followed already."),
        "unfollow_user": _is_false("unfollow_status", "The user was not followed."),
        "message_login": lambda call: None if call.result["login_status"] else call.result["message"],
        "ticket_login": _is_false("success", "Username and password must not be empty."),
        "logout": _is_false("success", f"{_NO_USER}."),
        "trading_logout": _answers("status", _NO_USER, f"{_NO_USER}."),
        "get_symbol_by_name": _answers("symbol", "Stock not found", "Stock not found."),
        "add_to_watchlist": _unknown_stock,
        "get_nearest_airport_by_city": _answers("nearest_airport", "Unknown", "The city is unknown."),
        "get_zipcode_based_on_city": _answers("zipcode", "00000", "The city is unknown."),
        "verify_traveler_information": _answers("verification_failure", _BAD_DATE, _BAD_DATE),
    }
)
"""Function to what its answer says went wrong."""
