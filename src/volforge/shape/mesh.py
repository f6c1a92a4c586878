"""Triangle meshes in patient millimetres: areas, volumes, normals, neighbours, files."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volforge.volume.geometry import Array
from volforge.whole_file import write_whole

if TYPE_CHECKING:
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

    @property
    def corners(self) -> tuple[Array, Array, Array]:
        """First, second and third corner of every face, (F, 3) each."""
        return self.vertices[self.faces[:, 0]], self.vertices[self.faces[:, 1]], self.vertices[self.faces[:, 2]]

    @property
    def volume_mm3(self) -> float:
        """Volume inside, by signed tetrahedra; negative where the faces look inwards."""
        if not len(self.faces):
            return 0.0
        a, b, c = (corner - self.vertices.mean(axis=0) for corner in self.corners)
        return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)

    @property
    def area_mm2(self) -> float:
        """Area of the surface."""
        return float(self.face_areas.sum())

    @property
    def face_areas(self) -> Array:
        """Area of every face in mm2, (F,)."""
        a, b, c = self.corners
        return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))

    @property
    def vertex_areas(self) -> Array:
        """A third of the area of the faces about every vertex, in mm2, (V,)."""
        shares = np.repeat(self.face_areas / 3, 3)
        return np.bincount(self.faces.ravel(), weights=shares, minlength=len(self.vertices))

    @property
    def edges(self) -> Array:
        """Every edge once, (E, 2), lower index first."""
        pairs = np.sort(self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1).astype(np.int64)
        count = max(len(self.vertices), 1)
        code = np.sort(pairs[:, 0] * count + pairs[:, 1])
        code = code[np.r_[True, code[1:] != code[:-1]]] if len(code) else code
        return np.stack([code // count, code % count], axis=1)

    @property
    def is_watertight(self) -> bool:
        """Whether every edge joins two faces that run along it in opposite directions."""
        directed = self.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).astype(np.int64)
        count = max(len(self.vertices), 1)
        there = np.sort(directed[:, 0] * count + directed[:, 1])
        back = np.sort(directed[:, 1] * count + directed[:, 0])
        return bool(len(there) and (np.diff(there) > 0).all() and np.array_equal(there, back))

    @property
    def euler(self) -> int:
        """Euler characteristic, V - E + F: 2 for a sphere, 0 for a ring."""
        return len(self.vertices) - len(self.edges) + len(self.faces)

    def moved(self, vertices: Array) -> Mesh:
        """The same faces on other vertices."""
        return Mesh(vertices, self.faces)


def vertex_normals(vertices: Array, faces: Array) -> Array:
    """Unit normals weighted by the areas of the faces about each vertex, (V, 3); 0 where these cancel."""
    a, b, c = (vertices[faces[:, n]] for n in range(3))
    weighted = np.repeat(np.cross(b - a, c - a), 3, axis=0)
    corner = faces.ravel()
    total = np.stack([np.bincount(corner, weighted[:, n], len(vertices)) for n in range(3)], axis=1)
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


def write_stl(path: Path, mesh: Mesh, name: str) -> None:
    """Write a binary STL in RAS mm; its header says `SPACE=RAS`, which 3D Slicer and the import believe."""
    corners = np.stack(mesh.corners, axis=1).astype("<f4")
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    content = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")])
    content["normal"] = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    content["corners"] = corners
    header = f"SPACE=RAS; {name}; millimetres".encode("ascii", "replace")[:80].ljust(80)
    write_whole(path, header + struct.pack("<I", len(corners)) + content.tobytes())


def write_ply(path: Path, mesh: Mesh, colours: Array | None = None, values: dict[str, Array] | None = None) -> None:
    """Write a binary PLY in RAS mm.

    Args:
        path: File.
        mesh: Mesh.
        colours: (V, 3) uint8, or None.
        values: Values of vertices by name, (V,) each, kept as float properties.
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
    lines = ["ply", "format binary_little_endian 1.0", "comment SPACE=RAS, millimetres"]
    lines += [f"element vertex {len(table)}", *(f"property {words[kind]} {name}" for name, kind in columns)]
    lines += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header"]
    faces = np.zeros(len(mesh.faces), dtype=[("n", "u1"), ("i", "<i4", 3)])
    faces["n"], faces["i"] = 3, mesh.faces
    write_whole(path, ("\n".join(lines) + "\n").encode("ascii") + table.tobytes() + faces.tobytes())
