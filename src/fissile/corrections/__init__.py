"""Failures become training contexts: the corrective context, the buffer and its trigger. Torch-free."""
