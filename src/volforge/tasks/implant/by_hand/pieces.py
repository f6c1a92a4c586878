"""The implants of all holes of a skull, each finished and looked at on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volforge.errors import VolforgeError
from volforge.shape.mesh import Mesh
from volforge.tasks.implant.by_hand.options import CaseOptions
from volforge.tasks.implant.kriging.case import Kriged
from volforge.tasks.implant.kriging.fill import filled
from volforge.tasks.implant.kriging.fit import KrigedModel
from volforge.tasks.implant.made import Made, make
from volforge.tasks.implant.making.maps import vertex_maps
from volforge.tasks.implant.post import Step, postprocess
from volforge.volume.boxes import Box, foreground_box, grown
from volforge.volume.geometry import Array, Grid
from volforge.volume.morphology import components

MARGIN_MM = 20.0


@dataclass(frozen=True)
class Pieces:
    """Finished implants.

    Attributes:
        mask: (X, Y, Z) bool, all of them, with their drainage holes.
        steps: What was taken off all of them.
        made: Each, the largest first; its mask covers its box alone.
        boxes: Where those lie.
    """

    mask: Array
    steps: list[Step]
    made: list[Made]
    boxes: list[Box]


def finished(prediction: Array, skull: Array, grid: Grid, options: CaseOptions) -> Pieces:
    """Finish predicted implants: cleaned together, then each in its hole.

    Args:
        prediction: (X, Y, Z) bool.
        skull: Defective skull on the same grid.
        grid: Its grid.
        options: How.

    Raises:
        VolforgeError: Nothing is left.
    """
    mask, steps = postprocess(prediction, skull, grid.spacing_mm, options.post)
    box = foreground_box(mask)
    if box is None:
        largest = float(np.count_nonzero(prediction)) * grid.voxel_mm3 / 1000
        raise VolforgeError(
            f"no implant is left of {largest:.2f} cm3 that were predicted",
            remedy=f"the holes are small or narrow; lower --min-cm3 ({options.min_cm3:g}) or --gap-mm",
        )
    labels, counts = components(mask[box], 26)
    whole = np.zeros(mask.shape, bool, order="F")
    made, boxes = [], []
    centre = _middle(skull, grid)
    for number in 1 + np.argsort(-counts[1:], kind="stable"):
        own = np.zeros(mask.shape, bool, order="F")
        own[box] = labels == number
        tight = foreground_box(own)
        assert tight is not None
        wide = grown(tight, [int(np.ceil(MARGIN_MM / s)) for s in grid.spacing_mm], mask.shape)
        part = grid.part(wide)
        piece = make(own[wide], skull[wide], part.affine, options.of_piece, centre=centre)
        whole[wide] |= piece.mask
        if piece.mesh is not None:
            made.append(piece)
            boxes.append(wide)
    return Pieces(whole, steps, made, boxes)


def _middle(skull: Array, grid: Grid) -> Array:
    """Centroid of the bone, (3,) mm: the side on which the head lies."""
    index = [
        float((count * np.arange(len(count))).sum() / max(count.sum(), 1))
        for count in (np.count_nonzero(skull, axis=a) for a in ((1, 2), (0, 2), (0, 1)))
    ]
    return np.asarray(grid.affine[:3, :3] @ np.array(index) + grid.affine[:3, 3])


def joined(meshes: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    begins = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    faces = [m.faces + b for m, b in zip(meshes, begins, strict=True)]
    return Mesh(np.concatenate([m.vertices for m in meshes]), np.concatenate(faces))


def maps_on(piece: Made, mesh: Mesh, found: Kriged, model: KrigedModel) -> dict[str, Array]:
    """Gap, step, thickness and uncertainty at the vertices of a mesh of an implant, (V,) each, mm; NaN: not known."""
    assert piece.fit is not None
    return {**vertex_maps(piece.fit, mesh), "uncertainty_mm": uncertainty(mesh.vertices, found, model)}


def uncertainty(points: Array, found: Kriged, model: KrigedModel) -> Array:
    """Half width of the interval of 68 % of the nearer of the two completed surfaces at places, (V,) mm.

    Args:
        points: (V, 3) mm, RAS.
        found: The completed skull.
        model: What completed it.
    """
    from scipy.ndimage import map_coordinates

    assert found.maps is not None
    radius, at = model.field.disc.locate(found.registered.pose.into(points))
    radii, spread = (
        [map_coordinates(filled(m), at, order=1, mode="nearest") for m in maps]
        for maps in (found.maps.maps, found.maps.deviation)
    )
    inner = np.abs(radius - radii[0]) < np.abs(radius - radii[1])
    factors = (1.0, 1.0) if model.intervals is None else (model.intervals.factor(0), model.intervals.factor(1))
    return np.where(inner, spread[0] * factors[0], spread[1] * factors[1]) * found.registered.pose.scale
