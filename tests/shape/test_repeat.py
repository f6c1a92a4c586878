"""The same joint scanned again."""

import numpy as np
import pytest

from tests.shape.joints import UNDER_FOSSA_MM3, joint
from volforge.shape.joint import JointSettings, measure_joint
from volforge.shape.repeat import Edges, disturbed, edges_of, relabelled, rescanned


def test_shifted_grids_show_the_same_joint():
    one = joint((0.5, 0.5, 0.8))
    masks = {"condyle": one.condyle, "barrier": one.barrier}
    values = []
    for found, grid in rescanned(masks, one.grid, 4, seed=1):
        assert not np.allclose(grid.affine, one.grid.affine)
        assert found["condyle"].sum() * grid.voxel_mm3 == pytest.approx(905, rel=0.03)
        settings = JointSettings(with_width=False)
        values.append(measure_joint(found["condyle"], found["barrier"], None, grid, settings).joint_space_mm3)
    assert len(values) == 4
    assert values == pytest.approx([UNDER_FOSSA_MM3] * 4, rel=0.06)


def test_seeds_decide_and_empty_masks_stay_empty():
    one = joint((0.8, 0.8, 0.8), kind="none")
    masks = {"condyle": one.condyle, "barrier": one.barrier}
    first, again, other = (next(rescanned(masks, one.grid, 1, seed=s)) for s in (3, 3, 4))
    assert np.array_equal(first[0]["condyle"], again[0]["condyle"])
    assert not np.allclose(first[1].affine, other[1].affine)
    assert not first[0]["barrier"].any()


def _scan(one, sharp=True):
    """A CT of an analytic joint: bone 1,200 HU and soft tissue 40, half-way at the masks' edges."""
    from scipy.ndimage import gaussian_filter

    image = np.where(one.condyle | one.barrier, 1200.0, 40.0).astype(np.float32)
    return image if sharp else gaussian_filter(image, 1.0)


def test_edges_found_again_in_the_image_as_it_is_are_those_of_the_labels():
    one = joint((0.5, 0.5, 0.5))
    masks = {"condyle": one.condyle, "barrier": one.barrier, "others": np.zeros_like(one.condyle)}
    edges = {
        "condyle": edges_of(one.condyle, one.barrier, _scan(one)),
        "barrier": edges_of(one.barrier, one.condyle, _scan(one)),
    }
    assert edges["condyle"].threshold == pytest.approx(620)
    found = relabelled(masks, _scan(one), edges, "others")
    assert all(np.array_equal(found[n], masks[n]) for n in masks)


def test_a_ct_that_reads_more_has_larger_bones_by_what_its_edges_blur():
    one = joint((0.5, 0.5, 0.5))
    masks = {"condyle": one.condyle, "barrier": one.barrier, "others": np.zeros_like(one.condyle)}
    image = _scan(one, sharp=False)
    edges = {"condyle": edges_of(one.condyle, one.barrier, image), "barrier": edges_of(one.barrier, one.condyle, image)}
    images = disturbed(image, noise_hu=30, noises=3, offset_hu=300, seed=0)
    sizes = [relabelled(masks, i, edges, "others")["condyle"].sum() for i in images["offset"]]
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[1] == pytest.approx(one.condyle.sum(), rel=0.05)
    # a blurred edge of 1,160 HU under a Gaussian of 0.5 mm: 300 HU lie 0.33 mm beside it
    radii = [(3 * s * 0.125 / (4 * np.pi)) ** (1 / 3) for s in sizes]
    assert (radii[2] - radii[0]) / 2 == pytest.approx(0.33, abs=0.08)
    noisy = [relabelled(masks, i, edges, "others")["condyle"] for i in images["noise"]]
    assert len({m.sum() for m in noisy}) > 1
    again = disturbed(image, noise_hu=30, noises=3, offset_hu=300, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(images["noise"], again["noise"], strict=True))


def test_bones_never_share_a_voxel_nor_take_a_third_ones():
    one = joint((0.5, 0.5, 0.5), gap=0.0)  # they touch
    rest = np.zeros_like(one.condyle)
    rest[:, :, : rest.shape[2] // 2 - 6] = True  # the neck below
    condyle = one.condyle & ~rest
    masks = {"condyle": condyle, "barrier": one.barrier & ~rest, "others": rest}
    image = np.full(rest.shape, 1000, np.float32)  # bone everywhere
    image[one.condyle] = 1200
    edges = {n: Edges(_rim(masks[n]) & ~rest, 500.0) for n in ("condyle", "barrier")}
    found = relabelled(masks, image, edges, "others")
    assert not (found["condyle"] & found["barrier"]).any()
    assert not (found["condyle"] & rest).any()
    assert (found["condyle"] & masks["barrier"]).sum() == 0
    assert found["condyle"].sum() > condyle.sum()


def _rim(mask):
    from scipy.ndimage import binary_dilation, binary_erosion

    return binary_dilation(mask) & ~binary_erosion(mask)


def test_a_bone_darker_than_its_surroundings_has_no_edges():
    one = joint((0.8, 0.8, 0.8))
    assert edges_of(one.condyle, one.barrier, -_scan(one)) is None
