"""A head and a trunk, drawn at any pixel size: HU, body, and what lies where."""

import numpy as np

FINE_MM = 1.0


def _ellipse(shape, centre, half):
    """Depth below an ellipse's edge, about mm; the grid is FINE_MM."""
    y, x = np.indices(shape) * FINE_MM + FINE_MM / 2
    y, x = y - shape[0] * FINE_MM / 2 - centre[0], x - shape[1] * FINE_MM / 2 - centre[1]
    return (1 - np.sqrt((y / half[0]) ** 2 + (x / half[1]) ** 2)) * min(half)


def _coarse(hu, outline, parts, pixel_mm, slices):
    """Means over blocks, as a scanner takes them; parts are those blocks that lie wholly in one."""
    n = round(pixel_mm / FINE_MM)
    h, w = (s // n for s in hu.shape)
    blocks = {k: v.reshape(h, n, w, n) for k, v in {"hu": hu, "outline": outline, **parts}.items()}
    mean = blocks.pop("hu").mean((1, 3), dtype=np.float32).astype(np.float32)
    body = blocks.pop("outline").mean((1, 3)) > 0.5
    small = {k: v.all((1, 3)) for k, v in blocks.items()}
    return np.stack([mean] * slices), np.stack([body] * slices), {k: np.stack([v] * slices) for k, v in small.items()}


def head(pixel_mm=2.0, slices=1):
    """Scalp of fat, a skull of two cortices with marrow between, brain, two sinuses of air and an eye beside the skull."""
    shape = (256, 192)
    scalp = _ellipse(shape, (0, 0), (100, 78))
    hu = np.full(shape, -1000.0)
    hu[scalp > 0] = -95
    hu[(scalp > 0) & (scalp < 3)] = 10
    hu[scalp > 8] = 1100
    hu[scalp > 11] = 250
    hu[scalp > 15] = 1100
    hu[scalp > 18] = 34
    sinus = _ellipse(shape, (-72, 20), (11, 14))
    hu[sinus > -3] = 1100
    hu[sinus > 0] = -1000
    parts = {
        "cortex": (scalp > 8) & (scalp < 11) & (sinus < -6),
        "fat": (scalp > 3) & (scalp < 8),
        "brain": (scalp > 18) & (sinus < -3),
        "air": sinus > 3,
        "left": (scalp > 24) & (sinus < -6) & (np.indices(shape)[1] < 94),
        "right": (scalp > 24) & (sinus < -6) & (np.indices(shape)[1] > 98),
    }
    return _coarse(hu, scalp > 0, parts, pixel_mm, slices)


def trunk(pixel_mm=4.0, slices=1):
    """Fat, muscle, two lungs with vessels, a vertebra, and a bubble of gas."""
    shape = (320, 384)
    skin = _ellipse(shape, (0, 0), (110, 140))
    hu = np.full(shape, -1000.0)
    hu[skin > 0] = -100
    hu[skin > 20] = 50
    lungs = np.maximum(_ellipse(shape, (-10, -65), (60, 40)), _ellipse(shape, (-10, 65), (60, 40)))
    y, x = np.indices(shape)
    vessels = ((y % 24) < 4) & ((x % 24) < 4)
    hu[lungs > 0] = np.where(vessels, 30, -850)[lungs > 0]
    vertebra = _ellipse(shape, (55, 0), (20, 24))
    hu[vertebra > 0] = 900
    hu[vertebra > 4] = 190
    gas = _ellipse(shape, (-60, 0), (14, 14))
    hu[gas > 0] = -990
    parts = {
        "fat": (skin > 4) & (skin < 16),
        "muscle": (skin > 24) & (lungs < -4) & (vertebra < -4) & (gas < -4),
        "lungs": lungs > 0,
        "tissue": (lungs > 0) & ~vessels,
        "cortex": (vertebra > 0) & (vertebra < 4),
        "marrow": vertebra > 9,
        "gas": gas > 3,
        "body": skin > 0,
    }
    return _coarse(hu, skin > 0, parts, pixel_mm, slices)
