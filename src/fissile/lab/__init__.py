"""The laboratory: arms x seeds of ordinary runs in one folder, resumable, each failure kept. No torch to import it.

`spec` says what is compared, `plan` in which order, `workers` where it happens, `execution` what happens there,
`runner` puts them together; `folder` and `provenance` are what is on disk, `display` what a person sees.
"""

from fissile.lab.display import Display
from fissile.lab.lab_folder import LabFolder, RunKey
from fissile.lab.plan import PlannedRun, make_plan
from fissile.lab.runner import run_lab
from fissile.lab.spec import ArmSpec, LabSpec, load_spec

__all__ = [
    "ArmSpec",
    "Display",
    "LabFolder",
    "LabSpec",
    "PlannedRun",
    "RunKey",
    "load_spec",
    "make_plan",
    "run_lab",
]
