"""The way in: along which direction an implant comes out of its hole with the least to trim.

Source: methods, section 6.4. For a direction of withdrawal u, trim(u) is the volume of those y of the implant for which
some t > 0 has y + t u in the bone, after one voxel of clearance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from volforge.tasks.implant.making.scene import Scene
from volforge.volume.geometry import Array
from volforge.volume.morphology import distance_inside

WIDEST_DEGREES = 60.0
COARSE_DEGREES = 10.0
FINE_DEGREES = (5.0, 2.0)
BEST = 3  # directions that are refined


@dataclass(frozen=True)
class Insertion:
    """The best direction to take an implant out, and so to put it in.

    Attributes:
        direction: (3,) unit vector in mm, out of the head.
        angle_deg: Its angle to the mean normal of the implant.
        trim_mm3: What would have to be cut off for that way.
        along_normal_mm3: The same along the mean normal.
        blocked: (X, Y, Z) bool on the scene's grid: what would have to be cut off.
        clearance_mm: How far from bone the implant was taken back first.
    """

    direction: Array
    angle_deg: float
    trim_mm3: float
    along_normal_mm3: float
    blocked: Array
    clearance_mm: float


def insertion(scene: Scene, clearance_mm: float | None = None) -> Insertion:
    """The best way out within 60 degrees of the mean normal: a grid of 10 degrees, then the three best to 2 degrees.

    Of equal directions the one nearest to the mean normal is taken. Every direction is tried at the full grid: bone is
    drawn into a map of heights along u, with cells of half a voxel, and an implant's voxel is blocked where bone stands
    higher. Bone further than the scene's margin is not asked.

    Args:
        scene: Implant and bone.
        clearance_mm: The implant loses what lies so near to a bone voxel's centre; None: one voxel (the longest edge).
    """
    longest = max(scene.grid.spacing_mm)
    clearance = 1.01 * longest if clearance_mm is None else clearance_mm
    free = scene.implant & (distance_inside(~scene.defective, scene.grid.spacing_mm) > clearance)
    voxel = scene.grid.voxel_mm3
    normal = scene.mean_outwards
    implant = np.ascontiguousarray(scene.places(free))
    bone = np.ascontiguousarray(scene.places(_shell(scene.defective)))
    tried: dict[tuple[float, ...], tuple[float, float]] = {}

    def trim(u: Array) -> tuple[float, float]:
        key = tuple(np.round(u, 9).tolist())
        if key not in tried:
            angle = float(np.degrees(np.arccos(np.clip(u @ normal, -1, 1))))
            tried[key] = (float(blocked_voxels(implant, bone, u, longest).sum()) * voxel, round(angle, 6))
        return tried[key]

    for u in around(normal, WIDEST_DEGREES, COARSE_DEGREES):
        trim(u)
    for step in FINE_DEGREES:
        for best in sorted(tried, key=lambda k: tried[k])[:BEST]:
            for u in around(np.array(best), 2 * step if step > 2 else 5.0, step):
                if u @ normal >= np.cos(np.radians(WIDEST_DEGREES)) - 1e-9:
                    trim(u)
    chosen = min(tried, key=lambda k: tried[k])
    direction = np.array(chosen) / np.linalg.norm(chosen)
    blocked = np.zeros_like(scene.implant)
    blocked[free] = blocked_voxels(implant, bone, direction, longest)
    return Insertion(direction, tried[chosen][1], tried[chosen][0], trim(normal)[0], blocked, clearance)


def around(axis: Array, widest_degrees: float, step_degrees: float) -> Array:
    """Unit vectors within an angle of an axis, about a step apart, the axis first, (N, 3)."""
    axis = axis / np.linalg.norm(axis)
    helper = np.eye(3)[int(np.argmin(np.abs(axis)))]
    first = np.cross(axis, helper)
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    found = [axis]
    for ring in range(1, int(np.floor(widest_degrees / step_degrees + 1e-9)) + 1):
        polar = np.radians(ring * step_degrees)
        count = max(6, round(2 * np.pi * np.sin(polar) / np.radians(step_degrees)))
        for k in range(count):
            turn = 2 * np.pi * k / count
            found.append(np.cos(polar) * axis + np.sin(polar) * (np.cos(turn) * first + np.sin(turn) * second))
    return np.asarray(found)


def _shell(mask: Array) -> Array:
    """Two layers of voxels below the surface: seen from any direction they cover all that the mask covers."""
    from scipy.ndimage import binary_erosion

    return mask & ~binary_erosion(mask, iterations=2, border_value=1)


def blocked_voxels(implant: Array, bone: Array, direction: Array, voxel_mm: float) -> Array:
    """Which voxels of an implant meet bone on their way.

    Args:
        implant: (N, 3) mm, centres of voxels.
        bone: (M, 3) mm.
        direction: (3,) unit vector of the way.
        voxel_mm: Edge of a bone voxel; it covers a square of this size.

    Returns:
        (N,) bool.
    """
    if not len(implant) or not len(bone):
        return np.zeros(len(implant), bool)
    u = direction / np.linalg.norm(direction)
    helper = np.eye(3)[int(np.argmin(np.abs(u)))]
    first = np.cross(u, helper)
    first /= np.linalg.norm(first)
    return np.asarray(_blocked(implant, bone, u, first, np.cross(u, first), voxel_mm / 2))


@njit(cache=True)
def _blocked(implant: Array, bone: Array, u: Array, first: Array, second: Array, cell: float) -> Array:
    low1 = low2 = np.inf
    high1 = high2 = -np.inf
    for n in range(len(implant)):
        a = implant[n, 0] * first[0] + implant[n, 1] * first[1] + implant[n, 2] * first[2]
        b = implant[n, 0] * second[0] + implant[n, 1] * second[1] + implant[n, 2] * second[2]
        low1, high1, low2, high2 = min(low1, a), max(high1, a), min(low2, b), max(high2, b)
    rows, columns = int((high1 - low1) / cell) + 1, int((high2 - low2) / cell) + 1
    height = np.full((rows, columns), -np.inf)
    for n in range(len(bone)):
        a = (bone[n, 0] * first[0] + bone[n, 1] * first[1] + bone[n, 2] * first[2] - low1) / cell
        b = (bone[n, 0] * second[0] + bone[n, 1] * second[1] + bone[n, 2] * second[2] - low2) / cell
        h = bone[n, 0] * u[0] + bone[n, 1] * u[1] + bone[n, 2] * u[2]
        # a voxel covers the two by two cells whose middles lie under it
        i0, j0 = int(np.floor(a - 0.5)), int(np.floor(b - 0.5))
        for i in range(max(i0, 0), min(i0 + 2, rows)):
            for j in range(max(j0, 0), min(j0 + 2, columns)):
                height[i, j] = max(height[i, j], h)
    found = np.zeros(len(implant), np.bool_)
    for n in range(len(implant)):
        a = (implant[n, 0] * first[0] + implant[n, 1] * first[1] + implant[n, 2] * first[2] - low1) / cell
        b = (implant[n, 0] * second[0] + implant[n, 1] * second[1] + implant[n, 2] * second[2] - low2) / cell
        h = implant[n, 0] * u[0] + implant[n, 1] * u[1] + implant[n, 2] * u[2]
        i, j = min(int(a), rows - 1), min(int(b), columns - 1)
        found[n] = height[i, j] > h
    return found
