"""Drawn greys of the tissues, and the picture that they give without a scanner's faults."""

from __future__ import annotations

import numpy as np

from volforge.tasks.translation.painting.fields import Frame, smooth_field, step_up
from volforge.tasks.translation.painting.regions import Regions
from volforge.volume.geometry import Array

RANDOM = {
    "fat": (0.1, 1.0),
    "marrow": (0.1, 1.0),
    "white": (0.15, 1.0),
    "grey": (0.15, 1.0),
    "csf": (0.05, 1.0),
    "muscle": (0.15, 0.9),
    "cortex": (0.0, 0.15),
    "vessel": (0.05, 1.0),
    "organ": (0.15, 1.0),
    "lung": (0.0, 0.2),
}
T1 = {
    "fat": (0.6, 1.0),
    "marrow": (0.35, 0.85),
    "white": (0.5, 0.85),
    "grey": (0.35, 0.6),
    "csf": (0.05, 0.25),
    "muscle": (0.25, 0.5),
    "cortex": (0.0, 0.12),
    "vessel": (0.1, 1.0),
    "organ": (0.25, 0.7),
    "lung": (0.0, 0.12),
}
AIR = 0.02
DARK_FLUID = (0.02, 0.25)
TRUNK_MM2 = 15000.0


def draw_greys(prior: str, rng: np.random.Generator) -> dict[str, float]:
    """One grey of each tissue, 0 to 1; half of all fluid is dark, the rest is as bright as it may be."""
    ranges = T1 if prior == "t1" else RANDOM
    greys = {name: float(rng.uniform(*limits)) for name, limits in ranges.items()}
    greys["second_organ"] = float(rng.uniform(*ranges["organ"]))
    is_dark = rng.random() < 0.5
    bright = float(rng.uniform(*ranges["csf"]))
    greys["fluid"] = float(rng.uniform(*DARK_FLUID)) if is_dark else bright
    return greys


def clean_picture(
    hu: Array,
    regions: Regions,
    fluid: Array,
    greys: dict[str, float],
    frame: Frame,
    rng: np.random.Generator,
    labels: Array | None,
    again: np.random.Generator | None = None,
) -> Array:
    """The tissues in their greys.

    Args:
        hu: (K, H, W).
        regions: Its tissues.
        fluid: (K, H, W) weight of the fluid that is painted into soft tissue.
        greys: Of `draw_greys`.
        frame: The grid.
        rng: Parcels and textures.
        labels: (K, H, W) of a label map or None. Each id has a grey of its own where the CT has neither cortical bone
            nor air; 0 is no label.
        again: Of a further contrast of the same anatomy: draws the greys that are drawn here, of labels and of soft
            tissue by its HU. Shapes come from `rng`.

    Returns:
        (K, H, W) float32, about 0 to 1.
    """
    brain_rng, soft_rng, texture_rng, label_rng = (np.random.default_rng(s) for s in rng.integers(2**63, size=4))
    picture = _soft(hu, regions, greys, frame, soft_rng, again)
    if regions.inside.any():
        picture = np.where(regions.inside, _brain(regions, greys, frame, brain_rng), picture)
    picture += fluid * (greys["fluid"] - picture)
    texture = 1 + np.float32(texture_rng.uniform(0, 0.25)) * smooth_field(frame, texture_rng.uniform(3, 8), texture_rng)
    if labels is not None and labels.any():
        table = label_rng.uniform(0.08, 1, int(labels.max()) + 1).astype(np.float32)
        if again is not None:
            table = again.uniform(0.08, 1, len(table)).astype(np.float32)
        amount = np.float32(label_rng.uniform(0, 0.5))
        picture = np.where(labels > 0, table[labels] * (1 + amount * (texture - 1)), picture)
    is_free = labels == 0 if labels is not None else True
    picture += regions.bone * (greys["cortex"] - picture)
    picture += regions.marrow * is_free * (greys["marrow"] * texture - picture)
    picture *= np.clip((hu + 1000) / 900, 0, 1)  # a voxel with air in it has less signal
    if regions.lung.any():
        density = np.clip((hu + 750) / 800, 0, 1)
        lung = greys["lung"] * texture + density * (greys["vessel"] - greys["lung"])
        picture = np.where(regions.lung, lung, picture)
    return np.where(regions.air, np.float32(AIR), picture).astype(np.float32)


def _soft(
    hu: Array,
    regions: Regions,
    greys: dict[str, float],
    frame: Frame,
    rng: np.random.Generator,
    again: np.random.Generator | None,
) -> Array:
    """Muscle, organs, fat and vessels with contrast medium.

    Soft tissues differ in HU by little; a drawn curve of that little, and in trunks large parcels, part them in grey.
    """
    knots = np.array([0, 25, 45, 60, 80, 120], np.float32)
    factors = np.exp(rng.normal(0, 0.3, len(knots))).astype(np.float32)
    if again is not None:
        factors = np.exp(again.normal(0, 0.3, len(knots))).astype(np.float32)
    soft = greys["muscle"] * np.interp(regions.smooth_hu, knots, factors).astype(np.float32)
    soft *= 1 + np.float32(rng.uniform(0.05, 0.25)) * smooth_field(frame, rng.uniform(6, 14), rng)
    if regions.soft.sum() / len(hu) * frame.pixel_mm**2 > TRUNK_MM2:
        parcels = smooth_field(frame, rng.uniform(25, 50), rng)
        edge = rng.uniform(0.05, 0.3)
        soft += step_up(parcels - np.float32(rng.uniform(0.3, 1.2)), edge) * (greys["organ"] - soft)
        soft += step_up(-parcels - np.float32(rng.uniform(0.3, 1.2)), edge) * (greys["second_organ"] - soft)
    soft += regions.fat * (greys["fat"] - soft)
    vessel = np.clip((hu - 100) / 40, 0, 1) * ~regions.inside
    return soft + vessel * (greys["vessel"] - soft)


def _brain(regions: Regions, greys: dict[str, float], frame: Frame, rng: np.random.Generator) -> Array:
    """Three soft parcels: fluid lies rather at the skull and where the CT is low, white matter rather deep."""
    parcels = smooth_field(frame, rng.uniform(6, 11), rng) + np.float32(0.6) * smooth_field(
        frame, rng.uniform(3.5, 6), rng
    )
    rim = np.exp(-regions.depth_mm / np.float32(rng.uniform(2, 6)))
    parcels += np.float32(rng.uniform(1, 5)) * (np.float32(0.15) - np.float32(0.5) * rim)
    parcels -= np.float32(rng.uniform(0, 2.5)) * np.clip((22 - regions.smooth_hu) / 8, 0, 1.5)
    csf = step_up(-parcels - np.float32(rng.uniform(0.4, 1.5)), 1 / 6)
    furrow = np.abs(smooth_field(frame, rng.uniform(6, 10), rng)) - np.float32(rng.uniform(0, 0.15))
    csf = np.maximum(csf, step_up(-furrow, 0.03) * rim ** np.float32(0.25))
    white = step_up(parcels - np.float32(rng.uniform(0.1, 0.5)), 1 / 6) * (1 - csf)
    grey = np.clip(1 - csf - white, 0, 1)
    return csf * greys["csf"] + white * greys["white"] + grey * greys["grey"]
