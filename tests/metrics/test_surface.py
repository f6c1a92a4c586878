"""Distances between surfaces where a pencil gives the answer, and against a search over all pairs."""

import itertools

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tests.metrics.masks import SPACINGS, blobs, box
from volforge.metrics.surface import SurfaceDistances, _areas, _codes, border, surface_distances

SHAPE = (14, 13, 12)
BOTH = ["voxels", "elements"]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_two_planes_are_apart_by_their_distance_whatever_the_measure(spacing, axis):
    masks = [np.zeros((10, 10, 10), bool) for _ in range(2)]
    for mask, where in zip(masks, (2, 7), strict=True):
        np.moveaxis(mask, axis, 0)[where] = True
    found = surface_distances(*masks, spacing)
    expected = 5 * spacing[axis]
    values = (found.hausdorff(), found.hausdorff(95), found.hausdorff_pooled(95), found.average())
    assert values == pytest.approx([expected] * 4, rel=1e-6)
    assert found.surface_dice(expected) == 1
    assert found.surface_dice(0.999 * expected) == 0


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cube_moved_by_a_voxel(spacing, axis):
    """The leading and the trailing face are a voxel off, but for the rim of the trailing one, which is on a wall."""
    n, shift = 5, [0, 0, 0]
    shift[axis] = 1
    cubes = box(SHAPE, (2, 2, 2), (n, n, n)), box(SHAPE, tuple(2 + s for s in shift), (n, n, n))
    found = surface_distances(*cubes, spacing)
    assert found.hausdorff() == pytest.approx(spacing[axis], rel=1e-6)
    # inside the trailing face a wall may be nearer than the face of the other cube
    walls = np.minimum.outer(
        *(spacing[a] * np.minimum(np.arange(1, n - 1), n - 1 - np.arange(1, n - 1)) for a in range(3) if a != axis)
    )
    trailing = np.minimum(walls, spacing[axis]).sum()
    total = 2 * (n * n * spacing[axis] + trailing)
    assert found.average() == pytest.approx(total / (2 * (n**3 - (n - 2) ** 3)), rel=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("offset", [(1, 0, 0), (0, 3, 0), (2, 1, 5)])
def test_single_voxels(spacing, offset):
    one, other = box(SHAPE, (3, 4, 5), (1, 1, 1)), box(SHAPE, tuple(np.add((3, 4, 5), offset)), (1, 1, 1))
    length = np.linalg.norm(np.multiply(offset, spacing))
    voxels = surface_distances(one, other, spacing)
    assert voxels.prediction == voxels.reference == pytest.approx([length], rel=1e-6)
    elements = surface_distances(one, other, spacing, "elements")
    # the eight corners of a voxel: the farthest is off by the whole way, the nearest by a voxel less on each axis
    nearest = np.linalg.norm(np.multiply(np.maximum(np.subtract(offset, 1), 0), spacing))
    assert elements.hausdorff() == pytest.approx(length, rel=1e-6)
    assert elements.prediction[0] == pytest.approx(nearest, rel=1e-6)
    assert len(elements.prediction) == len(elements.reference) == 8


@pytest.mark.parametrize("spacing", SPACINGS)
def test_all_pairs_give_the_same_distances(spacing):
    p, r = blobs(1, SHAPE), blobs(2, SHAPE)
    places = [np.argwhere(border(m)) * spacing for m in (p, r)]
    away = cdist(*places)
    found = surface_distances(p, r, spacing)
    assert np.allclose(found.prediction, np.sort(away.min(axis=1)), rtol=1e-6)
    assert np.allclose(found.reference, np.sort(away.min(axis=0)), rtol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_area_of_a_box(spacing):
    """Flat pieces inside the faces, chamfers through half voxels along the edges, triangles at the corners."""
    size = (4, 3, 5)
    found = surface_distances(*[box(SHAPE, (2, 3, 4), size)] * 2, spacing, "elements")
    half = np.divide(spacing, 2)
    area = 0.0
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        area += 2 * (size[b] - 1) * (size[c] - 1) * spacing[b] * spacing[c]
        area += 4 * (size[a] - 1) * spacing[a] * np.hypot(half[b], half[c])
    corner = 0.5 * np.linalg.norm(np.cross([-half[0], half[1], 0], [-half[0], 0, half[2]]))
    assert found.prediction_weights.sum() == pytest.approx(area + 8 * corner, rel=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_area_table_equals_that_of_surface_distance(spacing):
    tables = pytest.importorskip("surface_distance.lookup_tables", reason="surface-distance is not installed")
    theirs = tables.create_table_neighbour_code_to_surface_area(spacing)
    ours = _areas(spacing)
    seen = set()
    for bits in itertools.product((0, 1), repeat=8):
        block = np.array(bits).reshape(2, 2, 2)
        code = int(_codes(block.astype(bool))[1, 1, 1])
        seen.add(code)
        assert ours[code] == pytest.approx(theirs[int((block * tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL).sum())], rel=1e-6)
    assert seen == set(range(256))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_mask_and_its_complement_have_one_surface(spacing):
    areas = _areas(spacing)
    assert np.allclose(areas, areas[::-1], rtol=1e-6)
    assert areas[0] == areas[255] == 0
    assert areas[1:255].min() > 0


def test_percentile_of_voxels_interpolates_and_is_taken_of_either_list_or_of_both_as_one():
    found = SurfaceDistances(np.arange(101.0), np.zeros(101))
    assert found.hausdorff(95) == 95
    assert found.hausdorff() == 100
    # rank 0.95 * 201 = 190.95 of 101 zeros and 0 ... 100
    assert found.hausdorff_pooled(95) == pytest.approx(89.95)
    assert SurfaceDistances(np.array([0.0, 1.0]), np.zeros(1)).hausdorff(95) == pytest.approx(0.95)


def test_percentile_of_elements_is_by_area_and_does_not_interpolate():
    p, r = np.array([1.0, 2.0, 3.0]), np.array([0.0, 4.0])
    found = SurfaceDistances(p, r, np.array([90.0, 4.0, 6.0]), np.array([96.0, 4.0]))
    assert found.hausdorff(90) == 1
    assert found.hausdorff(94.5) == 3
    assert found.hausdorff(95) == 3
    assert found.hausdorff(97) == 4
    assert found.hausdorff_pooled(95) == 2  # 96 + 90 + 4 of 200 lie at 2 or nearer
    assert found.hausdorff_pooled(97) == 3
    assert found.average() == pytest.approx((90 + 8 + 18 + 16) / 200)
    assert found.surface_dice(2) == pytest.approx(190 / 200)


@pytest.mark.parametrize("factor", [1, 3, 0.1])
@pytest.mark.parametrize("spacing", [(1.25, 0.7, 0.7), (0.4, 0.3, 0.977), (0.7, 0.7, 0.4)])
def test_percentile_by_area_is_not_decided_by_rounding(spacing, factor):
    """Forty equal pieces: 38 of them are 95 % of the area, the 38th is the answer at any scale of the spacing."""
    p, r = np.zeros((16, 16, 16), bool), box((16, 16, 16), (8, 8, 0), (1, 1, 1))
    for place in [(0, 0, 2), (0, 12, 10), (8, 8, 8), (10, 0, 4), (12, 4, 12)]:
        p[place] = True
    found = surface_distances(p, r, tuple(factor * s for s in spacing), "elements")
    assert len(found.prediction) == 40
    assert found.hausdorff(95) == pytest.approx(found.prediction[37], rel=1e-9)


@pytest.mark.parametrize(
    ("spacing", "steps", "tolerance"), [(0.1, 3, 0.3), (0.7, 3, 2.1), (1.1, 3, 3.3), (0.2, 6, 1.2)]
)
@pytest.mark.parametrize("surface", BOTH)
def test_distance_equal_to_the_tolerance_is_within(spacing, steps, tolerance, surface):
    """0.1 + 0.1 + 0.1 is 0.3: surface-distance, which compares doubles as they are, leaves it out."""
    planes = [np.zeros((6, 6, 12), bool) for _ in range(2)]
    planes[0][:, :, 2] = True
    planes[1][:, :, 2 + steps] = True
    found = surface_distances(*planes, (1.0, 1.0, spacing), surface)
    assert found.surface_dice(tolerance) == 1
    assert found.surface_dice(tolerance * 0.9999) < 1


@pytest.mark.parametrize("surface", BOTH)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_masks_that_fill_or_touch_the_array_are_measured_as_within_air(surface, spacing):
    full, part = np.ones((5, 6, 4), bool), box((5, 6, 4), (0, 0, 0), (5, 3, 2))
    inside, outside = (
        surface_distances(*masks, spacing, surface) for masks in ((full, part), [np.pad(m, 3) for m in (full, part)])
    )
    assert np.allclose(inside.prediction, outside.prediction, rtol=1e-6)
    assert np.allclose(inside.reference, outside.reference, rtol=1e-6)
    assert inside.average() == pytest.approx(outside.average(), rel=1e-6)


def test_every_voxel_of_a_single_slice_is_border():
    large, small = box((9, 9, 1), (1, 1, 0), (7, 7, 1)), box((9, 9, 1), (3, 3, 0), (3, 3, 1))
    assert np.array_equal(border(large), large)
    found = surface_distances(small, large, (0.5, 2.0, 9.0))
    assert found.prediction.max() == 0  # all of the small one is voxels of the large one
    assert found.hausdorff() == pytest.approx(np.hypot(2 * 0.5, 2 * 2.0), rel=1e-6)
    assert len(found.reference) == 49


def test_single_slice_has_two_sides_of_elements():
    sheet = box((6, 7, 1), (1, 1, 0), (4, 5, 1))
    found = surface_distances(sheet, sheet, (1.0, 1.0, 3.0), "elements")
    assert len(found.prediction) == 2 * 5 * 6
    assert found.hausdorff() == 0


def test_border_is_what_has_a_face_neighbour_outside():
    mask = box((7, 7, 7), (1, 1, 1), (5, 5, 5))
    assert border(mask).sum() == 5**3 - 3**3
    mask[3, 3, 3] = False  # a hole has a border as well: its six face neighbours
    assert border(mask).sum() == 5**3 - 3**3 + 6
    assert border(np.ones((4, 4, 4), bool)).sum() == 4**3 - 2**3


@pytest.mark.parametrize("surface", BOTH)
def test_empty_mask_has_no_distance(surface):
    some, none = box(SHAPE, (1, 1, 1), (3, 3, 3)), np.zeros(SHAPE, bool)
    for masks in ((some, none), (none, some), (none, none)):
        with pytest.raises(ValueError, match="a mask is empty"):
            surface_distances(*masks, (1, 1, 1), surface)


def test_masks_are_left_as_they_were():
    p, r = blobs(1, SHAPE), blobs(2, SHAPE)
    kept = p.copy(), r.copy()
    for surface in BOTH:
        surface_distances(p, r, (1, 2, 3), surface)
    assert np.array_equal(p, kept[0])
    assert np.array_equal(r, kept[1])
