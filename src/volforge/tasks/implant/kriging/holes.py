"""Holes of a skull in the disc: connected pixels of the region where no bone was met."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.tasks.implant.kriging.solve import Field
from volforge.volume.geometry import Array

LEAST_MM2 = 130.0
LEAST_SHARE = 0.15
EDGE_MM = 6.0
SHALLOW_MM = 12.0
SHALLOW_MM2 = 400.0
MOSTLY = 0.5
MOST_UNSEEN = 0.02


@dataclass(frozen=True)
class Hole:
    """One hole.

    Attributes:
        pixels: (N, N) that it covers.
        area_mm2: Of those pixels, on a sphere of the disc's radius.
        at_edge: Whether it comes near to the end of the region: beyond it nothing can be said.
        out_of_view: Whether the volume ends there before the bone is to be expected: it may be no hole at all.
        unseen: Share of the pixels whose bone would lie beyond the volume.
        left_open: Whether it was not closed, since too much of it is unseen.
    """

    pixels: Array
    area_mm2: float
    at_edge: bool
    out_of_view: bool
    unseen: float = 0.0
    left_open: bool = False


def holes_of(
    field: Field, observed: Array, left: Array, *, least_mm2: float = LEAST_MM2, least_share: float = LEAST_SHARE
) -> list[Hole]:
    """The holes of a skull, the largest first.

    Args:
        field: Region and disc.
        observed: (2, N, N) radii, NaN where there is no bone.
        left: (N, N) radii at which rays left the volume without meeting bone.
        least_mm2: Smaller ones are sutures, vessels and noise;
        least_share: and so are those under this share of the largest that was seen.

    Returns:
        Holes. What lies along the end of the region, reaches less than 12 mm into it and has less than 400 mm2 is none:
        there orbits and sinuses of one head begin where another has bone still.
    """
    import cc3d
    from scipy.ndimage import distance_transform_edt

    missing = field.region & ~np.isfinite(observed).all(axis=0)
    labels = cc3d.connected_components(missing.astype(np.uint8)[..., None], connectivity=6)[..., 0]
    area = field.disc.pixel_mm**2
    sizes = np.bincount(labels.ravel())[1:] * area
    gone = left < field.mean[1]
    inside = distance_transform_edt(np.pad(field.region, 1))[1:-1, 1:-1] * field.disc.pixel_mm
    found: list[Hole] = []
    for number in np.argsort(-sizes, kind="stable"):
        if sizes[number] < least_mm2:
            break
        pixels = labels == number + 1
        depth = inside[pixels]
        if depth.min() <= EDGE_MM and depth.max() < SHALLOW_MM and sizes[number] < SHALLOW_MM2:
            continue
        unseen = float((pixels & gone).sum() / pixels.sum())
        found.append(Hole(pixels, float(sizes[number]), bool(depth.min() <= EDGE_MM), unseen > MOST_UNSEEN, unseen))
    # a vault that the volume cuts off would hide every hole below it
    seen = [h.area_mm2 for h in found if h.unseen <= MOSTLY] or [h.area_mm2 for h in found]
    return [h for h in found if h.area_mm2 >= least_share * max(seen)]
