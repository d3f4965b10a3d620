"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from fissile import assets


@pytest.fixture(scope="session")
def bfcl() -> Path:
    """The real BFCL asset: fetched once, then read from the cache."""
    return assets.bfcl_path()
