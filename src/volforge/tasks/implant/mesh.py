"""The mesh of an implant that a printer takes: closed, smooth, of its voxels' volume, where the patient lies.

Source: methods, section 5.4. Marching cubes of a smoothed distance go through the whole affine, so that no mirrored or
oblique header can mirror the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.mesh import Mesh, vertex_normals, write_ply, write_stl
from volforge.shape.meshlab import repaired, self_intersections, simplified
from volforge.shape.surface import surface_of_field, surface_of_mask
from volforge.volume.boxes import foreground_box, grown
from volforge.volume.folders import write_json
from volforge.volume.geometry import Affine, Array, Grid

VOLUME_ERROR = 0.02
Space = Literal["RAS", "LPS"]


@dataclass(frozen=True)
class PrintOptions:
    """How a mesh is made.

    Attributes:
        faces: Most faces; edges of least error are collapsed until then.
        level: Of soft values, where the surface lies.
        space: Axes of the files' millimetres. RAS and LPS differ by half a turn, not by a mirror.
    """

    faces: int = 100_000
    level: float = 0.5
    space: Space = "RAS"


@dataclass(frozen=True)
class Printable:
    """A mesh and what was found when it was checked.

    Attributes:
        mesh: RAS mm, faces outwards.
        voxel_mm3: Volume of the voxels that it stands for.
        watertight: Every edge joins two faces that run along it in opposite directions.
        crossing: Faces that cut another one; None where that could not be looked at.
        flags: `not_checked`, `self_intersecting`, `repaired`, `not_watertight`, `volume_differs` (by more than 2 %).
    """

    mesh: Mesh
    voxel_mm3: float
    watertight: bool
    crossing: int | None
    flags: tuple[str, ...] = field(default=())

    @property
    def volume_error(self) -> float:
        """Of the mesh against the voxels, as a fraction."""
        return self.mesh.volume_mm3 / self.voxel_mm3 - 1


def printable(values: Array, affine: Affine, options: PrintOptions | None = None) -> Printable:
    """The mesh of an implant.

    Args:
        values: (X, Y, Z) bool, or soft values of 0 to 1 (a probability), which give a smoother surface.
        affine: Voxels to RAS mm, axes perpendicular; a mirrored one (determinant below 0) is fine.
        options: Faces, level.

    Raises:
        VolforgeError: there is no implant.
    """
    options = options or PrintOptions()
    soft = values.dtype.kind == "f"
    mask = values >= options.level if soft else values > 0
    box = foreground_box(mask)
    if box is None:
        raise VolforgeError("an empty implant has no mesh", "", "look at the prediction")
    x, y, z = (int(n) for n in values.shape)
    wide = grown(box, (3, 3, 3), values.shape)
    grid = Grid((x, y, z), affine).part(wide)
    wanted = float(np.count_nonzero(mask)) * grid.voxel_mm3
    if soft:
        # the field falls by about 1 over a voxel: as a distance in voxels, and in mm
        distance = (options.level - values[wide]).astype(np.float32) * np.float32(grid.voxel_mm3 ** (1 / 3))
        surface = surface_of_field(distance, grid.affine, whole=True)
    else:
        surface = surface_of_mask(mask[wide], grid, whole=True)
    mesh, flags = surface.mesh, set(surface.flags) & {"repaired"}
    if len(mesh.faces) > options.faces:
        mesh, again = _decimated(mesh, options.faces)
        flags |= again
    mesh = _of_volume(mesh, wanted)
    crossing = self_intersections(mesh)
    if crossing is None:
        flags.add("not_checked")
    elif crossing:
        flags.add("self_intersecting")
    if not mesh.is_watertight:
        flags.add("not_watertight")
    if not abs(mesh.volume_mm3 / wanted - 1) <= VOLUME_ERROR:
        flags.add("volume_differs")
    return Printable(mesh, wanted, mesh.is_watertight, crossing, tuple(sorted(flags)))


def _decimated(mesh: Mesh, faces: int) -> tuple[Mesh, set[str]]:
    """A mesh of fewer faces; where collapsing made faces cut each other it is repaired, else it stays as it was."""
    small = simplified(mesh, faces)
    if small.is_watertight and not self_intersections(small):
        return small, set()
    better = repaired(small)
    if better is not None:
        return better, {"repaired"}
    return mesh, set()


def _of_volume(mesh: Mesh, wanted_mm3: float) -> Mesh:
    """The mesh with its vertices moved along their normals by what its volume lacks, if that crosses no faces."""
    if abs(mesh.volume_mm3 / wanted_mm3 - 1) <= 0.25 * VOLUME_ERROR:
        return mesh
    offset = (wanted_mm3 - mesh.volume_mm3) / mesh.area_mm2
    moved = mesh.moved(mesh.vertices + offset * vertex_normals(mesh.vertices, mesh.faces))
    nearer = abs(moved.volume_mm3 - wanted_mm3) < abs(mesh.volume_mm3 - wanted_mm3)
    return moved if nearer and (self_intersections(moved) or 0) <= (self_intersections(mesh) or 0) else mesh


def dimensions(found: Printable, space: Space = "RAS") -> dict[str, object]:
    """What is ordered with a mesh: edges of the oriented box in mm, volume, area, and whether it is closed."""
    import trimesh

    mesh = found.mesh
    _, extents = trimesh.bounds.oriented_bounds(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False))
    return {
        "space": space,
        "unit": "mm",
        "oriented_box_mm": [round(float(e), 2) for e in sorted(extents, reverse=True)],
        "volume_cm3": round(mesh.volume_mm3 / 1000, 4),
        "voxel_volume_cm3": round(found.voxel_mm3 / 1000, 4),
        "volume_error_percent": round(100 * found.volume_error, 3),
        "area_mm2": round(mesh.area_mm2, 2),
        "watertight": found.watertight,
        "crossing_faces": found.crossing,
        "euler": mesh.euler,
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "flags": list(found.flags),
    }


def write_printable(folder: Path, name: str, found: Printable, space: Space = "RAS") -> dict[str, object]:
    """Write `<name>.stl`, `<name>.ply` (binary) and `<name>.mesh.json`.

    Args:
        folder: Where.
        name: Of the files.
        found: The mesh.
        space: Axes of the files; both headers and the JSON name them.

    Returns:
        The content of the JSON.
    """
    mesh = found.mesh if space == "RAS" else found.mesh.moved(found.mesh.vertices * np.array([-1.0, -1.0, 1.0]))
    write_stl(folder / f"{name}.stl", mesh, name, space)
    write_ply(folder / f"{name}.ply", mesh, space=space)
    content = dimensions(found, space)
    write_json(folder / f"{name}.mesh.json", content)
    return content
