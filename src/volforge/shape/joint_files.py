"""Meshes of a joint in patient coordinates, as STL and PLY."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volforge.shape.joint import Joint
from volforge.shape.mesh import Mesh, write_ply, write_stl
from volforge.shape.surface import surface_of_mask
from volforge.volume.geometry import Array

WIDEST_MM = 5.0  # end of the colour scale of widths
CONDYLE, BARRIER = "condyle", "barrier"
GREY = (190, 190, 190)
REACH_MM = 1.5  # of a surface of the negative volume to the bone whose width it shows


def negative_volume_mesh(joint: Joint) -> Mesh | None:
    """Surface of the negative volume in RAS mm; None where it is empty."""
    return _surface(joint.inflated.space, joint)


def widths_on(mesh: Mesh, condyle: Array, width_mm: Array, far_mm: float = REACH_MM) -> Array:
    """Width of the joint space at the vertices of another surface: that of the nearest place of the condyle.

    Args:
        mesh: Surface of the negative volume.
        condyle: (V, 3) vertices of the condyle, RAS mm.
        width_mm: (V,) width there; NaN where the place faces no barrier or is unresolved.
        far_mm: How much further than its width the nearest place may lie.

    Returns:
        (W,) mm; NaN also where the nearest place lies far off.
    """
    from scipy.spatial import cKDTree

    away, nearest = cKDTree(condyle).query(mesh.vertices)
    values = width_mm[nearest]
    # the far wall of the space lies one width away, its near wall next to the condyle
    return np.where(away <= np.nan_to_num(values, nan=0.0) + far_mm, values, np.nan)


def width_colours(values: Array) -> Array:
    """Colours from narrow (dark) to wide (bright), (V, 3) uint8; grey where unknown. The map is viridis."""
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.clip(np.nan_to_num(values) / WIDEST_MM, 0, 1))[:, :3]
    return np.where(np.isnan(values)[:, None], GREY, np.rint(255 * shades)).astype(np.uint8)


def write_meshes(folder: Path, side: str, joint: Joint, space: Mesh | None) -> None:
    """Write STL and PLY of condyle, barrier and negative volume of a side; the latter coloured by width."""
    parts = [(CONDYLE, joint.condyle), (BARRIER, joint.barrier)]
    for name, surface in parts:
        if surface is not None:
            write_stl(folder / f"{side}_{name}.stl", surface.mesh, f"{name} {side}")
            values = {}
            if name == CONDYLE and joint.width is not None:
                values = {"width_mm": joint.width.mm}
            write_ply(folder / f"{side}_{name}.ply", surface.mesh, None, values)
    moved = joint.mesh
    if moved is not None:
        write_stl(folder / f"{side}_inflated.stl", moved.mesh, f"inflated condyle {side}")
        values = {"travelled_mm": moved.travelled_mm, "reason": moved.reasons}
        write_ply(folder / f"{side}_inflated.ply", moved.mesh, None, values)
    if space is not None:
        widths = np.full(len(space.vertices), np.nan)
        if joint.width is not None and joint.condyle is not None:
            widths = widths_on(space, joint.condyle.mesh.vertices, joint.width.mm)
        write_stl(folder / f"{side}_negative_volume.stl", space, f"negative volume {side}")
        write_ply(folder / f"{side}_negative_volume.ply", space, width_colours(widths), {"width_mm": widths})


def _surface(mask: Array, joint: Joint) -> Mesh | None:
    return surface_of_mask(mask, joint.bones.frame.grid, whole=True).mesh if mask.any() else None
