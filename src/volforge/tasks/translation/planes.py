"""A case in one coronal and three axial planes, as the original's figure shows it: MR, synthetic CT, true CT."""

from __future__ import annotations

import numpy as np

from volforge.study.predictions import Prediction
from volforge.study.strips import Strip
from volforge.study.volumes import Volumes
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array, flat_axis
from volforge.volume.intensity import AIR_HU
from volforge.volume.picture import GAP, grey_range, plane, render

WIDTH = 150  # pixels of a column
MARGIN_MM = 12.0
SHARES = (0.75, 0.5, 0.25)  # of the body's height, the uppermost first
TITLE = "The source, all arms and the true image"
MODALITY = {0: "sagittal", 1: "coronal", 2: "axial"}


def planes_of(focus: Array) -> list[tuple[int, int]]:
    """Axis and index of the planes: coronal through the middle, three axial ones; of a scan of one slice that slice.

    Args:
        focus: (X, Y, Z) body.
    """
    flat = flat_axis(focus.shape)
    if flat is not None:
        return [(flat, 0)]
    box = bounding_box(focus)
    coronal = int(np.rint(np.flatnonzero(focus.any(axis=(0, 2))).mean())) if focus.any() else focus.shape[1] // 2
    low, high = box[2].start, box[2].stop - 1
    return [(1, coronal), *((2, round(low + s * (high - low))) for s in SHARES)]


def strips(volumes: Volumes, prediction: Prediction, *, hounsfield: bool = True) -> list[tuple[Strip, Array]]:
    """The columns of a case: source, prediction and truth on the reference's grid, each with the same planes.

    Args:
        volumes: The case, with a prediction.
        prediction: Which one it is.
        hounsfield: Images are HU, shown from -1000 to 1000; else percent.
    """
    assert volumes.source is not None
    assert volumes.prediction is not None
    focus = volumes.body if volumes.outline is None else volumes.body | volumes.outline
    margin = tuple(
        int(np.ceil(MARGIN_MM / s)) if n > 1 else 0 for n, s in zip(focus.shape, volumes.spacing, strict=True)
    )
    box = bounding_box(focus, (margin[0], margin[1], margin[2]))
    planes = planes_of(focus)
    grey = grey_range(volumes.reference, "CT") if hounsfield else (0.0, 100.0)
    outside = AIR_HU if hounsfield else 0
    made = np.nan_to_num(volumes.prediction, nan=outside, posinf=outside, neginf=outside)
    columns = (
        ("source", "first", "source", volumes.source, grey_range(volumes.source, "MR", focus)),
        ("prediction", "arm", "", made, grey),
        ("reference", "last", "true image", volumes.reference, grey),
    )
    words = [f"{MODALITY[a]} {i}" for a, i in planes]
    caption = f"{prediction.scan}, from above: {', '.join(words)} (slices of {prediction.reference})."
    found = []
    for name, place, label, image, window in columns:
        tiles = [_tile(image, axis, index, box, volumes.spacing, window) for axis, index in planes]
        found.append((Strip(f"{name}.png", place, label, TITLE, caption), _stacked(tiles)))  # type: ignore[arg-type]
    return found


def _tile(
    image: Array,
    axis: int,
    index: int,
    box: tuple[slice, slice, slice],
    spacing: tuple[float, float, float],
    window: tuple[float, float],
) -> Array:
    across, up = (a for a in range(3) if a != axis)
    mm = [(s.stop - s.start) * d for s, d in zip(box, spacing, strict=True)]
    size = (max(1, round(mm[up] * WIDTH / mm[across])), WIDTH)
    view = tuple(slice(None) if a == axis else box[a] for a in range(3))
    return render(plane(image[view], axis, index), window, size)


def _stacked(tiles: list[Array]) -> Array:
    gap = np.zeros((GAP, WIDTH, 3), np.uint8)
    rows = [part for tile in tiles for part in (gap, tile)]
    return np.concatenate(rows[1:], axis=0)
