"""Tasks and where they come from: BFCL, JSON lines, Hugging Face datasets; and leak-free splits."""

from fissile.tasks.task import ExpectedCall, Matching, Message, Task

__all__ = ["ExpectedCall", "Matching", "Message", "Task"]
