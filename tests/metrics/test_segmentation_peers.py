"""The measures equal those of MONAI, surface-distance, SimpleITK and scikit-image where they mean the same.

Our distances are single precision (package edt), so is all that MONAI returns: 1e-6 of the value is allowed.
Where a peer means something else the test shows what, so that a difference has a name.
"""

import numpy as np
import pytest
from scipy import ndimage

from tests.metrics import peers
from tests.metrics.masks import LABELS, SPACINGS, blobs, box, label_pair, phantom_pair
from volforge.metrics.legacy import legacy_hd_voxels
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures
from volforge.metrics.surface import border, surface_distances

TOLERANCES = (0.5, 1.0, 2.0)
BOTH = {s: SegmentationMetrics(TOLERANCES, s) for s in ("voxels", "elements")}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def ours(prediction, reference, spacing, structures):
    """Values by structure, of both notions of a surface."""
    found = {s: {} for s in structures}
    for metrics in BOTH.values():
        for m in measure_structures(prediction, reference, spacing, structures, metrics):
            assert m.status == "ok", m
            found[m.structure][m.measure] = m.value
    return found


def check(found, expected, allowed=1e-6):
    assert set(expected) <= set(found)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=allowed, abs=allowed), name


def against_monai(values, p, r, spacing):
    theirs = peers.monai_values(p, r, spacing, TOLERANCES)
    assert values["hd95_mm"] == pytest.approx(theirs.pop("hd95_of_monai_mm"), rel=2e-5)
    check(values, theirs)


PEERS = {
    "scipy": lambda values, *masks: check(values, peers.scipy_values(*masks, TOLERANCES)),
    "SimpleITK": lambda values, p, r, _: check(values, peers.itk_overlap(p, r), 1e-12),
    "surface-distance": lambda values, *masks: check(values, peers.surface_distance_values(*masks, TOLERANCES)),
    "MONAI": against_monai,
}
every_peer = pytest.mark.parametrize("peer", PEERS)


@every_peer
@pytest.mark.parametrize("spacing", SPACINGS[:4])
@pytest.mark.parametrize("seed", [0, 1])
def test_blobs_of_three_structures_with_anisotropic_spacing(seed, spacing, peer):
    p, r = label_pair(seed)
    found = ours(p, r, spacing, LABELS)
    for name, i in LABELS.items():
        PEERS[peer](found[name], p == i, r == i, spacing)


@every_peer
@pytest.mark.parametrize("name", ["body", "tmj"])
def test_structures_of_phantoms(name, peer):
    p, r, spacing, structures = phantom_pair(name)
    found = ours(p, r, spacing, structures)
    assert len(found) >= 6
    for structure, i in structures.items():
        PEERS[peer](found[structure], p == i, r == i, spacing)


@every_peer
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["bool", "uint8", "uint16", "int32", ">i2"])
def test_type_and_memory_order_of_the_map_do_not_matter(kind, order, peer):
    p, r = (m > 0 if kind == "bool" else m for m in label_pair(3))
    spacing = (0.5, 0.7, 2.5)
    found = ours(*(np.asarray(m, dtype=kind, order=order) for m in (p, r)), spacing, {"a": 1})
    PEERS[peer](found["a"], p == 1, r == 1, spacing)


@every_peer
@pytest.mark.parametrize("spacing", SPACINGS[1:4])
def test_parts_of_larger_arrays_and_mirrored_views(spacing, peer):
    """Views with strides of their own, backward ones too, are measured as copies of them are."""
    p, r = (m[::-1, 1::2, 2:] for m in label_pair(5, (20, 30, 16)))
    PEERS[peer](ours(p, r, spacing, {"b": 2})["b"], p == 2, r == 2, spacing)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", [4, 5, 6])
def test_simpleitk_on_borders(seed, spacing):
    """Its Hausdorff distance between the contours of both masks is ours; its mean is of the directed means."""
    p, r = blobs(seed), blobs(seed + 10)
    borders = [peers.itk_contour(m) for m in (p, r)]
    assert all(np.array_equal(b, border(m)) for b, m in zip(borders, (p, r), strict=True))
    found = surface_distances(p, r, spacing)
    greatest, mean = peers.itk_hausdorff(*borders, spacing)
    assert found.hausdorff() == pytest.approx(greatest, rel=1e-6)
    assert (found.prediction.mean() + found.reference.mean()) / 2 == pytest.approx(mean, rel=1e-6)


def test_simpleitk_on_whole_masks_measures_between_all_voxels():
    """Named difference: a voxel inside the other mask is at distance 0 from it, a voxel deep inside counts too."""
    shell = box((15, 15, 15), (2, 2, 2), (11, 11, 11)) & ~box((15, 15, 15), (5, 5, 5), (5, 5, 5))
    core = box((15, 15, 15), (5, 5, 5), (5, 5, 5))
    spacing = (1.0, 2.0, 3.0)
    found = surface_distances(core, shell, spacing)
    all_voxels, _ = peers.itk_hausdorff(core, shell, spacing)
    expected = [
        ndimage.distance_transform_edt(~b, sampling=spacing)[a].max() for a, b in ((core, shell), (shell, core))
    ]
    assert all_voxels == pytest.approx(max(expected))
    # a hole: its middle is 3 mm from the holed mask; its wall is 5 mm from the filled mask's border
    filled = shell | core
    assert peers.itk_hausdorff(filled, shell, spacing)[0] == pytest.approx(3.0)
    assert surface_distances(filled, shell, spacing).hausdorff() == pytest.approx(5.0, rel=1e-6)
    assert found.hausdorff() == pytest.approx(peers.itk_hausdorff(border(core), border(shell), spacing)[0], rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_legacy_distance_is_that_of_simpleitk_and_scikit_image_on_whole_masks_in_voxels(seed):
    from skimage.metrics import hausdorff_distance

    p, r = blobs(seed, share=0.2), blobs(seed + 20, share=0.1)
    found = legacy_hd_voxels(p, r).value
    assert found == pytest.approx(peers.itk_hausdorff(p, r, (1.0, 1.0, 1.0))[0], rel=1e-6)
    assert found == pytest.approx(hausdorff_distance(p, r), rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_scikit_image_on_borders_in_voxels(seed):
    from skimage.metrics import hausdorff_distance

    p, r = blobs(seed), blobs(seed + 30)
    found = surface_distances(p, r, (1, 1, 1)).hausdorff()
    assert found == pytest.approx(hausdorff_distance(border(p), border(r)), rel=1e-6)


def test_surface_distance_leaves_out_what_lies_at_the_tolerance_by_rounding():
    """Named difference: three steps of 0.1 mm are 0.30000000000000004 mm there, more than 0.3 mm."""
    p, r = (box((8, 8, 12), (0, 0, k), (8, 8, 2)) for k in (2, 5))
    spacing = (1.0, 1.0, 0.1)
    found = surface_distances(p, r, spacing, "elements").surface_dice(0.3)
    theirs = peers.surface_distance_values(p, r, spacing, (0.3, 0.30001))
    assert found == 1
    assert theirs["nsd_elements_0_3mm"] < 0.95
    assert theirs["nsd_elements_0_30001mm"] == 1


def test_monai_scores_empty_masks_and_we_do_not():
    """Named difference: MONAI gives a missed structure a Dice of 0 and a distance of infinity; we give NaN."""
    monai = pytest.importorskip("monai.metrics", reason="MONAI is not installed (extra `train`)")
    some, none = box((8, 8, 8), (2, 2, 2), (4, 4, 4)), np.zeros((8, 8, 8), bool)
    p, r = peers.as_tensor(none), peers.as_tensor(some)
    with pytest.warns(UserWarning, match="all 0"):
        assert np.isinf(float(monai.compute_hausdorff_distance(p, r, include_background=True)))
    assert float(monai.compute_dice(p, r)) == 0
    found = measure_structures(none, some, (1, 1, 1), {"a": 1})
    assert all(np.isnan(m.value) and m.failed for m in found)


def test_means_of_monai_and_surface_distance_are_taken_over_other_sets():
    """Named difference: surface-distance gives a mean per surface; ours weighs both by their size."""
    small, large = box((20, 20, 20), (8, 8, 8), (2, 2, 2)), box((20, 20, 20), (3, 3, 3), (14, 14, 14))
    found = surface_distances(small, large, (1, 1, 2))
    p, r = peers.scipy_directed(small, large, (1, 1, 2))
    assert found.average() == pytest.approx(np.hstack([p, r]).mean(), rel=1e-6)
    assert abs(found.average() - (p.mean() + r.mean()) / 2) > 0.1
