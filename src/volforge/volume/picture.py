"""Pictures of volumes for people: grey slices with coloured outlines and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array
from volforge.volume.intensity import values_in
from volforge.volume.morphology import face

RGB = tuple[int, int, int]
GAP = 2
MARGIN_MM = 12.0
MAX_HEIGHT = 260
BODY_COLOUR: RGB = (255, 176, 0)  # orange: seen on grey by people with any colour vision


def grey_range(image: Array, modality: str, body: Array | None = None) -> tuple[float, float]:
    """The values shown as black and white: a soft-tissue and bone window for CT, else percentiles."""
    if modality == "CT":
        return -1000.0, 1000.0
    if modality == "mask":
        return 0.0, float(max(1, image.max(initial=1)))
    values = values_in(image, body) if body is not None and body.any() else image.ravel(order="K")
    low, high = np.percentile(values[:: max(1, values.size // 200_000)], [0.5, 99.5])
    return float(min(low, 0)), float(high if high > low else low + 1)


def plane(volume: Array, axis: int, index: int) -> Array:
    """A slice as people look at it: superior or anterior up; on the left the patient's right, or the front."""
    return face(volume, axis, index).T[::-1, ::-1]


def render(
    image: Array | None,
    grey: tuple[float, float],
    size: tuple[int, int],
    body: Array | None = None,
    labels: Array | None = None,
    colours: Mapping[int, RGB] | None = None,
    opacity: float = 0.45,
) -> Array:
    """One plane as RGB (rows, columns, 3) uint8 of the given size: grey, labels tinted, body outlined."""
    from PIL import Image

    rows, columns = size
    shape = next(a.shape for a in (image, labels, body) if a is not None)
    if image is None:
        picture = np.full((rows, columns), 24, np.uint8)
    else:
        low, high = grey
        levels = np.clip((image.astype(np.float32) - low) / (high - low), 0, 1) * 255
        picture = np.asarray(
            Image.fromarray(levels.astype(np.uint8)).resize((columns, rows), Image.Resampling.BILINEAR)
        )
    rgb = np.repeat(picture[:, :, None], 3, axis=2)
    row = np.minimum((np.arange(rows) + 0.5) * shape[0] / rows, shape[0] - 1).astype(int)
    column = np.minimum((np.arange(columns) + 0.5) * shape[1] / columns, shape[1] - 1).astype(int)
    if labels is not None and labels.any():
        near = labels[np.ix_(row, column)]
        opacity = opacity if image is not None else 0.9
        tints = np.tile(np.array((90, 160, 255), dtype=np.float32), (int(near.max()) + 1, 1))
        for value, colour in (colours or {}).items():
            if value < len(tints):
                tints[value] = colour
        here = near > 0
        rgb[here] = ((1 - opacity) * rgb[here] + opacity * tints[near[here]]).astype(np.uint8)
    if body is not None and body.any() and not body.all():
        rgb[outline(body[np.ix_(row, column)])] = BODY_COLOUR
    return rgb


def outline(mask: Array) -> Array:
    """The voxels of a 2-D mask that touch its outside (4-neighbourhood)."""
    padded = np.pad(mask, 1, mode="edge")
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~core


def spread(low: int, high: int, count: int) -> list[int]:
    """`count` indices spread evenly over [low, high], both ends a little inside."""
    if high <= low:
        return [low] * min(count, 1)
    return sorted({round(low + (high - low) * (i + 0.5) / count) for i in range(count)})


def contact_sheet(tiles: Sequence[Array], columns: int, gap: int = 2) -> Array:
    """Tiles of one size in rows, on black."""
    rows, width = tiles[0].shape[:2]
    count = -(-len(tiles) // columns)
    sheet = np.zeros((count * (rows + gap) - gap, columns * (width + gap) - gap, 3), np.uint8)
    for n, tile in enumerate(tiles):
        y, x = (n // columns) * (rows + gap), (n % columns) * (width + gap)
        sheet[y : y + rows, x : x + width] = tile
    return sheet


def volume_picture(
    image: Array | None,
    spacing: tuple[float, float, float],
    modality: str,
    body: Array | None = None,
    labels: Array | None = None,
    colours: Mapping[int, RGB] | None = None,
    focus: Array | None = None,
    width: int = 900,
    counts: tuple[int, int, int] = (5, 5, 7),
) -> Array:
    """A contact sheet of a canonical volume: a row each of sagittal, coronal and axial planes.

    Planes are spread over the body (or the labels) and cropped to it with a margin.

    Args:
        image: (X, Y, Z) in RAS order, or None for label maps alone.
        spacing: Voxel size in mm; planes are shown with their true proportions.
        modality: Chooses the grey window.
        body, labels: On the same grid.
        colours: RGB by label id.
        focus: What the planes are spread over and cropped to; the body, else the labels, where None.
        width: Width of the sheet in pixels.
        counts: Planes per axis (sagittal, coronal, axial).

    Returns:
        (rows, columns, 3) uint8.
    """
    reference = next(a for a in (image, labels, body) if a is not None)
    grey = grey_range(reference, modality, body) if image is not None else (0.0, 1.0)
    if focus is None:
        focus = next((v > 0 for v in (body, labels) if v is not None and v.any()), reference > grey[0])
    opacity = 0.85 if modality == "mask" else 0.45
    margin = tuple(int(np.ceil(MARGIN_MM / s)) for s in spacing)
    tight = bounding_box(focus)
    box = bounding_box(focus, (margin[0], margin[1], margin[2]))
    rows = []
    for axis in (0, 1, 2):
        across, up = (a for a in range(3) if a != axis)
        mm = [(s.stop - s.start) * d for s, d in zip(box, spacing, strict=True)]
        indices = spread(tight[axis].start, tight[axis].stop - 1, counts[axis])
        room = (width - GAP * (counts[axis] - 1)) / counts[axis]
        scale = min(room / mm[across], MAX_HEIGHT / mm[up])
        size = (max(1, round(mm[up] * scale)), max(1, int(mm[across] * scale)))
        view = tuple(slice(None) if a == axis else box[a] for a in range(3))
        tiles = []
        for index in indices:
            planes = [None if v is None else plane(v[view], axis, index) for v in (image, body, labels)]
            tiles.append(render(planes[0], grey, size, planes[1], planes[2], colours, opacity))
        rows.append(contact_sheet(tiles, columns=len(tiles), gap=GAP))
    sheet = np.zeros((sum(r.shape[0] + GAP for r in rows) - GAP, max(r.shape[1] for r in rows), 3), np.uint8)
    top = 0
    for row in rows:
        sheet[top : top + row.shape[0], : row.shape[1]] = row
        top += row.shape[0] + GAP
    return sheet


def hex_to_rgb(colour: str) -> RGB:
    """`#rrggbb` as three bytes."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
