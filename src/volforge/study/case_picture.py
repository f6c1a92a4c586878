"""A case opened to its slices: input, prediction, reference and error map side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from volforge.study.volumes import Volumes
from volforge.volume.boxes import bounding_box, holding
from volforge.volume.geometry import Array, flat_axis
from volforge.volume.intensity import AIR_HU
from volforge.volume.picture import GAP, RGB, contact_sheet, plane, render, spread

TILE = 170
WINDOW_HU = (-1000.0, 1000.0)
ERROR_HU = 300.0
PERCENT = (0.0, 100.0)  # window of MR
ERROR_PERCENT = 30.0
# seen apart by people with any colour vision (Okabe and Ito)
TOO_MUCH: RGB = (230, 159, 0)
TOO_LITTLE: RGB = (86, 180, 233)
MARGIN_MM = 8.0


def label_picture(volumes: Volumes, ids: list[int], colours: Mapping[int, RGB], rows: int = 3) -> Array:
    """A sheet with one row per axial slice: input, prediction, reference, error.

    In the error orange is where the prediction has too much, blue where it misses.

    Args:
        volumes: The case, with a prediction.
        ids: What is measured.
        colours: RGB by label id.
        rows: Number of slices, spread over what is measured.

    Returns:
        (rows, columns, 3) uint8.
    """
    assert volumes.prediction is not None
    focus = holding(volumes.reference, ids) | holding(volumes.prediction, ids)
    return _sheet(volumes, focus, rows, lambda flat, size: _label_row(flat, size, colours, ids))


def image_picture(volumes: Volumes, colours: Mapping[int, RGB] | None, *, is_hounsfield: bool, rows: int = 3) -> Array:
    """The same of an image: in the error orange is too bright, blue too dark, full colour at 300 HU, or 30 % of an MR
    scan's window.

    Args:
        volumes: The case, with a prediction.
        colours: RGB by label id where the source is a label map; None: it is an image.
        is_hounsfield: Values are HU, not percent.
        rows: Number of slices, spread over the body.

    Returns:
        (rows, columns, 3) uint8.
    """
    return _sheet(volumes, volumes.body, rows, lambda flat, size: _image_row(flat, size, colours, is_hounsfield))


def _sheet(
    volumes: Volumes,
    focus: Array,
    rows: int,
    tiles_of: Callable[[Mapping[str, Array | None], tuple[int, int]], list[Array]],
) -> Array:
    """One row of tiles for each of some axial slices of the focus; of a scan of one slice, that slice."""
    flat_one = flat_axis(volumes.reference.shape)
    axis = 2 if flat_one is None else flat_one
    first, second = (a for a in range(3) if a != axis)
    whole = focus if volumes.boundary is None else focus | volumes.boundary
    if not focus.any():
        focus = whole = np.ones(volumes.reference.shape, bool)
    margin = tuple(int(np.ceil(MARGIN_MM / s)) for s in volumes.spacing)
    box = bounding_box(whole, (margin[0], margin[1], margin[2]))
    wide = tuple(slice(None) if a == axis else s for a, s in enumerate(box))
    mm = [(s.stop - s.start) * d for s, d in zip(box, volumes.spacing, strict=True)]
    scale = TILE / max(mm[first], mm[second])
    size = (max(1, round(mm[second] * scale)), max(1, round(mm[first] * scale)))
    tight = bounding_box(focus)
    tiles = []
    for place in spread(tight[axis].start, tight[axis].stop - 1, rows):
        flat = {
            name: None if v is None else plane(v[wide], axis, place)
            for name, v in (
                ("source", volumes.source),
                ("prediction", volumes.prediction),
                ("reference", volumes.reference),
                ("boundary", volumes.boundary),
            )
        }
        tiles += tiles_of(flat, size)
    return contact_sheet(tiles, columns=4, gap=GAP)


def _image_row(
    flat: Mapping[str, Array | None], size: tuple[int, int], colours: Mapping[int, RGB] | None, is_hounsfield: bool
) -> list[Array]:
    source, prediction, reference = flat["source"], flat["prediction"], flat["reference"]
    assert source is not None
    assert prediction is not None
    assert reference is not None
    if colours is not None:
        shown = render(None, (0, 1), size, None, source.astype(np.int64), colours)
    else:
        shown = render(source, (float(source.min()), float(max(source.max(), source.min() + 1))), size)
    window, most, outside = (WINDOW_HU, ERROR_HU, AIR_HU) if is_hounsfield else (PERCENT, ERROR_PERCENT, 0)
    prediction = np.nan_to_num(prediction, nan=outside, posinf=outside, neginf=outside)  # a failed case is shown too
    difference = np.clip((prediction.astype(np.float32) - reference) / most, -1, 1)
    return [shown, render(prediction, window, size), render(reference, window, size), _signed(difference, size)]


def _label_row(
    flat: Mapping[str, Array | None], size: tuple[int, int], colours: Mapping[int, RGB], ids: list[int]
) -> list[Array]:
    prediction, reference = flat["prediction"], flat["reference"]
    assert prediction is not None
    assert reference is not None
    image, grey = flat["source"], WINDOW_HU
    if image is not None and float(image.min()) >= 0:
        grey = (0.0, float(max(image.max(), 1)))
    if flat["boundary"] is not None:  # implants: the skull itself is the picture
        image, grey = flat["boundary"].astype(np.float32), (0.0, 1.6)
    predicted, true = (np.where(holding(v, ids), v, 0).astype(np.int64) for v in (prediction, reference))
    wrong = np.where(predicted == true, 0, np.where(true == 0, 1, 2))
    return [
        render(image, grey, size),
        render(image, grey, size, None, predicted, colours, 0.6),
        render(image, grey, size, None, true, colours, 0.6),
        render(image, grey, size, None, wrong, {1: TOO_MUCH, 2: TOO_LITTLE}, 0.85),
    ]


def _signed(difference: Array, size: tuple[int, int]) -> Array:
    """Differences from -1 to 1 as blue, black, orange."""
    from PIL import Image

    resized = np.asarray(
        Image.fromarray(difference.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    )
    up, down = np.clip(resized, 0, 1)[..., None], np.clip(-resized, 0, 1)[..., None]
    return (up * np.array(TOO_MUCH) + down * np.array(TOO_LITTLE)).astype(np.uint8)
