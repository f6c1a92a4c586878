"""Local thickness: the largest sphere in the implant that holds a place.

Source: Hildebrand and Rueegsegger, "A new method for the model-independent assessment of thickness in three-dimensional
images", Journal of Microscopy 185 (1997). Spheres stand on the ridge of the distance to the surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from volforge.shape.field import sample, signed_distance
from volforge.tasks.implant.making.rim_gap import WALL_COSINE, weighted_percentile
from volforge.tasks.implant.making.scene import Scene
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Affine, Array

PARTS = 1.25  # of the finer grid, for each voxel's shortest edge
SAME = (
    0.8  # a sphere that leaves its neighbour's by less is not drawn: a fifth of a voxel at most, a sixth of the spheres
)
LOW_PERCENT = 5.0


@dataclass(frozen=True)
class Thickness:
    """Thickness of an implant at the vertices of its surface (`Scene.implant_surface`).

    Attributes:
        mm: (V,) diameter of the largest inscribed sphere.
        area_mm2: (V,) area that each vertex stands for.
        counts: (V,) bool: upper and lower surface, further than one thickness from the edge.
    """

    mm: Array
    area_mm2: Array
    counts: Array

    @property
    def p5_mm(self) -> float:
        """5th percentile by area, edges left out; NaN where all is edge."""
        return weighted_percentile(self.mm[self.counts], self.area_mm2[self.counts], LOW_PERCENT)

    @property
    def median_mm(self) -> float:
        """Median by area, edges left out; NaN where all is edge."""
        return weighted_percentile(self.mm[self.counts], self.area_mm2[self.counts], 50)

    @property
    def smallest_mm(self) -> float:
        """Smallest thickness, edges left out; NaN where all is edge."""
        return float(self.mm[self.counts].min()) if self.counts.any() else float("nan")


def thickness(scene: Scene) -> Thickness:
    """Thickness of an implant on smooth surfaces; a shell of thickness h gives h.

    Args:
        scene: Implant and bone.
    """
    from scipy.spatial import cKDTree

    mesh = scene.implant_surface
    if not len(mesh.faces):
        return Thickness(np.zeros(0), np.zeros(0), np.zeros(0, bool))
    fine, affine, step = _fine(scene)
    found = local_thickness(fine, step)
    inverse = np.linalg.inv(affine)
    # a little below the surface, where voxels belong to it
    below = mesh.vertices - 0.75 * step * scene.implant_normals
    index = np.rint(below @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    mm = _around(found, index)
    side = np.abs((scene.implant_normals * scene.implant_outwards).sum(axis=1)) < WALL_COSINE
    to_edge = cKDTree(mesh.vertices[side]).query(mesh.vertices)[0] if side.any() else np.full(len(mm), np.inf)
    return Thickness(mm, mesh.vertex_areas, ~side & (to_edge > mm) & (mm > 0))


def _fine(scene: Scene) -> tuple[Array, Affine, float]:
    """The implant on cubes of four fifths of its shortest edge, from its smooth field; their affine and edge."""
    from scipy.ndimage import affine_transform

    spacing = np.array(scene.grid.spacing_mm)
    step = float(spacing.min() / PARTS)
    box = bounding_box(scene.implant, (2, 2, 2))
    part = scene.implant_field[box]
    scale = step / spacing
    shape = tuple(int(np.floor((n - 1) / s)) + 1 for n, s in zip(part.shape, scale, strict=True))
    fine = affine_transform(part, scale, output_shape=shape, order=1, output=np.float32) > 0.5
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(scale)
    matrix[:3, 3] = [s.start for s in box]
    return fine, scene.affine @ matrix, step


def local_thickness(mask: Array, voxel_mm: float) -> Array:
    """Diameter in mm of the largest inscribed sphere that holds each voxel, float32; 0 outside.

    Args:
        mask: (X, Y, Z) bool on cubic voxels.
        voxel_mm: Their edge.
    """
    if not mask.any():
        return np.zeros(mask.shape, np.float32)
    padded = np.pad(mask, 1)
    radius = -signed_distance(padded, (voxel_mm,) * 3) / np.float32(voxel_mm)
    radius = np.where(padded, radius, np.float32(0)).astype(np.float32)
    centres = np.argwhere(_ridge(radius)).astype(np.int64)
    found = np.zeros(radius.shape, np.float32)
    _paint(centres, np.ascontiguousarray(radius), np.ascontiguousarray(padded), found)
    return (2 * np.float32(voxel_mm) * found)[1:-1, 1:-1, 1:-1]


@njit(cache=True)
def _ridge(radius: Array) -> Array:
    """Voxels whose sphere lies in none of their 26 neighbours' spheres, or nearly so."""
    found = np.zeros(radius.shape, np.bool_)
    for x in range(1, radius.shape[0] - 1):
        for y in range(1, radius.shape[1] - 1):
            for z in range(1, radius.shape[2] - 1):
                own = radius[x, y, z]
                if own <= 0:
                    continue
                kept = True
                for i in range(-1, 2):
                    for j in range(-1, 2):
                        for k in range(-1, 2):
                            if i == 0 and j == 0 and k == 0:
                                continue
                            if radius[x + i, y + j, z + k] >= own + SAME * np.sqrt(i * i + j * j + k * k):
                                kept = False
                found[x, y, z] = kept
    return found


@njit(cache=True)
def _paint(centres: Array, radius: Array, mask: Array, found: Array) -> None:
    """Give every voxel of the mask the radius of the largest sphere that reaches its middle or nearly so."""
    for n in range(len(centres)):
        x, y, z = centres[n, 0], centres[n, 1], centres[n, 2]
        own = radius[x, y, z]
        reach = int(np.floor(own + 0.5))
        most = (own + 0.5) * (own + 0.5)
        for i in range(max(-reach, -x), min(reach, radius.shape[0] - 1 - x) + 1):
            for j in range(max(-reach, -y), min(reach, radius.shape[1] - 1 - y) + 1):
                rest = most - i * i - j * j
                if rest < 0:
                    continue
                deep = int(np.sqrt(rest))
                for k in range(max(-deep, -z), min(deep, radius.shape[2] - 1 - z) + 1):
                    if mask[x + i, y + j, z + k] and found[x + i, y + j, z + k] < own:
                        found[x + i, y + j, z + k] = own


@njit(cache=True)
def _around(values: Array, index: Array) -> Array:
    """Greatest value among a voxel and its neighbours."""
    found = np.zeros(len(index))
    for n in range(len(index)):
        for i in range(-1, 2):
            for j in range(-1, 2):
                for k in range(-1, 2):
                    x, y, z = index[n, 0] + i, index[n, 1] + j, index[n, 2] + k
                    if 0 <= x < values.shape[0] and 0 <= y < values.shape[1] and 0 <= z < values.shape[2]:
                        found[n] = max(found[n], values[x, y, z])
    return found


def thickness_map(scene: Scene) -> Array:
    """Thickness at every voxel of the implant on the scene's grid, mm, float32; 0 outside."""
    fine, affine, step = _fine(scene)
    found = local_thickness(fine, step)
    places = scene.places(scene.implant)
    inverse = np.linalg.inv(affine)
    index = places @ inverse[:3, :3].T + inverse[:3, 3]
    values = np.zeros(scene.implant.shape, np.float32)
    values[scene.implant] = sample(found, np.rint(index))
    return values
