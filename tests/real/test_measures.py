"""The measures on real masks equal those of other packages: two observers of one head, and skulls with implants.

Differences above 1e-6 of the value are MONAI's own percentile only: it takes the rank in single precision.
"""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from tests.metrics import peers
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures
from volforge.volume.boxes import foreground_box, grown, union

pytestmark = [
    pytest.mark.real,
    pytest.mark.xdist_group("real"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
TOLERANCES = (1.0, 2.0, 3.0)
PAIRED = ("Cochlea", "Lacrimal", "Lens", "Lung", "Optic-Nerve", "Orbit", "Parotid", "Submandibular")
ORGANS = [
    *("Brain", "Brainstem", "Mandible", "Spinal-Canal", "Spinal-Cord"),
    *(f"{organ}-{side}" for organ in PAIRED for side in ("Lt", "Rt")),
]


def read(path):
    """A binary volume in (X, Y, Z) and its spacing."""
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0) > 0, image.GetSpacing()


def observers(real, organ):
    (p, spacing), (r, other) = (
        read(real / f"hn_masks_two_observers/{who}/0522c0057/{organ}.nrrd") for who in ("radiographer", "oncologist")
    )
    assert spacing == other
    return p, r, spacing


def cropped(*masks, margin=2):
    """The part of both masks that holds voxels: peers need not see the rest."""
    box = grown(union(*(foreground_box(m) for m in masks)), (margin,) * 3, masks[0].shape)
    return [np.ascontiguousarray(m[box]) for m in masks]


def ours(p, r, spacing, **options):
    found = {}
    for surface in ("voxels", "elements"):
        metrics = SegmentationMetrics(TOLERANCES, surface)
        found |= {m.measure: m.value for m in measure_structures(p, r, spacing, {"a": 1}, metrics, **options)}
    return found


def against(peer, found, p, r, spacing):
    expected = peer(*cropped(p, r), spacing, TOLERANCES)
    if "hd95_of_monai_mm" in expected:
        assert found["hd95_mm"] == pytest.approx(expected.pop("hd95_of_monai_mm"), rel=1e-4)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name


PEERS = {
    "scipy": peers.scipy_values,
    "SimpleITK": lambda p, r, *_: peers.itk_overlap(p, r),
    "surface-distance": peers.surface_distance_values,
    "MONAI": peers.monai_values,
}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("organ", ORGANS)
def test_two_observers_of_one_head(real, organ, peer):
    p, r, spacing = observers(real, organ)
    assert spacing[2] == pytest.approx(2.5)
    found = ours(p, r, spacing)
    assert 0.3 < found["dice"] < 1
    against(PEERS[peer], found, p, r, spacing)


@pytest.fixture(scope="module")
def skull(real):
    """Defective skull, implant, the implant moved by a voxel with a piece missing, spacing."""
    (bone, spacing), (implant, _) = (read(real / f"skullfix/{n}/000.nrrd") for n in ("defective_skull", "implant"))
    moved = np.roll(implant, (1, 2, -1), (0, 1, 2))
    box = foreground_box(moved)
    moved[box[0].start : box[0].start + 20] = False
    return bone, implant, moved, spacing


@pytest.mark.parametrize("peer", PEERS)
def test_implant_of_a_skull(skull, peer):
    _, implant, moved, spacing = skull
    assert spacing[0] < spacing[2]
    found = ours(moved, implant, spacing)
    assert 2 < found["hd_mm"] < 20
    against(PEERS[peer], found, moved, implant, spacing)


def test_boundary_dice_of_an_implant(skull):
    """Voxels within 10 mm of the bone, by scipy's distances around the implant."""
    bone, implant, moved, spacing = skull
    b, i, m = (v[grown(foreground_box(implant | moved), (30, 30, 20), implant.shape)] for v in (bone, implant, moved))
    near = ndimage.distance_transform_edt(~b, sampling=spacing) <= 10
    found = ours(moved, implant, spacing, boundary=bone)["boundary_dice_10mm"]
    assert 0 < near[i].mean() < 1
    assert found == pytest.approx(2 * (i & m & near).sum() / ((i & near).sum() + (m & near).sum()))


def test_skull_around_a_defect(skull):
    """A surface of many voxels that the box cuts: as the whole skull without and with its implant."""
    bone, implant, _, spacing = skull
    box = grown(foreground_box(implant), (25, 25, 20), implant.shape)
    p, r = (np.ascontiguousarray(m[box]) for m in (bone, bone | implant))
    against(peers.scipy_values, ours(p, r, spacing), p, r, spacing)


def test_bone_and_implant_as_one_label_map_of_the_whole_head(skull):
    bone, implant, moved, spacing = skull
    reference = bone.astype(np.uint8)
    prediction = reference.copy()
    reference[implant] = 2
    prediction[moved & ~bone] = 2
    metrics = SegmentationMetrics(TOLERANCES)
    structures = {"bone": 1, "implant": 2}
    found = measure_structures(prediction, reference, spacing, structures, metrics)
    for name, i in structures.items():
        alone = measure_structures(*cropped(prediction == i, reference == i), spacing, {name: 1}, metrics)
        assert [m for m in found if m.structure == name] == alone
    assert {m.value for m in found if m.structure == "bone" and m.measure in ("dice", "hd_mm")} == {0.0, 1.0}
