"""One real skull by hand: an oblique SkullFix case, patients with a flap in place, without a hole, with a cut vertex."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from volforge.errors import VolforgeError
from volforge.tasks.implant.by_hand.case import predict_case
from volforge.tasks.implant.by_hand.options import CaseOptions
from volforge.tasks.implant.kriging.sheet import fit_sheet
from volforge.volume.geometry import reorientation_of
from volforge.volume.read import read_volume

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real"), pytest.mark.slow]
SKULLS = range(6, 16)


@pytest.fixture(scope="module")
def model(real, tmp_path_factory):
    """A coarse model of ten complete skulls."""
    if not (real / "skullfix").exists():
        pytest.skip("SkullFix is not beside the project")
    folder = tmp_path_factory.mktemp("model")
    rows = ["# licence: CC BY-NC-SA 4.0", "subject\tscan\tmodality\timage"]
    rows += [f"s{n}\ts{n}\tmask\tskullfix/complete_skull/{n:03d}.nrrd" for n in SKULLS]
    (folder / "skulls.tsv").write_text("\n".join(rows) + "\n")
    settings = {"disc": {"pixel_mm": 3.0}, "calibrated": False, "closed": 0}
    fit_sheet(folder / "skulls.tsv", folder / "m", settings=settings, root=real, skulls=10)
    return folder / "m"


def test_an_oblique_skull_gets_its_implant_on_its_own_grid(real, model, tmp_path):
    report = predict_case(
        real / "skullfix/defective_skull/005.nrrd", model, tmp_path / "out", CaseOptions(formats=("nrrd",))
    )
    truth = sitk.ReadImage(str(real / "skullfix/implant/005.nrrd"))
    found = sitk.ReadImage(str(tmp_path / "out/implant.nrrd"))
    assert np.allclose(found.GetDirection(), truth.GetDirection(), atol=1e-4)
    assert np.allclose(found.GetOrigin(), truth.GetOrigin(), atol=1e-3)
    a, b = (sitk.GetArrayFromImage(i) > 0 for i in (found, truth))
    assert 2 * (a & b).sum() / (a.sum() + b.sum()) > 0.88
    (implant,) = report["implants"]
    assert implant["mesh"]["watertight"]
    assert implant["fit"]["rim_gap_p95_mm"] < 1
    assert report["cost"]["peak_memory_gib"] < 4


def test_a_resorbed_flap_is_closed_where_bone_is_missing(real, model, tmp_path):
    scan = real / "synthrad23_head_ct/ct/1BB007_ct.nii.gz"
    if not scan.exists():
        pytest.skip("the head CT are not beside the project")
    report = predict_case(scan, model, tmp_path / "out")
    assert report["scan"]["modality"] == "CT"
    assert 1 <= len(report["implants"]) <= 3
    implant = nib.load(tmp_path / "out/implant.nii.gz")
    volume = read_volume(scan, labels=False)
    turn = reorientation_of(volume.grid.affine)
    places = np.argwhere(turn.apply(np.asarray(implant.dataobj)) > 0)
    middle = places.mean(axis=0) / turn.canonical(volume.grid).shape
    assert middle[0] > 0.55  # the patient's right
    assert 2 < report["volume_cm3"] < 15


@pytest.mark.parametrize(("scan", "message"), [("1BB002", "no hole"), ("1BB031", "only where the scan ends")])
def test_a_flap_in_place_and_a_cut_vertex_are_no_holes(real, model, tmp_path, scan, message):
    place = real / f"synthrad23_head_ct/ct/{scan}_ct.nii.gz"
    if not place.exists():
        pytest.skip("the head CT are not beside the project")
    with pytest.raises(VolforgeError, match=message):
        predict_case(place, model, tmp_path / "out")
    assert not (tmp_path / "out").exists()
