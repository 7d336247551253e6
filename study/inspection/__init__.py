"""``taskct inspect``: a look at every patient of a source, on the console and as one page. Needs no Ray."""

from study.inspection.inspect_source import inspect_source
from study.inspection.page import write_page
from study.inspection.patient_look import PatientLook

__all__ = ["PatientLook", "inspect_source", "write_page"]
