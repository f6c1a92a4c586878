"""Measures against MONAI, surface-distance and the matrix root: the same numbers, in one run, on one thread.

1. One case of 512x512x300 with a structure of about 500,000 voxels: overlap, HD, HD95, ASSD and surface Dice, against
   the MONAI calls for the same numbers (border voxels) and against surface-distance (surface elements).
2. 21 structures of one patient in one call, against 21 calls of surface-distance.
3. Fréchet distance of 2048 features, against scipy's `sqrtm`.
4. Memory of the first case above its two label maps.

Results are compared before a ratio is printed; the run fails where a ratio is below what the project promises.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # before numpy comes: matrix work on one thread too

import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from volforge.metrics.distribution import FeatureStatistics, frechet_distance, statistics_of
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures

SPACING = (0.8, 0.8, 1.5)
PROMISED = {"monai": 10.0, "surface-distance": 1.5, "surface-distance, 21 structures": 5.0, "sqrtm": 3.0}
MEMORY = 3.0
REPEATS = 3


def ball(shape: Sequence[int], centre: Sequence[float], radius_mm: float, out: np.ndarray, value: int = 1) -> None:
    """Draw a ball into a label map."""
    reach = [int(radius_mm / s) + 2 for s in SPACING]
    box = tuple(slice(max(0, int(c) - r), min(n, int(c) + r + 1)) for c, r, n in zip(centre, reach, shape, strict=True))
    x, y, z = ((np.arange(b.start, b.stop) - c) * s for b, c, s in zip(box, centre, SPACING, strict=True))
    inside = x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2 < radius_mm**2
    out[box][inside] = value


def one_case() -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a reference, uint8."""
    shape = (512, 512, 300)
    prediction, reference = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    ball(shape, (250, 262, 150), 48.6, reference)
    ball(shape, (253, 259, 152), 47.5, prediction)
    return prediction, reference


def patient() -> tuple[np.ndarray, np.ndarray]:
    """21 structures of 6 to 26 mm, drawn twice."""
    shape = (512, 512, 160)
    prediction, reference = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    generator = np.random.default_rng(0)
    for i in range(21):
        centre = np.array([70 + 90 * (i % 5), 70 + 90 * (i // 5), 40 + 80 * (i % 2)], float)
        radius = 6 + i
        ball(shape, centre, radius, reference, i + 1)
        ball(shape, centre + generator.normal(0, 1.5, 3), radius * 0.97, prediction, i + 1)
    return prediction, reference


def best(action: Callable[[], object]) -> tuple[float, object]:
    """Median seconds of an action after one warm-up, and its result."""
    result = action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return sorted(times)[REPEATS // 2], result


def of_monai(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """Dice, HD, HD95, ASSD, NSD at 1 and 2 mm."""
    import torch
    from monai.metrics import (
        compute_average_surface_distance,
        compute_dice,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    p, r = (torch.from_numpy(v)[None, None] for v in (prediction, reference))
    spacing = list(SPACING)
    values = [
        compute_dice(p, r),
        compute_hausdorff_distance(p, r, include_background=True, spacing=spacing),
        compute_hausdorff_distance(p, r, include_background=True, percentile=95, spacing=spacing),
        compute_average_surface_distance(p, r, include_background=True, symmetric=True, spacing=spacing),
        *(compute_surface_dice(p, r, [t], include_background=True, spacing=spacing) for t in (1.0, 2.0)),
    ]
    return [float(v) for v in values]


def of_surface_distance(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """The same of surface elements; ASSD from its two directed means by their areas."""
    import surface_distance as peer

    p, r = prediction.astype(bool), reference.astype(bool)
    d = peer.compute_surface_distances(r, p, SPACING)
    to_p, to_r = peer.compute_average_surface_distance(d)
    a, b = d["surfel_areas_gt"].sum(), d["surfel_areas_pred"].sum()
    return [
        peer.compute_dice_coefficient(r, p),
        peer.compute_robust_hausdorff(d, 100),
        peer.compute_robust_hausdorff(d, 95),
        (to_p * a + to_r * b) / (a + b),
        *(peer.compute_surface_dice_at_tolerance(d, t) for t in (1.0, 2.0)),
    ]


def ours(prediction: np.ndarray, reference: np.ndarray, surface: str, ids: Sequence[int] = (1,)) -> list[float]:
    """The same numbers by one call."""
    metrics = SegmentationMetrics((1.0, 2.0), surface)  # type: ignore[arg-type]
    found = measure_structures(prediction, reference, SPACING, {str(i): i for i in ids}, metrics)
    wanted = ("dice", "hd_", "hd95_mm", "hd95_elements", "assd", "nsd")
    return [m.value for m in found if m.measure.startswith(wanted) and "pooled" not in m.measure]


def of_sqrtm(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """The usual form of the distance."""
    from scipy import linalg

    root = linalg.sqrtm(a.covariance @ b.covariance)
    d = a.mean - b.mean
    return float(d @ d + np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.trace(root.real))


def memory() -> float:
    """Peak of one call above the process with its two maps, as a multiple of the maps, in a process of its own."""
    code = "from benchmarks.bench_measures import peak; print(peak())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def peak() -> float:
    """See `memory`; libraries are loaded and used once on a small case before."""
    small = np.zeros((20, 20, 20), np.uint8)
    small[5:9, 5:9, 5:9] = 1
    ours(small, small, "voxels")
    prediction, reference = one_case()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours(prediction, reference, "voxels")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    maps = (prediction.nbytes + reference.nbytes) / 1024
    return 1 + (after - before) / maps


def main() -> None:
    """Print the table, and fail where a promise is not kept."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    prediction, reference = one_case()
    print(f"structure of {int(reference.sum())} voxels in {reference.shape}")
    ratios: dict[str, float] = {}

    def compare(name: str, mine: Callable[[], object], theirs: Callable[[], object], tolerance: float) -> None:
        t_mine, a = best(mine)
        t_theirs, b = best(theirs)
        np.testing.assert_allclose(np.ravel(a), np.ravel(b), rtol=tolerance, atol=tolerance)
        ratios[name] = t_theirs / t_mine
        print(f"{name}: {t_theirs:.3f} s, volforge {t_mine:.3f} s: {ratios[name]:.1f} times")

    compare("monai", lambda: ours(prediction, reference, "voxels"), lambda: of_monai(prediction, reference), 1e-6)
    compare(
        "surface-distance",
        lambda: ours(prediction, reference, "elements"),
        lambda: of_surface_distance(prediction, reference),
        1e-6,
    )
    many_p, many_r = patient()
    ids = range(1, 22)
    compare(
        "surface-distance, 21 structures",
        lambda: ours(many_p, many_r, "elements", ids),
        lambda: [of_surface_distance(many_p == i, many_r == i) for i in ids],
        1e-6,
    )
    generator = np.random.default_rng(0)
    scale = np.linspace(0.2, 2, 2048)
    a = statistics_of(generator.normal(size=(6000, 2048)) * scale)
    b = statistics_of(generator.normal(size=(5000, 2048)) * scale[::-1] + 0.1)
    compare("sqrtm", lambda: frechet_distance(a, b), lambda: of_sqrtm(a, b), 1e-6)
    times = memory()
    print(f"memory: {times:.2f} times the two label maps")
    missed = [f"{n}: {r:.1f}, promised {PROMISED[n]}" for n, r in ratios.items() if r < PROMISED[n]]
    if times > MEMORY:
        missed.append(f"memory: {times:.2f}, promised {MEMORY}")
    if missed:
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    main()
