"""Files of a joint: meshes in patient coordinates, and the small ones that the report turns with the mouse."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from volforge.shape.joint import Joint
from volforge.shape.mesh import Mesh, write_ply, write_stl
from volforge.shape.surface import surface_of_mask
from volforge.volume.folders import write_json
from volforge.volume.geometry import Array

WIDEST_MM = 5.0  # end of the colour scale of widths
VIEW_FACES = 3000
GREY = (190, 190, 190)
REACH_MM = 1.5  # of a surface of the negative volume to the bone whose width it shows


def negative_volume_mesh(joint: Joint) -> Mesh | None:
    """Surface of the negative volume in RAS mm; None where it is empty."""
    if not joint.inflated.space.any():
        return None
    return surface_of_mask(joint.inflated.space, joint.bones.frame.grid, whole=True).mesh


def widths_on(mesh: Mesh, joint: Joint) -> Array:
    """Width of the joint space at the vertices of another surface: that of the nearest place of the condyle.

    NaN where the nearest place faces no barrier, is unresolved, or lies far off.
    """
    from scipy.spatial import cKDTree

    width = joint.width
    if width is None or joint.condyle is None:
        return np.full(len(mesh.vertices), np.nan)
    away, nearest = cKDTree(joint.condyle.mesh.vertices).query(mesh.vertices)
    values = np.where(width.known[nearest], width.mm[nearest], np.nan)
    # the far wall of the space lies one width away, its near wall next to the condyle
    return np.where(away <= np.nan_to_num(values, nan=0.0) + REACH_MM, values, np.nan)


def width_colours(values: Array) -> Array:
    """Colours from narrow (dark) to wide (bright), (V, 3) uint8; grey where unknown. The map is viridis."""
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.clip(np.nan_to_num(values) / WIDEST_MM, 0, 1))[:, :3]
    return np.where(np.isnan(values)[:, None], GREY, np.rint(255 * shades)).astype(np.uint8)


def in_cube(mesh: Mesh, joint: Joint) -> Mesh:
    """The faces of a surface whose corners lie in the clip cube."""
    frame = joint.bones.frame
    inside = (np.abs(mesh.vertices - frame.centre) <= frame.cube_mm / 2 + frame.step_mm).all(axis=1)
    faces = mesh.faces[inside[mesh.faces].all(axis=1)]
    used, renamed = np.unique(faces, return_inverse=True)
    return Mesh(mesh.vertices[used], renamed.reshape(faces.shape))


def write_meshes(folder: Path, side: str, joint: Joint, space: Mesh | None) -> None:
    """Write STL and PLY of condyle, barrier and negative volume of a side; the latter coloured by width."""
    parts = [("condyle", joint.condyle), ("barrier", joint.barrier)]
    for name, surface in parts:
        if surface is not None:
            write_stl(folder / f"{side}_{name}.stl", surface.mesh, f"{name} {side}")
            values = {}
            if name == "condyle" and joint.width is not None:
                values = {"width_mm": joint.width.mm}
            write_ply(folder / f"{side}_{name}.ply", surface.mesh, None, values)
    moved = joint.mesh
    if moved is not None:
        write_stl(folder / f"{side}_inflated.stl", moved.mesh, f"inflated condyle {side}")
        values = {"travelled_mm": moved.travelled_mm, "reason": moved.reasons}
        write_ply(folder / f"{side}_inflated.ply", moved.mesh, None, values)
    if space is not None:
        widths = widths_on(space, joint)
        write_stl(folder / f"{side}_negative_volume.stl", space, f"negative volume {side}")
        write_ply(folder / f"{side}_negative_volume.ply", space, width_colours(widths), {"width_mm": widths})


def write_view(path: Path, joints: dict[str, tuple[Joint, Mesh | None]]) -> None:
    """Write what the report shows of a case: bones and negative volume of both sides with few faces."""
    from volforge.shape.meshlab import simplified

    sides: dict[str, Any] = {}
    for side, (joint, space) in joints.items():
        shown: dict[str, Any] = {}
        for name, mesh in (
            ("condyle", joint.condyle.mesh if joint.condyle else None),
            ("barrier", in_cube(joint.barrier.mesh, joint) if joint.barrier else None),
            ("negative volume", space),
        ):
            if mesh is None or not len(mesh.faces):
                continue
            small = simplified(mesh, VIEW_FACES)
            part = {"vertices": _packed(small.vertices, "<f4"), "faces": _packed(small.faces, "<u4")}
            if name == "negative volume":
                part["width"] = _packed(np.nan_to_num(widths_on(small, joint), nan=-1.0), "<f4")
            shown[name] = part
        sides[side] = shown
    write_json(path, {"widest_mm": WIDEST_MM, "sides": sides})


def _packed(values: Array, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")
