"""The same skull in two cohorts, on real skulls: copies as another challenge would have made them."""

import csv

import numpy as np
import pytest
import SimpleITK as sitk

from tests.conftest import volforge

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.xdist_group("real")]


def altered(source, out, degrees: float, crop_mm: float) -> None:
    """A defective skull on another grid: 0.8 mm isotropic, turned about an oblique axis, cut at the base."""
    image = sitk.ReadImage(str(source))
    size, spacing = np.array(image.GetSize()), np.array(image.GetSpacing())
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    turn = sitk.VersorTransform((0.5, 0.3, 0.81), np.radians(degrees))
    turn.SetCenter(centre)
    grid = sitk.ResampleImageFilter()
    grid.SetReferenceImage(image)
    grid.SetOutputSpacing((0.8, 0.8, 0.8))
    grid.SetSize([int(n) for n in np.ceil(size * spacing / 0.8)])
    grid.SetTransform(turn)
    grid.SetInterpolator(sitk.sitkNearestNeighbor)
    moved = grid.Execute(image)
    array = sitk.GetArrayFromImage(moved)
    filled = np.flatnonzero(array.any(axis=(1, 2)))
    array[: filled[0] + int(crop_mm / 0.8)] = 0
    cut = sitk.GetImageFromArray(array)
    cut.CopyInformation(moved)
    sitk.WriteImage(cut, str(out), useCompression=True)


def test_altered_copies_are_found_among_other_skulls(tmp_path, real):
    rows = ["subject\tscan\tmodality\timage"]
    rows += [f"s{n}\ts{n}\tmask\t{real}/skullfix/complete_skull/{n:03d}.nrrd" for n in range(6)]
    (tmp_path / "fix.tsv").write_text("\n".join(rows) + "\n")
    copies = ["subject\tscan\tmodality\tdefective"]
    for n, degrees, crop in ((1, 12, 20), (4, 20, 25)):
        altered(real / f"skullfix/defective_skull/{n:03d}.nrrd", tmp_path / f"b{n}.nrrd", degrees, crop)
        copies.append(f"b{n}\tb{n}\tmask\tb{n}.nrrd")
    copies.append(f"b9\tb9\tmask\t{real}/skullfix/defective_skull/009.nrrd")
    (tmp_path / "break.tsv").write_text("\n".join(copies) + "\n")
    done = volforge("cohort", "duplicates", "fix.tsv", "break.tsv", "--out", "pairs.tsv", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    with (tmp_path / "pairs.tsv").open() as file:
        pairs = list(csv.DictReader(file, delimiter="\t"))
    assert {(p["verdict"], p["scan_a"], p["scan_b"]) for p in pairs} == {
        ("same head", "s1", "b1"), ("same head", "s4", "b4"),
    }  # fmt: skip
