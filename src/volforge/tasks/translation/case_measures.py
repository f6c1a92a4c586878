"""All measures of a translated case beside those of every image: tissues, lines, inner structure, raw outline."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from volforge.metrics.image import measure_outline
from volforge.metrics.measure import Measure, Status, nothing
from volforge.metrics.texture import slice_change
from volforge.study.volumes import Volumes
from volforge.tasks.translation.histogram import histogram_distance
from volforge.tasks.translation.inner_structure import structure_measures
from volforge.tasks.translation.paths import path_measures
from volforge.tasks.translation.tissues import dense_bone_dice, intracranial_air, tissue_measures
from volforge.volume.geometry import Array, flat_axis

BONE_OUTSIDE_HU = 150.0
RAW = (("outline_dice_raw", "body"), ("outline_hd95_raw_mm", "body"), ("bone_outside_share_raw", "outside"))
"""Measures of the image before the mask, and their structures."""


@dataclass(frozen=True)
class Known:
    """What is known of a case beside its volumes.

    Attributes:
        own: (X, Y, Z) body found in the prediction.
        histogram: Mean shares of HU of the training CTs, or None.
        kvp: Tube voltage of the reference, or None.
    """

    own: Array
    histogram: Array | None
    kvp: int | None


def case_measures(volumes: Volumes, known: Known) -> list[Measure]:
    """Measures of a case that has a finite prediction in HU.

    Args:
        volumes: Images on the reference's grid; `source` and `outline` are the MR and its body.
        known: What else is known.
    """
    p, r, body, spacing = volumes.prediction, volumes.reference, volumes.body, volumes.spacing
    assert p is not None
    assert volumes.source is not None
    assert volumes.outline is not None
    found = tissue_measures(p, r, body, spacing)
    found += [dense_bone_dice(p, r, body), intracranial_air(p, r, spacing)]
    if flat_axis(r.shape) is None:
        found.append(slice_change(p, r, body))
    found += structure_measures(volumes.source, p, r, body & volumes.outline, spacing)
    found += path_measures(p, r, body, known.own, spacing, known.kvp)
    found.append(histogram_distance(p, volumes.outline, known.histogram))
    return [*found, bone_outside(p, volumes.outline)]


def failed_case(volumes: Volumes, known: Known, status: Status) -> list[Measure]:
    """The rows of `case_measures` without a value; what the reference itself has not stays `absent`.

    Args:
        volumes: The case, whose prediction is missing or not finite.
        known: As for `case_measures`; `own` is not looked at.
        status: Why there is no value.
    """
    found = case_measures(replace(volumes, prediction=volumes.reference), replace(known, own=volumes.body))
    return [m if m.status == "absent" else nothing(m.measure, status, m.structure, m.n) for m in found]


def bone_outside(prediction: Array, outline: Array, name: str = "bone_outside_share") -> Measure:
    """Share of the voxels outside of the source's outline that are as dense as bone, 150 HU or more: couches, streaks.

    Args:
        prediction: (X, Y, Z) HU.
        outline: Body of the source.
        name: Of the measure.

    Returns:
        0 to 1; `absent` where the body fills the grid.
    """
    n = int(np.count_nonzero(~outline))
    if not n:
        return nothing(name, "absent", "outside")
    return Measure(name, float((prediction[~outline] >= BONE_OUTSIDE_HU).mean()), "outside", "ok", n)


def raw_measures(raw: Array, own: Array, outline: Array, spacing: tuple[float, float, float]) -> list[Measure]:
    """What an image shows before the source's mask was laid on it: `outline_dice_raw` and `outline_hd95_raw_mm` of
    `body`, `bone_outside_share_raw` of `outside`.

    Args:
        raw: (X, Y, Z) HU on the reference's grid.
        own: Body found in it.
        outline: Body of the source.
        spacing: Voxel size in mm.
    """
    named = {"outline_dice": RAW[0][0], "outline_hd95_mm": RAW[1][0]}
    found = [replace(m, measure=named[m.measure]) for m in measure_outline(own, outline, spacing)]
    return [*found, bone_outside(raw, outline, RAW[-1][0])]
