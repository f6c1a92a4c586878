"""Whether a synthetic CT has the MR's inner structure: gradient correlation, MIND, mutual information.

No term needs a CT, and none has its best value at its end: a copy of the MR has the smallest MIND distance of all, and
a constant inside the right outline correlates better with the MR than the true CT does. So they are looked at 8 mm
inside of the outline only, and judged by their distance from the level of true pairs.
"""

from __future__ import annotations

import math

import numpy as np

from volforge.metrics.image import ncc
from volforge.metrics.measure import Measure, nothing
from volforge.volume.geometry import Array
from volforge.volume.morphology import Spacing, erode

INSIDE_MM = 8.0
BINS = 32
TAILS = (0.5, 99.5)  # percentiles beyond which values count as these
REACH, PATCH, PRESMOOTH = 2, 1.0, 0.6  # MIND, in voxels: neighbours, Gaussian of the patch, blur of the image before
FLOOR = 0.01  # least variance of a neighbourhood, as a share of its mean
TERMS = ("gradient_correlation", "mind_distance", "mutual_information")


def well_inside(body: Array, spacing: Spacing) -> Array:
    """The voxels further than 8 mm from the outline."""
    return erode(body, INSIDE_MM, spacing)


def gradient_size(image: Array, spacing: Spacing) -> Array:
    """Length of the gradient per mm, by central differences along all axes that have more than one slice."""
    values, total = image.astype(np.float32), np.zeros(image.shape, np.float32)
    for axis, step in enumerate(spacing):
        if image.shape[axis] > 1:
            total += np.gradient(values, step, axis=axis) ** 2
    return np.sqrt(total)


def gradient_correlation(a: Array, b: Array, inside: Array, spacing: Spacing) -> float:
    """Pearson's r of the gradients' lengths; 0 where one image does not change, -1 to 1.

    Args:
        a, b: (X, Y, Z), any units.
        inside: Where to look.
        spacing: Voxel size in mm.
    """
    x, y = (gradient_size(v, spacing)[inside] for v in (a, b))
    found = ncc(x, y)
    return 0.0 if math.isnan(found) and x.size else found


def mind(image: Array, where: Array) -> Array:
    """Modality independent neighbourhood descriptor (Heinrich et al., Medical Image Analysis 16(7), 2012, eq. 2 to 4).

    exp(-D / V) over its maximum: D the squared difference of the patch about a voxel (Gaussian of one voxel) and that
    two voxels further, V the mean of D over the neighbours, at least a hundredth of its mean over the image (else noise
    in flat parts decides). The image is blurred by .6 voxels before.

    Args:
        image: (X, Y, Z).
        where: Boolean, the N voxels that are looked at.

    Returns:
        (neighbours, N) float32, 0 to 1: six neighbours, four of a scan of one slice; all 1 of a constant image.
    """
    from scipy import ndimage

    def blurred(values: Array, sigma: float) -> Array:
        return np.asarray(ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.0))

    values = image.astype(np.float32)
    values = blurred(values / max(float(values.std()), 1e-6), PRESMOOTH)
    found, mean = [], 0.0
    for axis, n in enumerate(image.shape):
        for step in (-REACH, REACH) if n > 1 else ():
            there = np.clip(np.arange(n) + step, 0, n - 1)  # the first or last slice goes on beyond
            distance = blurred((values - np.take(values, there, axis)) ** 2, PATCH)
            mean += float(distance.mean(dtype=np.float64))
            found.append(distance[where])
    distances = np.stack(found)
    floor = np.float32(FLOOR * mean / len(found) + 1e-12)
    return np.exp((distances.min(axis=0) - distances) / np.maximum(distances.mean(axis=0), floor))


def mind_distance(a: Array, b: Array, inside: Array) -> float:
    """Mean absolute difference of two images' descriptors, 0 to 1.

    Args:
        a, b: (X, Y, Z), any units.
        inside: Where to look.
    """
    return _apart(mind(a, inside), mind(b, inside))


def _apart(x: Array, y: Array) -> float:
    return float(np.abs(x - y).mean(dtype=np.float64)) if x.size else math.nan


def mutual_information(a: Array, b: Array, inside: Array, bins: int = BINS) -> float:
    """Normalised mutual information (H(a) + H(b)) / H(a, b) (Studholme et al. 1999): 1 independent, 2 equal.

    Args:
        a, b: (X, Y, Z), any units; each in equal bins between its percentiles 0.5 and 99.5.
        inside: Where to look.
        bins: Bins of each image.
    """
    x, y = (_binned(v[inside], bins) for v in (a, b))
    if not x.size:
        return math.nan
    joint = np.bincount(x * bins + y, minlength=bins * bins).reshape(bins, bins) / x.size
    both = _entropy(joint.ravel())
    return (_entropy(joint.sum(0)) + _entropy(joint.sum(1))) / both if both > 0 else 1.0


def _binned(values: Array, bins: int) -> Array:
    if not values.size:
        return values.astype(np.int64)
    low, high = np.percentile(values, TAILS)
    share = (values.astype(np.float64) - low) / max(float(high - low), 1e-12)
    return np.clip((share * bins).astype(np.int64), 0, bins - 1)


def _entropy(p: Array) -> float:
    q = p[p > 0]
    return float(-(q * np.log(q)).sum())


def structure_measures(
    source: Array, prediction: Array, reference: Array, body: Array, spacing: Spacing
) -> list[Measure]:
    """The terms of the prediction, and how far they lie from those of the true CT.

    Args:
        source: (X, Y, Z) MR.
        prediction, reference: (X, Y, Z) HU.
        body: Where both scans show the body.
        spacing: Voxel size in mm.

    Returns:
        `inner_<term>` (describes; needs no CT) and `gap_<term>` (size of the difference, 0 is best) of `inner`; they
        depend on the voxel size, so only values of one grid compare. `absent` where nothing lies 8 mm inside.
    """
    inside = well_inside(body, spacing)
    n = int(np.count_nonzero(inside))
    names = [f"{kind}_{term}" for term in TERMS for kind in ("inner", "gap")]
    if not n:
        return [nothing(name, "absent", "inner") for name in names]
    own = mind(source, inside)
    made, real = (
        {
            "gradient_correlation": gradient_correlation(source, v, inside, spacing),
            "mind_distance": _apart(own, mind(v, inside)),
            "mutual_information": mutual_information(source, v, inside),
        }
        for v in (prediction, reference)
    )
    values = [v for term in TERMS for v in (made[term], abs(made[term] - real[term]))]
    return [
        Measure(name, value, "inner", "undefined" if math.isnan(value) else "ok", n)
        for name, value in zip(names, values, strict=True)
    ]
