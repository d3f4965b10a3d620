"""Writes what `fissile lab report` leaves: `results.json`, the plots and the page."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fissile.errors import RunError
from fissile.journal import read_object, write_json, write_text
from fissile.lab.lab_folder import LabFolder
from fissile.reports.lab.lab_results import LabResults, lab_results
from fissile.reports.lab.lab_section import lab_page
from fissile.reports.lab.reading import read_lab

DIGITS = 6
"""Decimals of the figures in `results.json`."""

HEAD = """# Results

Made by `fissile lab report`: what stands between two marks is written again with every report, the rest is kept.
"""


@dataclass(frozen=True, slots=True)
class _Report:
    """The results of a laboratory with their plots, and where these are written: `folder`, and `plots` in it."""

    results: LabResults
    figures: dict[str, Any]
    plots: dict[str, str]
    folder: Path

    def write(self, *copies: Path) -> None:
        """Write `results.json`, into the folders `copies` too, and the plots; those of an earlier report that are not
        made any more are removed.
        """
        for folder in (self.folder, *copies):
            write_json(LabFolder(folder).results, self.figures)
        _write_plots(self.folder, self.plots)

    def section(self, page: Path) -> str:
        """The Markdown of the laboratory, with links relative to `page`."""
        to_plots = os.path.relpath((self.folder / "plots").resolve(), page.resolve().parent)
        return lab_page(self.results, self.plots, Path(to_plots).as_posix())


def write_lab_report(folder: Path, page: Path | None = None) -> LabResults:
    """Write `results.json`, `plots/*.svg` and the page of a lab folder, finished or not.

    Args:
        folder: of the laboratory.
        page: the Markdown file; `results.md` in the folder by default.

    Raises:
        RunError: it is no lab folder, or the disk cannot be written.
    """
    report = _report(folder, folder)
    page = page or folder / "results.md"
    report.write()
    write_text(page, report.section(page))
    return report.results


def update_page(folders: Sequence[Path], page: Path) -> list[LabResults]:
    """Write the section of each laboratory into a page, its figures and plots beside it.

    A section stands between `<!-- lab: NAME -->` and `<!-- /lab: NAME -->`, where NAME is the folder's name. It is
    replaced where the page has it and appended where not; the rest of the page is kept. For `docs/results.md` the
    files go to `docs/results/NAME/`.

    Raises:
        RunError: it is no Markdown page, a folder is no lab folder, two have one name, a mark of the page is without
            its other one, or the disk cannot be written.
    """
    text = _read_page(page)
    names = Counter(folder.resolve().name for folder in folders)
    if twice := [name for name, count in names.items() if count > 1]:
        raise RunError(f"Two lab folders are called '{twice[0]}', which names a section of the page. Rename one.")
    reports = [_report(folder, page.with_suffix("") / folder.resolve().name) for folder in folders]
    for report in reports:
        text = replace_section(text, report.results.lab.name, report.section(page), page)
    for folder, report in zip(folders, reports, strict=True):
        report.write(folder)
    write_text(page, text)
    return [report.results for report in reports]


def replace_section(text: str, name: str, section: str, page: Path) -> str:
    """The page with the section between the marks of `name`, at the end where it has none. No text in it is a mark.

    Raises:
        RunError: a mark is there without its other one, more than once, or in the wrong order.
    """
    begin, end = f"<!-- lab: {name} -->", f"<!-- /lab: {name} -->"
    marked = f"{begin}\n{section.strip().replace('<!--', '<! --')}\n{end}"
    marks = re.findall(f"{re.escape(begin)}|{re.escape(end)}", text)
    if not marks:
        return f"{text.rstrip()}\n\n{marked}\n"
    if marks != [begin, end]:
        raise RunError(f"'{page}' should hold '{begin}' and, after it, '{end}', once each. Put them right and go on.")
    before, _, rest = text.partition(begin)
    return f"{before}{marked}{rest.partition(end)[2]}"


def _read_page(page: Path) -> str:
    """What the page holds; its head where it is not there yet.

    Raises:
        RunError: it is no Markdown page, or cannot be read.
    """
    if page.suffix != ".md" or page.is_dir():
        raise RunError(f"--page {page}: that is no Markdown file. Give one, such as docs/results.md.")
    try:
        return page.read_text(encoding="utf-8")
    except FileNotFoundError:
        return HEAD
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"'{page}' cannot be read ({error}). Write it in UTF-8, or give another --page.") from None


def draw_again(folder: Path) -> None:
    """Draw the plots of a folder that holds `results.json` alone, such as those under `docs/results/`.

    Raises:
        RunError: `results.json` cannot be read, matplotlib is not installed, or the disk cannot be written.
    """
    path = LabFolder(folder).results
    try:
        plots = _drawn(read_object(path))
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"'{path}' cannot be drawn ({error!r}). Make it again with `fissile lab report`.") from None
    _write_plots(folder, plots)


def _report(lab_folder: Path, target: Path) -> _Report:
    results = lab_results(read_lab(lab_folder))
    figures = _rounded(results.to_dict())
    return _Report(results, figures, _drawn(figures), target)


def _drawn(figures: dict[str, Any]) -> dict[str, str]:
    """The plots by their names.

    Raises:
        RunError: matplotlib is not installed.
    """
    try:
        from fissile.reports.lab.plots import lab_plots  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise RunError("The plots are drawn by matplotlib: pip install 'fissile[plots]'") from None
    return lab_plots(figures)


def _write_plots(folder: Path, plots: dict[str, str]) -> None:
    """Write `plots/NAME.svg`; those of an earlier report that are not made any more are removed."""
    for name, plot in plots.items():
        write_text(folder / "plots" / f"{name}.svg", f"{plot}\n")
    for old in (folder / "plots").glob("*.svg"):
        if old.stem not in plots:
            old.unlink()


def _rounded(fields: Any) -> Any:
    if isinstance(fields, dict):
        return {key: _rounded(value) for key, value in fields.items()}
    if isinstance(fields, list | tuple):
        return [_rounded(value) for value in fields]
    return round(fields, DIGITS) if isinstance(fields, float) else fields
