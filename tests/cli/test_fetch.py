from __future__ import annotations

from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from fissile import assets
from fissile.cli.fetch import fetch


def test_fetch_lists_every_asset_with_its_size_licence_and_place(bfcl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "ASSETS", (assets.BFCL,))  # the model is not needed by any other test
    app = Typer()
    app.command()(fetch)
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 0, result.output
    assert "bfcl-eval==2026.3.23" in result.output
    assert "Apache-2.0" in result.output
    assert " MB" in result.output
    assert str(bfcl) in result.output
