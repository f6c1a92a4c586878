"""Written-back CTs of the T1 MR of RIRE patient 001, measured on the CT's own grid.

Usage: python benchmarks/rire.py [PREDICTION.nii.gz ...] [--data ../shared/data]

A prediction lies on the MR's grid, in HU. It is resampled once, linearly, through the gold transform onto the CT's own
grid; what lies outside of the MR's field of view is not measured. Beside it stand the controls, what interpolation
alone costs (the CT through the MR's grid and back), the true CT cut to the MR's outline, and the Dice of the two true
outlines, which is a ceiling of `outline_dice`. One patient: no interval, no test.

`derived_ct_on_mr_grid` of that folder is never a reference: it was interpolated already.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from volforge.baselines import depth
from volforge.baselines import image as baselines
from volforge.errors import VolforgeError
from volforge.metrics.image import TISSUES
from volforge.metrics.overlap import count
from volforge.volume.body_mask import find_body
from volforge.volume.geometry import Array
from volforge.volume.intensity import AIR_HU
from volforge.volume.read import read_canonical

FOLDER = "rire_001_ct_mr"
BONE_HU = 250.0
COLUMNS = (
    "arm", "mae_hu", "bone_mae_hu", "bone_bias_hu", "soft_mae_hu", "soft_bias_hu", "outline_dice", "bone_dice_250",
)  # fmt: skip


@dataclass(frozen=True)
class Patient:
    """The pair, its transform, and the bodies found in each.

    Attributes:
        ct, mr: Images as stored.
        to_mr: Points of the CT to points of the MR.
        ct_body, mr_body: (X, Y, Z) bool in the order of ITK's indices, on the grid of each.
        view: CT voxels that the MR's field of view covers.
    """

    ct: sitk.Image
    mr: sitk.Image
    to_mr: sitk.Transform
    ct_body: Array
    mr_body: Array
    view: Array

    @classmethod
    def load(cls, data: Path) -> Patient:
        """Read the folder of RIRE below `data`."""
        folder = data / FOLDER
        if not folder.is_dir():
            raise VolforgeError("the pair of RIRE is not there", str(folder), "name the folder above with --data")
        ct, mr = (sitk.ReadImage(str(folder / f"{n}.nii.gz")) for n in ("ct_example", "mri_t1_example"))
        to_mr = sitk.ReadTransform(str(folder / "training_001_ct_to_mr_T1_ground_truth.tfm"))
        inside = sitk.Image(mr.GetSize(), sitk.sitkUInt8)
        inside.CopyInformation(mr)
        view = values_of(sitk.Resample(inside + 1, ct, to_mr, sitk.sitkNearestNeighbor, 0)) > 0
        return cls(ct, mr, to_mr, _body(ct, hounsfield=True), _body(mr, hounsfield=False), view)

    def on_ct(self, values: Array, outside: float, *, nearest: bool = False) -> Array:
        """Values on the MR's grid, (X, Y, Z), resampled once onto the CT's own grid."""
        how = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
        return values_of(sitk.Resample(image_of(values, self.mr), self.ct, self.to_mr, how, outside))

    def on_mr(self, values: Array, outside: float) -> Array:
        """Values on the CT's grid, (X, Y, Z), resampled onto the MR's: for the floor of interpolation alone."""
        back = self.to_mr.GetInverse()
        return values_of(sitk.Resample(image_of(values, self.ct), self.mr, back, sitk.sitkLinear, outside))


def values_of(image: sitk.Image) -> Array:
    """(X, Y, Z) in the order of ITK's indices."""
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0)


def image_of(values: Array, like: sitk.Image) -> sitk.Image:
    """An image of (X, Y, Z) values on the grid of another one."""
    plain = values.astype(np.uint8) if values.dtype == bool else values
    image = sitk.GetImageFromArray(np.ascontiguousarray(plain.transpose(2, 1, 0)))
    image.CopyInformation(like)
    return image


def _body(image: sitk.Image, *, hounsfield: bool) -> Array:
    """The body of an image whose axes run left, posterior, superior, as both of RIRE do."""
    canonical = np.asfortranarray(values_of(image)[::-1, ::-1])
    return find_body(canonical, image.GetSpacing(), hounsfield).mask[::-1, ::-1]


def measure(patient: Patient, prediction: Array, outline: Array | None = None) -> dict[str, float]:
    """Measures of a prediction.

    Args:
        patient: The pair.
        prediction: (X, Y, Z) HU on the MR's grid.
        outline: (X, Y, Z) bool on the MR's grid; found in the prediction where None.

    Returns:
        HU inside the CT's body and the MR's view; Dice of outlines, and of bone over 250 HU, in that view.
    """
    made = patient.on_ct(prediction.astype(np.float32), AIR_HU)
    if outline is None:
        found = find_body(np.rint(made[::-1, ::-1]).astype(np.int16), patient.ct.GetSpacing(), True).mask[::-1, ::-1]
    else:
        found = patient.on_ct(outline, 0, nearest=True) > 0
    return measures_on_ct(patient, made, found)


def measures_on_ct(patient: Patient, made: Array, outline: Array, view: Array | None = None) -> dict[str, float]:
    """The same of values and an outline on the CT's grid; `view` is where to measure, the MR's own where None."""
    true = values_of(patient.ct).astype(np.float64)
    view = patient.view if view is None else view
    inside = patient.ct_body & view
    difference = made.astype(np.float64) - true
    found = {"mae_hu": float(np.abs(difference[inside]).mean())}
    for tissue in ("bone", "soft"):
        low, high = TISSUES[tissue]
        chosen = difference[inside & (true >= low) & (true < high)]
        found[f"{tissue}_mae_hu"] = float(np.abs(chosen).mean())
        found[f"{tissue}_bias_hu"] = float(chosen.mean())
    found["outline_dice"] = count(outline & view, patient.ct_body & view).dice
    bone = [(v > BONE_HU) & b & view for v, b in ((made, outline), (true, patient.ct_body))]
    found["bone_dice_250"] = count(bone[0], bone[1]).dice
    return found


def references(patient: Patient) -> dict[str, dict[str, float]]:
    """What limits every arm: interpolation, and the MR's outline."""
    true = values_of(patient.ct)
    there = patient.on_mr(true.astype(np.float32), AIR_HU)
    seen = patient.on_ct(patient.on_mr(np.ones(true.shape, np.float32), 0), 0) > 0.999  # no slice from beyond the CT
    outline = patient.on_ct(patient.mr_body, 0, nearest=True) > 0
    cut = np.where(outline, true, AIR_HU)
    return {
        "true CT through the MR's grid and back": measures_on_ct(
            patient, patient.on_ct(there, AIR_HU), patient.ct_body, seen
        ),
        "true CT cut to the MR's outline": measures_on_ct(patient, cut, outline),
    }


def controls(patient: Patient, training: Iterable[tuple[Array, Array]]) -> dict[str, dict[str, float]]:
    """Images without learning, within the MR's outline.

    Args:
        patient: The pair.
        training: HU and body mask of CTs of other subjects.
    """
    mr, body = values_of(patient.mr), patient.mr_body
    wanted = baselines.quantiles_of(training)
    median = float(wanted[len(wanted) // 2])
    made = {
        f"constant at the median ({median:.0f} HU)": baselines.constant(body, median),
        "histogram matching": baselines.match_histogram(mr, body, wanted),
        "identity": baselines.identity(mr, body),
    }
    return {name: measure(patient, values, body) for name, values in made.items()}


def depth_control(
    patient: Patient, training: Iterable[tuple[Array, Array, tuple[float, float, float]]]
) -> dict[str, dict[str, float]]:
    """The median HU by distance from the MR's outline, within slices, since these are thick.

    Args:
        patient: The pair.
        training: HU, body mask and voxel size of CTs of other subjects.
    """
    spacing = patient.mr.GetSpacing()
    across = depth.plane_of(patient.mr_body.shape, spacing)
    profile = depth.depth_profile(training, across)
    values = depth.by_depth(patient.mr_body, spacing, profile, across)
    return {"depth profile": measure(patient, values, patient.mr_body)}


def read_prediction(path: Path, patient: Patient) -> Array:
    """HU of a file on the MR's grid, (X, Y, Z).

    Raises:
        VolforgeError: It lies on another grid.
    """
    image, mr = sitk.ReadImage(str(path)), patient.mr
    near = [
        np.allclose(a, b, atol=1e-3)
        for a, b in (
            (image.GetSpacing(), mr.GetSpacing()),
            (image.GetOrigin(), mr.GetOrigin()),
            (image.GetDirection(), mr.GetDirection()),
        )
    ]
    if image.GetSize() != mr.GetSize() or not all(near):
        text = f"the prediction lies on another grid than the MR: {image.GetSize()}, {image.GetSpacing()}"
        raise VolforgeError(text, str(path), "write it back onto the MR's grid; volforge's predictions are")
    return values_of(image)


def heads(
    data: Path, names: Iterable[str] = ("1BA012", "1BC050")
) -> list[tuple[Array, Array, tuple[float, float, float]]]:
    """HU, body mask and voxel size of head CTs that controls learn from; see the folder's SOURCES.md."""
    found = []
    for name in names:
        values, grid = read_canonical(data / f"synthrad23_head_ct/ct/{name}_ct.nii.gz", labels=False)
        found.append((values, find_body(values, grid.spacing_mm, True).mask, grid.spacing_mm))
    return found


def as_text(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The table, tab-separated."""
    lines = ["\t".join(COLUMNS)]
    lines += [
        "\t".join([name, *(f"{row[c]:.3g}" if "dice" in c else f"{row[c]:.1f}" for c in COLUMNS[1:])])
        for name, row in rows.items()
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Predictions of RIRE 001 on the CT's own grid.")
    parser.add_argument("predictions", nargs="*", type=Path, help="HU on the MR's grid")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared/data")
    given: Any = parser.parse_args(arguments)
    patient = Patient.load(given.data)
    rows = {p.name: measure(patient, read_prediction(p, patient)) for p in given.predictions}
    training = heads(given.data)
    rows |= controls(patient, ((hu, body) for hu, body, _ in training)) | depth_control(patient, training)
    rows |= references(patient)
    print(as_text(rows))
    print("one patient: no interval, no test")


if __name__ == "__main__":
    main(sys.argv[1:])
