"""Label maps: who is measured, what an empty mask gives, the boundary Dice, and memory of a big case."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tests.metrics.masks import LABELS, blobs, box, label_pair
from volforge.metrics.segmentation import OVERLAP, SegmentationMetrics, measure_structures

SHAPE = (20, 18, 16)
UNIT = (1.0, 1.0, 1.0)


def by_name(found, structure=None):
    return {m.measure: m for m in found if structure in (None, m.structure)}


@pytest.mark.parametrize(
    ("in_prediction", "in_reference", "status", "failed", "n"),
    [
        (False, False, "absent", False, 0),
        (False, True, "empty_prediction", True, 27),
        (True, False, "empty_reference", True, 0),
    ],
)
@pytest.mark.parametrize("metrics", [SegmentationMetrics(), SegmentationMetrics((3.0,), "elements")])
def test_a_structure_that_a_map_lacks_gives_nan_for_every_measure(
    metrics, in_prediction, in_reference, status, failed, n
):
    mask, whole = box(SHAPE, (3, 3, 3), (3, 3, 3)), box(SHAPE, (9, 9, 9), (2, 2, 2)).astype(np.uint8) * 2
    p, r = (np.where(mask & there, 1, whole).astype(np.uint8) for there in (in_prediction, in_reference))
    found = measure_structures(p, r, UNIT, {"missed": 1, "found": 2}, metrics, boundary=mask)
    names = metrics.names(boundary=True)
    missed = [m for m in found if m.structure == "missed"]
    assert [m.measure for m in missed] == names
    for m in missed:
        assert np.isnan(m.value)
        assert (m.status, m.failed, m.n) == (status, failed, n)
    # the other structure is measured as if nothing had happened
    others = {n: m for n, m in by_name(found, "found").items() if not n.startswith("boundary")}
    assert {m.status for m in others.values()} == {"ok"}
    assert others["dice"].value == 1
    assert others["dice"].n == 8


def test_names_are_those_that_come_out_in_their_order():
    p, r = label_pair(0)
    for metrics in (
        SegmentationMetrics(),
        SegmentationMetrics((), "elements"),
        SegmentationMetrics((0.5, 3), distances=False, boundary_mm=2.5),
    ):
        for near in (None, p > 0):
            found = measure_structures(p, r, UNIT, LABELS, metrics, near)
            expected = [(s, n) for s in LABELS for n in metrics.names(near is not None)]
            assert [(m.structure, m.measure) for m in found] == expected
    plain = SegmentationMetrics((1.0, 0.5)).names(boundary=True)
    assert plain[len(OVERLAP) :] == [
        "hd_mm", "hd95_mm", "hd95_pooled_mm", "assd_mm", "nsd_1mm", "nsd_0_5mm", "boundary_dice_10mm",
    ]  # fmt: skip


def test_structures_keep_their_order_and_may_share_an_id():
    p, r = label_pair(1)
    found = measure_structures(p, r, UNIT, {"z": 2, "a": 1, "again": 2}, SegmentationMetrics((), distances=False))
    assert list(dict.fromkeys(m.structure for m in found)) == ["z", "a", "again"]
    assert by_name(found, "z")["dice"].value == by_name(found, "again")["dice"].value
    assert measure_structures(p, r, UNIT, {}) == []


def test_maps_that_cannot_be_compared_are_refused():
    p, r = label_pair(0)
    with pytest.raises(ValueError, match="grids differ"):
        measure_structures(p[1:], r, UNIT, LABELS)
    with pytest.raises(ValueError, match="grids differ"):
        measure_structures(p, r, UNIT, LABELS, boundary=p[1:])
    with pytest.raises(ValueError, match="0 is the background"):
        measure_structures(p, r, UNIT, {"background": 0})
    for wrong in (p.astype(np.float32), p.astype(complex)):
        with pytest.raises(ValueError, match="whole numbers"):
            measure_structures(wrong, r, UNIT, LABELS)
        with pytest.raises(ValueError, match="whole numbers"):
            measure_structures(r, wrong, UNIT, LABELS)


def test_maps_are_left_as_they_were_and_may_be_read_only():
    p, r = label_pair(2)
    kept = p.copy(), r.copy()
    for m in (p, r):
        m.flags.writeable = False
    measure_structures(p, r, UNIT, LABELS, boundary=p)
    assert np.array_equal(p, kept[0])
    assert np.array_equal(r, kept[1])


@pytest.mark.parametrize("width", [1.0, 2.5, 5.0, 10.0])
@pytest.mark.parametrize("spacing", [UNIT, (0.5, 0.7, 2.5), (3.0, 1.0, 0.4)])
def test_boundary_dice_counts_only_voxels_near_the_third_mask(spacing, width):
    p, r, bone = blobs(1, SHAPE), blobs(2, SHAPE), box(SHAPE, (2, 15, 1), (5, 2, 3))
    near = ndimage.distance_transform_edt(~bone, sampling=spacing) <= width * (1 + 1e-9)
    both, all_p, all_r = ((m & near).sum() for m in (p & r, p, r))
    metrics = SegmentationMetrics((), distances=False, boundary_mm=width)
    for kind in (bool, np.uint8):
        found = measure_structures(p, r, spacing, {"implant": 1}, metrics, bone.astype(kind))[-1]
        assert found.measure == f"boundary_dice_{width:g}mm".replace(".", "_").replace("_mm", "mm")
        if all_p + all_r:
            assert found.value == pytest.approx(2 * both / (all_p + all_r))
            assert (found.status, found.n) == ("ok", all_r)
        else:
            assert found.status == "undefined"


def test_boundary_width_is_reached_exactly_and_not_beyond():
    """A plane of bone at x = 0 and 0.3 mm voxels: 0.9 mm are three voxels."""
    bone = box((12, 4, 4), (0, 0, 0), (1, 4, 4))
    reference, prediction = box((12, 4, 4), (1, 0, 0), (9, 4, 4)), box((12, 4, 4), (3, 0, 0), (9, 4, 4))
    metrics = SegmentationMetrics((), distances=False, boundary_mm=0.9)
    found = measure_structures(prediction, reference, (0.3, 1, 1), {"implant": 1}, metrics, bone)[-1]
    assert found.value == pytest.approx(2 * 1 / (1 + 3))
    assert found.n == 3 * 16


def test_boundary_dice_is_undefined_where_neither_mask_comes_near_and_where_there_is_no_bone():
    p, r = box(SHAPE, (15, 10, 10), (4, 4, 4)), box(SHAPE, (14, 10, 10), (4, 4, 4))
    metrics = SegmentationMetrics((), distances=False, boundary_mm=3.0)
    for bone in (box(SHAPE, (0, 0, 0), (2, 2, 2)), np.zeros(SHAPE, bool)):
        found = measure_structures(p, r, UNIT, {"implant": 1}, metrics, bone)
        assert by_name(found)["dice"].value == pytest.approx(0.75)
        last = found[-1]
        assert np.isnan(last.value)
        assert (last.status, last.n) == ("undefined", 0)


def test_one_stray_voxel_moves_the_hausdorff_distance_only():
    r = box((30, 30, 30), (3, 3, 3), (12, 12, 12))
    p = r.copy()
    p[29, 29, 29] = True
    found = {n: m.value for n, m in by_name(measure_structures(p, r, (1.0, 1.0, 2.0), {"a": 1})).items()}
    assert found["hd_mm"] == pytest.approx(np.linalg.norm([15, 15, 30]), rel=1e-6)
    assert found["hd95_mm"] == found["hd95_pooled_mm"] == 0
    assert found["dice"] > 0.999


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from volforge.metrics.segmentation import SegmentationMetrics, measure_structures

def peak():
    # not getrusage: a child begins there with what its parent had
    line = next(n for n in Path("/proc/self/status").read_text().splitlines() if n.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

kind, order, surface = sys.argv[1:]
metrics = SegmentationMetrics(surface=surface)
small = np.zeros((9, 9, 9), kind)
small[2:5, 2:5, 2:5] = 1
measure_structures(small, small, (0.4, 0.5, 1.0), {"a": 1}, metrics)  # imports and tables
before = peak()
maps = [np.full((512, 512, 300), 0, kind, order=order) for _ in range(2)]
for m in maps:
    m += 0  # every page is there
grid = np.ogrid[-50:50, -50:50, -50:50]
ball = sum(g * g for g in grid) <= 49.3**2
for m, x in zip(maps, (200, 206)):
    m[x : x + 100, 210:310, 100:200][ball] = 1
found = measure_structures(maps[0], maps[1], (0.4, 0.5, 1.0), {"a": 1}, metrics)
print((peak() - before) / sum(m.nbytes for m in maps), found[0].n, found[0].value)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux' /proc")
@pytest.mark.parametrize("case", ["uint8 C voxels", "uint8 F elements", "uint16 C voxels"])
def test_memory_of_a_large_case_stays_below_three_times_its_maps(case):
    """512 x 512 x 300 voxels with a structure of half a million: maps and all that is added to them."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *case.split()], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    times, n, dice = map(float, done.stdout.split())
    assert 490_000 < n < 510_000
    assert 0.9 < dice < 0.99
    assert 0.9 < times < 3


def test_near_dice_looks_only_where_the_other_structure_is_near():
    from volforge.metrics.segmentation import near_dice

    reference, prediction, other = (np.zeros((30, 12, 12), bool) for _ in range(3))
    other[2:4, 4:8, 4:8] = True
    reference[6:28, 4:8, 4:8] = True
    prediction[6:12, 4:8, 4:8] = True  # right near the other one, missing far from it
    near = near_dice(prediction, reference, other, (1, 1, 1), 6.0, "roof")
    assert (near.measure, near.value, near.structure, near.unit) == ("near_dice_6mm", 1.0, "roof", "1")
    whole = near_dice(prediction, reference, other, (1, 1, 1), 40.0, "roof")
    assert whole.value == pytest.approx(2 * 6 / (6 + 22))
    coarse = near_dice(prediction, reference, other, (0.5, 1, 1), 3.0, "roof")  # the same voxels, half as long
    assert coarse.value == 1.0
    assert near_dice(prediction & False, reference, other, (1, 1, 1), 6.0, "r").status == "empty_prediction"
    assert near_dice(prediction, reference, other & False, (1, 1, 1), 6.0, "r").status == "undefined"
    assert near_dice(prediction & False, reference & False, other, (1, 1, 1), 6.0, "r").status == "absent"
