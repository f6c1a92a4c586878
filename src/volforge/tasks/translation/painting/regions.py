"""What lies where in a CT, told by HU and by shape alone: no organ is named, and no MR is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from volforge.tasks.translation.painting.fields import Frame
from volforge.tasks.translation.painting.shapes import IN_PLANE, Pieces, closed, depth_mm, filled, rounded_closing
from volforge.volume.geometry import Array

BONE_HU = 250
RAMP_HU = 120
CORTEX_HU = 350
GAS_HU = -930
LUNG_MM2 = 800.0
SKULL_MM2 = 1500.0
GAPS_MM = (6.0, 10.0, 3.0)
LEAST_BONE_MM2 = 1000.0
SMOOTH_MM = 2.5


@dataclass
class Regions:
    """Where the tissues lie; weights from 0 to 1, all (K, H, W) float32, and masks.

    Attributes:
        bone: Weight of cortical bone.
        marrow: Weight of marrow, also within a cortex.
        fat: Weight of fat outside of the skull.
        air: Mask of gas, and of the air of sinuses.
        lung: Mask of the lungs with their vessels.
        inside: Mask of what a skull encloses.
        depth_mm: Distance to the skull, within `inside`.
        soft: Mask of soft tissue outside of `inside`.
        smooth_hu: HU of soft tissue without grain: soft tissues differ in it by little.
    """

    bone: Array
    marrow: Array
    fat: Array
    air: Array
    lung: Array
    inside: Array
    depth_mm: Array
    soft: Array
    smooth_hu: Array


def find_regions(
    hu: Array, body: Array, frame: Frame, *, full_bone: float, air_hu: float, grain_mm: float, trunk: bool
) -> Regions:
    """Tell tissues apart.

    Args:
        hu: (K, H, W) float32, -1000 outside of the body.
        body: (K, H, W) bool.
        frame: The grid.
        full_bone: HU at which a voxel is nothing but cortical bone.
        air_hu: Below this, a voxel is air.
        grain_mm: HU of fat and muscle are smoothed by this before they are told apart; 0: not.
        trunk: Look for lungs.
    """
    bony = _bony(hu, frame)
    bone = np.clip((hu - RAMP_HU) / np.float32(full_bone - RAMP_HU), 0, 1) * bony
    smooth = _smooth_hu(hu, SMOOTH_MM, frame)
    inside = _inside(hu, smooth, body, frame)
    marrow = _marrow(hu, bony, inside, frame)
    of_fat = _smooth_hu(hu, grain_mm, frame) if grain_mm else hu
    fat = np.exp(-(((of_fat + 90) / 70) ** 2)) * ~inside
    lung = _lung(hu, body, frame) if trunk else np.zeros(hu.shape, bool)
    air = (hu < air_hu) & body & ~lung
    soft = body & (hu > -40) & (bone < 0.2) & (marrow < 0.2) & ~inside & ~lung
    return Regions(bone, marrow, fat, air, lung, inside, depth_mm(inside, frame), soft, smooth)


def _bony(hu: Array, frame: Frame) -> Array:
    """Hard pieces of which a part is as hard as a cortex; others are vessels and organs with contrast medium."""
    pieces = Pieces(hu > RAMP_HU, frame)
    return pieces.those(pieces.share(hu > CORTEX_HU) > 0.04)


def _inside(hu: Array, smooth_hu: Array, body: Array, frame: Frame) -> Array:
    """What a skull encloses: the brain, and the fluid about it.

    Bone is closed over gaps until a piece of brain is cut off from all else. Fat, air and the end of the view close
    it too, as in the orbits; most of the edge must be bone, though, so that no muscle is taken for brain.
    """
    bone = hu > BONE_HU
    if bone.sum() * frame.pixel_mm**2 < LEAST_BONE_MM2 * len(hu):
        return np.zeros(hu.shape, bool)
    to_bone = depth_mm(~bone, frame)
    to_other = depth_mm(body & (smooth_hu > -30) & (hu > -250), frame)
    to_wall = np.minimum(to_bone, to_other)
    brain_like = (hu > -10) & (hu < 75)
    for gap in GAPS_MM:
        pieces = Pieces(depth_mm(to_wall <= gap, frame) <= gap, frame)
        chosen = (pieces.area_mm2 > SKULL_MM2) & (pieces.share(brain_like) > 0.6)
        if chosen.any():
            chosen &= _share_of_edge(pieces, to_bone < to_other) > 0.6
        if chosen.any():
            return _with_corners(pieces.those(chosen), hu, gap, frame)
    return np.zeros(hu.shape, bool)


def _with_corners(core: Array, hu: Array, mm: float, frame: Frame) -> Array:
    """A piece with what the closing rounded off: soft tissue that touches it and is not far."""
    beside = (depth_mm(~core, frame) <= 1.2 * mm) & (hu < RAMP_HU) & (hu > -150)
    pieces = Pieces(core | beside, frame)
    return pieces.those(pieces.share(core) > 0)


def _share_of_edge(pieces: Pieces, where: Array) -> Array:
    """Share of the voxels just about each piece where something holds."""
    ring = ndimage.grey_dilation(pieces.labels, footprint=IN_PLANE) * (pieces.labels == 0)
    all_of_it = np.bincount(ring.ravel(), minlength=pieces.count + 1)
    those = np.bincount(ring[where], minlength=pieces.count + 1)
    return those / np.maximum(all_of_it, 1)


def _marrow(hu: Array, bony: Array, inside: Array, frame: Frame) -> Array:
    """Weight of marrow: softer than the bone about it, or deep in a bone that is nowhere hard."""
    lid = closed(hu, frame.pixels(4.0))
    between = np.clip((lid - hu) / 400, 0, 1) * (lid > 500)
    whole = filled(closed(bony.astype(np.uint8), frame.pixels(2.0)) > 0) & ~inside
    pieces = Pieces(whole & ~bony, frame)
    hollow = pieces.those((pieces.area_mm2 < SKULL_MM2) & (pieces.share(hu < -250) < 0.2))
    deep = np.clip(depth_mm(bony | hollow, frame) / 2.5 - 1, 0, 1)
    spongy = deep * np.clip((450 - hu) / 150, 0, 1)
    return np.maximum(between, spongy) * ~inside * (hu > -250)


def _lung(hu: Array, body: Array, frame: Frame) -> Array:
    """Large pieces that are darker than soft tissue and lighter than gas, with the vessels in them."""
    pieces = Pieces((hu < -400) & body, frame)
    large = pieces.those((pieces.area_mm2 > LUNG_MM2) & (pieces.share(hu < GAS_HU) < 0.45))
    if not large.any():
        return large
    return filled(rounded_closing(large, 6.0, frame)) & body & (hu < 150)


def _smooth_hu(hu: Array, mm: float, frame: Frame) -> Array:
    """HU of soft tissue and fat without grain, the mean of what is soft about each voxel; 0 where nothing is."""
    sigma = (0, mm / frame.pixel_mm, mm / frame.pixel_mm)
    is_soft = ((hu > -220) & (hu < 150)).astype(np.float32)
    weight = ndimage.gaussian_filter(is_soft, sigma, truncate=2.5)
    return ndimage.gaussian_filter(hu * is_soft, sigma, truncate=2.5) / np.maximum(weight, 1e-3)
