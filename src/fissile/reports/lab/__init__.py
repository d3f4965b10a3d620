"""The results of a laboratory: figures with intervals over seeds, plots, and the section of the results page."""

from fissile.reports.lab.lab_results import LabResults
from fissile.reports.lab.writing import draw_again, update_page, write_lab_report

__all__ = ["LabResults", "draw_again", "update_page", "write_lab_report"]
