"""`fissile fetch`: the pinned assets, downloaded, verified and listed."""

from __future__ import annotations

from rich.table import Table

from fissile import assets
from fissile.cli.interruption import keeping
from fissile.console import PlainConsole
from fissile.training.progress import Progress


def fetch() -> None:
    """Download the embedded model and the benchmark into the cache, unless they are there."""
    console = PlainConsole()
    progress = Progress(console)
    table = Table("asset", "licence", "on disk", "folder", title="assets", title_justify="left")
    with keeping(_kept):
        for asset in assets.ASSETS:
            name = f"{asset.requirement} ({asset.megabytes} MB to download, unless cached)"
            with progress.phase(name):
                folder = assets.fetch(asset, progress.count(asset.name, "a MB", "MB"))
            size = f"{assets.size_on_disk(folder) / 1e6:.1f} MB"
            table.add_row(asset.requirement, asset.licence, size, str(folder))
    console.table(table)


def _kept() -> str:
    whole = [asset.requirement for asset in assets.ASSETS if assets.is_cached(asset)]
    return f"In the cache: {', '.join(whole) or 'nothing yet'}. A part of a download is thrown away."
