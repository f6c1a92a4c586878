"""Lines through a synthetic and the true CT: attenuation of PET's lines, and water-equivalent paths to the middle."""

from __future__ import annotations

import numpy as np

from volforge.metrics.measure import Measure, nothing
from volforge.tasks.translation.attenuation import DEFAULT_KVP, WATER_PER_CM, linear_attenuation, stopping_power
from volforge.volume.geometry import Array, flat_axis
from volforge.volume.intensity import AIR_HU
from volforge.volume.morphology import Spacing

ANGLES = 36  # of rays from the middle; 18 lines through it
STEP = 0.5  # of the smaller pixel
NAMES = (
    "attenuation_error_percent", "attenuation_error_abs_percent", "water_path_error_mm", "water_path_error_abs_mm",
    "water_path_error_p95_mm", "mu_mae_percent",
)  # fmt: skip


def ray_points(
    shape: tuple[int, int], spacing: tuple[float, float], centre: tuple[float, float], angles: int = ANGLES
) -> tuple[Array, float]:
    """Points along rays from a centre to beyond the plane's corners, the middles of pieces of equal length.

    Args:
        shape: Of the plane.
        spacing: Pixel size in mm.
        centre: In pixels.
        angles: Number of rays, spread evenly over the circle; ray i + angles / 2 goes on where ray i comes from.

    Returns:
        (2, angles, pieces) places in pixels, and the length of a piece in mm.
    """
    step = STEP * min(spacing)
    wide, high = (max(c, n - 1 - c) * s for c, n, s in zip(centre, shape, spacing, strict=True))
    reach = float(np.hypot(wide, high)) + max(spacing)
    along = (np.arange(int(np.ceil(reach / step))) + 0.5) * step
    angle = 2 * np.pi * np.arange(angles) / angles
    directions = np.stack([np.cos(angle), np.sin(angle)])
    places = directions[:, :, None] * along
    return np.stack([c + p / s for c, p, s in zip(centre, places, spacing, strict=True)]), step


def sampled(plane: Array, points: Array) -> Array:
    """HU at points of a plane, linear between pixels, air beyond; shape of a coordinate of the points."""
    from scipy import ndimage

    return ndimage.map_coordinates(np.asarray(plane, np.float64), points, order=1, cval=float(AIR_HU))


def ray_errors(
    prediction: Array,
    reference: Array,
    union: Array,
    centre: tuple[float, float],
    spacing: tuple[float, float],
    kvp: int = DEFAULT_KVP,
) -> tuple[Array, Array]:
    """Differences along the rays of one plane, what lies outside of both outlines being air in both.

    Args:
        prediction, reference: (rows, columns) HU.
        union: Body of either.
        centre: Centroid of the reference's body in pixels.
        spacing: Pixel size in mm.
        kvp: Tube voltage of the reference.

    Returns:
        Of each half line through the centre (36,) the difference of water-equivalent path in mm; of each whole line
        (18,) the error of its attenuation factor, 100 (exp(integral of the difference) - 1) percent.
    """
    rows, columns = prediction.shape
    points, step = ray_points((rows, columns), spacing, centre)
    made, real = (sampled(np.where(union, v, AIR_HU), points) for v in (prediction, reference))
    path = (stopping_power(made, kvp) - stopping_power(real, kvp)).sum(axis=1) * step
    through = (linear_attenuation(made, kvp) - linear_attenuation(real, kvp)).sum(axis=1) * step / 10
    half = len(through) // 2
    return path, 100 * np.expm1(through[:half] + through[half:])


def path_measures(
    prediction: Array,
    reference: Array,
    body: Array,
    own: Array,
    spacing: Spacing,
    kvp: int | None = None,
) -> list[Measure]:
    """Task measures of a case (design of ours; no dose is claimed), over all its axial slices that show the body.

    Args:
        prediction, reference: (X, Y, Z) HU.
        body: Body of the reference.
        own: Body found in the prediction.
        spacing: Voxel size in mm.
        kvp: Tube voltage of the reference; None: not known, 120 is taken, and the rows speak of `kvp_unknown`.

    Returns:
        Of `body` (or `kvp_unknown`): `attenuation_error_percent`, mean over lines through the centroid, signed, and
        `attenuation_error_abs_percent`, of its size; `water_path_error_mm`, `water_path_error_abs_mm` and
        `water_path_error_p95_mm`, mean, mean size and 95th percentile of the size over 36 angles and all slices, from
        the union of both outlines to the reference's centroid; `mu_mae_percent`, mean absolute difference of
        attenuation in the body in percent of that of water. A scan of one slice is measured in its own plane.
    """
    region = "body" if kvp is not None else "kvp_unknown"
    volts = DEFAULT_KVP if kvp is None else kvp
    axis = flat_axis(body.shape)
    axis = 2 if axis is None else axis
    a, b = (s for i, s in enumerate(spacing) if i != axis)
    union = body | own
    paths, lines = [], []
    for k in np.flatnonzero(body.any(axis=tuple(i for i in range(3) if i != axis))):
        made, real, both, inside = (np.take(v, k, axis) for v in (prediction, reference, union, body))
        row, column = (float(c.mean()) for c in np.nonzero(inside))
        path, line = ray_errors(made, real, both, (row, column), (a, b), volts)
        paths.append(path)
        lines.append(line)
    if not paths:
        return [nothing(name, "absent", region) for name in NAMES]
    path, line = np.concatenate(paths), np.concatenate(lines)
    mu = linear_attenuation(prediction[body], volts) - linear_attenuation(reference[body], volts)
    values = (
        line.mean(), np.abs(line).mean(), path.mean(), np.abs(path).mean(), np.percentile(np.abs(path), 95),
        100 * np.abs(mu).mean() / WATER_PER_CM,
    )  # fmt: skip
    counts = (line.size, line.size, path.size, path.size, path.size, mu.size)
    return [Measure(m, float(v), region, "ok", n) for m, v, n in zip(NAMES, values, counts, strict=True)]
