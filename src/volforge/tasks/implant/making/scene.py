"""An implant in its hole: the part of both masks that matters, with smooth surfaces and the skull's local normal.

All that asks whether an implant can be made and put in works on this. Surfaces are the 0.5 level of the masks under a
narrow Gaussian: two masks that touch have one surface there, and a plane is met to about a tenth of a voxel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.field import sample
from volforge.shape.mesh import Mesh, vertex_normals
from volforge.volume.boxes import foreground_box, grown
from volforge.volume.geometry import Affine, Array, Grid

MARGIN_MM = 15.0
SIGMA_VOXELS = 0.6  # a plate of one voxel still has a surface
PLATE_MM = 6.0  # deviation of the Gaussian under which bone and implant look like a plate
CELL_MM = 2.0
PAD = 2  # voxels of air about an implant that the grid cuts; bone goes on there


@dataclass(frozen=True)
class Scene:
    """An implant and the bone about it.

    Attributes:
        implant: (X, Y, Z) bool.
        defective: The defective skull on the same grid, bool.
        affine: Voxels of this part to mm.
        centre: (3,) mm: the middle of the head; outwards is away from it.
    """

    implant: Array
    defective: Array
    affine: Affine
    centre: Array

    @classmethod
    def of(
        cls,
        implant: Array,
        defective: Array,
        affine: Affine,
        centre: Array | None = None,
        margin_mm: float = MARGIN_MM,
    ) -> Scene:
        """The part of two masks about the implant.

        Args:
            implant: (X, Y, Z), above 0 where the implant is; voxels that are bone too are not.
            defective: Defective skull on the same grid.
            affine: Voxels to mm, axes perpendicular; a mirrored one (determinant below 0) is fine.
            centre: (3,) mm, somewhere inside of the head; None: the centroid of the bone.
            margin_mm: Bone further off is left out.

        Raises:
            VolforgeError: there is no implant, or grids differ.
        """
        if implant.shape != defective.shape:
            raise VolforgeError(f"grids differ: {implant.shape} and {defective.shape}", "", "use one grid")
        box = foreground_box(implant)
        if box is None:
            raise VolforgeError("the implant is empty", "", "nothing can be made of it")
        spacing = Grid((1, 1, 1), affine).spacing_mm
        wide = grown(box, [int(np.ceil(margin_mm / s)) + 1 for s in spacing], implant.shape)
        middle = _centroid(defective if defective.any() else implant, affine) if centre is None else np.asarray(centre)
        own = Grid(tuple(implant.shape), affine).part(wide)
        bone = np.pad(defective[wide] > 0, PAD, mode="edge")
        mask = np.pad(implant[wide] > 0, PAD) & ~bone
        if not mask.any():
            raise VolforgeError("the implant lies in the bone", "", "take the bone away first")
        moved = own.affine.copy()
        moved[:3, 3] -= own.affine[:3, :3] @ np.full(3, float(PAD))
        return cls(np.ascontiguousarray(mask), np.ascontiguousarray(bone), moved, middle)

    @property
    def grid(self) -> Grid:
        """The grid of this part."""
        x, y, z = self.implant.shape
        return Grid((x, y, z), self.affine)

    @cached_property
    def voxel_mm(self) -> float:
        """Edge of a cube of a voxel's volume."""
        return float(self.grid.voxel_mm3 ** (1 / 3))

    @cached_property
    def implant_field(self) -> Array:
        """Share of implant, 0 to 1, float32."""
        return occupancy(self.implant, self.grid.spacing_mm)

    @cached_property
    def bone_field(self) -> Array:
        """Share of bone, 0 to 1, float32."""
        return occupancy(self.defective, self.grid.spacing_mm)

    @cached_property
    def implant_surface(self) -> Mesh:
        """Surface of the implant, faces outwards."""
        return level_surface(self.implant_field, self.affine)

    @cached_property
    def bone_surface(self) -> Mesh:
        """Surface of the bone, faces out of the bone; open where the part ends."""
        return level_surface(self.bone_field, self.affine)

    @cached_property
    def implant_normals(self) -> Array:
        """Normals of the implant's vertices, (V, 3)."""
        return vertex_normals(self.implant_surface.vertices, self.implant_surface.faces)

    @cached_property
    def bone_normals(self) -> Array:
        """Normals of the bone's vertices, (V, 3), out of the bone."""
        return vertex_normals(self.bone_surface.vertices, self.bone_surface.faces)

    @cached_property
    def implant_outwards(self) -> Array:
        """The skull's outward normal at the implant's vertices, (V, 3)."""
        return self.outwards(self.implant_surface.vertices)

    def sampled(self, field: Array, points: Array) -> Array:
        """Values of a field of this grid at places in mm."""
        inverse = np.linalg.inv(self.affine)
        return sample(field, points @ inverse[:3, :3].T + inverse[:3, 3])

    def places(self, mask: Array) -> Array:
        """Centres of the true voxels, (N, 3) mm."""
        return np.argwhere(mask) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def outwards(self, points: Array) -> Array:
        """Outward normal of the skull at places of it, (N, 3).

        Bone and implant together are a plate: its normal is the direction of least spread of their voxels under a
        Gaussian of 6 mm, so that the walls of the hole do not bend it.

        Args:
            points: (N, 3) mm, in or near the implant.
        """
        from scipy.ndimage import map_coordinates

        low, moments = self._moments
        index = ((points - low) / CELL_MM - 0.5).T
        found = np.stack([map_coordinates(m, index, order=1, mode="nearest") for m in moments], axis=-1)
        weight = np.maximum(found[:, 0], 1e-12)
        mean = found[:, 1:4] / weight[:, None]
        spread = np.empty((len(points), 3, 3))
        for n, (i, j) in enumerate(PAIRS):
            spread[:, i, j] = spread[:, j, i] = found[:, 4 + n] / weight - mean[:, i] * mean[:, j]
        normals = np.linalg.eigh(spread)[1][:, :, 0]
        inwards = ((points - self.centre) * normals).sum(axis=1) < 0
        return np.where(inwards[:, None], -normals, normals)

    @cached_property
    def mean_outwards(self) -> Array:
        """Mean outward normal over the implant's voxels, (3,) of length 1."""
        places = self.places(self.implant)
        total = self.outwards(places[:: max(1, len(places) // 4000)]).sum(axis=0)
        return np.asarray(total / max(float(np.linalg.norm(total)), 1e-12))

    @cached_property
    def _moments(self) -> tuple[Array, list[Array]]:
        """First corner in mm, and smoothed sums of 1, x, y, z and their products on coarse cells."""
        from scipy.ndimage import gaussian_filter

        places = self.places(self.implant | self.defective)
        low = places.min(axis=0) - CELL_MM
        cells = np.floor((places - low) / CELL_MM).astype(np.int64)
        shape = tuple(int(n) + 2 for n in cells.max(axis=0))
        flat = np.ravel_multi_index(tuple(cells.T), shape)
        about = places - self.centre
        weights = [None, *about.T, *(about[:, i] * about[:, j] for i, j in PAIRS)]
        sums = [np.bincount(flat, w, int(np.prod(shape))).reshape(shape) for w in weights]
        return low, [gaussian_filter(s.astype(float), PLATE_MM / CELL_MM, mode="constant") for s in sums]


PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _centroid(mask: Array, affine: Affine) -> Array:
    """Centroid of a mask in mm, from its counts along each axis: no list of voxels."""
    found = []
    for axis in range(3):
        count = np.count_nonzero(mask, axis=tuple(a for a in range(3) if a != axis))
        found.append(float((count * np.arange(len(count))).sum() / max(count.sum(), 1)))
    return np.asarray(affine[:3, :3] @ np.array(found) + affine[:3, 3])


def occupancy(mask: Array, spacing: tuple[float, float, float]) -> Array:
    """A mask under a Gaussian of 0.6 voxels (of a cube of the voxel's volume), 0 to 1, float32."""
    from scipy.ndimage import gaussian_filter

    sigma = SIGMA_VOXELS * float(np.prod(spacing)) ** (1 / 3)
    # along a coarse axis the Gaussian is still as wide as it must be to join neighbours
    voxels = [max(sigma / s, 0.45) for s in spacing]
    return np.asarray(gaussian_filter(mask.astype(np.float32), voxels, mode="nearest", truncate=3.0))


def level_surface(field: Array, affine: Affine, level: float = 0.5) -> Mesh:
    """The surface where a field falls through a level, in mm, faces towards lower values; empty where none is."""
    from skimage.measure import marching_cubes

    if not field.min() < level < field.max():
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    # with "ascent" the faces run counter-clockwise seen from where the field is low
    corners, faces, _, _ = marching_cubes(field, level, gradient_direction="ascent")
    vertices = corners.astype(np.float64) @ affine[:3, :3].T + affine[:3, 3]
    faces = faces.astype(np.int64)
    # a mirrored affine turns the faces over
    return Mesh(vertices, faces if np.linalg.det(affine[:3, :3]) > 0 else faces[:, ::-1].copy())
