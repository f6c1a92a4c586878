"""The signed distance map of an implant as a picture: three planes with its zero line, and surfaces of equal distance.

Source: what the repository of Li et al. (2021) shows of the map that its boundary loss weighs voxels by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.distances import signed_distances
from volforge.volume.boxes import foreground_box
from volforge.volume.geometry import Array
from volforge.volume.picture import contact_sheet, plane

TILE = 300
MARGIN_MM = 25.0
LEVELS_MM = (0.0, 5.0, 10.0)
LINES_MM = 5.0
INSIDE, OUTSIDE, LINE = (33, 102, 172), (178, 24, 43), (0, 0, 0)
MOST = 64  # voxels along the longest side of what is rendered


def distance_picture(implant: Array, spacing: tuple[float, float, float], units: str = "mm") -> Array:
    """The map of an implant: sagittal, coronal and axial plane through its middle; below, surfaces of equal distance.

    Blue is inside, red outside, black the zero line, grey a line every 5. The surfaces lie at 0, 5 and 10 mm; the outer
    two are cut open at the plane through the implant's middle.

    Args:
        implant: (X, Y, Z) boolean, on patient axes.
        spacing: Voxel size in mm.
        units: `mm`, or `voxels` for the published map, which is 0 in the first layer inside.

    Returns:
        (rows, columns, 3) uint8.

    Raises:
        VolforgeError: The implant is empty.
    """
    box = foreground_box(implant)
    if box is None:
        raise VolforgeError("the implant is empty", "", "name a scan with an implant")
    # beyond the scan there is no implant: the map goes on there
    part = np.pad(implant[box], [(int(np.ceil(MARGIN_MM / s)),) * 2 for s in spacing])
    phi = signed_distances(part, spacing, units=units)
    middle = [round(float(v)) for v in np.argwhere(part).mean(axis=0)]
    tiles = [distance_plane(plane(phi, axis, middle[axis]), *_size(phi.shape, spacing, axis)) for axis in range(3)]
    return np.concatenate(
        [_padded(contact_sheet(tiles, 3), 3 * TILE + 4), surfaces(part, spacing, middle[0])[:, : 3 * TILE + 4]]
    )


def _size(shape: tuple[int, ...], spacing: tuple[float, float, float], axis: int) -> tuple[int, int]:
    across, up = (shape[a] * spacing[a] for a in range(3) if a != axis)
    scale = TILE / max(across, up)
    return max(1, round(up * scale)), max(1, round(across * scale))


def distance_plane(phi: Array, rows: int, columns: int) -> Array:
    """A plane of a distance map in colours, with its zero line and grey lines every 5, in the middle of a square."""
    from PIL import Image

    values = np.asarray(Image.fromarray(phi.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR))
    share = np.clip(np.abs(values) / MARGIN_MM, 0, 1)[..., None]
    colour = np.where(values[..., None] < 0, np.array(INSIDE), np.array(OUTSIDE))
    # what is inside is thin: its colour is full at a fifth of the distance
    share = np.where(values[..., None] < 0, np.minimum(5 * share, 1), share)
    rgb = 255 + share * (colour - 255.0)
    rgb[_crossings(np.floor(values / LINES_MM))] *= 0.8
    rgb[_crossings(values <= 0)] = LINE
    tile = np.zeros((TILE, TILE, 3), np.uint8)
    top, left = (TILE - rows) // 2, (TILE - columns) // 2
    tile[top : top + rows, left : left + columns] = np.clip(rgb, 0, 255).astype(np.uint8)
    return tile


def _crossings(values: Array) -> Array:
    """Where a value differs from that of the pixel below or to the right."""
    found = np.zeros(values.shape, bool)
    found[:-1] |= values[:-1] != values[1:]
    found[:, :-1] |= values[:, :-1] != values[:, 1:]
    return found


def surfaces(implant: Array, spacing: tuple[float, float, float], middle: int) -> Array:
    """The implant and surfaces of equal distance about it, seen from the right, the front and above, cut open there.

    Args:
        implant: (X, Y, Z) boolean, with room about it.
        spacing: Voxel size in mm.
        middle: Sagittal plane at which the outer surfaces are cut open.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LightSource
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d.art3d import Poly3DCollection
    from skimage.measure import marching_cubes

    step = max(1, -(-max(implant.shape) // MOST))
    phi = signed_distances(implant, spacing)
    figure = Figure(figsize=((3 * TILE + 4) / 100, TILE / 100), dpi=100, facecolor="black")
    canvas = FigureCanvasAgg(figure)
    size = np.array(implant.shape) * np.array(spacing)
    light = LightSource(azdeg=225, altdeg=45)
    for k, level in enumerate(LEVELS_MM):
        axes: Any = figure.add_axes((k / 3, 0.0, 1 / 3, 0.92), projection="3d", facecolor="black")
        for other, colour in {0.0: "#f0e6d2", level: "#5aa0d8" if level else "#f0e6d2"}.items():
            shown = phi if other == 0 else phi[: middle + 2]
            if shown.min() < other < shown.max():
                points, faces, _, _ = marching_cubes(shown, other, spacing=spacing, step_size=step)
                mesh = Poly3DCollection(points[faces], facecolors=colour, shade=True, lightsource=light)
                axes.add_collection3d(mesh)
        axes.set(xlim=(0, size[0]), ylim=(0, size[1]), zlim=(0, size[2]))
        axes.set_box_aspect(tuple(size), zoom=1.7)  # an array would be scaled in place
        axes.view_init(elev=25, azim=30)  # from the cut side
        axes.set_axis_off()
        axes.set_title(f"{level:g} mm", color="white", fontsize=9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _padded(picture: Array, width: int) -> Array:
    missing = max(0, width - picture.shape[1])
    return np.pad(picture, ((0, 4), (0, missing), (0, 0)))


def distance_files(
    scans: Path, out: Path, names: Sequence[str] = (), units: str = "mm", say: Callable[[str], object] = print
) -> None:
    """Write `<scan>.png` of scans into a folder that appears whole: the distance maps of their implants.

    Args:
        scans: scans.tsv of a cohort.
        out: Folder to write.
        names: Scans; none: the first that has an implant.
        units: `mm` or `voxels`.
        say: Told what was made.

    Raises:
        VolforgeError: No such scan, or unknown units.
    """
    from PIL import Image

    from volforge.losses.values import UNITS
    from volforge.study.cases import Cohort
    from volforge.tasks.implant.features.files import chosen_scans
    from volforge.volume.folders import whole_folder

    if units not in UNITS:
        raise VolforgeError(f"unknown units '{units}'", "", f"use one of {', '.join(UNITS)}")
    cohort = Cohort(scans)
    chosen = chosen_scans(cohort, names)
    with whole_folder(out) as folder:
        for scan in chosen:
            picture = distance_picture(cohort.read(scan, "implant") > 0, cohort.grid(scan).spacing_mm, units)
            Image.fromarray(picture).save(folder / f"{scan}.png")
            say(str(out / f"{scan}.png"))
