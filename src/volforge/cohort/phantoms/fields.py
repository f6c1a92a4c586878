"""What all phantoms share: random streams, oblique grids, signed distances, partial volume, texture, noise.

Signed distances are in mm, negative inside. Shapes made of several functions are joined by minimum and cut by
maximum, so that away from the surface the values are bounds, not distances; near it they are exact enough for
partial volume.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from volforge.volume.geometry import Array, Grid

Points = tuple[Array, Array, Array]


@dataclass
class PhantomScan:
    """One drawn scan.

    Attributes:
        grid: Its (oblique) grid.
        volumes: Array by sheet column: image, labels, defective, implant.
        truth: What was drawn, with units in the names.
    """

    grid: Grid
    volumes: dict[str, Array]
    truth: dict[str, object] = field(default_factory=dict)


def stream(seed: int, *names: str) -> np.random.Generator:
    """A random stream that depends on the seed and on names only, never on the order of the calls."""
    digest = hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def rotation(degrees: tuple[float, float, float]) -> Array:
    """Rotation about x, then y, then z."""
    a, b, c = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


def oblique_grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    centre_mm: tuple[float, float, float],
    tilt_degrees: tuple[float, float, float],
) -> Grid:
    """A grid about a point, its axes turned away from RAS by small angles."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(tilt_degrees) @ np.diag(spacing_mm)
    affine[:3, 3] = np.array(centre_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def world_points(grid: Grid) -> Points:
    """RAS coordinates in mm of all voxel centres, three float32 arrays of the grid's shape."""
    i, j, k = (np.arange(n, dtype=np.float32) for n in grid.shape)
    m = grid.affine.astype(np.float32)
    return tuple(
        m[r, 0] * i[:, None, None] + m[r, 1] * j[None, :, None] + m[r, 2] * k[None, None, :] + m[r, 3] for r in range(3)
    )


def subject_points(points: Points, turn: Array, shift_mm: Array, scale: float) -> Points:
    """World coordinates to the subject's own frame: p = turn^T (w - shift) / scale."""
    inverse = (turn.T / scale).astype(np.float32)
    w = [p - np.float32(s) for p, s in zip(points, shift_mm, strict=True)]
    return tuple(inverse[r, 0] * w[0] + inverse[r, 1] * w[1] + inverse[r, 2] * w[2] for r in range(3))


def ellipsoid(p: Points, centre: tuple[float, float, float], semi: tuple[float, float, float]) -> Array:
    """Signed distance to an ellipsoid, to first order (exact for a sphere)."""
    q = [(x - np.float32(c)) for x, c in zip(p, centre, strict=True)]
    k0 = np.sqrt(sum((x / np.float32(s)) ** 2 for x, s in zip(q, semi, strict=True)))
    k1 = np.sqrt(sum((x / np.float32(s * s)) ** 2 for x, s in zip(q, semi, strict=True)))
    return np.where(k1 > 1e-6, k0 * (k0 - 1) / np.maximum(k1, 1e-6), -np.float32(min(semi)))


def capsule(
    p: Points, a: tuple[float, float, float], b: tuple[float, float, float], radius_a: float, radius_b: float
) -> Array:
    """Signed distance to a rod from a to b whose radius runs from one value to another."""
    start, end = np.array(a, dtype=np.float32), np.array(b, dtype=np.float32)
    axis = end - start
    q = [x - s for x, s in zip(p, start, strict=True)]
    t = np.clip(sum(x * d for x, d in zip(q, axis, strict=True)) / float(axis @ axis), 0, 1)
    distance = np.sqrt(sum((x - t * d) ** 2 for x, d in zip(q, axis, strict=True)))
    return distance - (radius_a + t * (radius_b - radius_a))


def rounded_box(
    p: Points, centre: tuple[float, float, float], half: tuple[float, float, float], radius: float
) -> Array:
    """Signed distance to a box with rounded edges."""
    q = [np.abs(x - np.float32(c)) - np.float32(h - radius) for x, c, h in zip(p, centre, half, strict=True)]
    outside = np.sqrt(sum(np.maximum(x, 0) ** 2 for x in q))
    inside = np.minimum(np.maximum(np.maximum(q[0], q[1]), q[2]), 0)
    return outside + inside - np.float32(radius)


def coverage(distance: Array, voxel_mm: float) -> Array:
    """The share of a voxel inside a surface, from its centre's signed distance."""
    return np.clip(0.5 - distance / np.float32(voxel_mm), 0, 1)


def paint(image: Array, distance: Array, value: Array | float, voxel_mm: float) -> None:
    """Lay a value over an image where a shape covers it, with partial volume at the edge; in place."""
    share = coverage(distance, voxel_mm)
    image += share * (value - image)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int, int], spacing_mm: tuple[float, ...], length_mm: float
) -> Array:
    """A Gaussian random field of mean 0, SD 1 and the given correlation length (sigma of its kernel)."""
    from scipy.ndimage import gaussian_filter

    field_ = rng.standard_normal(shape, dtype=np.float32)
    field_ = gaussian_filter(field_, [length_mm / s / np.sqrt(2) for s in spacing_mm], mode="wrap")
    return (field_ - field_.mean()) / field_.std()


def blur(image: Array, sigma_mm: float, spacing_mm: tuple[float, ...]) -> Array:
    """The point spread of a scanner."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image, [sigma_mm / s for s in spacing_mm], mode="nearest")


def in_file_order(scan: PhantomScan, codes: str) -> PhantomScan:
    """The same scan stored along other axes (`LPS`, `PSR` ...), as archives hold them."""
    letters = {
        "R": (0, False),
        "L": (0, True),
        "A": (1, False),
        "P": (1, True),
        "S": (2, False),
        "I": (2, True),
    }
    order = tuple(letters[c][0] for c in codes)
    flips = tuple(slice(None, None, -1 if letters[c][1] else 1) for c in codes)
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, code in enumerate(codes):
        old, flip = letters[code]
        matrix[old, new] = -1 if flip else 1
        matrix[old, 3] = scan.grid.shape[old] - 1 if flip else 0
    a, b, c = (scan.grid.shape[i] for i in order)
    volumes = {n: np.ascontiguousarray(v.transpose(order)[flips]) for n, v in scan.volumes.items()}
    return PhantomScan(Grid((a, b, c), scan.grid.affine @ matrix), volumes, scan.truth)
