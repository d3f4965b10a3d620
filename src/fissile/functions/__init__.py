"""Tools from Python functions: the schema from the type hints, the words from the docstring.

    def reserve(item: str, quantity: int = 1) -> str:
        '''Set items aside for a customer.'''

becomes a tool `reserve` with a required string `item` and an optional integer `quantity`. Every type that pydantic
can read from JSON is understood: also enums, literals, unions, dataclasses, typed dicts and pydantic models, and
`Field(...)` wherever pydantic takes it. What is not understood is refused by name, never left out.

One module an idea: `layers` looks through decorators and partials, `hints` resolves the type hints, `parameters` reads
arguments with them, `docstrings` finds the words, `shorter` writes the schema briefly, `making` puts it together, and
`foreign` knows the tools of other libraries.
"""

from fissile.functions.layers import Function
from fissile.functions.making import DomainError, tool_from_function

__all__ = ["DomainError", "Function", "tool_from_function"]
