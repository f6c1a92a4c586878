"""The fingerprint of a head: a map of radii from inside the skull to its outermost surface.

A defect, a cropped base, sinuses or an open foramen change the map only where they are; grid, storage and (nearly) the
threshold do not change it at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates
from scipy.optimize import least_squares
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

Array = npt.NDArray[Any]

GRID_MM = 1.0  # occupancy is pooled to about this
FAR_MM = 150.0
NEAR_MM = 20.0
DROP_MM = 80.0  # first guess of the centre: so far below the vertex
FLOOR = -0.45  # rays point up at least this much (sine of elevation)
VAULT = -0.15  # what is compared: rays above this sine of elevation
MIN_SHARE = 0.5  # of the vault must be in the map
RATIO = np.array([0.83, 1.10, 0.90])  # half axes of a head, of their mean


def sphere(count: int) -> Array:
    """Unit vectors spread evenly over the sphere (Fibonacci lattice), (count, 3)."""
    i = np.arange(count) + 0.5
    z = 1 - 2 * i / count
    turn, ring = np.pi * (1 + 5**0.5) * i, np.sqrt(1 - z * z)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)


RAYS = sphere(6000)
RAYS = RAYS[RAYS[:, 2] > FLOOR]  # 4350, 2.6 degrees or some 4 mm apart
NEIGHBOURS = cKDTree(RAYS).query(RAYS, 9)[1]


@dataclass
class Fingerprint:
    """Radius in mm along `RAYS` (NaN: no surface), seen from `centre` (RAS mm of the scan) in axes `turn`."""

    radius: Array
    centre: Array
    turn: Array

    @cached_property
    def cloud(self) -> tuple[Array, Array, Array, Array]:
        """Surface points in mm, outward normals, whether at the border of what is seen, whether vault."""
        points = RAYS * self.radius[:, None]
        around = points[NEIGHBOURS]
        seen = np.isfinite(around[..., 0])
        count = np.maximum(seen.sum(axis=1), 1)
        filled = np.where(seen[..., None], around, 0.0)
        mean = filled.sum(axis=1) / count[:, None]
        local = np.where(seen[..., None], around - mean[:, None], 0.0)
        values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", local, local))
        normal = vectors[:, :, 0] * np.sign((vectors[:, :, 0] * RAYS).sum(axis=1))[:, None]
        rough = np.sqrt(np.maximum(values[:, 0], 0) / count)
        good = np.isfinite(self.radius) & (count >= 8) & ((normal * RAYS).sum(axis=1) > 0.6) & (rough < 2.0)
        border = ~good[NEIGHBOURS[good]].all(axis=1)
        return points[good], normal[good], border, RAYS[good, 2] > VAULT

    @cached_property
    def tree(self) -> cKDTree:
        """Search tree of the surface points."""
        return cKDTree(self.cloud[0])

    @property
    def share(self) -> float:
        """Share of the vault that the map holds; below `MIN_SHARE` there is too little shape."""
        return float(self.cloud[3].sum() / (RAYS[:, 2] > VAULT).sum())


def pooled(mask: Array, affine: Array) -> tuple[Array, Array]:
    """Occupancy (0 to 1) on a grid of about `GRID_MM`, by block means, and its affine."""
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    k = [max(1, round(GRID_MM / s)) for s in spacing]
    n = [size // f for size, f in zip(mask.shape, k, strict=True)]
    cut = mask[tuple(slice(0, a * f) for a, f in zip(n, k, strict=True))]
    field = np.zeros(n, dtype=np.float32)
    for i in range(k[0]):
        for j in range(k[1]):
            for m in range(k[2]):
                field += cut[i :: k[0], j :: k[1], m :: k[2]]
    new = affine.astype(float).copy()
    new[:3, :3] = affine[:3, :3] * np.array(k)
    new[:3, 3] += affine[:3, :3] @ ((np.array(k) - 1) / 2)
    return field / np.float32(np.prod(k)), new


def cast(field: Array, affine: Array, centre: Array, rays: Array, step_mm: float = 1.0) -> Array:
    """Distance in mm to the outermost crossing of occupancy 0.5 along each ray, NaN where there is none."""
    t = np.arange(NEAR_MM, FAR_MM, step_mm)
    inverse = np.linalg.inv(affine[:3, :3])
    start, along = inverse @ (centre - affine[:3, 3]), rays @ inverse.T
    index = (start[:, None, None] + along.T[:, :, None] * t).reshape(3, -1)
    value = map_coordinates(field, index, order=1, mode="constant").reshape(len(rays), -1)
    inside = value >= 0.5
    inside[:, -1] = False
    last = len(t) - 1 - np.argmax(inside[:, ::-1], axis=1)
    last = np.where(inside.any(axis=1), last, 0)
    row = np.arange(len(rays))
    a, b = value[row, last], value[row, np.minimum(last + 1, len(t) - 1)]
    return np.where(inside.any(axis=1), t[last] + step_mm * (a - 0.5) / np.maximum(a - b, 1e-6), np.nan)


def fingerprint(mask: Array, affine: Array) -> Fingerprint:
    """The radius map of a mask.

    Args:
        mask: (X, Y, Z) in canonical (RAS) order: skull, body or labels > 0.
        affine: Voxel index to RAS mm.

    Raises:
        ValueError: No head: empty, or too small for its vault to be seen from within.
    """
    field, affine = pooled(mask, affine)
    where = 2 * np.argwhere(field[::2, ::2, ::2] >= 0.5)
    if len(where) < 100:
        raise ValueError("too little shape: hardly a voxel of mask")
    points = where @ affine[:3, :3].T + affine[:3, 3]
    vertex = points[:, 2].max()
    low, high = np.percentile(points[points[:, 2] > vertex - 90.0], [0.5, 99.5], axis=0)
    q = np.array([*(low + high)[:2] / 2, vertex - DROP_MM, 0, 0, 0, np.log(80.0)])
    rays = sphere(1500)
    rays = rays[rays[:, 2] > -0.2]
    for _ in range(4):  # an ellipsoid of a head's proportions, of free size, roll held
        turn = Rotation.from_rotvec(q[3:6]).as_matrix()
        r = cast(field, affine, q[:3], rays @ turn.T, 1.5)
        seen = np.isfinite(r)
        if seen.mean() < 0.3:
            raise ValueError("too little shape: the vault is not in view")
        surface = q[:3] + (rays @ turn.T)[seen] * r[seen, None]
        q = _fit_ellipsoid(surface, q)
    turn = Rotation.from_rotvec(q[3:6]).as_matrix()
    return Fingerprint(cast(field, affine, q[:3], RAYS @ turn.T).astype(np.float32), q[:3], turn)


def _fit_ellipsoid(points: Array, start: Array) -> Array:
    """Centre (mm), rotation vector and log of the mean half axis (mm) of the ellipsoid nearest to points."""
    strength = np.sqrt(len(points)) * np.array([2.0, 20.0, 2.0])  # mm per radian: roll is ill-determined

    def misfit(q: Array) -> Array:
        local = (points - q[:3]) @ Rotation.from_rotvec(q[3:6]).as_matrix()
        scaled = np.sqrt(((local / (np.exp(q[6]) * RATIO)) ** 2).sum(axis=1))
        away = np.linalg.norm(local, axis=1) * (1 - 1 / scaled)
        robust = 3.0 * np.sign(away) * np.sqrt(np.log1p((away / 3.0) ** 2))  # Cauchy, 3 mm
        return np.concatenate([robust, strength * q[3:6]])

    scale = np.array([5, 5, 5, 0.1, 0.1, 0.1, 0.05])
    return least_squares(misfit, start, x_scale=scale, max_nfev=40).x
