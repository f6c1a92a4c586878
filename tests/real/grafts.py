"""Couch, holder and cloth of one scan put onto another whose body is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from volforge.volume.geometry import Array, Grid, reorientation_of
from volforge.volume.read import read_volume
from volforge.volume.resample import resample_to
from volforge.volume.source_volume import scaled

Spacing = tuple[float, float, float]


def canonical(path: Path) -> tuple[Array, Grid]:
    """A volume of an archive in RAS order."""
    volume = read_volume(path, labels=False)
    turn = reorientation_of(volume.grid.affine)
    return np.ascontiguousarray(turn.apply(scaled(volume))), turn.canonical(volume.grid)


def devices_of(image: Array, body: Array, spacing: Spacing, clear_mm: float = 4.0) -> Array:
    """What lies behind the body in a scan: all but the body with `clear_mm` around it, from its back on."""
    away = ndimage.distance_transform_edt(~body, sampling=spacing) > clear_mm
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    behind = np.zeros(image.shape, dtype=bool)
    behind[:, : rows[0] + int(0.25 * len(rows))] = True
    return np.where(away & behind, image, -1000).astype(np.int16)


def with_room_behind(image: Array, grid: Grid, body: Array, room_mm: float = 90.0) -> tuple[Array, Grid, Array]:
    """A scan with more air behind the body, so that a device fits in whole."""
    n = int(np.ceil(room_mm / grid.spacing_mm[1]))
    affine = grid.affine.copy()
    affine[:3, 3] -= n * affine[:3, 1]
    wide = [(0, 0), (n, 0), (0, 0)]
    shape = (image.shape[0], image.shape[1] + n, image.shape[2])
    return np.pad(image, wide, constant_values=-1000), Grid(shape, affine), np.pad(body, wide)


def put_behind(image: Array, grid: Grid, body: Array, device: Array, device_grid: Grid, gap_mm: float) -> Array:
    """Paste a device behind a body so that the two are `gap_mm` apart where they come nearest.

    The device is resampled to the target's voxels, centred from left to right, repeated along z where it is
    short, and moved along y; where both are, the denser holds.
    """
    spacing = grid.spacing_mm
    shape = tuple(round(n * d / s) for n, d, s in zip(device.shape, device_grid.spacing_mm, spacing, strict=True))
    start = Grid(device.shape, np.diag([*device_grid.spacing_mm, 1.0]))
    onto = Grid(shape, np.diag([*spacing, 1.0]))  # type: ignore[arg-type]
    part = resample_to(device, start, onto, nearest=False, outside=-1000)
    part = np.concatenate([part] * -(-image.shape[2] // part.shape[2]), axis=2)[:, :, : image.shape[2]]
    canvas = np.full(image.shape, -1000, dtype=np.int16)
    x0 = (image.shape[0] - part.shape[0]) // 2
    low, high = max(0, x0), min(image.shape[0], x0 + part.shape[0])
    rows = np.arange(image.shape[1])[None, :, None]
    hard = part[low - x0 : high - x0] > -700
    back = np.where(body.any(axis=1), body.argmax(axis=1), 10**6)[low:high]
    front = np.where(hard, np.arange(part.shape[1])[None, :, None], -(10**6)).max(axis=1)
    both = (back < 10**6) & (front >= 0)
    nearest = (back - front)[both].min() if both.any() else back.min() - front.max()
    move = int(nearest) - 1 - round(gap_mm / spacing[1])
    source = rows[0, :, 0] - move
    valid = (source >= 0) & (source < part.shape[1])
    canvas[low:high][:, valid] = part[low - x0 : high - x0][:, source[valid]]
    return np.where(body, image, np.maximum(image, canvas))


def put_cloth(image: Array, body: Array, spacing: Spacing, values: Array, gap_mm: float, seed: int = 0) -> Array:
    """A 2 mm cloth over the front half of a body, `gap_mm` off the skin, with voxel values of a real one."""
    distance = ndimage.distance_transform_edt(~body, sampling=spacing)
    layer = (distance > gap_mm) & (distance <= gap_mm + max(2.0, 1.01 * min(spacing)))
    middle = int(np.argwhere(body.any(axis=(0, 2))).mean())
    layer[:, :middle] = False
    drawn = np.random.default_rng(seed).choice(values, size=int(layer.sum()))
    out = image.copy()
    out[layer] = np.maximum(out[layer], drawn)
    return out


def agreement(a: Array, b: Array, spacing: Spacing) -> tuple[float, float]:
    """Dice, and the 95th percentile of the distances between the two surfaces in mm."""
    dice = 2 * float((a & b).sum()) / float(a.sum() + b.sum())
    shell_a, shell_b = a & ~ndimage.binary_erosion(a), b & ~ndimage.binary_erosion(b)
    to_b = ndimage.distance_transform_edt(~shell_b, sampling=spacing)[shell_a]
    to_a = ndimage.distance_transform_edt(~shell_a, sampling=spacing)[shell_b]
    return dice, float(max(np.percentile(to_a, 95), np.percentile(to_b, 95)))
