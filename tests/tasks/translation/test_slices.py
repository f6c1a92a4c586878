"""Slices as the training of translation reads them: neighbours, contrasts, partners, heights."""

import numpy as np
import pytest

from tests.conftest import save
from tests.study.cohorts import AFFINE, imported
from tests.tasks.translation.made import RECIPE, head
from volforge.errors import VolforgeError
from volforge.study.cases import Cohort
from volforge.tasks.translation.slices import SliceSet, put_beside
from volforge.volume.cut_scan import cut_scan
from volforge.volume.store import SliceStore


@pytest.fixture(scope="module")
def folder(heads):
    return heads.parent / "recipes" / "slices"


def rows_of(heads, *scans):
    return [r for r in Cohort(heads).rows if r["scan"] in scans]


def test_an_item_is_what_the_store_holds(heads, folder):
    found = SliceSet(folder, rows_of(heads, "s3-ct", "s4-ct"))
    store = SliceStore(folder / "s4-ct")
    at = next(k for k, p in enumerate(found.places) if p.scan == "s4-ct" and p.number == 5)
    item = found.item(at)
    assert set(item) == {"image", "body"}
    np.testing.assert_array_equal(item["image"], store.normalised(slice(5, 6)))
    np.testing.assert_array_equal(item["body"], store["body"][5:6] > 0)
    assert found.size == (16, 16)
    assert (found.pixel_mm, found.between_of(at)) == (pytest.approx(3), pytest.approx(2))
    assert found.subjects == ["p3", "p4"]


def test_neighbours_stand_from_below_and_the_last_one_is_repeated(heads, folder):
    found = SliceSet(folder, rows_of(heads, "s3-ct"), context=2)
    store = SliceStore(folder / "s3-ct").normalised(slice(None))
    first, last = found.item(0), found.item(len(found) - 1)
    a, b = found.places[0].number, found.places[-1].number
    np.testing.assert_array_equal(first["image"], store[[max(0, a + d) for d in range(-2, 3)]])
    np.testing.assert_array_equal(last["image"], store[[min(len(store) - 1, b + d) for d in range(-2, 3)]])
    assert first["body"].shape == (5, 16, 16)


def test_a_partner_of_the_same_grid_is_what_its_own_cut_would_be_there(heads, folder):
    cohort = Cohort(heads)
    mr, ct = rows_of(heads, "s9-mr")[0], rows_of(heads, "s9-ct")[0]
    partner = put_beside(cohort, RECIPE, folder, "s9-mr", ct)
    found = SliceSet(folder, [mr], partners={"s9-mr": partner})
    own = SliceStore(folder / "s9-ct")
    assert own.geometry["cut_grid"] == SliceStore(folder / "s9-mr").geometry["cut_grid"]
    for k, place in enumerate(found.places):
        np.testing.assert_array_equal(found.item(k)["target"], own.normalised([place.number]))


def test_a_scan_of_another_grid_is_put_onto_the_slices(tmp_path):
    fine = AFFINE @ np.diag([0.5, 0.5, 1, 1])
    fine[:3, 3] -= AFFINE[:3, :3] @ [0.25, 0.25, 0]  # the same field of view in pixels of half the size
    lines = ["subject\tscan\tmodality\tunit\tframe\tcontrast\timage"]
    image = head(14, 1, "MR")
    save(tmp_path / "a.nii.gz", image, AFFINE)
    save(tmp_path / "b.nii.gz", np.kron(image, np.ones((2, 2, 1), np.int16)), fine)
    lines += [f"p\t{s}\tMR\tarbitrary\tf\t{s}\t{s}.nii.gz" for s in "ab"]
    scans = imported(tmp_path, lines, {})
    cohort, folder = Cohort(scans), scans.parent / "recipes" / "slices"
    cut_scan(cohort.folder / "a", RECIPE, folder / "a")
    beside = put_beside(cohort, RECIPE, folder, "a", cohort.rows[1])
    found = SliceSet(folder, cohort.rows[:1], context=1, beside={"a": [beside]})
    item = found.item(4)
    assert item["image"].shape == (6, 16, 16)
    inside = item["body"][1] > 0
    alike = np.corrcoef(item["image"][1][inside], item["image"][4][inside])[0, 1]
    assert alike > 0.97  # each in the window of its own body
    assert found.fingerprint() != SliceSet(folder, cohort.rows[:1], context=1).fingerprint()


def test_heights_run_from_0_to_1_and_near_ones_are_found(heads, folder):
    found = SliceSet(folder, rows_of(heads, "s3-ct", "s4-ct"))
    heights = [p.height for p in found.places if p.scan == "s3-ct"]
    assert heights[0] == 0
    assert heights[-1] == 1
    assert heights == sorted(heights)
    near = found.near(0.5, 0.1)
    assert all(abs(found.places[k].height - 0.5) <= 0.1 for k in near)
    assert {found.places[k].scan for k in near} == {"s3-ct", "s4-ct"}
    assert len(found.near(0.49, 0.0)) >= 1  # the nearest, where there is none within


def test_every_scan_is_drawn_alike_often_or_every_slice(heads, folder):
    found = SliceSet(folder, rows_of(heads, "s3-ct", "s4-ct"))
    few = np.flatnonzero(found.numbers == 0)[:1].tolist() + np.flatnonzero(found.numbers == 1).tolist()
    rng = np.random.default_rng(0)
    scans = [found.places[found.draw_of(rng, np.asarray(few))].scan for _ in range(400)]
    assert 0.42 < scans.count("s3-ct") / 400 < 0.58  # of which one slice is in the draw
    assert {found.places[found.draw(rng, "scans")].scan for _ in range(40)} == {"s3-ct", "s4-ct"}
    slices = [found.draw(rng, "slices") for _ in range(600)]
    assert set(slices) == set(range(len(found)))


def test_nothing_to_read_is_said(heads, folder, tmp_path):
    with pytest.raises(VolforgeError, match="no scan has slices of this recipe"):
        SliceSet(tmp_path, rows_of(heads, "s3-ct"))
