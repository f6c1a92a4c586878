"""The body mask of a CT against the same idea by SimpleITK or scipy: threshold, opening, largest piece, filled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.rows import Peer, Row, Scale
from benchmarks.volumes import trunk

SPACING = (1.0, 1.0, 2.0)
HU, OPENING_MM = -400, 3.0
LEAST_DICE = 0.99


def ours(image: np.ndarray) -> np.ndarray:
    from volforge.volume.body_mask import find_body

    return find_body(image, SPACING, True).mask


def by_simpleitk(image: np.ndarray) -> np.ndarray:
    import SimpleITK as sitk

    radius = [max(1, round(OPENING_MM / s)) for s in SPACING]
    tissue = sitk.GetImageFromArray(image.transpose(2, 1, 0)) > HU
    core = sitk.BinaryMorphologicalOpening(tissue, radius, sitk.sitkBall)
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(core), sortByObjectSize=True) == 1
    back = sitk.And(sitk.BinaryDilate(largest, radius, sitk.sitkBall), tissue)
    filled = sitk.BinaryFillhole(sitk.ConstantPad(back, [0, 0, 1], [0, 0, 1], 1))  # a lung at the last slice is inside
    return sitk.GetArrayFromImage(filled).transpose(2, 1, 0)[:, :, 1:-1] > 0


def by_scipy(image: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    reach = [max(1, round(OPENING_MM / s)) for s in SPACING]
    offsets = np.meshgrid(*[np.arange(-r, r + 1) / r for r in reach], indexing="ij")
    element = sum(o**2 for o in offsets) <= 1
    tissue = image > HU
    labels, _ = ndimage.label(ndimage.binary_erosion(tissue, element, border_value=1))
    largest = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    back = ndimage.binary_dilation(largest, element) & tissue
    padded = np.pad(back, ((0, 0), (0, 0), (1, 1)), constant_values=True)
    padded[..., 0] |= ~padded[..., 0]
    return ndimage.binary_fill_holes(padded)[:, :, 1:-1]


def alike(mine: Any, theirs: Any) -> str:
    dice = 2 * np.count_nonzero(mine & theirs) / (np.count_nonzero(mine) + np.count_nonzero(theirs))
    assert dice >= LEAST_DICE, f"Dice {dice:.4f}"
    return f"Dice {dice:.4f}"


def rows(scale: Scale) -> Iterator[Row]:
    shape = scale.of((320, 320, 100), (112, 112, 36))
    image = trunk(shape, couch=True)
    size = "x".join(map(str, shape))
    yield Row(
        f"CT of {size} on a couch",
        lambda: ours(image),
        (
            Peer("SimpleITK: threshold, opening, largest, filled", lambda: by_simpleitk(image), alike),
            Peer("scipy: the same", lambda: by_scipy(image), alike),
        ),
        turns=5,
    )
