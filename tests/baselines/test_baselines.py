"""Baselines on shapes whose answer is known, and the laws that hold for any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volforge.baselines import image as images
from volforge.baselines import implant, segmentation
from volforge.baselines.boxes import box_of, carried, common_shape, whole_box
from volforge.errors import VolforgeError

LAW = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
SPACINGS = [(1.0, 1.0, 1.0), (0.8, 1.0, 1.6)]


def shell(spacing=(1.0, 1.0, 1.0), radius=26.0, thickness=5.0, centre=(0.0, 0.0, 0.0)):
    """A hollow ball in mm, and the millimetres of every voxel from its centre."""
    shape = [round(66 / s) for s in spacing]
    mm = np.indices(shape).astype(float)
    for axis, s in enumerate(spacing):
        mm[axis] = (mm[axis] - (shape[axis] - 1) / 2) * s - centre[axis]
    away = np.sqrt((mm**2).sum(axis=0))
    return (away <= radius) & (away > radius - thickness), mm


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def placed(shape, spacing):
    """Affine of a straight grid about the origin."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing
    return affine


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (4.0, -3.0, 2.0)])
@pytest.mark.parametrize("side", [1, -1])
def test_mirroring_restores_the_hole_of_a_symmetric_skull_wherever_it_lies(spacing, centre, side):
    skull, mm = shell(spacing, centre=centre)
    hole = skull & ((mm[0] - side * 16) ** 2 + mm[1] ** 2 + (mm[2] - 18) ** 2 < 10**2)
    found = implant.mirror(skull & ~hole, placed(skull.shape, spacing))
    assert dice(found, hole) > 0.9
    assert not (found & skull & ~hole).any()


@pytest.mark.parametrize("side", [1, -1])
def test_mirroring_restores_the_outermost_bone_of_a_side(side):
    skull, mm = shell()
    hole = skull & (side * mm[0] > 17) & (mm[2] > 0)
    assert dice(implant.mirror(skull & ~hole, placed(skull.shape, (1, 1, 1))), hole) > 0.8


@pytest.mark.parametrize("method", ["mirror", "close"])
def test_a_larger_piece_elsewhere_is_no_implant(method):
    """What a mirror or a closing adds below the vault, or outside of its hole, is not taken."""
    skull, mm = shell((1.0, 1.0, 1.0), thickness=9)
    hole = skull & ((mm[0] - 12) ** 2 + mm[1] ** 2 < 5**2) & (mm[2] > 0)
    wider = skull & ((mm[0] + 14) ** 2 + (mm[1] + 10) ** 2 < 9**2) & (mm[2] < -8)
    defective = skull & ~hole & ~wider
    affine = placed(skull.shape, (1, 1, 1))
    found = implant.mirror(defective, affine) if method == "mirror" else implant.close(defective, affine, 8.0)
    assert found.any()
    assert not (found & wider).any()
    assert (found & hole).sum() > 0.6 * hole.sum()


@pytest.mark.parametrize("defective", [shell()[0], np.zeros((9, 9, 9), bool), np.ones((9, 8, 7), bool)])
def test_a_closed_vault_needs_no_implant(defective):
    affine = placed(defective.shape, (1, 1, 1))
    for found in (implant.mirror(defective, affine), implant.close(defective, affine, 3.0)):
        assert found.shape == defective.shape
        assert not found.any()


@pytest.mark.parametrize("spacing", SPACINGS)
def test_closing_fills_a_hole_narrower_than_its_ball_and_leaves_a_wider_one(spacing):
    skull, mm = shell(spacing, thickness=9)
    hole = skull & (mm[0] ** 2 + mm[1] ** 2 < 5**2) & (mm[2] > 0)
    affine = placed(skull.shape, spacing)
    found = implant.close(skull & ~hole, affine, 8.0)
    assert (found & hole).sum() > 0.6 * hole.sum()
    assert not (found & skull & ~hole).any()
    # the ball of 3 mm goes through: only the roughness of voxels is filled
    assert (implant.close(skull & ~hole, affine, 3.0) & hole).sum() < 0.1 * hole.sum()


def test_mean_implant_of_equal_skulls_is_their_implant():
    skull, mm = shell()
    hole = skull & (mm[2] > 18)
    shares, volume = implant.mean_implant([(hole, skull & ~hole)] * 3)
    found, confidence = implant.blind_implant(shares, volume, skull & ~hole)
    box = box_of(skull & ~hole)
    inside = np.zeros_like(hole)
    inside[box] = hole[box]
    assert (found == inside).all()
    assert (confidence == 1).all()
    assert not implant.blind_implant(shares, volume, np.ones_like(skull))[0].any()  # no place without bone


def test_mean_implant_takes_the_places_most_skulls_agree_on():
    skull = np.zeros((6, 4, 4), bool)
    skull[0], skull[-1] = True, True
    wide, narrow = np.zeros_like(skull), np.zeros_like(skull)
    wide[1:3], narrow[1:2] = True, True
    shares, volume = implant.mean_implant([(wide, skull), (narrow, skull), (narrow, skull)])
    assert shares[:, 0, 0] == pytest.approx([0, 1, 1 / 3, 0, 0, 0])
    assert volume == pytest.approx(4 / 3 / 6)
    found, confidence = implant.blind_implant(shares, volume, skull)
    assert found[:, 0, 0].tolist() == [False, True, True, False, False, False]  # ties are all taken
    assert confidence[:, 0, 0] == pytest.approx([1, 1, 1 / 3, 1, 1, 1])


@LAW
@given(SEEDS, st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_carrying_takes_the_nearest_voxel_of_the_box(seed, shape):
    volume = np.random.default_rng(seed).random((5, 6, 4))
    box = (slice(1, 4), slice(0, 6), slice(2, 4))
    found = carried(volume, box, whole_box(tuple(shape)))
    places = [
        [min(int((k + 0.5) * (s.stop - s.start) / m), s.stop - s.start - 1) + s.start for k in range(m)]
        for s, m in zip(box, shape, strict=True)
    ]
    assert (found == volume[np.ix_(*places)]).all()
    assert (carried(volume, whole_box(volume.shape), whole_box(volume.shape)) == volume).all()
    twice = carried(volume, whole_box(volume.shape), whole_box((10, 12, 8)))
    assert (twice == volume.repeat(2, 0).repeat(2, 1).repeat(2, 2)).all()


def test_common_grid_is_coarser_where_memory_asks():
    box = (slice(0, 40), slice(5, 25), slice(0, 10))
    assert common_shape(box) == (40, 20, 10)
    assert common_shape(box, volumes=8, most=8000) == (20, 10, 5)
    assert common_shape((slice(0, 3),) * 3, most=1) == (1, 1, 1)


BODY = np.zeros((12, 10, 8), bool)
BODY[1:11, 2:9, 1:7] = True


def test_painting_puts_every_structure_in_its_mean():
    rng = np.random.default_rng(0)
    labels = np.where(BODY, rng.integers(0, 4, BODY.shape), 0)
    image = np.rint(rng.normal(100 * labels, 5)).astype(np.int16)
    means = images.mean_by_label([(image, labels, BODY), (image + 10, labels, BODY)])
    for i in range(4):
        assert means[i] == pytest.approx(image[BODY & (labels == i)].mean() + 5)
    found = images.paint(labels, BODY, means)
    assert all((found[BODY & (labels == i)] == round(means[i])).all() for i in range(4))
    assert (found[~BODY] == -1024).all() or (found[~BODY] == -1000).all()
    assert found.dtype == np.int16
    exact = np.where(BODY, 100 * labels, -1000)  # what is constant by structure is given back
    assert (images.paint(labels, BODY, images.mean_by_label([(exact, labels, BODY)]))[BODY] == exact[BODY]).all()


def test_labels_that_no_training_scan_has_get_the_unlabelled_mean():
    labels = np.where(BODY, 7, 0)
    labels[3:5] = 2 * BODY[3:5]
    found = images.paint(labels, BODY, {0: 30.0, 2: 80.0, 99: 5.0})
    assert set(found[BODY & (labels == 7)]) == {30}
    assert set(found[labels == 2]) == {80}
    assert set(images.paint(labels, BODY, {2: 80.0, 3: 40.0})[labels == 7]) == {60}  # nothing unlabelled: all means
    assert set(images.paint(labels, BODY, {})[BODY]) == {0}
    assert images.mean_by_label([(labels, labels, np.zeros_like(BODY))]) == {}


@LAW
@given(SEEDS)
def test_histogram_matching_reaches_the_wanted_quantiles_and_keeps_the_order(seed):
    rng = np.random.default_rng(seed)
    body = np.zeros((9, 11, 15), bool)
    body[1:8, :, 1:14] = True  # 1001 voxels, as many as quantiles
    image = rng.gamma(2, 300, body.shape)
    wanted = images.quantiles_of([(rng.normal(40, 200, (30, 30, 30)), np.ones((30, 30, 30), bool))])
    found = images.match_histogram(image, body, wanted)
    order = np.argsort(image[body])
    assert np.abs(found[body][order] - np.clip(wanted, -1024, None)).max() <= 0.51
    # the unit of the source does not count
    assert np.abs(images.match_histogram(5 * image - 1000, body, wanted).astype(int) - found).max() <= 1


def test_histogram_matching_of_its_own_quantiles_changes_nothing():
    image = np.random.default_rng(0).integers(-800, 1200, BODY.shape)
    found = images.match_histogram(image, BODY, images.quantiles_of([(image, BODY)] * 2))
    assert np.abs(found[BODY] - image[BODY]).max() <= 1


@pytest.mark.parametrize("levels", [1, 2, 10])
def test_histogram_matching_of_a_coarse_image_keeps_the_wanted_mean(levels):
    image = np.arange(1000).reshape(10, 10, 10) * levels // 1000
    body = np.ones(image.shape, bool)
    found = images.match_histogram(image, body, np.linspace(0, 1000, 1001))
    assert found.mean() == pytest.approx(500, abs=20)


def test_identity_stretches_the_percentiles_to_the_window():
    image = np.zeros(BODY.shape)
    image[BODY] = np.linspace(-3, 9, BODY.sum())
    found = images.identity(image, BODY)
    low, high = np.percentile(image[BODY], [0.5, 99.5])
    middle = BODY & (image > low) & (image < high)
    assert np.allclose(found[middle], -1000 + 2400 * (image[middle] - low) / (high - low), atol=0.51)
    assert (found[BODY].min(), found[BODY].max()) == (-1000, 1400)
    assert (images.identity(40 * image + 7, BODY) == found).all()
    assert set(images.identity(np.full(BODY.shape, 3.0), BODY)[BODY]) == {-1000}
    assert set(images.constant(BODY, 39.6)[BODY]) == {40}


@pytest.mark.parametrize(
    "baseline",
    [
        images.identity,
        lambda image, body: images.match_histogram(image, body, np.linspace(0, 1000, 1001)),
    ],
)
def test_an_empty_body_is_all_air(baseline):
    found = baseline(np.ones(BODY.shape), np.zeros_like(BODY))
    assert len(np.unique(found)) == 1


def organs():
    """Two bright boxes in a body, one inside the box of the other."""
    labels = np.zeros((20, 16, 12), np.uint8)
    labels[3:15, 3:13, 2:10] = 1
    labels[6:9, 5:8, 4:7] = 2
    labels[5:10, 4:9, 3:8][labels[5:10, 4:9, 3:8] == 1] = 0  # a dark rim around the second
    body = np.zeros(labels.shape, bool)
    body[1:18, 1:15, 1:11] = True
    return labels, body


def test_threshold_and_components_find_bright_boxes():
    labels, body = organs()
    boxes = segmentation.mean_boxes([(labels, body)] * 2, [1, 2, 5])
    assert sorted(boxes) == [1, 2]
    assert np.allclose(boxes[2], [(5 / 17, 8 / 17), (4 / 14, 7 / 14), (3 / 10, 6 / 10)])
    image = np.where(labels > 0, 300.0, 0.0)
    found = segmentation.threshold_components(image, body, boxes, 150)
    assert (found == labels).all()
    assert not segmentation.threshold_components(image, body, boxes, 300).any()  # bright is above, not at


def test_threshold_keeps_the_largest_piece_and_follows_the_body():
    labels, body = organs()
    boxes = segmentation.mean_boxes([(np.where(labels == 2, 2, 0), body)], [2])
    wide = [a.repeat(2, 0).repeat(3, 1) for a in (labels, body)]  # another size of voxel: fractions stay
    image = np.where(wide[0] == 2, 300.0, 0.0)
    assert (segmentation.threshold_components(image, wide[1], boxes, 150) == np.where(wide[0] == 2, 2, 0)).all()
    image[14] = 0  # cut into one slab of two planes and one of three
    found = segmentation.threshold_components(image, wide[1], boxes, 150)
    assert set(np.flatnonzero(found.any(axis=(1, 2)))) == {15, 16, 17}


def test_an_empty_body_is_taken_for_the_whole_volume():
    empty = np.zeros((6, 5, 4), bool)
    assert box_of(empty) == whole_box((6, 5, 4))
    image = np.zeros(empty.shape)
    image[2:4] = 9
    found = segmentation.threshold_components(image, empty, {300: ((0, 1), (0, 1), (0, 1))}, 5)
    assert (found == np.where(image > 0, 300, 0)).all()
    assert found.dtype == np.uint16


def test_mean_labels_are_the_vote_of_the_training_scans():
    body = np.ones((4, 2, 2), bool)
    columns = ([1, 1, 2, 0], [1, 2, 2, 0], [1, 2, 0, 9])
    scans = [(np.broadcast_to(np.array(c)[:, None, None], body.shape), body) for c in columns]
    labels, confidence = segmentation.mean_labels(scans, [1, 2, 7])
    assert labels[:, 0, 0].tolist() == [1, 2, 2, 0]  # 9 is not asked for, 7 is in no scan
    assert confidence[:, 0, 0] == pytest.approx([1, 2 / 3, 2 / 3, 1])
    onto = np.zeros((9, 3, 3), bool)
    onto[1:9, 1:] = True
    laid, sure = segmentation.laid_on((labels, confidence), onto)
    assert laid[:, 1, 1].tolist() == [0, 1, 1, 2, 2, 2, 2, 0, 0]
    assert (laid[~onto] == 0).all()
    assert (sure[~onto] == 1).all()


def test_white_noise_has_the_values_of_the_training_images_and_no_structure():
    body = np.zeros((20, 20, 20), bool)
    body[3:17, 3:17, 3:17] = True
    training = [(np.where(body, v, -1000), body) for v in (-100, 300)]
    mean, deviation = images.spread_of(training)
    assert (mean, deviation) == (100, 200)
    made = images.white_noise(body, mean, deviation, seed=1)
    assert made.dtype == np.int16
    assert (made[~body] == -1024).all()
    assert made[body].mean() == pytest.approx(100, abs=15)
    assert made[body].std() == pytest.approx(200, rel=0.05)
    assert np.array_equal(made, images.white_noise(body, mean, deviation, seed=1))
    assert not np.array_equal(made, images.white_noise(body, mean, deviation, seed=2))
    percent = images.white_noise(body, 50, 10, seed=1, hounsfield=False)
    assert percent.dtype == np.float32
    assert (percent[~body] == 0).all()
    with pytest.raises(VolforgeError, match="no training image shows a body"):
        images.spread_of([(body * 1, body & False)])


def test_another_subject_fills_the_same_box():
    own, body = np.zeros((24, 24, 12), bool), np.zeros((40, 30, 20), bool)
    own[4:14, 6:16, 2:8] = True
    body[10:30, 5:25, 4:16] = True  # twice as large
    image = np.where(own, 200, -1000)
    image[4:9][own[4:9]] = 50
    made = images.other_subject(image, own, body)
    inside = made > -500
    assert (inside & body).sum() / body.sum() > 0.85
    assert not (inside & ~body).any()
    assert made[12:18, 10:20, 8:12].mean() == pytest.approx(50, abs=10)
    assert made[22:28, 10:20, 8:12].mean() == pytest.approx(200, abs=10)
    assert (images.other_subject(image, own & False, body) == -1024).all()
