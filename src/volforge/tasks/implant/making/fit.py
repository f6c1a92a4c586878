"""Whether an implant can be made and put in: all of it, with the numbers of a table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.metrics.measure import Measure, Status, nothing
from volforge.tasks.implant.making.contour_step import ContourStep, contour_step
from volforge.tasks.implant.making.insertion import Insertion, insertion
from volforge.tasks.implant.making.rim_gap import RimGap, rim_gap
from volforge.tasks.implant.making.scene import Scene
from volforge.tasks.implant.making.thickness import Thickness, thickness
from volforge.volume.geometry import Affine, Array

MEASURES = (
    "rim_gap_median_mm", "rim_gap_p95_mm", "rim_gap_over_1mm_percent", "contour_step_outer_mm",
    "contour_step_outer_p95_mm", "contour_step_inner_mm", "contour_step_inner_p95_mm", "insertion_trim_mm3",
    "insertion_angle_deg", "thickness_p5_mm", "smallest_thickness_mm",
)  # fmt: skip


@dataclass(frozen=True)
class Fit:
    """All that is known of how an implant sits in its hole."""

    scene: Scene
    gap: RimGap
    step: ContourStep
    way: Insertion
    thick: Thickness

    def values(self) -> dict[str, float]:
        """Numbers by name; NaN where there is nothing to measure."""
        values = (
            self.gap.median_mm,
            self.gap.p95_mm,
            100 * self.gap.share_over(1.0),
            self.step.outer.median_mm,
            self.step.outer.p95_mm,
            self.step.inner.median_mm,
            self.step.inner.p95_mm,
            self.way.trim_mm3,
            self.way.angle_deg,
            self.thick.p5_mm,
            self.thick.smallest_mm,
        )
        return dict(zip(MEASURES, values, strict=True))


def fit(implant: Array, defective: Array, affine: Affine, centre: Array | None = None) -> Fit:
    """Look at an implant in its hole.

    Args:
        implant: (X, Y, Z), above 0 where the implant is.
        defective: Defective skull on the same grid.
        affine: Voxels to RAS mm.
        centre: (3,) mm, somewhere inside of the head; None: the centroid of the bone.

    Raises:
        VolforgeError: there is no implant outside of the bone.
    """
    scene = Scene.of(implant, defective, affine, centre)
    gap = rim_gap(scene)
    return Fit(scene, gap, contour_step(scene, gap), insertion(scene), thickness(scene))


def fit_measures(implant: Array, defective: Array, affine: Affine, structure: str) -> list[Measure]:
    """The same as measures; failures where there is no implant.

    Args:
        implant: (X, Y, Z), above 0 where the implant is.
        defective: Defective skull on the same grid.
        affine: Voxels to RAS mm.
        structure: What the measures speak of.
    """
    if not np.any((implant > 0) & ~(defective > 0)):
        return [nothing(m, "empty_prediction", structure) for m in MEASURES]
    found = fit(implant, defective, affine)
    n = int(np.count_nonzero(found.scene.implant))

    def measure(name: str, value: float) -> Measure:
        status: Status = "undefined" if np.isnan(value) else "ok"
        return Measure(name, value, structure, status, n)

    return [measure(name, value) for name, value in found.values().items()]
