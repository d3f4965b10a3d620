"""What a program prints does not depend on the order that string hashing gives to sets."""

from __future__ import annotations

import os
import subprocess
import sys


def printed_under_hash_seeds(program: str) -> set[str]:
    """All that a Python program prints under different seeds of string hashing; one text where it does not matter."""
    return {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
