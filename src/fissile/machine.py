"""The machine that a figure was measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil


def machine() -> dict[str, str]:
    """Date and hardware: what must stand beside every measured figure."""
    return {"date": datetime.now(UTC).date().isoformat(), "hardware": hardware()}


def hardware() -> str:
    """Processor, cores that this process may use, and memory."""
    name = platform.processor() or platform.machine()
    if (listing := Path("/proc/cpuinfo")).exists():
        lines = listing.read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(usable_cores())
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}, {psutil.virtual_memory().total / 2**30:.0f} GiB"


def usable_cores() -> list[int]:
    """The numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
