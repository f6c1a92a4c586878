"""The nearest places of a triangle mesh, exact on its faces, not its vertices alone."""

from __future__ import annotations

import numpy as np
from numba import njit

from volforge.shape.mesh import Mesh
from volforge.volume.geometry import Array

CANDIDATES = 4  # nearest vertices whose faces are looked at: enough where faces are of about one size


def nearest_on(mesh: Mesh, points: Array) -> tuple[Array, Array]:
    """The nearest place of a mesh to every point, and its distance.

    The faces about the four nearest vertices are looked at, which is exact for meshes of even faces (marching cubes).

    Args:
        mesh: With at least one face.
        points: (N, 3) mm.

    Returns:
        Places (N, 3) mm and distances (N,) mm.

    Raises:
        ValueError: the mesh has no face.
    """
    from scipy.spatial import cKDTree

    if not len(mesh.faces):
        raise ValueError("a mesh without a face has no nearest place")
    points = np.ascontiguousarray(points, np.float64).reshape(-1, 3)
    count = min(CANDIDATES, len(mesh.vertices))
    _, near = cKDTree(mesh.vertices).query(points, k=np.arange(1, count + 1))
    corner = mesh.faces.ravel()
    order = np.argsort(corner, kind="stable")
    faces_of = (order // 3).astype(np.int64)
    first = np.searchsorted(corner[order], np.arange(len(mesh.vertices) + 1)).astype(np.int64)
    places = np.empty_like(points)
    _nearest(
        points,
        np.ascontiguousarray(mesh.vertices, np.float64),
        np.ascontiguousarray(mesh.faces, np.int64),
        np.ascontiguousarray(near, np.int64),
        first,
        faces_of,
        places,
    )
    return places, np.linalg.norm(places - points, axis=1)


@njit(cache=True)
def _nearest(
    points: Array, vertices: Array, faces: Array, near: Array, first: Array, faces_of: Array, places: Array
) -> None:
    """Fill `places` with the nearest place among the faces about the given vertices of every point."""
    for n in range(len(points)):
        p = points[n]
        best = np.inf
        for m in range(near.shape[1]):
            v = near[n, m]
            for k in range(first[v], first[v + 1]):
                f = faces_of[k]
                q = _on_triangle(p, vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]])
                away = (q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2 + (q[2] - p[2]) ** 2
                if away < best:
                    best = away
                    places[n, 0], places[n, 1], places[n, 2] = q[0], q[1], q[2]
        if best == np.inf:  # only vertices without a face
            places[n] = vertices[near[n, 0]]


@njit(cache=True)
def _dot(a: Array, b: Array) -> float:
    return float(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


@njit(cache=True)
def _on_triangle(p: Array, a: Array, b: Array, c: Array) -> Array:
    """Nearest place of a triangle (Ericson, Real-Time Collision Detection, 2005, section 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    if d1 <= 0 and d2 <= 0:
        return a
    bp = p - b
    d3, d4 = _dot(ab, bp), _dot(ac, bp)
    if d3 >= 0 and d4 <= d3:
        return b
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        return a + (d1 / (d1 - d3)) * ab if d1 != d3 else a
    cp = p - c
    d5, d6 = _dot(ab, cp), _dot(ac, cp)
    if d6 >= 0 and d5 <= d6:
        return c
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        return a + (d2 / (d2 - d6)) * ac if d2 != d6 else a
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        whole = (d4 - d3) + (d5 - d6)
        return b + ((d4 - d3) / whole) * (c - b) if whole != 0 else b
    whole = va + vb + vc
    if whole == 0:
        return a
    return a + ab * (vb / whole) + ac * (vc / whole)
