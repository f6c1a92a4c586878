"""Width of the joint space, below the voxel: where the condyle faces the barrier, and how far it lies.

Voxel-centre distances overestimate narrow gaps (a true 1.87 mm reads 2.26 mm at 0.8 mm voxels). Here the width is that
between smooth surfaces, or between the half-maximum places of the CT across the gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.shape.bones import Bones
from volforge.shape.field import sample
from volforge.shape.mesh import Mesh, vertex_normals
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array, Grid

BIN_MM = 0.25
VALLEY_HU = 150.0  # a gap shows in the CT where it is darker than both bones by so much
REACH_MM = 2.5  # the bright cortex lies so near to a labelled surface
PROFILE_MM = 0.1
HOLE_MM2 = 25.0  # a larger opening is a way out of the fossa, not a hole in it
RESOLVED_VOXELS = 2.0  # a valley narrower than this is the scanner's blur, not a width


@dataclass(frozen=True)
class Width:
    """Width of a joint space over the condyle's surface.

    Attributes:
        mm: (V,) width at every vertex; NaN where the condyle faces no barrier, or unresolved.
        facing: (V,) whether the outward normal meets the barrier within the longest way.
        unresolved: (V,) facing, and no width can be told from the data.
        areas: (V,) mm2.
        hole_share: Share of the facing area that holes in the barrier take: places inside it whose normal meets none.
    """

    mm: Array
    facing: Array
    unresolved: Array
    areas: Array
    hole_share: float

    @property
    def known(self) -> Array:
        """Vertices with a width."""
        return self.facing & ~self.unresolved

    @property
    def mean_mm(self) -> float:
        """Mean over the facing surface, weighted by area; NaN where no width is known."""
        known = self.known
        if not known.any():
            return float("nan")
        return float(np.average(self.mm[known], weights=self.areas[known]))

    @property
    def min_mm(self) -> float:
        """Smallest width; NaN where none is known, or the narrowest places are unresolved."""
        return float(self.mm[self.known].min()) if self.known.any() and not self.unresolved.any() else float("nan")

    @property
    def narrowest(self) -> int | None:
        """Vertex of the smallest width."""
        return int(np.argmin(np.where(self.known, self.mm, np.inf))) if self.known.any() else None

    @property
    def unresolved_share(self) -> float:
        """Share of the facing area whose width cannot be told; NaN where nothing faces the barrier."""
        facing = self.areas[self.facing].sum()
        return float(self.areas[self.unresolved].sum() / facing) if facing else float("nan")

    def histogram(self) -> list[tuple[float, float, float]]:
        """Lower edge, upper edge (mm) and area (mm2) of the widths, in steps of 0.25 mm."""
        if not self.known.any():
            return []
        values, areas = self.mm[self.known], self.areas[self.known]
        edges = np.arange(int(np.ceil(values.max() / BIN_MM)) + 2) * BIN_MM
        counts, _ = np.histogram(values, edges, weights=areas)
        return [(float(a), float(b), float(c)) for a, b, c in zip(edges, edges[1:], counts, strict=False)]


def joint_space_width(
    bones: Bones,
    condyle: Mesh,
    barrier: Mesh,
    r_max_mm: float,
    pitch_mm: float,
    touching: Array | None = None,
    image: Array | None = None,
) -> Width:
    """Width of the joint space at every vertex of the condyle.

    A vertex faces the barrier where its outward normal meets it within `Bones.bound`. Its width is the distance to
    the barrier's surface; 0 where the two touch or overlap. With an image the width is that between the half-maximum
    places of the profile across the gap, wherever the gap shows as a valley at least two voxels wide; where it does
    not, a gap of the labels of at least two voxels counts, and narrower places are unresolved.

    Args:
        bones: The joint.
        condyle, barrier: Their surfaces in RAS mm.
        r_max_mm: Longest way.
        pitch_mm: Largest voxel edge of the scan.
        touching: (N, 3) RAS mm of voxels in contact, from `find_contact`.
        image: CT in HU on the working grid, or None.
    """
    from scipy.spatial import cKDTree

    frame, step = bones.frame, bones.frame.step_mm
    normals = vertex_normals(condyle.vertices, condyle.faces)
    index = frame.to_index(condyle.vertices)
    fields = [np.ascontiguousarray(f / np.float32(step)) for f in (bones.barrier, bones.opaque)]
    reach = np.full(len(index), bones.bound(r_max_mm) / step)
    met = bones.way_to_bone(index, normals, reach, *fields) * step
    inner = np.abs(condyle.vertices - frame.centre).max(axis=1) < frame.cube_mm / 2 - 0.75 * step  # not the cut
    facing = (met >= 0) & inner
    width = np.full(len(index), np.nan)
    nearest = np.zeros_like(condyle.vertices)
    if facing.any() and len(barrier.faces):
        width[facing], nearest[facing] = distance_to_mesh(condyle.vertices[facing], barrier)
    inside = facing & (sample(bones.barrier, index) <= 0)
    if touching is not None and len(touching):  # no voxel lies between, whatever smooth surfaces leave
        inside |= facing & (cKDTree(touching).query(condyle.vertices)[0] <= 0.75 * pitch_mm)
    width[inside] = 0.0
    unresolved = np.zeros(len(index), bool)
    if image is not None and facing.any():
        chosen = np.flatnonzero(facing)
        rays = nearest[chosen] - condyle.vertices[chosen]
        length = np.linalg.norm(rays, axis=1, keepdims=True)
        # over touching bones the way is the normal's: between them there is no line
        rays = np.where(length > 0.25 * step, rays / np.maximum(length, 1e-9), normals[chosen])
        rays[inside[chosen]] = normals[chosen][inside[chosen]]
        seen = valley_width(image, frame.to_index(condyle.vertices[chosen]), rays, width[chosen], step)
        wide = seen >= RESOLVED_VOXELS * pitch_mm
        by_labels = width[chosen] >= RESOLVED_VOXELS * pitch_mm
        width[chosen] = np.where(wide, seen, width[chosen])
        unresolved[chosen] = ~wide & ~by_labels
        width[unresolved] = np.nan
    areas = condyle.vertex_areas
    return Width(width, facing, unresolved, areas, _hole_share(condyle, facing | ~inner, facing, areas))


def valley_width(image: Array, start: Array, rays: Array, gap: Array, step_mm: float) -> Array:
    """Width of the dark valley that a profile crosses between two bright bones, by half maxima.

    Args:
        image: HU on the working grid.
        start: (N, 3) voxels: places on the condyle's labelled surface.
        rays: (N, 3) unit vectors towards the barrier.
        gap: (N,) mm to the barrier's labelled surface along them.
        step_mm: Edge of a voxel.

    Returns:
        (N,) mm; 0 where there is no valley: bone on one side only, or no darker place between.
    """
    places = np.arange(-REACH_MM, float(np.nanmax(gap, initial=0.0)) + REACH_MM + PROFILE_MM, PROFILE_MM)
    along = start[:, None, :] + rays[:, None, :] * (places / step_mm)[None, :, None]
    values = sample(image, along.reshape(-1, 3)).reshape(len(start), len(places))
    left = places[None, :] <= np.minimum(0.5, gap / 2)[:, None]
    right = (places[None, :] >= np.maximum(gap - 0.5, gap / 2)[:, None]) & (
        places[None, :] <= (gap + REACH_MM)[:, None]
    )
    found = np.zeros(len(start))
    first = np.where(left, values, -np.inf).argmax(axis=1)
    last = np.where(right, values, -np.inf).argmax(axis=1)
    for n in range(len(start)):
        a, b = int(first[n]), int(last[n])
        if b - a < 3:
            continue
        part = values[n, a : b + 1]
        low = int(part.argmin())
        if min(part[0], part[-1]) - part[low] < VALLEY_HU:
            continue
        found[n] = PROFILE_MM * (_crossing(part[low:], part[low]) + _crossing(part[low::-1], part[low]))
    return found


def _crossing(rising: Array, low: float) -> float:
    """Where a profile that ends on a peak first rises above half its height, in samples."""
    half = (low + rising[-1]) / 2
    above = int(np.argmax(rising > half))
    if above == 0:
        return 0.0
    a, b = rising[above - 1], rising[above]
    return float(above - 1 + (half - a) / (b - a))


def distance_to_mesh(places: Array, mesh: Mesh, candidates: int = 4) -> tuple[Array, Array]:
    """Distance of places to a surface, and the nearest place on it.

    Exact to the triangles about the nearest vertices, which on a mesh of voxel-sized triangles are the nearest ones.

    Args:
        places: (N, 3) RAS mm.
        mesh: Surface with a face at least.
        candidates: How many nearest vertices are looked at.

    Returns:
        (N,) mm and (N, 3) RAS mm.
    """
    from scipy.spatial import cKDTree
    from trimesh.triangles import closest_point

    near = cKDTree(mesh.vertices).query(places, k=min(candidates, len(mesh.vertices)))[1].reshape(len(places), -1)
    order = np.argsort(mesh.faces.ravel(), kind="stable")
    first = np.searchsorted(mesh.faces.ravel()[order], np.arange(len(mesh.vertices) + 1))
    counts = np.diff(first)[near.ravel()]
    which = np.repeat(np.arange(near.size), counts)
    offset = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    face = order[first[near.ravel()][which] + offset] // 3
    owner = which // near.shape[1]
    found = closest_point(mesh.vertices[mesh.faces[face]], places[owner])
    distance = np.linalg.norm(found - places[owner], axis=1)
    best = np.lexsort((distance, owner))
    start = np.searchsorted(owner[best], np.arange(len(places)))
    chosen = best[start]
    return distance[chosen], found[chosen]


@dataclass(frozen=True)
class Contact:
    """Where two bones touch in a label map.

    Attributes:
        area_mm2: Of their common faces, each weighted by how far it looks along the surface's normal, so that a tilted
            contact has its own area and not that of its stairs.
        faces: Voxels of the condyle that share a face with the barrier.
        places: (N, 3) RAS mm of the condyle's voxels that touch it by a face, an edge or a corner.
    """

    area_mm2: float
    faces: int
    places: Array


def find_contact(condyle: Array, barrier: Array, bones: Bones, grid: Grid) -> Contact:
    """Contact of condyle and barrier on the scan's own voxels.

    Args:
        condyle, barrier: (X, Y, Z) bool on the scan's grid.
        bones: The joint, for the normals.
        grid: The scan's.
    """
    from scipy.ndimage import binary_dilation

    box = bounding_box(condyle, (1, 1, 1))
    own, other = condyle[box], barrier[box] & ~condyle[box]
    corner = np.array([s.start for s in box])
    touching = np.argwhere(own & binary_dilation(other, np.ones((3, 3, 3), bool)))
    places = (touching + corner) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    if len(places):
        in_cube = np.abs(places - bones.frame.centre).max(axis=1) <= bones.frame.cube_mm / 2
        touching, places = touching[in_cube], places[in_cube]
    if not len(places):
        return Contact(0.0, 0, places)
    index = np.rint(bones.frame.to_index(places)).astype(int) - bones.frame.margin
    index = np.clip(index, 0, bones.frame.cube - 1)
    normals = bones.outward[tuple(index.T)]
    axes = grid.affine[:3, :3] / np.array(grid.spacing_mm)
    area, faces = 0.0, np.zeros(len(touching), bool)
    padded = np.pad(other, 1)
    for axis in range(3):
        face_mm2 = grid.voxel_mm3 / grid.spacing_mm[axis]
        weight = np.abs(normals @ axes[:, axis]) * face_mm2
        for move in (1, -1):
            there = touching + 1
            there[:, axis] += move
            shared = padded[tuple(there.T)]
            area += float(weight[shared].sum())
            faces |= shared
    return Contact(area, int(faces.sum()), places)


def _hole_share(mesh: Mesh, closed: Array, facing: Array, areas: Array) -> float:
    """Area of places that face no barrier but lie inside the part that does, over that part."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    total = areas[facing].sum()
    open_ = ~closed
    if not total or not open_.any():
        return 0.0
    edges = mesh.edges
    kept = edges[open_[edges].all(axis=1)]
    graph = csr_matrix((np.ones(len(kept), bool), (kept[:, 0], kept[:, 1])), shape=(len(areas),) * 2)
    _, piece = connected_components(graph, directed=False)
    sums = np.bincount(piece, weights=areas * open_)
    sums[sums > HOLE_MM2] = 0.0  # the rest of the condyle, and where the walls end
    return float(sums.sum() / (sums.sum() + total))
