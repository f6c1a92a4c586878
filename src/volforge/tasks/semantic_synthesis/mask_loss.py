"""The same label map painted without the mask loss and with it: what arms of a study paint outside of the body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from volforge.study.case_picture import PERCENT, TOO_MUCH, WINDOW_HU
from volforge.study.strips import Strip
from volforge.study.volumes import Volumes
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import Array
from volforge.volume.intensity import AIR_HU
from volforge.volume.picture import GAP, RGB, plane, render, spread

TITLE = "The mask loss: {without} without, {with_} with"
CAPTION = (
    "{scan}, axial slices, the body of the label map outlined; orange: what is over {least:g} {unit} brighter than air "
    "outside of it. The figure is the mean of that brightness over all voxels outside of the body."
)
WIDTH = 240  # pixels of a column
ROWS = 3
MARGIN_MM = 12.0
LEAST_HU, LEAST_PERCENT = 100.0, 5.0


def outside_error(image: Array, body: Array, air: float) -> float:
    """Mean of how much brighter than air an image is outside of the body; NaN where nothing lies outside.

    Args:
        image: (X, Y, Z); values that are not finite count as air.
        body: (X, Y, Z) bool.
        air: Value of air.
    """
    beyond = image[~body].astype(np.float64)
    if not beyond.size:
        return float("nan")
    return float(np.clip(np.nan_to_num(beyond, nan=air, posinf=air, neginf=air) - air, 0, None).mean())


def strips_of_pairs(
    pairs: Sequence[Sequence[str]],
    arm: str,
    scan: str,
    volumes: Volumes,
    colours: Mapping[int, RGB],
    hounsfield: bool,
) -> list[tuple[Strip, Array]]:
    """Columns of the pictures that an arm has a part in: label map, its image, real image.

    Args:
        pairs: Arms without the loss, and with it.
        arm: Which one it is.
        scan: What was painted.
        volumes: The case, with a prediction and a label map.
        colours: RGB by label id.
        hounsfield: Images are HU, else percent.
    """
    assert volumes.prediction is not None
    assert volumes.source is not None
    labels = volumes.source.astype(np.int64)
    body = (labels > 0) | (volumes.outline if volumes.outline is not None else False)
    air, least, window, unit = (
        (float(AIR_HU), LEAST_HU, WINDOW_HU, "HU") if hounsfield else (0.0, LEAST_PERCENT, PERCENT, "%")
    )
    image = np.nan_to_num(volumes.prediction.astype(np.float32), nan=air, posinf=air, neginf=air)
    light = (~body & (image > air + least)).astype(np.int64)
    margin = tuple(int(np.ceil(MARGIN_MM / s)) for s in volumes.spacing)
    box = bounding_box(body, (margin[0], margin[1], 0)) if body.any() else tuple(slice(0, n) for n in body.shape)
    mm = [(s.stop - s.start) * d for s, d in zip(box, volumes.spacing, strict=True)]
    size = (max(1, round(mm[1] * WIDTH / mm[0])), WIDTH)
    chosen = spread(0, box[2].stop - box[2].start - 1, ROWS)
    flat = [{n: plane(v[box], 2, z) for n, v in (("image", image), ("real", volumes.reference), ("labels", labels),
             ("body", body), ("light", light))} for z in chosen]  # fmt: skip
    error = outside_error(image, body, air)
    columns = {
        "first": [render(None, (0, 1), size, None, f["labels"], colours) for f in flat],
        "arm": [render(f["image"], window, size, f["body"], f["light"], {1: TOO_MUCH}, 0.7) for f in flat],
        "last": [render(f["real"], window, size, f["body"]) for f in flat],
    }
    words = {"first": "label map", "arm": f"{arm}: {error:.3g} {unit} outside", "last": "real image"}
    caption = CAPTION.format(scan=scan, least=least, unit=unit)
    found = []
    for k, (without, with_) in enumerate(pairs):
        if arm in (without, with_):
            title = TITLE.format(without=without, with_=with_)
            found += [
                (Strip(f"mask_{k}_{place}.png", place, words[place], title, caption), _stacked(tiles))  # type: ignore[arg-type]
                for place, tiles in columns.items()
            ]
    return found


def _stacked(tiles: list[Array]) -> Array:
    gap = np.zeros((GAP, WIDTH, 3), np.uint8)
    return np.concatenate([part for tile in tiles for part in (gap, tile)][1:])
