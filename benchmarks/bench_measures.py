"""Measures of segmentation against MONAI, surface-distance, MedPy and SimpleITK: the same numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.rows import Peer, Row, Scale, close
from benchmarks.volumes import ball

SPACING = (0.8, 0.8, 1.5)
ROOT = Path(__file__).parents[1]


def one_case(scale: Scale | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a reference, uint8."""
    quick = scale is not None and scale.quick
    shape, radius = ((48, 48, 32), 11.0) if quick else ((320, 320, 200), 48.6)
    prediction, reference = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    middle = np.array(shape) / 2
    ball(reference, SPACING, middle, radius)
    ball(prediction, SPACING, np.add(middle, (3, -3, 2)), radius - 1.1)
    return prediction, reference


def patient(scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """21 structures of 6 to 26 mm, drawn twice."""
    step, reach = scale.of((90, 26), (30, 8))
    shape = scale.of((512, 512, 160), (160, 160, 40))
    prediction, reference = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    generator = np.random.default_rng(0)
    for i in range(21):
        places = 0.75 * step + step * (i % 5), 0.75 * step + step * (i // 5), shape[2] * (0.25 + 0.5 * (i % 2))
        centre = np.array(places)
        radius = reach * (6 + i) / 26
        ball(reference, SPACING, centre, radius, i + 1)
        ball(prediction, SPACING, centre + generator.normal(0, 1.5 * reach / 26, 3), radius * 0.97, i + 1)
    return prediction, reference


def ours(prediction: np.ndarray, reference: np.ndarray, surface: str, ids: Sequence[int] = (1,)) -> list[float]:
    """Dice, HD, HD95, (HD95 pooled), ASSD, NSD at 1 and 2 mm by one call."""
    from volforge.metrics.segmentation import SegmentationMetrics, measure_structures

    metrics = SegmentationMetrics((1.0, 2.0), surface)  # type: ignore[arg-type]
    found = measure_structures(prediction, reference, SPACING, {str(i): i for i in ids}, metrics)
    wanted = ("dice", "hd_", "hd95_", "assd", "nsd")
    return [m.value for m in found if m.measure.startswith(wanted)]


def by_monai(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
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


def by_medpy(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """HD, pooled HD95, Dice."""
    from medpy.metric import binary

    p, r = prediction > 0, reference > 0
    return [float(f(p, r, voxelspacing=SPACING)) for f in (binary.hd, binary.hd95)] + [float(binary.dc(p, r))]


def by_simpleitk(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """Dice and HD."""
    import SimpleITK as sitk

    p, r = (sitk.GetImageFromArray(v.transpose(2, 1, 0)) for v in (prediction, reference))
    for image in (p, r):
        image.SetSpacing(SPACING)
    overlap, distance = sitk.LabelOverlapMeasuresImageFilter(), sitk.HausdorffDistanceImageFilter()
    overlap.Execute(r, p)
    distance.Execute(r, p)
    return [overlap.GetDiceCoefficient(), distance.GetHausdorffDistance()]


def by_surface_distance(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    """The numbers of surface elements; ASSD from its two directed means by their areas."""
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


def chosen(*places: int, groups: int = 1) -> Callable[[list[float], list[float]], str]:
    """A comparison with some of our numbers (by place among the seven of a structure), 1 in a million."""

    def same(mine: list[float], theirs: list[float]) -> str:
        per = len(mine) // groups
        picked = [mine[g * per + k] for g in range(groups) for k in places]
        return close(1e-6, 1e-6)(picked, np.ravel(theirs))

    return same


def peak(who: str) -> float:
    """Peak memory in MiB of one call above the process with its two maps; Linux counts it."""
    call = {"ours": lambda p, r: ours(p, r, "voxels"), "monai": by_monai}[who]
    small = np.zeros((20, 20, 20), np.uint8)
    small[5:9, 5:9, 5:9] = 1
    call(small, small)  # libraries are loaded
    prediction, reference = one_case()
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _of_status("VmRSS")
    call(prediction, reference)
    return (_of_status("VmHWM") - before) / 1024


def _of_status(name: str) -> float:
    """A line of /proc/self/status, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(n for n in lines if n.startswith(name)).split()[1])


def memory(who: str) -> tuple[float, str]:
    """`peak` in a process of its own."""
    code = f"from benchmarks.bench_measures import peak; print(peak({who!r}))"
    words = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout), "memory"


def rows(scale: Scale) -> Iterator[Row]:
    prediction, reference = one_case(scale)
    size = "x".join(map(str, reference.shape))
    yield Row(
        f"Dice, HD, HD95, ASSD, surface Dice of one structure ({int(reference.sum()):,} voxels in {size})",
        lambda: ours(prediction, reference, "voxels"),
        (Peer("MONAI", lambda: by_monai(prediction, reference), chosen(0, 1, 2, 4, 5, 6), ("monai",), least=10.0),),
        turns=5,
    )
    needs, elements = ("surface_distance",), chosen(0, 1, 2, 4, 5, 6)
    yield Row(
        "the same by area of surface elements",
        lambda: ours(prediction, reference, "elements"),
        (Peer("surface-distance", lambda: by_surface_distance(prediction, reference), elements, needs, least=1.5),),
    )
    small_p, small_r = (v[::2, ::2, ::2].copy() for v in (prediction, reference))
    size = "x".join(map(str, small_r.shape))
    yield Row(
        f"the first row on every second voxel ({int(small_r.sum()):,} voxels in {size})",
        lambda: ours(small_p, small_r, "voxels"),
        (
            Peer("MedPy (Dice, HD, HD95 alone)", lambda: by_medpy(small_p, small_r), chosen(1, 3, 0), ("medpy",)),
            Peer("SimpleITK (Dice and HD alone)", lambda: by_simpleitk(small_p, small_r), chosen(0, 1)),
        ),
        turns=5,
    )
    many_p, many_r = patient(scale)
    ids = range(1, 22)
    yield Row(
        "21 structures of a patient in one call",
        lambda: ours(many_p, many_r, "elements", ids),
        (
            Peer(
                "surface-distance, 21 calls",
                lambda: [by_surface_distance(many_p == i, many_r == i) for i in ids],
                chosen(0, 1, 2, 4, 5, 6, groups=21),
                needs,
                least=3.0,
            ),
        ),
        turns=5,
    )
    if not scale.quick and Path("/proc/self/clear_refs").exists():
        yield Row(
            "memory of the first row, beyond its two label maps",
            lambda: memory("ours"),
            (Peer("MONAI", lambda: memory("monai"), lambda *_: "of the same work", ("monai",)),),
            turns=3,
            unit="MiB",
            measures_itself=True,
        )
