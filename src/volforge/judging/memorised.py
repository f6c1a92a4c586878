"""Whether the synthetic slices of an arm repeat training slices: a measure of the study."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from volforge.metrics.features import axial_slices
from volforge.metrics.measure import Measure, nothing
from volforge.metrics.memorisation import SIDE, memorisation, small
from volforge.study.cases import Cohort, of_modality, training_rows
from volforge.study.settings import ArmSettings
from volforge.volume.geometry import Array

SHARE, RATIO = "memorisation_share", "memorisation_distance_ratio"
MOST = 2000  # training slices that are looked at


def memorised(
    settings: ArmSettings,
    cohort: Cohort,
    fold: int,
    synthetic: Sequence[tuple[str, Array]],
    held_out: Sequence[tuple[str, Array]],
) -> list[Measure]:
    """Are synthetic slices nearer to training slices than to real ones that nobody learnt from?

    Real slices of the subject whose label map was painted are left out: they show the same anatomy.

    Args:
        settings: The arm.
        cohort: Its cohort.
        fold: Fold that is tested.
        synthetic: Subject and slices (N, S, S), 0 to 1, of every synthetic image.
        held_out: The same of the real test images.

    Returns:
        `memorisation_share`: of synthetic slices that lie nearer to a training slice than to any held-out one, where
        both sets have one size; 0.5 where both are alike (the arm `real` shows what is right in a cohort).
        `memorisation_distance_ratio`: median distance to the one over that to the other, a mean over subjects.
    """
    window = settings.metrics["window_hu"]
    rows = of_modality(training_rows(settings, cohort, fold), settings.target)
    names = [r["scan"] for r in rows if cohort.has(r["scan"], "image")]
    per_scan = max(1, MOST // max(1, len(names)))
    parts = []
    for name in names:
        image = cohort.target_image(name)
        slices = axial_slices(image, cohort.body(name, image.shape), window, SIDE)
        if len(slices):
            parts.append(slices[np.unique(np.linspace(0, len(slices) - 1, per_scan).round().astype(int))])
    others = [(subject, small(slices)) for subject, slices in held_out]
    shares: list[tuple[float, int]] = []
    ratios: list[float] = []
    for subject, slices in synthetic:
        real = [v for s, v in others if s != subject]
        if not parts or not real:
            continue
        found = memorisation(small(slices), np.concatenate(parts), np.concatenate(real))
        if not math.isnan(found.share):
            shares.append((found.share, len(slices)))
            ratios.append(found.distance_ratio)
    if not shares:
        return [nothing(m, "undefined", "slices") for m in (SHARE, RATIO)]
    values, counts = (np.array(v, float) for v in zip(*shares, strict=True))
    total = int(counts.sum())
    return [
        Measure(SHARE, float((values * counts).sum() / total), "slices", "ok", total),
        Measure(RATIO, float(np.mean(ratios)), "slices", "ok", total),
    ]
