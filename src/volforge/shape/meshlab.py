"""The only module that touches pymeshlab (GPL-3): self-intersections and repair.

pymeshlab needs the system's libGL and X11 (Debian: `libgl1 libx11-6`). Where they are missing, meshes are made all the
same, and say that they were not checked.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from volforge.shape.mesh import Mesh
from volforge.volume.geometry import Array


@cache
def library() -> Any | None:
    """pymeshlab, or None where it or what it links is not installed."""
    try:
        import pymeshlab
    except ImportError:
        return None
    return pymeshlab


def crossing_faces(mesh: Mesh) -> Array | None:
    """Which faces cut another one, (F,) bool; None where that cannot be looked at."""
    crossing = np.zeros(len(mesh.faces), bool)
    kept = _are_triangles(mesh)
    found = _loaded(mesh) if kept.any() else None
    if found is None:
        return None if library() is None else crossing
    found.compute_selection_by_self_intersections_per_face()
    crossing[kept] = np.array(found.current_mesh().face_selection_array(), bool)
    return crossing


def self_intersections(mesh: Mesh) -> int | None:
    """How many faces cut another one; None where that cannot be looked at."""
    crossing = crossing_faces(mesh)
    return None if crossing is None else int(crossing.sum())


def repaired(mesh: Mesh, rounds: int = 4) -> Mesh | None:
    """The mesh without faces that cut each other, closed again; None without the library or where it does not close."""
    found = _loaded(mesh) if _are_triangles(mesh).any() else None
    if found is None:
        return None
    for _ in range(rounds):
        try:
            _repair(found)
        except library().PyMeshLabException:  # type: ignore[union-attr]
            continue  # it closes and turns only what is manifold: what this round left is mended by the next
        current = _mesh(found)
        if current.volume_mm3 < 0:
            current = Mesh(current.vertices, current.faces[:, ::-1].copy())
        if current.is_watertight and not self_intersections(current):
            return current
    return None


def _repair(found: Any) -> None:
    found.meshing_remove_duplicate_faces()
    found.meshing_remove_null_faces()
    found.meshing_repair_non_manifold_edges()
    found.meshing_repair_non_manifold_vertices()
    found.compute_selection_by_self_intersections_per_face()
    if found.current_mesh().selected_face_number():
        found.apply_selection_dilatation()
        found.meshing_remove_selected_vertices_and_faces()
    found.meshing_remove_unreferenced_vertices()
    found.meshing_close_holes(maxholesize=2000, newfaceselected=False)
    found.meshing_re_orient_faces_coherently()


def _loaded(mesh: Mesh) -> Any | None:
    meshlab = library()
    if meshlab is None:
        return None
    found = meshlab.MeshSet(verbose=False)
    found.add_mesh(meshlab.Mesh(mesh.vertices, mesh.faces[_are_triangles(mesh)].astype(np.int32)))
    return found


def _are_triangles(mesh: Mesh) -> Array:
    """(F,) faces that name three vertices: one that names a vertex twice ends pymeshlab's process."""
    a, b, c = mesh.faces.reshape(-1, 3).T
    return np.asarray((a != b) & (b != c) & (c != a))


def _mesh(found: Any) -> Mesh:
    current = found.current_mesh()
    return Mesh(np.array(current.vertex_matrix(), float), np.array(current.face_matrix(), np.int64))


def simplified(mesh: Mesh, faces: int, *, same_topology: bool = False) -> Mesh:
    """A mesh of about so many faces, by collapsing edges of least quadric error; as it is without the library.

    Args:
        mesh: Mesh.
        faces: How many.
        same_topology: No edge is collapsed that would close a hole or join two parts.
    """
    found = _loaded(mesh) if len(mesh.faces) > faces else None
    if found is None:
        return mesh
    found.meshing_decimation_quadric_edge_collapse(
        targetfacenum=faces, preservenormal=True, preservetopology=same_topology, autoclean=True
    )
    return _mesh(found)
