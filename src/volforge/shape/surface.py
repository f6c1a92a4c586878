"""Closed surfaces of bones: from a signed distance to a smooth mesh in patient millimetres.

Source: steps D of Belikova et al., Sci. Rep. 11, 16292 (2021), where only the result is published; marching cubes as
by Lewiner et al. (2003), smoothing that does not shrink by Taubin (1995).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.field import near_cubic, signed_distance, smoothed
from volforge.shape.mesh import Mesh, largest_piece, vertex_normals
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Affine, Array, Grid

SIGMA_VOXELS = 0.6
LEVEL_VOXELS = 0.3  # the zero level moves by so much at most, to keep the volume
TAUBIN = {"lamb": 0.5, "nu": 0.53, "iterations": 10}
VOLUME_ERROR = 0.03


@dataclass(frozen=True)
class Surface:
    """A surface and what was found when it was checked.

    Attributes:
        mesh: In RAS mm, faces look outwards.
        watertight: Every edge joins two faces.
        euler: V - E + F; 2 for a body without holes and handles.
        volume_error: Of the mesh against the voxels, as a fraction.
        flags: `not_watertight`, `volume_differs` (by more than 3 %), `self_intersecting`, `repaired`,
            `not_checked` (no mesh library on this machine).
    """

    mesh: Mesh
    watertight: bool
    euler: int
    volume_error: float
    flags: tuple[str, ...] = field(default=())


def surface_of_mask(mask: Array, grid: Grid, *, whole: bool = False) -> Surface:
    """The surface of a mask of a scan, of any spacing and tilt.

    Args:
        mask: (X, Y, Z) bool.
        grid: Its grid.
        whole: Keep all pieces, not the largest alone.

    Raises:
        VolforgeError: the mask is empty.
    """
    if not mask.any():
        raise VolforgeError("an empty mask has no surface", remedy="look at the label map")
    box = bounding_box(mask, (2, 2, 2))
    fine, own = near_cubic(mask[box], grid.part(box))
    if fine.all():
        fine, own = np.pad(fine, 1), Grid(own.shape, _moved(own.affine, -1.0))
    return surface_of_field(signed_distance(fine, own.spacing_mm), own.affine, whole=whole)


def _moved(affine: Affine, voxels: float) -> Affine:
    """The affine of a grid that begins some voxels later on every axis."""
    found = affine.copy()
    found[:3, 3] += affine[:3, :3] @ np.full(3, voxels)
    return found


def surface_of_field(distance: Array, affine: Affine, *, whole: bool = False, taubin: bool = True) -> Surface:
    """The zero level of a signed distance.

    Args:
        distance: (X, Y, Z) mm, negative inside; what its rim cuts is closed there.
        affine: Voxels to RAS mm; a mirrored one (determinant below 0) is fine.
        whole: Keep all pieces.
        taubin: Smooth.

    Raises:
        VolforgeError: nothing lies inside.
    """
    from skimage.measure import marching_cubes

    voxel = float(abs(np.linalg.det(affine[:3, :3])))
    inside = distance < 0
    if not inside.any():
        raise VolforgeError("the signed distance is nowhere negative", remedy="look at the label map")
    level = smoothed(distance, SIGMA_VOXELS)
    # smoothing takes from edges more than it gives to corners: the level that keeps the volume is taken
    most = LEVEL_VOXELS * voxel ** (1 / 3)
    count = min(int(np.count_nonzero(inside)), level.size - 1)
    around = np.partition(level.ravel(), [count - 1, count])[count - 1 : count + 1]
    level -= np.float32(np.clip(around.mean(), -most, most))
    if not level.min() < 0:  # thinner than the smoothing
        level = distance
    level = np.pad(level, 1, constant_values=most)  # bone that the grid cuts is closed there
    corners, faces, _, _ = marching_cubes(level, 0.0, gradient_direction="ascent")
    mesh = Mesh((corners.astype(np.float64) - 1) @ affine[:3, :3].T + affine[:3, 3], faces.astype(np.int64))
    if mesh.volume_mm3 < 0:
        mesh = Mesh(mesh.vertices, mesh.faces[:, ::-1].copy())
    wanted = np.count_nonzero(inside) * voxel
    if not whole:
        from volforge.volume.morphology import largest_component

        wanted = np.count_nonzero(largest_component(inside)) * voxel
        mesh = largest_piece(mesh)
    crossing = None
    if taubin:
        mesh, crossing = taubin_smoothed(mesh, wanted)
    return checked(mesh, wanted, crossing)


def taubin_smoothed(mesh: Mesh, volume_mm3: float, rounds: int = 6) -> tuple[Mesh, int | None]:
    """A mesh without the steps of its voxels: Taubin's smoothing, 10 rounds of 0.5 and -0.53.

    It adds up to a tenth of a voxel on coarse grids: all vertices move back along their normals by what keeps the
    volume. The two sides of a thin plate may pass through each other on the way: there, and about there, the vertices
    go back to where they were.

    Args:
        mesh: As marching cubes made it: it does not cut itself.
        volume_mm3: Volume that it should have.
        rounds: How often is looked; at last all goes back.

    Returns:
        The mesh, and 0 where it was seen not to cut itself, else None.
    """
    import trimesh

    from volforge.shape.meshlab import crossing_faces

    shape = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    trimesh.smoothing.filter_taubin(shape, **TAUBIN)
    smooth = mesh.moved(np.array(shape.vertices, float))
    edge = float(np.sqrt(mesh.area_mm2 / max(len(mesh.faces), 1)))
    offset = float(np.clip((volume_mm3 - smooth.volume_mm3) / smooth.area_mm2, -edge / 4, edge / 4))
    smooth = mesh.moved(smooth.vertices + offset * vertex_normals(smooth.vertices, smooth.faces))
    back = np.zeros(len(mesh.vertices), bool)
    for n in range(rounds):
        crossing = crossing_faces(smooth)
        if crossing is None:
            return smooth, None
        if not crossing.any():
            return smooth, 0
        back[mesh.faces[crossing].ravel()] = True
        for _ in range(n + 1):
            back[mesh.faces[back[mesh.faces].any(axis=1)].ravel()] = True
        smooth = mesh.moved(np.where(back[:, None], mesh.vertices, smooth.vertices))
    return mesh, None


def checked(mesh: Mesh, wanted_mm3: float, crossing: int | None = None) -> Surface:
    """A surface with its checks; one that is not closed or cuts itself is repaired where the library is there.

    Args:
        mesh: Surface.
        wanted_mm3: Volume of its voxels.
        crossing: Number of faces that cut another one where that is known, else None.
    """
    from volforge.shape.meshlab import repaired, self_intersections

    flags = []
    crossing = self_intersections(mesh) if crossing is None else crossing
    if crossing is None:
        flags.append("not_checked")
    if not mesh.is_watertight or crossing:
        better = repaired(mesh)
        if better is not None:
            mesh, crossing = better, 0
            flags.append("repaired")
    if crossing:
        flags.append("self_intersecting")
    error = mesh.volume_mm3 / wanted_mm3 - 1 if wanted_mm3 else float("nan")
    if not mesh.is_watertight:
        flags.append("not_watertight")
    if not abs(error) <= VOLUME_ERROR:
        flags.append("volume_differs")
    return Surface(mesh, mesh.is_watertight, mesh.euler, error, tuple(flags))
