"""The pose of a skull: a similarity that lays its vault onto a left-right symmetric template.

All that a pose knows is the bone that is there: a hole removes points, and moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numba
import numpy as np

from volforge.tasks.implant.kriging.disc import Disc
from volforge.volume.geometry import Array

UNDER_VERTEX_MM = 70.0
OUTSIDE_MM = 6.0
"""What a point costs beyond the template: with nothing, leaving it would pay (one skull came out 59 degrees off)."""
MOST_MM = 12.0
CAUCHY_MM = 1.5
STARTS = tuple((pitch, roll) for pitch in (-0.3, 0.0, 0.3) for roll in (-0.15, 0.0, 0.15))
"""Pitch about the axis to the right and roll about the axis to the front, in radians; symmetric in the roll."""
STEPS = np.array([0.1, 0.1, 0.1, 5.0, 5.0, 5.0, 0.05])


@dataclass(frozen=True)
class Pose:
    """Frame of a skull: patient = rotation @ (scale * frame) + centre.

    Attributes:
        rotation: (3, 3), columns are the frame's right, front and up in patient coordinates.
        centre: (3,) mm.
        scale: mm of the patient per mm of the frame.
    """

    rotation: Array
    centre: Array
    scale: float = 1.0

    def into(self, points: Array) -> Array:
        """Patient coordinates (..., 3) to those of the frame."""
        return ((points - self.centre) @ self.rotation) / self.scale

    def out_of(self, points: Array) -> Array:
        """Coordinates of the frame (..., 3) to those of the patient."""
        return (points * self.scale) @ self.rotation.T + self.centre

    def moved(self, change: Array) -> Pose:
        """The pose after a change of 7 numbers: rotation vector in patient axes, mm, logarithm of scale."""
        turn = rotation_of(change[:3])
        return Pose(turn @ self.rotation, self.centre + change[3:6], float(self.scale * np.exp(change[6])))

    def angle_to(self, other: Pose) -> float:
        """Angle between two poses, in degrees."""
        cosine = (np.trace(self.rotation.T @ other.rotation) - 1) / 2
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


@dataclass(frozen=True)
class Template:
    """What skulls are laid onto.

    Attributes:
        disc: Its directions.
        maps: (2, N, N) inner and outer radius, everywhere finite.
        trusted: (N, N) where it means something; a point beyond costs `OUTSIDE_MM`.
    """

    disc: Disc
    maps: Array
    trusted: Array


@dataclass(frozen=True)
class Registered:
    """A pose and how well it fits.

    Attributes:
        pose: The pose.
        cost: Mean Cauchy cost of a point; 0 is perfect, log(1 + (6 / 1.5)^2) / 2 = 1.4 that of a point beyond.
        residual_mm: Median distance of the points from the template, along the radius.
    """

    pose: Pose
    cost: float
    residual_mm: float


def first_guess(skull: Array, affine: Array) -> Pose:
    """Upright, with the centre 70 mm under the highest bone, midway in the bone 45 to 75 mm under it.

    Args:
        skull: (X, Y, Z), 1 is bone; not empty.
        affine: (4, 4) voxel to patient, mm, RAS.
    """
    steps = [max(1, round(2.0 / s)) for s in np.linalg.norm(affine[:3, :3], axis=0)]
    places = np.argwhere(skull[:: steps[0], :: steps[1], :: steps[2]]) * np.array(steps)
    if not len(places):  # a crumb of bone between them
        places = np.argwhere(skull)
    points = places @ affine[:3, :3].T + affine[:3, 3]
    top = np.percentile(points[:, 2], 99.9)
    band = points[(points[:, 2] > top - 75) & (points[:, 2] < top - 45)]
    band = band if len(band) else points
    low, high = np.percentile(band, [1, 99], axis=0)
    middle = (low + high) / 2
    return Pose(np.eye(3), np.array([middle[0], middle[1], top - UNDER_VERTEX_MM]))


def even_directions(count: int = 2500, colatitude_deg: float = 112.0) -> Array:
    """(n, 3) directions spread evenly over a cap about the vertex, each beside its mirror image.

    A Fibonacci lattice of one half, and the same mirrored: so a mirrored skull gives the mirrored points.
    """
    n = np.arange(count) + 0.5
    up = 1 - n / count * (1 - np.cos(np.deg2rad(colatitude_deg)))
    azimuth = np.pi * (1 + 5**0.5) * n
    flat = np.sqrt(1 - up**2)
    points = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), up], axis=-1)
    half = points[points[:, 0] > 0]
    return np.concatenate([half, half * np.array([-1.0, 1.0, 1.0])])


def register(
    points: tuple[Array, Array],
    template: Template,
    start: Pose,
    starts: Iterable[tuple[float, float]] = (),
    few: tuple[Array, Array] | None = None,
) -> Registered:
    """Lay the inner and outer points of a skull onto a template.

    Similarity of 7 parameters, least squares of radial distances under a Cauchy loss of 1.5 mm. With several starts,
    few points tell them apart, and all points refine the two best.

    Args:
        points: Inner and outer surface, (n, 3) each, patient coordinates.
        template: The template.
        start: Where the search begins.
        starts: Pitch and roll in radians that are added to it; none: it alone.
        few: Few of the points; None: all of them tell the starts apart.
    """
    tried = []
    for pitch, roll in starts:
        turn = rotation_of(np.array([pitch, 0, 0])) @ rotation_of(np.array([0, roll, 0]))
        tried.append(_fitted(few or points, template, Pose(start.rotation @ turn, start.centre, start.scale), 15))
    tried.sort(key=lambda t: t[0])
    begins = [pose for _, pose in tried[:2]] or [start]
    cost, pose = min((_fitted(points, template, begin, 80) for begin in begins), key=lambda t: t[0])
    left = np.abs(_residuals(np.zeros(7), pose, points, template))
    scale = CAUCHY_MM**2 * max(1, len(left))
    return Registered(pose, cost / scale, float(np.median(left)) if len(left) else float("nan"))


def _fitted(points: tuple[Array, Array], template: Template, begin: Pose, most: int) -> tuple[float, Pose]:
    """Cost and pose from one start."""
    from scipy.optimize import least_squares

    found = least_squares(
        _residuals, np.zeros(7), args=(begin, points, template), loss="cauchy", f_scale=CAUCHY_MM, max_nfev=most,
        x_scale=STEPS, xtol=1e-9, ftol=1e-9,
    )  # fmt: skip
    return float(found.cost), begin.moved(found.x)


def _residuals(change: Array, begin: Pose, points: tuple[Array, Array], template: Template) -> Array:
    pose = begin.moved(change)
    disc = template.disc
    found = []
    for surface, own in enumerate(points):
        found.append(
            _distances(
                np.ascontiguousarray(pose.into(own)),
                template.maps[surface],
                template.trusted,
                2 * disc.radius_mm / disc.pixel_mm,
                float(disc.half),
            )
        )
    return np.concatenate(found)


@numba.njit(cache=True)
def _distances(points, radii, trusted, scale, half):  # type: ignore[no-untyped-def]
    """Radius of every point less the template's, between +-MOST_MM; OUTSIDE_MM beyond what is trusted."""
    found = np.empty(len(points))
    n = radii.shape[0]
    for q in range(len(points)):
        x, y, z = points[q, 0], points[q, 1], points[q, 2]
        r = np.sqrt(x * x + y * y + z * z)
        flat = np.sqrt(x * x + y * y)
        out = scale * np.sqrt(max(0.0, (1 - z / max(r, 1e-6)) / 2)) / max(flat, 1e-6)
        u, v = x * out + half, y * out + half
        i, j = int(np.floor(u)), int(np.floor(v))
        opposite = flat < 1e-3 and z < 0  # has no direction in the disc
        if opposite or i < 0 or j < 0 or i + 1 >= n or j + 1 >= n or not trusted[round(u), round(v)]:
            found[q] = OUTSIDE_MM
            continue
        fu, fv = u - i, v - j
        low = radii[i, j] * (1 - fu) + radii[i + 1, j] * fu
        high = radii[i, j + 1] * (1 - fu) + radii[i + 1, j + 1] * fu
        found[q] = min(max(r - (low * (1 - fv) + high * fv), -MOST_MM), MOST_MM)
    return found


def rotation_of(vector: Array) -> Array:
    """Rotation matrix of a rotation vector, in radians (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
