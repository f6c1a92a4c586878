"""The plane of symmetry of a skull, whatever is missing on one side: its mirror image registered to itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from volforge.volume.geometry import Affine, Array, Grid
from volforge.volume.morphology import components

COARSE_MM = 1.5
CAP_MM = 6.0  # what has no counterpart costs so much and no more: the hole
POINTS = 6000
STARTS_DEGREES = (-8.0, 0.0, 8.0)


def reflection(yaw: float, roll: float, offset_mm: float, about: Array) -> Affine:
    """The reflection across a nearly sagittal plane, 4x4 in RAS mm.

    Args:
        yaw, roll: Radians by which the plane's normal turns from the right towards the front and upwards.
        offset_mm: Of the plane from a point, along its normal.
        about: (3,) that point.
    """
    normal = np.array([np.cos(yaw) * np.cos(roll), np.sin(yaw) * np.cos(roll), np.sin(roll)])
    matrix = np.eye(4)
    matrix[:3, :3] -= 2 * np.outer(normal, normal)
    matrix[:3, 3] = 2 * (about @ normal + offset_mm) * normal
    return matrix


def mirror_image(defective: Array, affine: Affine, near: Callable[[Array], Array] | None = None) -> Affine:
    """What takes a place to its counterpart on the other side.

    First the plane (two turns and a shift) whose reflection brings the bone's surface nearest to itself, by distances
    capped at 6 mm, from nine starts. Then, where it is said what is near the hole, a small rigid motion that fits the
    bone there to its counterpart: no skull is symmetric.

    Args:
        defective: (X, Y, Z), above 0 where bone is.
        affine: Voxels to RAS mm.
        near: `near(places)` (N, 3) mm -> (N,) bool: which bone the second step looks at; None: no second step.

    Returns:
        4x4: RAS mm of a place to RAS mm of its counterpart.
    """
    import edt
    from scipy.ndimage import map_coordinates
    from scipy.optimize import minimize

    bone, own = coarse_bone(defective, affine)
    spacing = Grid((1, 1, 1), own).spacing_mm
    pad = int(np.ceil(CAP_MM / min(spacing))) + 1
    padded = np.pad(bone, pad)
    surface = bone & ~_eroded(bone)
    away = edt.edt(~np.pad(surface, pad), anisotropy=spacing, black_border=False, parallel=1)
    away = np.minimum(away, np.float32(CAP_MM)) if surface.any() else np.full(padded.shape, CAP_MM, np.float32)
    inverse = np.linalg.inv(own)
    places = np.argwhere(surface) @ own[:3, :3].T + own[:3, 3]
    about = (places.min(axis=0) + places.max(axis=0)) / 2

    def cost(matrix: Affine, points: Array) -> float:
        whole = inverse @ matrix
        index = (points @ whole[:3, :3].T + whole[:3, 3] + pad).T
        return float(map_coordinates(away, index, order=1, mode="constant", cval=CAP_MM).mean())

    points = places[:: max(1, len(places) // POINTS)]
    scale = np.array([0.05, 0.05, 4.0])

    def of_plane(p: Array, some: Array) -> float:
        yaw, roll, offset = p * scale
        return cost(reflection(yaw, roll, offset, about), some)

    few = points[:: max(1, len(points) // 1500)]
    options = {"xatol": 0.01, "fatol": 1e-4, "maxiter": 300}
    found = []
    for yaw in STARTS_DEGREES:
        for roll in STARTS_DEGREES:
            start = np.array([np.radians(yaw), np.radians(roll), 0.0]) / scale
            found.append(minimize(of_plane, start, (few,), "Nelder-Mead", options=options | {"maxiter": 80}))
    best = min(found, key=lambda f: float(f.fun))
    plane = minimize(of_plane, best.x, (points,), "Nelder-Mead", options=options).x * scale
    matrix = reflection(float(plane[0]), float(plane[1]), float(plane[2]), about)
    if near is None:
        return matrix
    beside = places[near(places)]
    if len(beside) < 50:
        return matrix
    beside = beside[:: max(1, len(beside) // POINTS)]
    middle = beside.mean(axis=0)
    sizes = np.array([0.03, 0.03, 0.03, 1.5, 1.5, 1.5])

    def of_motion(p: Array) -> float:
        # a motion that pays: far from nothing only where it brings bone together
        return cost(matrix @ _motion(p * sizes, middle), beside) + 0.01 * float((p**2).sum())

    small = minimize(of_motion, np.zeros(6), method="Powell", options={"xtol": 1e-3, "ftol": 1e-5, "maxiter": 30}).x
    return np.asarray(matrix @ _motion(small * sizes, middle))


def coarse_bone(defective: Array, affine: Affine) -> tuple[Array, Affine]:
    """The largest piece of bone on voxels of about 1.5 mm, cut to its box, and its affine."""
    from volforge.volume.boxes import bounding_box

    grid = Grid(tuple(defective.shape), affine)
    skull = defective > 0
    box = bounding_box(skull)
    steps = [max(1, round(COARSE_MM / s)) for s in grid.spacing_mm]
    part = skull[box]
    shape = [-(-n // s) for n, s in zip(part.shape, steps, strict=True)]
    whole = np.pad(part, [(0, n * s - m) for n, s, m in zip(shape, steps, part.shape, strict=True)])
    blocks = whole.reshape(shape[0], steps[0], shape[1], steps[1], shape[2], steps[2]).mean(axis=(1, 3, 5)) >= 0.5
    if not blocks.any():
        blocks = whole[:: steps[0], :: steps[1], :: steps[2]]
    labels, counts = components(np.ascontiguousarray(blocks), 26)
    if len(counts) > 1:
        blocks = labels == 1 + int(np.argmax(counts[1:]))
    matrix = np.diag([*steps, 1.0])
    matrix[:3, 3] = [(s - 1) / 2 for s in steps]
    return np.ascontiguousarray(blocks), grid.part(box).affine @ matrix


def _eroded(mask: Array) -> Array:
    from scipy.ndimage import binary_erosion

    return np.asarray(binary_erosion(mask))


def _motion(p: Array, about: Array) -> Affine:
    """A rotation by a vector (radians) about a point, and a shift in mm, 4x4."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(p[:3]).as_matrix()
    matrix[:3, 3] = about - matrix[:3, :3] @ about + p[3:]
    return matrix
