"""A feedback source: what a tool documents of the argument that is to blame. See examples/pyproject.toml."""

from collections.abc import Sequence

from fissile.errors import ToolError
from fissile.feedback import Failure, NoDiagnosis


class Documentation:
    """Quotes the description and the type of each blamed argument, and nothing of the truth."""

    name = "documentation"

    def diagnose(self, failures: Sequence[Failure]) -> list[str | NoDiagnosis]:
        """One text for each failure; none where no documented argument is to blame."""
        return [self._quoted(failure) for failure in failures]

    def _quoted(self, failure: Failure) -> str | NoDiagnosis:
        quotes = dict.fromkeys(self._quote(failure, error) for error in failure.attempt.errors)
        return "\n".join(filter(None, quotes)) or NoDiagnosis("no_documentation")

    def _quote(self, failure: Failure, error: ToolError) -> str:
        tool = failure.task.tool(error.tool)
        if tool is None or error.argument not in tool.properties:
            return ""
        schema = tool.properties[error.argument]
        return f"{tool.name}: '{error.argument}' ({schema.get('type', 'any')}). {schema.get('description', '')}".strip()
