"""Triangle meshes in patient millimetres: areas, volumes, normals, neighbours, files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volforge.volume.geometry import Array
from volforge.whole_file import write_whole

if TYPE_CHECKING:
    import trimesh
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Attributes:
        vertices: (V, 3) RAS millimetres, float64.
        faces: (F, 3) vertex indices, counter-clockwise seen from outside.
    """

    vertices: Array
    faces: Array

    @cached_property
    def _trimesh(self) -> trimesh.Trimesh:
        """The same vertices and faces, as they are, for what trimesh counts and measures."""
        import trimesh

        return trimesh.Trimesh(self.vertices, self.faces, process=False, validate=False)

    @property
    def corners(self) -> tuple[Array, Array, Array]:
        """First, second and third corner of every face, (F, 3) each."""
        return self.vertices[self.faces[:, 0]], self.vertices[self.faces[:, 1]], self.vertices[self.faces[:, 2]]

    @property
    def volume_mm3(self) -> float:
        """Volume inside a closed mesh; negative where the faces look inwards."""
        if not len(self.faces):
            return 0.0
        middle = self.vertices.mean(axis=0)  # far from 0 digits are lost
        a, b, c = (corner - middle for corner in self.corners)
        first, second = b - a, c - b
        normal = first[:, 1] * second[:, 2] - first[:, 2] * second[:, 1]  # one component is enough (Gauss)
        return float((normal * (a[:, 0] + b[:, 0] + c[:, 0])).sum() / 6)

    @property
    def area_mm2(self) -> float:
        """Area of the surface."""
        return float(self.face_areas.sum())

    @property
    def face_areas(self) -> Array:
        """Area of every face in mm2, (F,)."""
        return np.asarray(self._trimesh.area_faces)

    @property
    def vertex_areas(self) -> Array:
        """A third of the area of the faces about every vertex, in mm2, (V,)."""
        shares = np.repeat(self.face_areas / 3, 3)
        return np.bincount(self.faces.ravel(), weights=shares, minlength=len(self.vertices))

    @property
    def edges(self) -> Array:
        """Every edge once, (E, 2), lower index first."""
        return np.asarray(self._trimesh.edges_unique)

    @property
    def is_watertight(self) -> bool:
        """Whether every edge joins two faces that run along it in opposite directions."""
        return bool(len(self.faces) and self._trimesh.is_watertight and self._trimesh.is_winding_consistent)

    @property
    def euler(self) -> int:
        """Euler characteristic, V - E + F: 2 for a sphere, 0 for a ring."""
        return int(self._trimesh.euler_number)

    def moved(self, vertices: Array) -> Mesh:
        """The same faces on other vertices."""
        return Mesh(vertices, self.faces)


def vertex_normals(vertices: Array, faces: Array) -> Array:
    """Unit normals weighted by the areas of the faces about each vertex, (V, 3); 0 where these cancel."""
    a, b, c = (vertices[faces[:, n]] for n in range(3))
    weighted = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    corner = faces.ravel()
    total = np.stack([np.bincount(corner, weighted[:, n], len(vertices)) for n in range(3)], axis=1).astype(np.float64)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(np.divide(total, length, out=np.zeros_like(total), where=length > 0))


def neighbour_mean(mesh: Mesh) -> csr_matrix:
    """Sparse matrix (V, V) that takes values of vertices to the mean of their neighbours' (uniform Laplacian)."""
    from scipy.sparse import csr_matrix, diags

    i, j = mesh.edges.T
    count = len(mesh.vertices)
    matrix = csr_matrix((np.ones(2 * len(i)), (np.r_[i, j], np.r_[j, i])), shape=(count, count))
    degree = np.asarray(matrix.sum(axis=1)).ravel()
    return diags(1 / np.maximum(degree, 1)) @ matrix


def largest_piece(mesh: Mesh) -> Mesh:
    """The connected piece with the largest volume, without the vertices of the others."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    i, j = mesh.edges.T
    matrix = csr_matrix((np.ones(len(i), bool), (i, j)), shape=(len(mesh.vertices),) * 2)
    count, piece = connected_components(matrix, directed=False)
    if count < 2:
        return mesh
    of_face = piece[mesh.faces[:, 0]]
    volumes = [abs(Mesh(mesh.vertices, mesh.faces[of_face == p]).volume_mm3) for p in range(count)]
    faces = mesh.faces[of_face == int(np.argmax(volumes))]
    used, renamed = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], renamed.reshape(faces.shape))


def write_stl(path: Path, mesh: Mesh, name: str, space: str = "RAS") -> None:
    """Write a binary STL in mm; its header says `SPACE=RAS` (or LPS), which 3D Slicer and the import believe."""
    from trimesh.exchange.stl import export_stl

    header = f"SPACE={space}; {name}; millimetres".encode("ascii", "replace")[:80].ljust(80)
    write_whole(path, header + export_stl(mesh._trimesh)[80:])


def write_ply(
    path: Path,
    mesh: Mesh,
    colours: Array | None = None,
    values: dict[str, Array] | None = None,
    space: str = "RAS",
) -> None:
    """Write a binary PLY in mm.

    Args:
        path: File.
        mesh: Mesh.
        colours: (V, 3) uint8, or None.
        values: Values of vertices by name, (V,) each, kept as float properties.
        space: Axes of the vertices, for the comment.
    """
    columns: list[tuple[str, str]] = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    columns += [(c, "u1") for c in ("red", "green", "blue")] if colours is not None else []
    columns += [(name, "<f4") for name in values or {}]
    table = np.zeros(len(mesh.vertices), dtype=columns)
    for n, axis in enumerate("xyz"):
        table[axis] = mesh.vertices[:, n]
    if colours is not None:
        for n, colour in enumerate(("red", "green", "blue")):
            table[colour] = colours[:, n]
    for name, value in (values or {}).items():
        table[name] = value
    words = {"<f4": "float", "u1": "uchar"}
    lines = ["ply", "format binary_little_endian 1.0", f"comment SPACE={space}, millimetres"]
    lines += [f"element vertex {len(table)}", *(f"property {words[kind]} {name}" for name, kind in columns)]
    lines += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header"]
    faces = np.zeros(len(mesh.faces), dtype=[("n", "u1"), ("i", "<i4", 3)])
    faces["n"], faces["i"] = 3, mesh.faces
    write_whole(path, ("\n".join(lines) + "\n").encode("ascii") + table.tobytes() + faces.tobytes())
