"""The results of a laboratory: figures with intervals over seeds, plots, and the section of the results page."""

from fissile.reports.lab.results import LabResults
from fissile.reports.lab.writing import update_page, write_lab_report

__all__ = ["LabResults", "update_page", "write_lab_report"]
