"""The page a person looks at: one self-contained HTML file made from what a run folder holds."""

from fissile.reports.run_page import write_report

__all__ = ["write_report"]
