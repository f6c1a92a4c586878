"""What is handed over with an implant: the mask that fits, its meshes, maps, and all of its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from volforge.shape.mesh import write_ply
from volforge.tasks.implant.making.drainage import Drainage, drilled
from volforge.tasks.implant.making.fit import Fit, fit
from volforge.tasks.implant.making.maps import write_vertex_maps
from volforge.tasks.implant.making.scene import Scene
from volforge.tasks.implant.mesh import Printable, PrintOptions, dimensions, printable, write_printable
from volforge.tasks.implant.post import PostOptions, Step, postprocess
from volforge.volume.folders import write_json
from volforge.volume.geometry import Affine, Array, Grid

FILE = "implant.json"


@dataclass(frozen=True)
class MakeOptions:
    """How an implant is finished.

    Attributes:
        post: Post-processing of the mask.
        mesh: The mesh.
        drainage: Holes, or None.
    """

    post: PostOptions = field(default_factory=PostOptions)
    mesh: PrintOptions = field(default_factory=PrintOptions)
    drainage: Drainage | None = None


@dataclass(frozen=True)
class Made:
    """A finished implant.

    Attributes:
        mask: (X, Y, Z) bool on the whole grid, with its holes.
        steps: What was taken off.
        mesh: Its mesh; None where nothing is left.
        fit: How it sits, looked at before it was drilled; None where nothing is left.
        holes: (N, 3) mm, centres of drainage holes.
        holes_mm3: Their volume.
    """

    mask: Array
    steps: list[Step]
    mesh: Printable | None
    fit: Fit | None
    holes: Array
    holes_mm3: float

    @property
    def record(self) -> dict[str, Any]:
        """As JSON holds it: steps, dimensions, numbers of the fit (null where undefined), holes."""
        values = {} if self.fit is None else self.fit.values()
        return {
            "steps": [s.record for s in self.steps],
            "mesh": None if self.mesh is None else dimensions(self.mesh),
            "fit": {n: None if np.isnan(v) else round(v, 4) for n, v in values.items()},
            "insertion_direction_ras": None if self.fit is None else np.round(self.fit.way.direction, 4).tolist(),
            "drainage": {"centres_ras_mm": np.round(self.holes, 2).tolist(), "removed_mm3": round(self.holes_mm3, 2)},
        }


def make(
    prediction: Array,
    defective: Array,
    affine: Affine,
    options: MakeOptions | None = None,
    centre: Array | None = None,
) -> Made:
    """Finish a predicted implant.

    Args:
        prediction: (X, Y, Z), above 0 where an implant was predicted.
        defective: Defective skull on the same grid.
        affine: Voxels to RAS mm.
        options: How.
        centre: (3,) mm, somewhere inside of the head; None: the centroid of the bone.

    Returns:
        The implant; without mesh and fit where nothing is left of it.

    Raises:
        VolforgeError: grids differ.
    """
    options = options or MakeOptions()
    grid = Grid(tuple(prediction.shape), affine)
    mask, steps = postprocess(prediction, defective, grid.spacing_mm, options.post)
    if not mask.any():
        return Made(mask, steps, None, None, np.zeros((0, 3)), 0.0)
    found = fit(mask, defective, affine, centre)
    holes, removed = np.zeros((0, 3)), 0.0
    if options.drainage is not None:
        made = drilled(found.scene, options.drainage)
        holes, removed = made.centres, made.removed_mm3
        mask = _whole(made.mask, found.scene, mask.shape, affine)
    return Made(mask, steps, printable(mask, affine, options.mesh), found, holes, removed)


def _whole(mask: Array, scene: Scene, shape: tuple[int, ...], affine: Affine) -> Array:
    """A mask of a scene on the whole grid."""
    onto = np.linalg.inv(affine) @ scene.affine
    index = np.rint(np.argwhere(mask) @ onto[:3, :3].T + onto[:3, 3]).astype(np.int64)
    whole = np.zeros(shape, bool)
    whole[tuple(index.T)] = True
    return whole


def write_made(folder: Path, made: Made, options: MakeOptions | None = None) -> None:
    """Write `implant.json`, and where an implant is left `implant.stl`, `.ply`, `.mesh.json` and the coloured maps.

    Args:
        folder: An existing folder.
        made: The implant.
        options: How it was finished: for the axes of the files.
    """
    options = options or MakeOptions()
    write_json(folder / FILE, made.record)
    if made.mesh is None or made.fit is None:
        return
    write_printable(folder, "implant", made.mesh, options.mesh.space)
    write_vertex_maps(folder, made.fit)
    if len(made.fit.scene.bone_surface.faces):
        write_ply(folder / "bone_about.ply", made.fit.scene.bone_surface)
