"""Small masks and label maps that the tests of measures share."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from volforge.cohort.phantoms import body, tmj
from volforge.volume.geometry import Array

SPACINGS = [(1.0, 1.0, 1.0), (0.5, 0.7, 2.5), (3.0, 1.0, 1.0), (0.977, 0.977, 2.5), (0.1, 1 / 3, 0.3)]
LABELS = {"a": 1, "b": 2, "c": 3}


def box(shape: tuple[int, int, int], start: tuple[int, int, int], size: tuple[int, int, int]) -> Array:
    """A filled box."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))] = True
    return mask


def blobs(seed: int, shape: tuple[int, int, int] = (22, 17, 13), share: float = 0.3) -> Array:
    """Smooth random islands that fill a share of the volume and touch its faces."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.6)
    return noise > np.quantile(noise, 1 - share)


def label_pair(seed: int, shape: tuple[int, int, int] = (22, 17, 13)) -> tuple[Array, Array]:
    """Two label maps of `LABELS` that disagree as two observers do."""
    rng = np.random.default_rng(seed)
    common = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    own = (ndimage.gaussian_filter(rng.standard_normal(shape), 1.5) for _ in range(2))
    maps = [common / common.std() + 0.4 * n / n.std() for n in own]
    a, b = (np.digitize(m, [0.2, 0.8, 1.4]).astype(np.uint8) for m in maps)
    return a, b


def phantom_pair(name: str) -> tuple[Array, Array, tuple[float, float, float], dict[str, int]]:
    """Labels of a phantom, and the same moved by a voxel with a tenth of its border worn off."""
    scan = body.draw(1, "s", "CT", True, 6.0) if name == "body" else tmj.draw(1, "s", "contact")
    reference = scan.volumes["labels"]
    moved = np.roll(reference, (1, 0, 1), (0, 1, 2))
    edge = ndimage.grey_dilation(moved, size=3) != ndimage.grey_erosion(moved, size=3)
    worn = edge & (np.random.default_rng(0).random(moved.shape) < 0.1)
    return np.where(worn, 0, moved).astype(np.uint8), reference, scan.grid.spacing_mm, _structures(name)


def _structures(name: str) -> dict[str, int]:
    return dict(body.STRUCTURES if name == "body" else tmj.STRUCTURES)
