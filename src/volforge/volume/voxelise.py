"""Closed surfaces to voxels: winding numbers along grid lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import Array, Grid
from volforge.volume.read_surface import TURN, read_surface

# a shift of the grid lines, in voxels, so that none runs through a vertex or along an edge of a regular mesh
_JITTER = np.array([np.sqrt(2) * 1e-5, np.sqrt(3) * 1e-5])

LEAST_MM = 1.0  # size below which a surface is given in another unit
MM_PER_UNIT = {"metres": 1000.0, "centimetres": 10.0, "inches": 25.4, "micrometres": 0.001}


def voxelise(vertices_mm: Array, faces: Array, grid: Grid) -> Array:
    """The voxels whose centres lie inside a closed surface.

    A centre is inside where the winding number of the surface along the third grid axis is not zero, so that
    shells that overlap add up and the orientation of the normals does not matter.

    Args:
        vertices_mm: (V, 3) RAS millimetres.
        faces: (F, 3) vertex indices.
        grid: The grid; oblique and anisotropic ones are exact, as the surface is moved into index space.

    Returns:
        Boolean array of the grid's shape.
    """
    inverse = np.linalg.inv(grid.affine)
    index = vertices_mm @ inverse[:3, :3].T + inverse[:3, 3]
    triangles = index[faces]  # (F, 3 corners, 3 axes)
    triangles = triangles[:, :, :] - np.array([*_JITTER, 0.0])
    shape = grid.shape
    crossings = np.zeros((shape[0], shape[1], shape[2] + 1), dtype=np.int32)
    low = np.maximum(np.ceil(triangles[:, :, :2].min(axis=1)).astype(int), 0)
    high = np.minimum(np.floor(triangles[:, :, :2].max(axis=1)).astype(int), np.array(shape[:2]) - 1)
    spans = np.maximum(high - low + 1, 0)
    counts = spans[:, 0] * spans[:, 1]
    for part in _batches(counts, 4_000_000):
        which = np.repeat(part, counts[part])
        offset = np.arange(len(which)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        i = low[which, 0] + offset // spans[which, 1]
        j = low[which, 1] + offset % spans[which, 1]
        a, b, c = (triangles[which, n] for n in range(3))
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            u = ((i - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (j - a[:, 1])) / area
            v = ((b[:, 0] - a[:, 0]) * (j - a[:, 1]) - (i - a[:, 0]) * (b[:, 1] - a[:, 1])) / area
            inside = (area != 0) & (u >= 0) & (v >= 0) & (u + v <= 1)
            z = a[:, 2] + u * (b[:, 2] - a[:, 2]) + v * (c[:, 2] - a[:, 2])
        first = np.clip(np.ceil(z[inside]), 0, shape[2]).astype(int)
        np.add.at(crossings, (i[inside], j[inside], first), np.sign(area[inside]).astype(np.int32))
    return np.cumsum(crossings[:, :, :-1], axis=2) != 0


def _batches(counts: Array, limit: int) -> list[Array]:
    useful = np.flatnonzero(counts)
    if not len(useful):
        return []
    edges = np.searchsorted(np.cumsum(counts[useful]), np.arange(limit, counts[useful].sum() + limit, limit))
    return [p for p in np.split(useful, np.minimum(edges + 1, len(useful))) if len(p)]


def voxelise_file(path: Path, grid: Grid, default_frame: str) -> tuple[Array, list[str]]:
    """Voxelise a surface file on a grid.

    Raises:
        ScanError: as `read_surface`; also where less than half of the surface lies in the grid, or all of it within a
            voxel, which a wrong frame or a wrong unit causes.
    """
    vertices, faces, flags = read_surface(path, default_frame)
    share = _share_in_view(vertices, grid)
    size = np.ptp(vertices, axis=0).max()
    if share < 0.5 or size < max(LEAST_MM, min(grid.spacing_mm)):
        said = f"only {share:.0%} of the surface lies in the scan's grid" if share < 0.5 else "the surface is tiny"
        hint, remedy = _guess(vertices, grid)
        raise ScanError(f"{said}: it is {size:.3g} mm large{hint}", str(path), remedy)
    if share < 1:
        flags.append("surface_leaves_grid")
    mask = voxelise(vertices, faces, grid)
    if not mask.any():
        raise ScanError("the surface holds no voxel centre", str(path), "check its unit (mm is expected)")
    return mask, flags


def _share_in_view(vertices: Array, grid: Grid) -> float:
    inverse = np.linalg.inv(grid.affine)
    index = vertices @ inverse[:3, :3].T + inverse[:3, 3]
    return float(((index > -0.5) & (index < np.array(grid.shape) - 0.5)).all(axis=1).mean())


def _guess(vertices: Array, grid: Grid) -> tuple[str, str]:
    """What would bring a surface that misses the grid into it, in words: a hint and a remedy."""
    if _share_in_view(vertices * TURN, grid) > 0.9 and np.ptp(vertices, axis=0).max() > LEAST_MM:
        return " (in the other patient frame it would lie inside)", "set the cohort's `mesh_frame`"
    for unit, factor in MM_PER_UNIT.items():
        shares = [_share_in_view(vertices * factor * turn, grid) for turn in (np.ones(3), TURN)]
        if max(shares) > 0.9:
            frame = ", and the other patient frame" if shares[0] < 0.9 else ""
            hint = f" (taken as {unit}{frame}, it would lie inside)"
            return hint, f"scale it by {factor:g} to mm{' and set `mesh_frame`' if frame else ''}"
    return "", "set the cohort's `mesh_frame`, or check that surface and image belong together, and its unit (mm)"
