"""Where an implant gapes, steps and is thin: values at the vertices of its mesh, and volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volforge.shape.mesh import Mesh, write_ply
from volforge.tasks.implant.making.fit import Fit
from volforge.tasks.implant.making.thickness import thickness_map
from volforge.volume.geometry import Affine, Array

NEAR_MM = 4.0  # of a place of the rim to the vertices that show its value
WIDEST = {"gap_mm": 2.0, "step_mm": 2.0, "thickness_mm": 10.0}
GREY = (190, 190, 190)
NAMES = tuple(WIDEST)


def vertex_maps(found: Fit, mesh: Mesh | None = None) -> dict[str, Array]:
    """Gap, step and thickness at vertices.

    Args:
        found: What was measured.
        mesh: Surface of the same implant in the same millimetres; None: `found.scene.implant_surface`.

    Returns:
        By name (V,) float64: `gap_mm` (of the nearest place of the rim within 4 mm), `step_mm` (signed, of the nearest
        of the outer and inner surface) and `thickness_mm`; NaN where nothing is near.
    """
    vertices = (found.scene.implant_surface if mesh is None else mesh).vertices
    points = [found.gap.facing, np.concatenate([found.step.outer.points, found.step.inner.points])]
    values = [found.gap.mm, np.concatenate([found.step.outer.mm, found.step.inner.mm])]
    gap, step = (_nearest(vertices, p, v, NEAR_MM) for p, v in zip(points, values, strict=True))
    thick = _nearest(vertices, found.scene.implant_surface.vertices, found.thick.mm, np.inf)
    return {"gap_mm": gap, "step_mm": step, "thickness_mm": thick}


def _nearest(vertices: Array, points: Array, values: Array, far_mm: float) -> Array:
    from scipy.spatial import cKDTree

    if not len(points):
        return np.full(len(vertices), np.nan)
    index = cKDTree(points).query(vertices, distance_upper_bound=far_mm)[1]
    return np.where(index < len(points), np.append(values, np.nan)[index], np.nan)


def colours(name: str, values: Array) -> Array:
    """Colours of a map, (V, 3) uint8: dark to bright (viridis), a signed step blue to red; grey where unknown."""
    from matplotlib import colormaps

    most = WIDEST[name]
    share = np.nan_to_num(values) / most
    if name == "step_mm":
        shades = colormaps["coolwarm"](np.clip((share + 1) / 2, 0, 1))
    else:
        shades = colormaps["viridis"](np.clip(share, 0, 1))
    return np.where(np.isnan(values)[:, None], GREY, np.rint(255 * shades[:, :3])).astype(np.uint8)


def write_vertex_maps(folder: Path, found: Fit, mesh: Mesh | None = None) -> None:
    """Write `implant.<map>.ply` for gap, step and thickness: coloured by one, all three as vertex values."""
    surface = found.scene.implant_surface if mesh is None else mesh
    values = vertex_maps(found, mesh)
    for name in NAMES:
        write_ply(folder / f"implant.{name}.ply", surface, colours(name, values[name]), values)


def voxel_maps(found: Fit, shape: tuple[int, ...], affine: Affine) -> dict[str, Array]:
    """Gap, step, thickness and what has to be trimmed as volumes of a whole grid.

    Args:
        found: What was measured.
        shape: (X, Y, Z) of the whole grid.
        affine: Its voxels to mm; the scene's grid is a part of it.

    Returns:
        By name (X, Y, Z) float32: `gap_mm` and `step_mm` in the implant's voxels by the rim, `thickness_mm`, `trim`
        (0 and 1); 0 outside, NaN in implant voxels without a value.
    """
    scene = found.scene
    places = scene.places(scene.implant)
    points = np.concatenate([found.step.outer.points, found.step.inner.points])
    steps = np.concatenate([found.step.outer.mm, found.step.inner.mm])
    thick = thickness_map(scene)[scene.implant]  # what is thinner than the smoothing has none
    by_voxel = {
        "gap_mm": _nearest(places, found.gap.facing, found.gap.mm, NEAR_MM),
        "step_mm": _nearest(places, points, steps, NEAR_MM),
        "thickness_mm": np.where(thick > 0, thick, np.nan),
        "trim": found.way.blocked[scene.implant],
    }
    index = np.argwhere(scene.implant)
    whole = np.linalg.inv(affine) @ scene.affine
    onto = np.rint(index @ whole[:3, :3].T + whole[:3, 3]).astype(np.int64)
    maps = {}
    for name, values in by_voxel.items():
        volume = np.zeros(shape, np.float32)
        volume[tuple(onto.T)] = values
        maps[name] = volume
    return maps
