"""The part of the configuration that says which numbers a study of implants reports."""

from __future__ import annotations

from pydantic import Field

from volforge.tasks.protocol import Study, StudyMetrics


class ImplantMetrics(StudyMetrics):
    """Which numbers a study of implants reports."""

    making: bool = Field(
        default=False,
        description="whether an implant can be made and put in: rim gap, contour step, insertion, thickness; some "
        "seconds a case at the voxels of a scanner",
    )
    strata: bool = Field(
        default=False,
        description="rows by the place and size of the true implant too: `implant/frontal`, `implant/large` ...",
    )


class MeasuredStudy(Study):
    """One table of implants, with its own choice of numbers."""

    metrics: ImplantMetrics = Field(default=ImplantMetrics(), description="which numbers")
