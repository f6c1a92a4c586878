"""Registration of two heads by their radius maps, and the distances that rank and decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from volforge.cohort.duplicates.radius_map import Fingerprint, sphere

Array = npt.NDArray[Any]

OFFSET_MM = 1.5  # a shift of the threshold moves the surface by at most this
MIN_OVERLAP = 0.6  # of the vaults must have partners; true pairs had 0.69 and more
MIN_SHARE = 0.5  # of the directions that two quick vectors must share
STARTS_DEG = ((0, 0, 0), (20, 0, 0), (-20, 0, 0), (0, 20, 0), (0, -20, 0), (0, 0, 20), (0, 0, -20))
COARSE = sphere(900)
COARSE = COARSE[COARSE[:, 2] > 0.0]  # directions of the quick vector


@dataclass(frozen=True)
class Match:
    """A rigid registration a -> b (x_b = turn @ x_a + shift, mm) and how well the vaults then agree.

    Attributes:
        residual_mm: 80th percentile of the distance of the surfaces along the normal, offset taken out;
            of both directions the larger. The measure to be held against `SAME_MM`.
        median_mm: Their median.
        offset_mm: The even distance of the surfaces that was taken out (threshold).
        overlap: Share of the vault of a (and of b, the smaller) that has a partner.
    """

    residual_mm: float
    median_mm: float
    offset_mm: float
    overlap: float
    turn: Array
    shift: Array


def _icp(a: Fingerprint, b: Fingerprint, turn: Array, shift: Array, stride: int = 2) -> Match:
    """Point-to-plane ICP of the vault of a onto b with Tukey weights and a common offset along the normals."""
    points, normals, _, vault = a.cloud
    target, target_normals, border, _ = b.cloud
    points, normals = points[vault][::stride], normals[vault][::stride]
    offset, failed = 0.0, Match(np.inf, np.inf, 0.0, 0.0, turn, shift)
    for k in range(40):
        x = points @ turn.T + shift
        distance, near = b.tree.query(x, distance_upper_bound=20.0)
        ok = np.isfinite(distance)
        near = np.where(ok, near, 0)
        n = target_normals[near]
        ok &= ~border[near] & (((normals @ turn.T) * n).sum(axis=1) > 0.7)
        if ok.sum() < 100:
            return failed
        x, n = x[ok], n[ok]
        gap = ((x - target[near[ok]]) * n).sum(axis=1)
        free = np.abs(gap - offset)
        u = (gap - offset) / (4.685 * max(1.4826 * float(np.median(free)), 0.3))
        weight = np.where(np.abs(u) < 1, (1 - u * u) ** 2, 0.0)
        middle = x.mean(axis=0)
        jacobian = np.concatenate([np.cross(x - middle, n), n, -np.ones((len(n), 1))], axis=1)
        normal_matrix = (jacobian * weight[:, None]).T @ jacobian
        normal_matrix[6, 6] += 0.02 * len(n)
        q = np.linalg.solve(normal_matrix + 1e-6 * np.eye(7), -(jacobian * weight[:, None]).T @ gap)
        small = Rotation.from_rotvec(q[:3]).as_matrix()
        turn, shift = small @ turn, small @ (shift - middle) + middle + q[3:6]
        offset = float(np.clip(q[6], -OFFSET_MM, OFFSET_MM))
        if k > 5 and 80.0 * np.linalg.norm(q[:3]) + np.linalg.norm(q[3:6]) < 0.02:
            break
    return Match(float(np.percentile(free, 80)), float(np.median(free)), offset, float(ok.mean()), turn, shift)


def to_reference(a: Fingerprint, reference: Fingerprint) -> tuple[Match, Array]:
    """Register a head to the reference head (best of seven starts); the match and the quick vector in mm."""
    found = []
    for start in STARTS_DEG:
        turn = Rotation.from_rotvec(np.deg2rad(start)).as_matrix()
        found.append(_icp(a, reference, turn, np.zeros(3), stride=4))
    best = min(found, key=lambda m: m.median_mm / max(m.overlap, 0.01))
    moved = a.cloud[0] @ best.turn.T + best.shift
    radius = np.linalg.norm(moved, axis=1)
    apart, near = cKDTree(moved / radius[:, None]).query(COARSE, 6)
    vector = radius[near].mean(axis=1)
    return best, np.where(apart[:, 2] < 0.08, vector, np.nan)


def compare(a: Array, b: Array) -> Array:
    """Distances in mm, (n, m), of quick vectors (n, k) and (m, k): root mean square, mean difference taken out."""
    middle = float(np.nanmean(a))
    wa, wb = np.isfinite(a).astype(float), np.isfinite(b).astype(float)
    a, b = np.where(wa > 0, a - middle, 0.0), np.where(wb > 0, b - middle, 0.0)
    count = np.maximum(wa @ wb.T, 1e-9)
    mean = (a @ wb.T - wa @ b.T) / count
    square = ((a * a) @ wb.T - 2 * a @ b.T + wa @ (b * b).T) / count
    distance = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.where(count >= MIN_SHARE * a.shape[1], distance, np.inf)


def verify(a: Fingerprint, b: Fingerprint, starts: list[tuple[Array, Array]]) -> Match:
    """Register both ways from each start (a -> b: turn, shift); the best, by its worse direction."""
    best = Match(np.inf, np.inf, 0.0, 0.0, np.eye(3), np.zeros(3))
    for turn, shift in starts:
        there = _icp(a, b, turn, shift)
        if not np.isfinite(there.residual_mm):
            continue
        back = _icp(b, a, there.turn.T, -there.turn.T @ there.shift)
        worse = there if there.residual_mm >= back.residual_mm else back
        if worse.residual_mm < best.residual_mm:
            best = Match(
                worse.residual_mm,
                worse.median_mm,
                there.offset_mm,
                min(there.overlap, back.overlap),
                there.turn,
                there.shift,
            )
    return best


def relative(a: Match, b: Match) -> tuple[Array, Array]:
    """The start a -> b that two registrations to one reference imply."""
    return b.turn.T @ a.turn, b.turn.T @ (a.shift - b.shift)
