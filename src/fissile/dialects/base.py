"""What a tool-call format must provide. One file per format in this package."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, runtime_checkable

from fissile.calls import ParsedResponse, ToolCall
from fissile.tasks import Message
from fissile.tools import Tool


@runtime_checkable
class Dialect(Protocol):
    """A tool-call text format: how tools, calls and results are written, and how a response is read."""

    name: str

    @property
    def end_markers(self) -> tuple[str, ...]:
        """Special tokens besides the chat template's own with which a model may end a response."""
        ...

    def instruct(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
        """`messages` with the tools and the call format written into the system prompt.

        For tokenizers whose chat template does not render tools itself. An existing system message is kept and
        extended.
        """
        ...

    def announce(self, tools: Sequence[Tool]) -> str:
        """The tools' schemas as `instruct` writes them, for a user message that reveals tools; "" for no tools."""
        ...

    def render_calls(self, calls: Sequence[ToolCall]) -> str:
        """The assistant text that makes these calls. `parse(render_calls(calls)).calls` gives them back."""
        ...

    def render_result(self, content: str) -> Message:
        """The message that brings a tool's answer (or an error) back to the model."""
        ...

    def parse(self, text: str, offered: Collection[str] | None = None) -> ParsedResponse:
        """Split a response. Never raises on any text; a malformed call is kept with its reason and position.

        Args:
            text: the response.
            offered: names of the tools, where they are known: what has no mark of a call then is one only if it names
                a tool. Other dialects do not look at it.
        """
        ...
