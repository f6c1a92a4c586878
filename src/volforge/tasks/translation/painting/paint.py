"""An MR of random contrast, painted from a CT: a network can learn to undo it without any pair.

The CT is the target and stays as it is. After the domain randomisation of Billot et al. (SynthSeg, Medical Image
Analysis 2023), with HU in place of a label map. No MR is read.
"""

from __future__ import annotations

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.translation.painting.fields import Frame, smooth_field, step_up
from volforge.tasks.translation.painting.fluid import fluid_weight
from volforge.tasks.translation.painting.greys import clean_picture, draw_greys
from volforge.tasks.translation.painting.options import Painting
from volforge.tasks.translation.painting.regions import Regions, find_regions
from volforge.tasks.translation.painting.scanner import outline_of, scanned, windowed
from volforge.volume.geometry import Array

SLICES = 3


def paint(
    hu: Array,
    body: Array,
    rng: np.random.Generator,
    *,
    options: Painting,
    pixel_mm: float,
    between_mm: float,
    labels: Array | None = None,
    contrasts: int = 1,
) -> Array:
    """Paint an MR of a slab of CT slices, in one contrast or in several of one sitting.

    Args:
        hu: (K, H, W) HU of K neighbouring slices; not changed.
        body: (K, H, W) bool; a couch lies outside of it.
        rng: All that is drawn comes from one integer drawn from it: the same state gives the same bytes.
        options: What is drawn.
        pixel_mm: Side of a pixel.
        between_mm: Distance of neighbouring slices.
        labels: (K, H, W) ids of a label map, 0 for none: each id gets a grey of its own, whatever the prior.
        contrasts: Pictures of the same anatomy: fluid, parcels, lesion and outline lie in the same places, greys and
            what a scanner does differ.

    Returns:
        (contrasts * K, H, W) float32 from -1 to 1, contrast by contrast, -1 outside of the body's outline. The outline
        is at times `options.outline_mm` off.

    Raises:
        VolforgeError: Shapes that differ, or lengths that are not above 0.
    """
    _check(hu, body, labels, pixel_mm, between_mm)
    frame = Frame(hu.shape, pixel_mm, between_mm)
    seeds = [int(s) for s in np.random.default_rng(rng.integers(2**63)).integers(2**63, size=5)]
    tissue, fluid, machine = (np.random.default_rng(seeds[k]) for k in (0, 1, 4))
    body = body > 0
    hu = np.where(body, hu, np.float32(-1000)).astype(np.float32)
    full_bone, air_hu = tissue.uniform(500, 900), tissue.uniform(-500, -200)
    grain_mm = max(0.0, tissue.uniform(-3, 3))
    greys = draw_greys(options.prior, tissue)
    regions = find_regions(hu, body, frame, full_bone=full_bone, air_hu=air_hu, grain_mm=grain_mm, trunk=options.trunk)
    weight = np.zeros(hu.shape, np.float32)
    if options.fluid:
        weight = fluid_weight(regions, frame, fluid, trunk=options.trunk)
    painted: list[Array] = []
    outline = body
    for number in range(contrasts):
        again = np.random.default_rng([seeds[0], number]) if number else None  # of what differs between contrasts
        if again is not None:
            greys, machine = draw_greys(options.prior, again), again
        lesion, texture = (np.random.default_rng(seeds[k]) for k in (2, 3))  # the same shapes for each
        picture = clean_picture(hu, regions, weight, greys, frame, texture, labels, again)
        picture = scanned(_with_lesion(picture, regions, options, frame, lesion, again), options, frame, machine)
        if not number:
            outline = outline_of(body, options, frame, machine)
        painted.append(windowed(picture, outline, options, machine))
    return np.concatenate(painted)


def _with_lesion(
    picture: Array,
    regions: Regions,
    options: Painting,
    frame: Frame,
    rng: np.random.Generator,
    again: np.random.Generator | None,
) -> Array:
    """At times a piece of brain or of soft tissue that is bright or dark; `again` draws a further contrast's grey."""
    if rng.random() >= options.lesions:
        return picture
    where = regions.inside if regions.inside.any() else regions.soft
    grey = np.float32(rng.uniform(0.05, 1.2))
    if again is not None:
        grey = np.float32(again.uniform(0.05, 1.2))
    weight = step_up(smooth_field(frame, 22.0, rng) - np.float32(1.3), 1 / 6) * where
    return picture + weight * (grey - picture)


def _check(hu: Array, body: Array, labels: Array | None, pixel_mm: float, between_mm: float) -> None:
    shapes = {"hu": hu.shape, "body": body.shape} | ({} if labels is None else {"labels": labels.shape})
    if hu.ndim != SLICES or len(set(shapes.values())) > 1:
        raise VolforgeError(
            "arrays to paint from are not all (slices, rows, columns) of one shape",
            ", ".join(f"{k} {v}" for k, v in shapes.items()),
            "cut them by one recipe",
        )
    if min(pixel_mm, between_mm) <= 0:
        raise VolforgeError(
            "lengths to paint with are not above 0", f"pixel {pixel_mm} mm, slices {between_mm} mm", "give them in mm"
        )
