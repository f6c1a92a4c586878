"""What the report turns with the mouse: bones, joint space and the rest of a case's negative volumes, simplified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from volforge.shape.joint_files import BARRIER, CONDYLE, WIDEST_MM, widths_on
from volforge.shape.mesh import Mesh
from volforge.shape.meshlab import simplified
from volforge.shape.surface import surface_of_mask
from volforge.tasks.negative_volume.ids import IDS
from volforge.tasks.negative_volume.joints import SIDES
from volforge.volume.folders import write_json
from volforge.volume.geometry import Array, Grid

FACES = 3000
MARGIN_MM = 1.0
STEP_MM = 0.05  # of what the mouse turns: finer than a pixel of the screen


def write_view(path: Path, shapes: Path, values: Array, grid: Grid) -> None:
    """Write the surfaces of a case as JSON.

    Vertices, faces and widths are whole numbers: vertices and widths in steps of `step_mm`, each vertex less the one
    before, and each index of a vertex less the one before. A page squeezes that to half of what binary numbers take.

    Args:
        path: File.
        shapes: Folder of the case's meshes; sides without any are left out, and no file is written without a side.
        values: (X, Y, Z) ids of its negative volumes, as `IDS`.
        grid: Their grid.
    """
    sides: dict[str, Any] = {}
    for side in SIDES:
        if not (shapes / f"{side}_{CONDYLE}.ply").exists():
            continue
        condyle, width = read_ply(shapes / f"{side}_{CONDYLE}.ply")
        shown = {"condyle": _part(condyle)}
        spaces = {n: values == IDS[side][k] for n, k in (("joint space", "joint_space"), ("rest", "rest"))}
        if (shapes / f"{side}_{BARRIER}.ply").exists() and any(s.any() for s in spaces.values()):
            barrier, _ = read_ply(shapes / f"{side}_{BARRIER}.ply")
            shown["barrier"] = _part(_near(barrier, spaces["joint space"] | spaces["rest"], grid))
        for name, mask in spaces.items():
            if mask.any():
                small = simplified(surface_of_mask(mask, grid, whole=True).mesh, FACES)
                shown[name] = _part(small)
                if name == "joint space" and width is not None:
                    known = np.isfinite(width)  # places without a width show that of the nearest with one
                    if known.any():
                        shade = widths_on(small, condyle.vertices[known], width[known], far_mm=np.inf)
                        shown[name]["width"] = _steps(shade).tolist()
        sides[side] = shown
    if sides:
        write_json(path, {"widest_mm": WIDEST_MM, "step_mm": STEP_MM, "sides": sides})


def read_ply(path: Path) -> tuple[Mesh, Array | None]:
    """A mesh of `write_ply`, and the widths at its vertices where it has some."""
    import trimesh

    found = trimesh.load(path, process=False)
    table = found.metadata["_ply_raw"]["vertex"]["data"]
    width = np.asarray(table["width_mm"], float).ravel() if "width_mm" in (table.dtype.names or ()) else None
    return Mesh(np.asarray(found.vertices, float), np.asarray(found.faces, np.int64)), width


def _near(mesh: Mesh, space: Array, grid: Grid) -> Mesh:
    """The faces of a surface inside the box of a negative volume."""
    places = np.argwhere(space) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    low, high = places.min(axis=0) - MARGIN_MM, places.max(axis=0) + MARGIN_MM
    inside = ((mesh.vertices >= low) & (mesh.vertices <= high)).all(axis=1)
    faces = mesh.faces[inside[mesh.faces].all(axis=1)]
    used, renamed = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], renamed.reshape(faces.shape))


def _part(mesh: Mesh) -> dict[str, list[int]]:
    small = simplified(mesh, FACES)
    vertices = np.diff(_steps(small.vertices), axis=0, prepend=0)
    return {"vertices": vertices.ravel().tolist(), "faces": np.diff(small.faces.ravel(), prepend=0).tolist()}


def _steps(values: Array) -> Array:
    return np.rint(values / STEP_MM).astype(np.int64)
