"""Skulls of real CT, and defects of real skulls."""

import numpy as np
import pytest

from volforge.tasks.implant.bone import cap_of, paste_back, skull_of_ct
from volforge.tasks.implant.defects.draw import DefectOptions, draw_defect
from volforge.tasks.implant.defects.vault import vault_of
from volforge.tasks.implant.strata import stratum_of
from volforge.volume.boxes import bounding_box
from volforge.volume.geometry import reorientation_of
from volforge.volume.intensity import canonical_values
from volforge.volume.morphology import components, distance_inside
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

pytestmark = pytest.mark.real


def volume(path, labels):
    source = read_volume(path, labels=labels)
    turn = reorientation_of(source.grid.affine)
    return np.asfortranarray(turn.apply(scaled(source))), turn.canonical(source.grid)


def ct(path, unit="hu"):
    values, grid = volume(path, False)
    return canonical_values(values, unit).array, grid


@pytest.mark.parametrize("scan", ["1BB002", "1BB007"])
def test_the_skull_of_a_ct_has_its_bone_and_no_holder(real, scan):
    """Against bone that was looked at: nearly all of it is there, and nothing lies away from it."""
    hu, grid = ct(real / f"synthrad23_head_ct/ct/{scan}_ct.nii.gz")
    labels, _ = volume(real / f"synthrad23_head_ct/bone_labels/{scan}_bone_labels.nii.gz", True)
    found = skull_of_ct(hu, grid.spacing_mm)
    away = distance_inside(labels == 0, grid.spacing_mm)
    assert found[labels == 1].mean() > 0.995
    assert (found & (away > 8)).sum() < 0.001 * found.sum()
    assert ((hu >= 150) & (away > 8)).sum() > 500  # the holder, which the threshold takes in


def test_a_ct_of_thick_voxels_without_a_vault_has_a_skull(real):
    hu, grid = ct(real / "vtk_headsq_ct_dicom", "hu+1024")
    skull = skull_of_ct(hu, grid.spacing_mm)
    assert 350 < skull.sum() * grid.voxel_mm3 / 1000 < 600
    cap = cap_of(skull, grid.affine)
    kept = paste_back(cap.part, cap.place, skull.shape)
    assert not (kept & ~skull).any()
    assert kept.sum() > 0.8 * skull.sum()


def test_defects_of_an_oblique_skull(real):
    """005, whose grid is turned by 19 degrees: what was asked for, one piece, nothing hanging on nothing."""
    mask, grid = volume(real / "skullfix/complete_skull/005.nrrd", True)
    box = bounding_box(mask > 0, (1, 1, 1))
    skull, grid = np.asfortranarray(mask[box] > 0), grid.part(box)
    vault = vault_of(skull, grid.affine)
    pieces = len(components(skull, 26)[1])
    for options in (DefectOptions("irregular", "temporal", "large"), DefectOptions("burr_box", "frontal", "medium")):
        defect = draw_defect(skull, grid.affine, options, ("skullfix", "005", 0), vault)
        implant = skull & defect.mask
        assert np.array_equal(implant, defect.mask)
        assert len(components(implant, 26)[1]) == 2
        assert len(components(skull & ~implant, 26)[1]) == pieces
        assert stratum_of(implant, skull & ~implant, grid.affine) == (options.place, options.size)


def test_published_defects_have_strata(real):
    """They straddle the midline behind the vertex."""
    implant, grid = volume(real / "skullfix/implant/032.nrrd", True)
    defective, _ = volume(real / "skullfix/defective_skull/032.nrrd", True)
    place, size = stratum_of(implant > 0, defective > 0, grid.affine)
    assert place in ("bilateral", "vertex", "parietal")
    assert size in ("medium", "large")
