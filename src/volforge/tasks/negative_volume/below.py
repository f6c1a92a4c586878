"""The negative volume of one joint from below and tilted: every arm's own, so that hand and machine lie side by side.

After figure 2 of Belikova et al. (2021), which shows a drawn volume and one that a machine made in the same two views.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from volforge.shape.joint_files import WIDEST_MM, widths_on
from volforge.shape.mesh import Mesh
from volforge.study.strips import Strip
from volforge.tasks.negative_volume.ids import BONE_IDS, IDS
from volforge.volume.boxes import holding
from volforge.volume.geometry import Array, Grid
from volforge.volume.resample import gaussian_along, resample_to

TITLE = "Negative volumes from below"
CAPTION = (
    "{scan}, {side} joint, from below, tilted, and from below without what no bone bounds: the front is up, the "
    "patient's right on the left. Temporal bone grey, the condyle left out; joint space from dark (0 mm wide) to "
    "bright ({widest:g} mm), green where no width is known; the rest of the negative volume blue."
)
VIEWS = 3
EDGE = 120  # voxels of a view, along each axis
TILE = 220
MARGIN_MM = 5.0
ROOM = 1.25  # for a turned cube, as a multiple of its edge
SMOOTH = 1.2  # voxels of a view
TILT, TURN = np.radians(38), np.radians(24)
LIGHT = np.array([-0.45, 0.5, -0.74])
AMBIENT = 0.35
BONE, REST, UNKNOWN = (202, 196, 184), (86, 180, 233), (0, 158, 115)
SHADES = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], float)  # viridis


@dataclass(frozen=True)
class View:
    """Where the same joint of all arms is looked at.

    Attributes:
        scan, side: Which joint.
        middle: Centre of what is shown, RAS mm.
        edge_mm: Edge of the cube that is shown.
    """

    scan: str
    side: str
    middle: tuple[float, float, float]
    edge_mm: float


@dataclass(frozen=True)
class Scene:
    """A joint of one arm on the scan's grid.

    Attributes:
        values: (X, Y, Z) ids of negative volumes, as `IDS`.
        bones: (X, Y, Z) ids of bones, as `BONE_IDS`.
        grid: Their grid.
        condyle: Surface of the condyle, RAS mm, or None.
        width_mm: (V,) width of the joint space at its vertices, NaN where unknown; or None.
    """

    values: Array
    bones: Array
    grid: Grid
    condyle: Mesh | None = None
    width_mm: Array | None = None


def view_of(scan: str, side: str, values: Array, grid: Grid) -> View | None:
    """A view of the negative volume of a side; None where there is none.

    Args:
        scan: Its name.
        side: `left` or `right`.
        values: (X, Y, Z) ids of negative volumes.
        grid: Their grid.
    """
    places = np.argwhere(holding(values, list(IDS[side].values())))
    if not len(places):
        return None
    low, high = places.min(axis=0) - 0.5, places.max(axis=0) + 0.5
    x, y, z = (grid.affine[:3, :3] @ ((low + high) / 2) + grid.affine[:3, 3]).tolist()
    edge = float(((high - low) * grid.spacing_mm).max())
    return View(scan, side, (x, y, z), edge + 2 * MARGIN_MM)


def strip_of(view: View, scene: Scene | None, label: str) -> tuple[Strip, Array]:
    """One arm's strip of the picture; black where it has no prediction."""
    caption = CAPTION.format(scan=view.scan, side=view.side, widest=WIDEST_MM)
    picture = np.zeros((VIEWS * TILE, TILE, 3), np.uint8) if scene is None else joint_from_below(view, scene)
    return Strip("below.png", "arm", label, TITLE, caption), picture


def joint_from_below(view: View, scene: Scene) -> Array:
    """The three views of a joint.

    Args:
        view: Where to look.
        scene: The joint.

    Returns:
        (VIEWS TILE, TILE, 3) uint8.
    """
    side = 1.0 if view.side == "left" else -1.0  # turned so that the outer side comes forward
    below, tilted = _axes(0.0, 0.0), _axes(TILT, side * TURN)
    bound = replace(scene, values=np.where(scene.values == IDS[view.side]["joint_space"], scene.values, 0))
    return np.concatenate([_shown(view, scene, below), _shown(view, scene, tilted), _shown(view, bound, below)])


def _axes(tilt: float, turn: float) -> Array:
    """Right, up and away from the viewer, as columns in RAS: from below, tilted to the front, then turned."""
    right, up, away = np.array([-1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0])
    up, away = np.cos(tilt) * up + np.sin(tilt) * away, np.cos(tilt) * away - np.sin(tilt) * up
    away, right = np.cos(turn) * away - np.sin(turn) * right, np.cos(turn) * right + np.sin(turn) * away
    return np.stack([right, up, away], axis=1)


def _shown(view: View, scene: Scene, axes: Array) -> Array:
    """One view: the first surface along each ray, lit from the upper left."""
    from PIL import Image

    step = view.edge_mm * ROOM / EDGE
    affine = np.eye(4)
    affine[:3, :3] = axes * step
    affine[:3, 3] = np.array(view.middle) - axes @ np.full(3, step * (EDGE - 1) / 2)
    onto = Grid((EDGE, EDGE, EDGE), affine)
    ids = IDS[view.side]
    near = _box(view, scene.grid, scene.values.shape)
    parts = {
        "bone": scene.bones == BONE_IDS[view.side]["barrier"],
        "space": holding(scene.values, list(ids.values())),
        "joint": scene.values == ids["joint_space"],
    }
    grid = scene.grid.part(near)
    fields = {
        n: _smooth(resample_to(m[near].astype(np.float32), grid, onto, nearest=False, outside=0))
        for n, m in parts.items()
    }
    solid = np.maximum(fields["bone"], fields["space"])
    inside = solid > 0.5
    first = inside.argmax(axis=2)
    seen = inside.any(axis=2)
    columns, rows = np.nonzero(seen)
    depths = first[columns, rows]
    at = (columns, rows, depths)
    normal = -np.stack([g[at] for g in np.gradient(solid)], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    light = AMBIENT + (1 - AMBIENT) * np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    colour = np.where((fields["space"][at] >= fields["bone"][at])[:, None], REST, BONE).astype(float)
    bound = (fields["space"][at] >= fields["bone"][at]) & (fields["joint"][at] > 0.5 * fields["space"][at])
    if bound.any():
        places = np.stack(at, axis=1)[bound] @ affine[:3, :3].T + affine[:3, 3]
        colour[bound] = _of_widths(places, scene)
    picture = np.zeros((EDGE, EDGE, 3), np.float64)
    picture[columns, rows] = colour * light[:, None]
    upright = np.rint(np.clip(picture, 0, 255)).astype(np.uint8).transpose(1, 0, 2)[::-1]
    return np.asarray(Image.fromarray(upright).resize((TILE, TILE), Image.Resampling.BICUBIC))


def _box(view: View, grid: Grid, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of a grid inside the cube that is shown: bone beyond it would hide the joint."""
    corners = np.array(np.meshgrid(*[[-0.5, 0.5]] * 3)).reshape(3, -1) * view.edge_mm + np.array(view.middle)[:, None]
    inverse = np.linalg.inv(grid.affine)
    placed = inverse[:3, :3] @ corners + inverse[:3, 3:]
    low = np.clip(np.floor(placed.min(axis=1)), 0, np.array(shape) - 1).astype(int)
    high = np.clip(np.ceil(placed.max(axis=1)) + 1, low + 1, shape).astype(int)
    return tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))


def _smooth(values: Array) -> Array:
    for axis in range(3):
        values = gaussian_along(values, SMOOTH, axis)
    return values


def _of_widths(places: Array, scene: Scene) -> Array:
    """Colours of places on the joint space, (N, 3)."""
    if scene.condyle is None or scene.width_mm is None or not np.isfinite(scene.width_mm).any():
        return np.broadcast_to(np.array(UNKNOWN, float), places.shape)
    known = np.isfinite(scene.width_mm)
    widths = widths_on(
        Mesh(places, np.zeros((0, 3), np.int64)), scene.condyle.vertices[known], scene.width_mm[known], np.inf
    )
    share = np.clip(widths / WIDEST_MM, 0, 1) * (len(SHADES) - 1)
    lower = np.minimum(share.astype(int), len(SHADES) - 2)
    part = (share - lower)[:, None]
    return (1 - part) * SHADES[lower] + part * SHADES[lower + 1]
