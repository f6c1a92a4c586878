"""Where the slices of DICOM files lie: along their normal, at one place or beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from volforge.volume.dicom.headers import Frame
from volforge.volume.geometry import Array

MOST_ANGLE = 2e-3  # radians by which directions of one stack may differ (rounded headers)


def normal_of(frame: Frame) -> Array:
    """Unit normal of a slice, LPS: row direction x column direction."""
    assert frame.orientation is not None
    normal = np.cross(frame.orientation[:3], frame.orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def heights_of(frames: Sequence[Frame]) -> Array:
    """(N,): places along the normal of the first frame, mm; all frames are placed."""
    positions = np.array([f.position for f in frames], dtype=float)
    return np.asarray(positions @ normal_of(frames[0]))


def by_geometry(frames: list[Frame]) -> list[list[Frame]]:
    """Frames that are alike."""
    groups: list[list[Frame]] = []
    for frame in frames:
        for group in groups:
            if alike(group[0], frame):
                group.append(frame)
                break
        else:
            groups.append([frame])
    return groups


def alike(a: Frame, b: Frame) -> bool:
    """Whether two slices have one size, direction and spacing, and belong to one stack of their file."""
    if a.shape != b.shape or a.colour != b.colour or a.missing != b.missing:
        return False
    if a.localiser != b.localiser or a.mosaic != b.mosaic:
        return False
    if a.tags.get("StackID") != b.tags.get("StackID"):
        return False
    for one, other, tolerance in ((a.orientation, b.orientation, MOST_ANGLE), (a.spacing, b.spacing, 1e-3)):
        if one is not None and other is not None and not np.allclose(one, other, rtol=1e-3, atol=tolerance):
            return False
    return True


def places_of(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames by their place along the normal, in order."""
    heights = heights_of(frames)
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    wide = gaps[gaps > 0.01]
    tolerance = max(0.01, 0.02 * float(np.median(wide))) if wide.size else 0.01
    places: list[list[Frame]] = []
    last = -np.inf
    for i in order:
        if heights[i] - last > tolerance:
            places.append([])
            last = heights[i]
        places[-1].append(frames[i])
    return places


def is_one_grid(frames: Sequence[Frame], regular: float = 0.6) -> bool:
    """Whether slices, all placed and alike, make one stack: on one line, in steps of one size.

    Args:
        frames: In any order; several may lie at one place.
        regular: Share of the steps that must be the usual one, to a tenth.
    """
    places = places_of(frames)
    if len(places) < 3:
        return False
    ordered = [p[0] for p in places]
    heights = heights_of(ordered)
    gaps = np.diff(heights)
    if np.mean(np.abs(gaps - np.median(gaps)) <= 0.1 * np.median(gaps)) < regular:
        return False
    assert ordered[0].spacing is not None
    positions = np.array([f.position for f in ordered], dtype=float)
    line = np.stack([np.polyval(np.polyfit(heights, positions[:, a], 1), heights) for a in range(3)], axis=1)
    return bool(np.linalg.norm(positions - line, axis=1).max() <= 0.5 * min(ordered[0].spacing))
