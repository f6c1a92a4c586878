"""Drainage holes: cylinders along the local normal, off the rim and off each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.making.rim_gap import WALL_COSINE
from volforge.tasks.implant.making.scene import Scene
from volforge.volume.geometry import Array


@dataclass(frozen=True)
class Drainage:
    """A pattern of holes.

    Attributes:
        diameter_mm: Of each hole.
        spacing_mm: From middle to middle.
        margin_mm: Least distance of a hole's edge from the rim.
    """

    diameter_mm: float = 2.0
    spacing_mm: float = 12.0
    margin_mm: float = 8.0

    def __post_init__(self) -> None:
        if not (self.diameter_mm > 0 and self.spacing_mm > self.diameter_mm and self.margin_mm >= 0):
            raise VolforgeError(
                f"holes of {self.diameter_mm:g} mm cannot stand {self.spacing_mm:g} mm apart "
                f"and {self.margin_mm:g} mm off the rim",
                "",
                "take a diameter above 0, a spacing above the diameter, and a margin of 0 or more",
            )


@dataclass(frozen=True)
class Drilled:
    """An implant with holes.

    Attributes:
        mask: (X, Y, Z) bool on the scene's grid.
        centres: (N, 3) mm, on the middle of the plate.
        axes: (N, 3), out of the head.
        removed_mm3: Volume of the holes.
    """

    mask: Array
    centres: Array
    axes: Array
    removed_mm3: float


def drilled(scene: Scene, pattern: Drainage | None = None) -> Drilled:
    """Drill a hexagonal pattern.

    Args:
        scene: Implant and bone.
        pattern: Size and distance of the holes.

    Returns:
        The implant with holes. There may be none where the implant is small.
    """
    from scipy.spatial import cKDTree

    pattern = pattern or Drainage()
    places = scene.places(scene.implant)
    radius = pattern.diameter_mm / 2
    mesh = scene.implant_surface
    if not len(mesh.vertices):  # thinner than its voxels: there is no wall to drill through
        return Drilled(scene.implant.copy(), np.zeros((0, 3)), np.zeros((0, 3)), 0.0)
    centres = _candidates(scene, places, pattern.spacing_mm)
    axes = scene.outwards(centres) if len(centres) else np.zeros((0, 3))
    side = np.abs((scene.implant_normals * scene.implant_outwards).sum(axis=1)) < WALL_COSINE
    if side.any() and len(centres):
        off = cKDTree(mesh.vertices[side]).query(centres)[0] >= pattern.margin_mm + radius
        centres, axes = centres[off], axes[off]
    kept: list[int] = []
    for n in range(len(centres)):  # where the plate bends the pattern of the plane is wider or narrower on it
        if not kept or np.linalg.norm(centres[kept] - centres[n], axis=1).min() >= 0.9 * pattern.spacing_mm:
            kept.append(n)
    centres, axes = centres[kept], axes[kept]
    mask = scene.implant.copy()
    index = np.argwhere(scene.implant)
    tree = cKDTree(places)
    for centre, axis in zip(centres, axes, strict=True):
        near = np.asarray(tree.query_ball_point(centre, r=LONGEST_MM), np.int64)
        beside = places[near] - centre
        along = beside @ axis
        away = np.linalg.norm(beside - along[:, None] * axis, axis=1)
        gone = index[near[away <= radius]]
        mask[tuple(gone.T)] = False
    removed = float(np.count_nonzero(scene.implant) - np.count_nonzero(mask)) * scene.grid.voxel_mm3
    return Drilled(mask, centres, axes, removed)


LONGEST_MM = 15.0  # half of the longest hole


def _candidates(scene: Scene, places: Array, spacing_mm: float) -> Array:
    """Middles of the plate under a hexagonal grid of the plane across the mean normal, (N, 3) mm."""
    normal = scene.mean_outwards
    helper = np.eye(3)[int(np.argmin(np.abs(normal)))]
    first = np.cross(normal, helper)
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    middle = places.mean(axis=0)
    a, b = (places - middle) @ first, (places - middle) @ second
    rows = int(np.ceil(np.abs(b).max() / (spacing_mm * np.sqrt(3) / 2)))
    columns = int(np.ceil(np.abs(a).max() / spacing_mm)) + 1
    found = []
    near = max(0.75, scene.voxel_mm)
    for row in range(-rows, rows + 1):
        y = row * spacing_mm * np.sqrt(3) / 2
        in_row = np.flatnonzero(np.abs(b - y) <= near)
        for column in range(-columns, columns + 1):
            x = (column + (row % 2) / 2) * spacing_mm
            own = in_row[np.abs(a[in_row] - x) <= near]
            if len(own):
                found.append(places[own].mean(axis=0))
    return np.asarray(found).reshape(-1, 3)
