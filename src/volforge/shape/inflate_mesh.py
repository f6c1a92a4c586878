"""Inflation of the condyle as a mesh: its vertices move along their normals until something stops them.

Source: Belikova et al., Sci. Rep. 11, 16292 (2021), "inflation in all directions along normals of the mesh faces until
confined by the skull bones". The published script takes one step of 35 units without collision; this is the idea made
well-defined: short steps, collision with the barrier's signed distance, and a reason for each vertex that stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from volforge.shape.bones import Bones
from volforge.shape.field import sample
from volforge.shape.inflate import Inflated, inflated_of
from volforge.shape.mesh import Mesh, neighbour_mean, vertex_normals
from volforge.shape.surface import Surface, surface_of_field
from volforge.volume.geometry import Array
from volforge.volume.voxelise import voxelise

CLEARANCE_MM = 0.1  # vertices stop this far from bone
SMOOTHING = 0.3
SMALLEST_MM2 = 1e-4
HALVINGS = 3
SLACK = 20  # steps more than the longest way needs, for vertices that smoothing held back
ACTIVE, FIXED, BONE, CLIP, FOLD, MAX = range(6)
WORDS = ("active", "fixed", "bone", "clip", "fold", "max")


@dataclass(frozen=True)
class InflatedMesh:
    """An inflated condyle.

    Attributes:
        start: Surface of the condyle inside the clip cube.
        mesh: The same faces, moved; its vertices are those of `start`.
        travelled_mm: (V,) way of each vertex.
        reasons: (V,) why each vertex stopped, as `WORDS`.
        negative_volume_mm3: Between the two, by signed tetrahedra.
        inflated: The same on the voxels of the working grid.
    """

    start: Surface
    mesh: Mesh
    travelled_mm: Array
    reasons: Array
    negative_volume_mm3: float
    inflated: Inflated

    @property
    def shares(self) -> Mapping[str, float]:
        """Share of the vertices by reason."""
        counts = np.bincount(self.reasons, minlength=len(WORDS)) / max(len(self.reasons), 1)
        return dict(zip(WORDS, counts.tolist(), strict=True))


def condyle_surface(bones: Bones) -> Surface:
    """Surface of the condyle inside the clip cube, closed where the cube cuts it, in RAS mm."""
    bones.check()
    # the cut is a plane of the cube: there the distance is that to the plane
    axis = (np.abs(np.arange(bones.condyle.shape[0]) - (bones.condyle.shape[0] - 1) / 2)).astype(np.float32)
    beyond = (axis - np.float32(bones.frame.cube / 2)) * np.float32(bones.frame.step_mm)
    cut = np.maximum(np.maximum(beyond[:, None, None], beyond[None, :, None]), beyond[None, None, :])
    return surface_of_field(np.maximum(bones.condyle, cut), bones.frame.grid.affine)


def inflate_mesh(bones: Bones, r_max_mm: float, step_mm: float = 0.2, start: Surface | None = None) -> InflatedMesh:
    """Inflate the condyle of a joint as a mesh.

    Per step every active vertex moves along its normal (weighted by area, computed anew) and a little towards the mean
    of its neighbours. It stops for `bone` within 0.1 mm of any bone (the move is halved three times first), `clip`
    where it leaves the cube (it is laid onto the face), `fold` where a face about it would turn over or vanish, or
    where it would come no further from the condyle (two fronts meet: the mesh would cut itself), and `max` after the
    longest way. Vertices of the plane that cuts the neck never move.

    Args:
        bones: The joint.
        r_max_mm: Longest way.
        step_mm: Length of a step.
        start: Surface of the condyle; None: that of the working grid.

    Raises:
        VolforgeError: no condyle in the clip cube.
    """
    start = condyle_surface(bones) if start is None else start
    frame, mesh = bones.frame, start.mesh
    half = frame.cube_mm / 2
    x = mesh.vertices.copy()
    reasons = np.full(len(x), ACTIVE, np.uint8)
    # the cut: on a face of the cube, where bone goes on behind
    on_face = (np.abs(x - frame.centre) > half - 0.75 * frame.step_mm).any(axis=1)
    reasons[on_face] = FIXED
    travelled = np.zeros(len(x))
    mean = neighbour_mean(mesh)
    away = np.full(bones.condyle.shape, frame.grid.shape[0] * frame.step_mm, np.float32)
    away[frame.inner] = bones.away
    # up to the next voxel beyond the cube: vertices on its faces are sampled too
    away = _grown(away, frame.margin)
    rings = _faces_of_vertices(mesh)
    doubled = _face_normals(x, mesh.faces)
    for _ in range(int(np.ceil(r_max_mm / step_mm)) + SLACK):
        active = reasons == ACTIVE
        if active.mean() < 0.01:
            break
        normals = vertex_normals(x, mesh.faces)
        y = x.copy()
        y[active] += step_mm * normals[active]
        drawn = (1 - SMOOTHING) * y + SMOOTHING * (mean @ y)
        y[active] = drawn[active]
        y, stopped = _against_bone(bones, x, y, active)
        outside = active & (np.abs(y - frame.centre) > half).any(axis=1)
        y = np.clip(y, frame.centre - half, frame.centre + half)
        stopped[outside & (stopped == ACTIVE)] = CLIP
        farther = _distance(frame, away, y) - _distance(frame, away, x)
        moved = np.linalg.norm(y - x, axis=1)
        met = active & (stopped == ACTIVE) & (farther < 0.25 * moved) & (travelled > 2 * frame.step_mm)
        y[met] = x[met]
        stopped[met] = FOLD
        y, folded = _without_folds(mesh, x, y, doubled, rings, active)
        stopped[folded & active & (stopped == ACTIVE)] = FOLD
        doubled = _face_normals(y, mesh.faces)
        travelled += np.linalg.norm(y - x, axis=1)
        far = active & (stopped == ACTIVE) & (_distance(frame, away, y) >= r_max_mm)
        stopped[far] = MAX
        x = y
        reasons = np.where(active, stopped, reasons).astype(np.uint8)
    inflated = _on_voxels(bones, Mesh(x, mesh.faces), r_max_mm)
    volume = Mesh(x, mesh.faces).volume_mm3 - mesh.volume_mm3
    return InflatedMesh(start, Mesh(x, mesh.faces), travelled, reasons, volume, inflated)


def _grown(away: Array, margin: int) -> Array:
    """The distance beyond the cube, continued from its rim."""
    part = away[margin:-margin, margin:-margin, margin:-margin] if margin else away
    return np.pad(part, margin, mode="reflect", reflect_type="odd") if margin else part


def _distance(frame, field: Array, places: Array) -> Array:  # type: ignore[no-untyped-def]
    return sample(field, frame.to_index(places))


def _against_bone(bones: Bones, x: Array, y: Array, active: Array) -> tuple[Array, Array]:
    """Moves shortened where they would end in bone, and who stopped for that."""
    stopped = np.full(len(x), ACTIVE, np.uint8)
    blocked = np.flatnonzero(active & (_distance(bones.frame, bones.opaque, y) <= CLEARANCE_MM))
    if len(blocked):
        stopped[blocked] = BONE
        low, high = np.zeros(len(blocked)), np.ones(len(blocked))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            place = x[blocked] + middle[:, None] * (y[blocked] - x[blocked])
            free = _distance(bones.frame, bones.opaque, place) > CLEARANCE_MM
            low, high = np.where(free, middle, low), np.where(free, high, middle)
        y[blocked] = x[blocked] + low[:, None] * (y[blocked] - x[blocked])
    return y, stopped


def _face_normals(vertices: Array, faces: Array) -> Array:
    a, b, c = (vertices[faces[:, n]] for n in range(3))
    return np.cross(b - a, c - a)


def _faces_of_vertices(mesh: Mesh):  # type: ignore[no-untyped-def]
    """Sparse (V, F): which faces lie about a vertex."""
    from scipy.sparse import csr_matrix

    count = len(mesh.faces)
    columns = np.repeat(np.arange(count), 3)
    return csr_matrix((np.ones(3 * count, np.float32), (mesh.faces.ravel(), columns)), (len(mesh.vertices), count))


def _without_folds(mesh: Mesh, x: Array, y: Array, before: Array, rings, active: Array) -> tuple[Array, Array]:  # type: ignore[no-untyped-def]
    """Moves taken back where a face turned over or vanished: of its vertices, and again until none does."""
    folded = np.zeros(len(x), bool)
    for _ in range(5):
        after = _face_normals(y, mesh.faces)
        turned = (np.einsum("ij,ij->i", after, before) <= 0) | (np.linalg.norm(after, axis=1) < 2 * SMALLEST_MM2)
        if not turned.any():
            break
        back = (rings @ turned.astype(np.float32) > 0) & active & ~folded
        if not back.any():
            break
        y[back] = x[back]
        folded |= back
    return y, folded


def _on_voxels(bones: Bones, mesh: Mesh, r_max_mm: float) -> Inflated:
    inside = voxelise(mesh.vertices, mesh.faces, bones.frame.grid)
    return inflated_of(bones, inside & bones.free, r_max_mm)
