"""Contours against the masks that they were drawn from, an independent fill, and the border of the image."""

import numpy as np
import pydicom
import pytest
from matplotlib.path import Path as Outline

from tests.dicom.files import phantom, write_series, write_structure_set
from tests.dicom.test_labels import FRAME, circle, labels_of, target_of
from volforge.volume.dicom.contours import Contour, fill_plane

ROWS = [
    "..................",
    ".#########........",
    ".#.......#..####..",
    ".#.##....#..#..#..",
    ".#..#..#.#..####..",
    ".#.......#........",
    ".#########.#....#.",
    "............#..#..",
    ".#######.....##...",
    ".#######.....##...",
    ".##...##..........",
    ".##.#.##..#.#.....",
    ".##...##...#.#....",
    ".#######..#.#.....",
    ".#######...#...#..",
    "..................",
]
MASK = np.array([[c == "#" for c in row] for row in ROWS])
OUTLINES = [  # (column, row), as OpenCV 5.0.0 gives them: findContours(mask, RETR_CCOMP, CHAIN_APPROX_SIMPLE)
    [(15, 14)],
    [(10, 11), (11, 12), (10, 13), (11, 14), (13, 12), (12, 11), (11, 12)],
    [(10, 13), (11, 12), (12, 13), (11, 14)],
    [(11, 12), (12, 11), (13, 12), (12, 13)],
    [(4, 11)],
    [(1, 8), (1, 14), (7, 14), (7, 8)],
    [(2, 10), (3, 9), (5, 9), (6, 10), (6, 12), (5, 13), (3, 13), (2, 12)],
    [(11, 6), (13, 8), (13, 9), (14, 9), (14, 8), (16, 6), (14, 8), (13, 8)],
    [(7, 4)],
    [(3, 3), (4, 4), (4, 3)],
    [(12, 2), (12, 4), (15, 4), (15, 2)],
    [(12, 3), (13, 2), (14, 2), (15, 3), (14, 4), (13, 4)],
    [(1, 1), (1, 6), (9, 6), (9, 1)],
    [(1, 2), (2, 1), (8, 1), (9, 2), (9, 5), (8, 6), (2, 6), (1, 5)],
]
BOX = [(10, 8), (20, 8), (20, 18), (10, 18)]


def filled(*outlines, is_xor=False, shape=(32, 32)):
    contours = [Contour(np.array([(*p, 0.0) for p in outline]), is_xor) for outline in outlines]
    return fill_plane(contours, 2, shape)


def box(low, high, right, top):
    return [(low, high), (right, high), (right, top), (low, top)]


@pytest.mark.parametrize("off", [0.0, 0.012], ids=["exact", "rounded"])
def test_outlines_of_a_mask_give_the_mask(off):
    """Walls of one and two voxels, a diagonal mesh, a spur, islands and single voxels."""
    shifts = np.random.default_rng(0).uniform(-off, off, (100, 2))
    outlines = [
        [(y + dy, x + dx) for (x, y), (dx, dy) in zip(points, shifts, strict=False)] for points in reversed(OUTLINES)
    ]
    mask, do_cross, _ = filled(*outlines, shape=MASK.shape)
    assert np.array_equal(mask, MASK)
    assert not do_cross


@pytest.mark.parametrize(
    ("outlines", "count"),
    [
        ([BOX], 121),
        ([BOX[::-1]], 121),
        ([BOX[2:] + BOX[:2]], 121),
        ([[*BOX, BOX[0]]], 121),
        ([box(9.5, 7.5, 20.5, 18.5)], 121),
        ([BOX, box(13, 11, 17, 15)], 121 - 9),
        ([BOX, box(11, 9, 19, 17)], 72),  # a wall of two voxels: was 40
        ([box(9.5, 7.5, 20.5, 18.5), box(11.5, 9.5, 18.5, 16.5)], 72),
        ([BOX, BOX], 40),  # a wall of one voxel: was filled
        ([box(9.5, 7.5, 20.5, 18.5)] * 2, 121),  # stored twice
        ([box(8, 6, 22, 20), BOX, box(14, 12, 16, 14)], 225 - 81 + 9),
        ([[(10, 8), (20, 8), (20, 8)]], 11),
        ([[(5, 5)] * 3], 1),
        ([[(4, 4), (5, 4), (5, 5), (4, 5)]], 4),
    ],
)
def test_the_line_belongs_to_an_outer_contour_and_to_the_wall_of_a_hole(outlines, count):
    for turned in ([[(31 - a, b) for a, b in o] for o in outlines], [[(b, a) for a, b in o] for o in outlines]):
        assert filled(*turned)[0].sum() == count
    assert filled(*outlines)[0].sum() == count


def test_ways_to_holes_and_between_islands():
    ring = filled(BOX, box(13, 11, 17, 15))[0]
    key = [*BOX[:2], (20, 13), (17, 13), (17, 11), (13, 11), (13, 15), (17, 15), (17, 13), (20, 13), *BOX[2:]]
    assert np.array_equal(filled(key)[0], ring)
    assert np.array_equal(filled(BOX, box(13, 11, 17, 15), is_xor=True)[0], ring)
    islands = [(4.4, 4.4), (8.6, 4.4), (8.6, 6), (14.4, 6), (14.4, 4.4), (18.6, 4.4), (18.6, 8.6), (14.4, 8.6)]
    islands += [(14.4, 6), (8.6, 6), (8.6, 8.6), (4.4, 8.6)]
    mask = filled(islands)[0]
    assert mask.sum() == 2 * 16
    assert not mask[9:15].any()  # the way along a row of centres encloses nothing


def test_contours_beside_the_centres_equal_the_fill_of_matplotlib():
    rng = np.random.default_rng(1)
    centres = np.stack(np.meshgrid(np.arange(48), np.arange(40), indexing="ij"), axis=-1).reshape(-1, 2)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
        radii = rng.uniform(6, 18, 40)
        points = np.array([22.3, 19.1]) + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        there = Outline(points, closed=False).contains_points(centres).reshape(48, 40)
        assert np.array_equal(filled(points, shape=(48, 40))[0], there)


@pytest.mark.parametrize(
    ("heights", "centre", "note"),
    [
        (range(4, 15), (0, 0), ""),
        (range(20), (0, 0), ""),
        (np.arange(20) - 0.05, (0, 0), ""),
        (range(-3, 22), (0, 0), "5 of 25 contours"),
        (range(-1, 1), (0, 0), "1 of 2 contours"),
        (np.arange(20) + 0.5, (0, 0), "1 of 20 contours"),
        (range(4, 15), (37, 0), "11 of 11 contours"),
    ],
)
def test_contours_that_leave_the_image_are_said(tmp_path, heights, centre, note):
    write_series(tmp_path / "s", phantom())
    rings = [circle(9, 10 + 3.0 * k, centre) for k in heights]
    labels = labels_of(write_structure_set(tmp_path / "r.dcm", {"lens": rings}, FRAME), target_of(tmp_path / "s"))
    assert ("labels_leave_image" in labels.flags) == bool(note)
    assert any(note in n for n in labels.notes) if note else labels.notes == []


def test_single_voxels_and_pairs_are_contours_of_one_and_two_points(tmp_path):
    write_series(tmp_path / "s", phantom())
    points = [[(5, 5)], [(7, 5), (9, 7)], [(20.5, 20.4), (21, 21)]]
    file = write_structure_set(
        tmp_path / "r.dcm",
        {"lens": [np.array([(-40 + 2 * i, -45 + 2.5 * j, 40) for i, j in p]) for p in points]},
        FRAME,
    )
    d = pydicom.dcmread(file)
    for contour in d.ROIContourSequence[0].ContourSequence:
        contour.ContourGeometricType = "CLOSED_PLANAR"
    d.save_as(file)
    labels = labels_of(file, target_of(tmp_path / "s"))
    assert (labels.array > 0).sum(axis=(0, 1)).tolist() == [0] * 10 + [4] + [0] * 9
    assert labels.notes == ["1 contours of 'lens' have fewer than three points and were left out"]


def test_a_wall_drawn_twice_is_said(tmp_path):
    write_series(tmp_path / "s", phantom())
    square = np.array([(-40 + 2 * i, -45 + 2.5 * j, 40) for i, j in BOX])
    file = write_structure_set(tmp_path / "r.dcm", {"lens": [square, square]}, FRAME)
    labels = labels_of(file, target_of(tmp_path / "s"))
    assert (labels.array > 0).sum() == 40
    assert labels.flags == ["contours_twice"]
    assert labels.notes == ["1 contours of 'lens' stand twice along voxel centres: read as walls of one voxel"]


def test_many_islands_of_one_plane_are_compared_where_they_meet():
    """Beside each other, in each other, touching at their windows, and across the border of the image."""
    islands = [box(x, y, x + 6, y + 6) for x in range(0, 60, 10) for y in range(0, 60, 10)]
    holes = [box(x + 1, y + 1, x + 5, y + 5) for x in range(0, 60, 10) for y in range(0, 60, 10)]
    mask, do_cross, walls = filled(*islands, *holes, box(56, 62, 70, 70), shape=(64, 64))
    assert not do_cross
    assert walls == 0
    assert mask.sum() == 36 * (49 - 9) + 16
    assert mask[56:, 62:].all()
    assert not mask[2:5, 2:5].any()
