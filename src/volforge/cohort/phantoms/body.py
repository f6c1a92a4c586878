"""Phantom trunks in CT and MR, with the domain gap of unpaired cohorts.

CT: arms up (out of view), a couch, and for subjects without MR more of the chest in view. MR: arms down, a bias
field, Rician noise, bone about as dark as air. A subject's CT and MR show the same anatomy on the same grid.
"""

from __future__ import annotations

import numpy as np

from volforge.cohort.phantoms.fields import (
    PhantomScan,
    Points,
    blur,
    capsule,
    ellipsoid,
    in_file_order,
    oblique_grid,
    smooth_noise,
    stream,
    world_points,
)
from volforge.volume.geometry import Array

SPACING_MM = 4.0
EXTENT_MM = (384.0, 288.0, 160.0)
STRUCTURES = {
    "skin": 1,
    "fat": 2,
    "muscle": 3,
    "lung": 4,
    "liver": 5,
    "bowel_gas": 6,
    "cortical_bone": 7,
    "marrow": 8,
    "vessels": 9,
}
HU = {1: 10, 2: -100, 3: 50, 4: -780, 5: 65, 6: -950, 7: 900, 8: 260, 9: 170}
SIGNAL = {1: 330, 2: 720, 3: 260, 4: 45, 5: 380, 6: 15, 7: 35, 8: 520, 9: 620}
FAT_SHARE = {1: 0.1, 2: 0.95, 3: 0.03, 4: 0.0, 5: 0.06, 6: 0.0, 7: 0.1, 8: 0.75, 9: 0.0}
DIXON = ("in_phase", "opposed_phase", "water", "fat")
TEXTURE_MM = 5.0


def signal_of(contrast: str) -> dict[int, float]:
    """Signal of every structure in an MR contrast: those of one Dixon echo pair, else that of a plain T1.

    With the share f of fat in a structure's signal s: in phase s, opposed s |1 - 2 f|, water s (1 - f), fat s f.
    """
    factor = {
        "opposed_phase": lambda f: abs(1 - 2 * f),
        "water": lambda f: 1 - f,
        "fat": lambda f: f,
    }.get(contrast, lambda f: 1.0)
    return {i: s * factor(FAT_SHARE[i]) for i, s in SIGNAL.items()}


def draw(
    seed: int, subject: str, modality: str, is_paired: bool, spacing_mm: float | None = None, contrast: str = ""
) -> PhantomScan:
    """Draw a trunk.

    Args:
        seed: Seed of the cohort.
        subject: Name; anatomy depends on it and the seed only, so that CT and MR agree.
        modality: `CT` or `MR`.
        is_paired: The subject has both; otherwise a CT shows more of the chest.
        spacing_mm: Isotropic voxel size; 4 where None.
        contrast: MR: one of `DIXON`, of one sitting: the same bias field and gain, noise of its own; else plain.

    Returns:
        image (int16; HU or signal), labels (uint8; every voxel of the body has one), of Dixon body_mask, truth.
    """
    rng = stream(seed, "body", subject)
    noise = stream(seed, "body", subject, modality)
    step = spacing_mm or SPACING_MM
    shape = tuple(round(e / step) for e in EXTENT_MM)
    rise = 40.0 if modality == "CT" and not is_paired else 0.0
    tilt = tuple(float(v) for v in rng.normal(0, 2.5, 3))
    grid = oblique_grid(shape, (step,) * 3, (0.0, 10.0, rise), tilt)  # type: ignore[arg-type]
    p = world_points(grid)
    size = float(np.clip(rng.normal(1, 0.06), 0.88, 1.12))
    p = tuple(x / np.float32(size) for x in p)  # type: ignore[assignment]
    labels = _trunk(p, rng, arms_down=modality == "MR")
    signal = HU if modality == "CT" else signal_of(contrast)
    values = np.array([0.0] + [float(signal[i]) for i in range(1, 10)], np.float32)
    image = values[labels]
    texture = smooth_noise(noise, grid.shape, grid.spacing_mm, TEXTURE_MM)
    body = labels > 0
    if modality == "CT":
        image[~body] = -1000.0
        strength = np.where(labels == STRUCTURES["lung"], np.float32(250), np.float32(60))
        strength[labels == STRUCTURES["bowel_gas"]] = 15
        image += np.where(body, strength * texture, 0)
        _couch(image, p, body)
        image = blur(image, 0.35 * step, grid.spacing_mm)
        image += noise.normal(0, 14, grid.shape)
        image = np.clip(np.rint(image), -1024, 3071)
    else:
        image *= np.where(body, 1 + 0.16 * texture, 0)
        image = blur(image, 0.35 * step, grid.spacing_mm)
        bias = smooth_noise(noise, grid.shape, grid.spacing_mm, 110.0)
        image *= 1 + 0.3 * bias / max(1e-6, float(np.abs(bias).max()))
        gain = float(noise.uniform(0.6, 1.8))
        coil = stream(seed, "body", subject, modality, contrast) if contrast in DIXON else noise
        real = image * gain + coil.normal(0, 11 * gain, grid.shape)
        image = np.sqrt(real**2 + coil.normal(0, 11 * gain, grid.shape) ** 2)  # Rician
        image = np.clip(np.rint(image), 0, 32767)
    volumes = {"image": image.astype(np.int16), "labels": labels}
    if contrast in DIXON:  # skin and fat are dark in some of them: one mask serves all
        volumes["body_mask"] = (labels > 0).astype(np.uint8)
    scan = PhantomScan(
        grid,
        volumes,
        {"size": size, "arms": "down" if modality == "MR" else "up", "field_of_view_rise_mm": rise},
    )
    return in_file_order(scan, str(noise.choice(["RAS", "LPS", "LPI"])))


def _trunk(p: Points, rng: np.random.Generator, *, arms_down: bool) -> Array:
    x, y, z = p
    labels = np.zeros(x.shape, dtype=np.uint8)

    def put(distance: Array, name: str, where: Array | None = None) -> None:
        inside = distance < 0
        labels[inside if where is None else inside & where] = STRUCTURES[name]

    half_width = 150 + 12 * np.tanh((z - 30) / 60) + 10 * np.exp(-(((z + 90) / 45) ** 2)) + rng.normal(0, 5)
    half_depth = 98 + 8 * np.tanh((z - 10) / 70) + rng.normal(0, 4)
    radius = np.sqrt((x / half_width) ** 2 + (y / half_depth) ** 2)
    outer = (radius - 1) * np.minimum(half_width, half_depth)
    fat = 12 + rng.uniform(0, 9) + 5 * np.clip(y / 98, -1, 1) - 4 * np.abs(x / 150)
    put(outer, "skin")
    put(outer + 4.5, "fat")
    wall = outer + 4.5 + fat
    put(wall, "muscle")
    cavity = wall + 14 + 10 * np.clip(-y / 90, 0, 1)
    put(cavity, "fat")
    dome = 30 + rng.normal(0, 5) - 0.0022 * (x**2) - 0.0016 * (y - 15) ** 2
    for side in (-1, 1):
        lung = ellipsoid(p, (side * 72.0, 8.0, 95.0), (57.0, 74.0, 105.0))
        put(np.maximum(np.maximum(lung, cavity + 2), dome - z), "lung")
    put(ellipsoid(p, (0.0, 22.0, 72.0), (44.0, 36.0, 45.0)), "muscle", labels != 0)  # heart
    liver = np.maximum(ellipsoid(p, (62.0, 12.0, 2.0), (72.0, 66.0, 56.0)), cavity + 2)
    put(np.maximum(liver, z - dome - 6), "liver")
    for n in range(7):
        c = (float(rng.uniform(-80, 80)), float(rng.uniform(10, 55)), float(rng.uniform(-85, -12)))
        semi = tuple(float(v) for v in rng.uniform(9, 24, 3))
        gut = np.maximum(ellipsoid(p, c, tuple(s + 6 for s in semi)), cavity + 3)  # type: ignore[arg-type]
        free = labels != STRUCTURES["liver"]
        put(gut, "muscle", free)
        if n < 5:
            put(np.maximum(ellipsoid(p, c, semi), c[2] * 0 + (c[1] - 4) - y), "bowel_gas", free & (gut < 0))  # type: ignore[arg-type]
    for side in (-1, 1):
        kidney = ellipsoid(p, (side * 58.0, -42.0, -30.0), (24.0, 22.0, 48.0))
        put(kidney, "vessels", labels != STRUCTURES["liver"])
    put(np.sqrt((x + 12) ** 2 + (y + 30) ** 2) - 11, "vessels", labels != 0)
    put(np.sqrt((x - 14) ** 2 + (y + 26) ** 2) - 10, "vessels", labels != 0)
    _skeleton(p, labels, wall, rng)
    if arms_down:
        for side in (-1, 1):
            a = (side * 188.0, -5.0 + float(rng.normal(0, 6)), 95.0)
            b = (side * 178.0, 18.0 + float(rng.normal(0, 8)), -130.0)
            for grow, name in (
                (0.0, "skin"),
                (4.5, "fat"),
                (11.0, "muscle"),
                (24.5, "cortical_bone"),
                (29.0, "marrow"),
            ):
                put(capsule(p, a, b, 38.0 - grow, 31.0 - grow), name, (outer > 3) | (labels == 0))
    return labels


def _skeleton(p: Points, labels: Array, wall: Array, rng: np.random.Generator) -> None:
    x, y, z = p

    def bone(distance: Array, cortex: float) -> None:
        distance = np.maximum(distance, wall + 1)  # no bone in fat or skin
        labels[distance < 0] = STRUCTURES["cortical_bone"]
        labels[distance < -cortex] = STRUCTURES["marrow"]

    period = 34.0
    phase = np.abs((z + float(rng.uniform(0, period))) % period - period / 2)
    spine = np.maximum(np.sqrt((x / 1.25) ** 2 + (y + 52) ** 2) - 20, phase - 13)
    bone(spine, 4.0)
    arch = np.maximum(np.abs(np.sqrt(x**2 + (y + 78) ** 2) - 13) - 4.5, phase - 12)
    bone(np.maximum(arch, y + 66), 9.0)
    bone(np.maximum(capsule(p, (0.0, -88.0, -400.0), (0.0, -88.0, 400.0), 5.0, 5.0), phase - 10), 9.0)
    # ribs: tubes in the chest wall, falling to the front
    slope = z + 0.35 * y
    along = np.abs((slope + float(rng.uniform(0, 28))) % 28 - 14)
    tube = np.sqrt((wall + 7) ** 2 + along**2) - 6.0
    chest = (z > 5) & (np.abs(x) > 18) & (labels != 0)
    bone(np.where(chest, tube, np.float32(99)), 4.0)
    for side in (-1, 1):
        wing = np.abs(ellipsoid(p, (side * 45.0, 0.0, -70.0), (72.0, 62.0, 75.0))) - 6.0
        wing = np.maximum(np.maximum(wing, z + 42), 28 - side * x)
        bone(np.where(labels != 0, np.maximum(wing, np.abs(y + 12) - 48), np.float32(99)), 4.0)


def _couch(image: Array, p: Points, body: Array) -> None:
    """A carbon shell with foam, lightly curved, below the back and not part of any label."""
    x, y, _ = p
    top = -116 + 0.0004 * x**2
    foam = (y < top) & (y > top - 44) & (np.abs(x) < 170)
    shell = foam & ((y > top - 5) | (y < top - 39))
    mattress = (y >= top) & (y < top + 9) & (np.abs(x) < 160)
    image[mattress & ~body] = -870
    image[foam & ~body] = -930
    image[shell & ~body] = -120
