"""Distance maps in mm: edt, as the body mask, the measures and the bones have them, against scipy and SimpleITK."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.rows import Peer, Row, Scale, close
from benchmarks.volumes import trunk

SPACING = (0.8, 0.8, 1.5)


def to_false(mask: np.ndarray) -> np.ndarray:
    """Distance to the nearest false voxel, by SimpleITK."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray((~mask).astype(np.uint8).transpose(2, 1, 0))
    image.SetSpacing(SPACING)
    found = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    return np.maximum(sitk.GetArrayFromImage(found).transpose(2, 1, 0), 0)


def rows(scale: Scale) -> Iterator[Row]:
    import edt
    import SimpleITK as sitk
    from scipy.ndimage import distance_transform_edt

    from volforge.volume.morphology import distance_across, distance_inside

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    shape = scale.of((256, 256, 80), (48, 48, 24))
    mask = trunk(shape) > -400
    size = "x".join(map(str, shape))
    near = close(1e-4, 1e-3)
    yield Row(
        f"distance of every voxel of a body to its border, {size}",
        lambda: distance_inside(mask, SPACING),
        (
            Peer("scipy", lambda: distance_transform_edt(mask, SPACING), near),
            Peer("SimpleITK, Maurer", lambda: to_false(mask), near),
            Peer("edt, called bare", lambda: edt.edt(mask, anisotropy=SPACING, parallel=1), near, is_limit=True),
        ),
        turns=7,
    )

    def both_ways() -> np.ndarray:
        return np.maximum(distance_transform_edt(mask, SPACING), distance_transform_edt(~mask, SPACING))

    def edt_both_ways() -> np.ndarray:
        return np.abs(edt.sdf(mask, anisotropy=SPACING, parallel=1))

    yield Row(
        f"the same on both sides of the border, {size}",
        lambda: distance_across(mask, SPACING),
        (
            Peer("scipy", both_ways, near),
            Peer("SimpleITK, Maurer", lambda: np.maximum(to_false(mask), to_false(~mask)), near),
            Peer("edt.sdf, called bare", edt_both_ways, near, is_limit=True),
        ),
        turns=7,
    )
