"""Arms beside the trunk of a CT: CT scans have them raised, MR scans do not.

This changes the target, before it is painted: a sample then shows arms in both.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from volforge.tasks.translation.painting.fields import Frame, smooth_field
from volforge.tasks.translation.painting.options import Painting
from volforge.tasks.translation.painting.shapes import Pieces
from volforge.volume.geometry import Array

TRUNK_MM2 = 38000.0
LIMB_MM2 = 1500.0
SKIN_HU, FAT_HU, MUSCLE_HU, MARROW_HU = 10, -100, 55, 60
TEXTURE_HU = 12


def with_arms(
    hu: Array, body: Array, rng: np.random.Generator, *, options: Painting, pixel_mm: float, between_mm: float
) -> tuple[Array, Array]:
    """A slab of axial slices with one or two arms beside its trunk, in a share of the trunks that have none.

    Args:
        hu: (K, H, W) HU; not changed.
        body: (K, H, W) bool; not changed.
        rng: Decides what is drawn.
        options: `arms` is the share, `trunk` the condition.
        pixel_mm: Side of a pixel.
        between_mm: Distance of neighbouring slices.

    Returns:
        HU with air outside of the body, and the body with the arms. Heads, legs, and trunks with arms come back as
        they are.
    """
    frame, body = Frame(hu.shape, pixel_mm, between_mm), body > 0
    draw = np.random.default_rng(rng.integers(2**63))
    if draw.random() >= options.arms or not options.trunk or not _is_bare_trunk(body, frame):
        return hu, body
    hu, body = np.where(body, hu, np.float32(-1000)).astype(np.float32), body.copy()
    columns = np.flatnonzero(body.any((0, 1)))
    rows = np.flatnonzero(body.any((0, 2)))
    for side in _sides(draw):
        edge = columns[0] if side < 0 else columns[-1]
        half = draw.uniform(26, 38), draw.uniform(32, 50)
        x = (edge - (hu.shape[2] - 1) / 2) * pixel_mm + side * (half[0] + draw.uniform(1, 20))
        middle, reach = (rows[0] + rows[-1]) / 2, (rows[-1] - rows[0]) / 2
        y = (middle - (hu.shape[1] - 1) / 2 + draw.uniform(-0.4, 0.5) * reach) * pixel_mm
        _add_arm(hu, body, frame, (x, y), half, draw)
    return hu, body


def _sides(rng: np.random.Generator) -> tuple[int, ...]:
    chance = rng.random()
    if chance < 0.8:
        return (-1, 1)
    return (-1,) if chance < 0.9 else (1,)


def _is_bare_trunk(body: Array, frame: Frame) -> bool:
    pieces = Pieces(body, frame)
    large = pieces.area_mm2 > LIMB_MM2
    return int(large.sum()) == 1 and float(pieces.area_mm2.max()) > TRUNK_MM2


def _add_arm(
    hu: Array,
    body: Array,
    frame: Frame,
    centre: tuple[float, float],
    half: tuple[float, float],
    rng: np.random.Generator,
) -> None:
    """Skin, fat, muscle, cortex and marrow of an arm that leans a little, where the body is not."""
    z, y, x = frame.places_mm()
    lean = rng.uniform(-0.15, 0.15, 2)
    dx, dy = x - centre[0] - lean[0] * z, y - centre[1] - lean[1] * z
    fat = rng.uniform(3, 12)
    waves = 2 * smooth_field(frame, 20.0, rng)
    depth = (1 - np.sqrt((dx / half[0]) ** 2 + (dy / half[1]) ** 2)) * min(half) + waves * 0.5
    arm = np.full(hu.shape, -1000, np.float32)
    arm[depth > 0] = SKIN_HU
    arm[depth > 2] = FAT_HU
    arm[depth > 2 + fat + waves] = MUSCLE_HU
    bones = 1 if rng.random() < 0.5 else 2  # upper arm, forearm
    for place in (0,) if bones == 1 else (-13, 13):
        radius = rng.uniform(9, 12) if bones == 1 else rng.uniform(6, 8)
        bone = radius - np.sqrt((dx - rng.uniform(-3, 3)) ** 2 + (dy - place) ** 2)
        arm[bone > 0] = rng.uniform(800, 1300)
        arm[bone > rng.uniform(2.5, 4)] = MARROW_HU
    sigma = 0.6 / frame.pixel_mm * 1.5
    arm = ndimage.gaussian_filter(arm, (0, sigma, sigma)) + TEXTURE_HU * smooth_field(frame, 2.5, rng)
    is_arm = (depth > 0) & ~body
    hu[is_arm] = arm[is_arm]
    body |= is_arm
