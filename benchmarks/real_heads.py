"""The real heads of docs/heads-mr-to-ct.md: outlines of MR against CT, and what the way back to HU cost.

Usage: python benchmarks/real_heads.py [--data ../shared/data]

`outlines`: the body is found in the MR and in the CT of a pair, each alone, and the two are compared; the mask that
comes with the pair stands beside. `conversion`: the middle slice of the seven heads that are stored independently
against the plane of the whole head that it shows, found by its outline and an affine registration in the plane.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from volforge.metrics.overlap import count
from volforge.volume.body_mask import find_body
from volforge.volume.geometry import Array
from volforge.volume.intensity import AIR_HU
from volforge.volume.morphology import distance_inside
from volforge.volume.read import read_canonical

SLICES, HEADS = "synthrad23_brain_slices", "synthrad23_head_ct"
VIEWS = {"sagittal": 0, "coronal": 1, "axial": 2}
SOFT_HU, BONE_HU, BONE_DICE_HU = 150, 500, 250
RIM, INNER = 4, 2  # pixels from the outline, and from other tissue, that are not compared


@dataclass(frozen=True)
class Outline:
    """Outlines of one pair in one view.

    Attributes:
        subject, view: Whose.
        dice: Of the body found in MR and in CT.
        area_ratio: Area in MR over that in CT.
        mask_beyond_mm: Median distance of the rim of the pair's own mask from the body of the MR.
    """

    subject: str
    view: str
    dice: float
    area_ratio: float
    mask_beyond_mm: float


def outline_of(data: Path, subject: str, view: str) -> Outline:
    """Compare the outlines of a pair."""
    place = data / SLICES / subject
    bodies = {}
    for kind in ("ct", "mr"):
        values, grid = read_canonical(place / f"{view}_{kind}.nii.gz", labels=False)
        bodies[kind] = find_body(values, grid.spacing_mm, kind == "ct").mask
    mask = read_canonical(place / f"{view}_mask.nii.gz", labels=True)[0] > 0
    flat = mask.squeeze(VIEWS[view])
    rim = np.expand_dims(flat & ~ndimage.binary_erosion(flat, border_value=1), VIEWS[view])
    away = distance_inside(~bodies["mr"], (1.0, 1.0, 1.0))
    return Outline(
        subject,
        view,
        count(bodies["mr"], bodies["ct"]).dice,
        float(bodies["mr"].sum() / bodies["ct"].sum()),
        float(np.median(away[rim])),
    )


@dataclass(frozen=True)
class Conversion:
    """One slice against the head that is stored whole.

    Attributes:
        subject: Whose.
        plane: Index of the plane of the head.
        scale: Pixels of the head per pixel of the slice.
        correlation: Of the two, registered.
        soft_hu, soft_bias_hu: Median of soft tissue in the slice; mean of slice less head.
        bone_hu, bone_bias_hu: The same of bone over 500 HU in both.
        mae_hu: Inside the body but for its rim.
        bone_dice: Over 250 HU.
    """

    subject: str
    plane: int
    scale: float
    correlation: float
    soft_hu: float
    soft_bias_hu: float
    bone_hu: float
    bone_bias_hu: float
    mae_hu: float
    bone_dice: float


def conversion_of(data: Path, subject: str) -> Conversion:
    """Compare the axial slice of a subject with its head."""
    found, grid = read_canonical(data / SLICES / subject / "axial_ct.nii.gz", labels=False)
    body = find_body(found, grid.spacing_mm, True).mask[..., 0]
    values = found[..., 0].astype(np.float32)
    head, grid = read_canonical(data / HEADS / f"ct/{subject}_ct.nii.gz", labels=False)
    inside = find_body(head, grid.spacing_mm, True).mask
    shown = np.clip(np.where(body, values, AIR_HU), AIR_HU, 1500)
    planes = np.clip(np.where(inside, head, AIR_HU), AIR_HU, 1500).astype(np.float32)
    guesses = sorted(_by_outline(shown, body, planes, inside), key=lambda g: -g[0])
    nearest = {g[1] for g in guesses[:3]} | {guesses[0][1] - 1, guesses[0][1] + 1}
    best = max((_register(shown, planes[:, :, k], *g) for g in guesses if (k := g[1]) in nearest), key=lambda r: r[0])
    correlation, plane, way = best
    like = _image(shown)
    there = _values(sitk.Resample(_image(head[:, :, plane]), like, way, sitk.sitkLinear, AIR_HU))
    its_body = _values(sitk.Resample(_image(inside[:, :, plane]), like, way, sitk.sitkNearestNeighbor, 0)) > 0
    both = ndimage.binary_erosion(body & its_body, iterations=RIM)
    soft = ndimage.binary_erosion(both & (abs(values) < SOFT_HU) & (abs(there) < SOFT_HU), iterations=INNER)
    bone = ndimage.binary_erosion(both & (values > BONE_HU) & (there > BONE_HU))
    difference = values - there
    return Conversion(
        subject,
        plane,
        float(np.sqrt(abs(np.linalg.det(np.reshape(way.GetMatrix(), (2, 2)))))),
        correlation,
        float(np.median(values[soft])),
        float(difference[soft].mean()),
        float(np.median(values[bone])),
        float(difference[bone].mean()),
        float(np.abs(difference[both]).mean()),
        count((values > BONE_DICE_HU) & body, (there > BONE_DICE_HU) & its_body).dice,
    )


def _by_outline(shown: Array, body: Array, planes: Array, inside: Array) -> list[tuple[float, int, Array, Array]]:
    """Correlation, plane, scale and offset of every plane whose outline's box is laid onto the slice's."""
    low, high = _box(body)
    guesses = []
    for k in np.flatnonzero(inside.sum(axis=(0, 1)) > 4000):
        start, stop = _box(inside[:, :, k])
        scale = (stop - start) / (high - low)
        offset = start - scale * low
        moved = ndimage.affine_transform(planes[:, :, k], scale, offset, shown.shape, order=1, cval=AIR_HU)
        guesses.append((float(np.corrcoef(moved.ravel(), shown.ravel())[0, 1]), int(k), scale, offset))
    return guesses


def _box(mask: Array) -> tuple[Array, Array]:
    ends = [np.flatnonzero(mask.any(axis=1 - a))[[0, -1]] for a in range(2)]
    low, high = np.asarray(ends, np.float64).T
    return low, high


def _register(
    shown: Array, plane: Array, guess: float, k: int, scale: Array, offset: Array
) -> tuple[float, int, sitk.AffineTransform]:
    way = sitk.AffineTransform(2)
    way.SetMatrix([float(scale[0]), 0.0, 0.0, float(scale[1])])
    way.SetTranslation(offset.tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.01, 60)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1, 0])
    method.SetInitialTransform(way, inPlace=True)
    method.Execute(_image(shown), _image(plane))
    return -method.GetMetricValue(), k, way


def _image(values: Array) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(values.T.astype(np.float32)))


def _values(image: sitk.Image) -> Array:
    return sitk.GetArrayFromImage(image).T


def subjects_of(data: Path) -> list[str]:
    """All subjects with slices."""
    return sorted(p.name for p in (data / SLICES).iterdir() if p.is_dir())


def heads_of(data: Path) -> list[str]:
    """Subjects whose head is stored whole."""
    return sorted(p.name.split("_")[0] for p in (data / HEADS / "ct").glob("*_ct.nii.gz"))


def main(arguments: list[str]) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description="Outlines and HU of the real heads.")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    given: Any = parser.parse_args(arguments)
    print("view\tcentre\tn\tdice\tlowest\tarea MR/CT\tmask beyond, mm")
    for view in ("axial", "coronal", "sagittal"):
        every = [outline_of(given.data, s, view) for s in subjects_of(given.data)]
        for centre in ("", "1BA", "1BB", "1BC"):
            of = [o for o in every if o.subject.startswith(centre)]
            dice, area, beyond = (
                np.asarray([getattr(o, k) for o in of]) for k in ("dice", "area_ratio", "mask_beyond_mm")
            )
            shown = f"{np.median(dice):.3f}\t{dice.min():.3f}\t{np.median(area):.3f}\t{np.median(beyond):.1f}"
            print(f"{view}\t{centre or 'all'}\t{len(of)}\t{shown}")
    print("subject\tplane\tscale\tr\tsoft HU\tsoft bias\tbone HU\tbone bias\tMAE\tbone Dice")
    for subject in heads_of(given.data):
        c = conversion_of(given.data, subject)
        print(
            f"{subject}\t{c.plane}\t{c.scale:.3f}\t{c.correlation:.3f}\t{c.soft_hu:.0f}\t{c.soft_bias_hu:.1f}\t"
            f"{c.bone_hu:.0f}\t{c.bone_bias_hu:.0f}\t{c.mae_hu:.0f}\t{c.bone_dice:.3f}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
