import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.conftest import ball_ct, save
from volforge.cohort.phantoms.fields import oblique_grid
from volforge.config.models import Recipe, RegionRecipe, SliceRecipe
from volforge.errors import ScanError
from volforge.volume.cut import (
    AXES,
    from_stack,
    place,
    put_back,
    restore,
    slice_placement,
    stored_values,
    take,
    to_stack,
)
from volforge.volume.cut_scan import cut_scan
from volforge.volume.folders import read_json, sha256_of
from volforge.volume.geometry import Grid
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.store import SliceStore

shapes = st.tuples(*[st.integers(3, 12)] * 3)


@given(shapes, st.sampled_from(list(AXES.values())))
def test_stack_is_undone_exactly(shape, axis):
    array = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(from_stack(to_stack(array, axis), axis), array)


def test_slices_show_anterior_and_superior_up_and_the_right_side_left():
    array = np.zeros((4, 5, 6))
    array[3, 4, 5] = 1  # right, anterior, superior corner
    assert to_stack(array, 2)[5, 0, 0] == 1
    assert to_stack(array, 1)[4, 0, 0] == 1
    assert to_stack(array, 0)[3, 0, 0] == 1


@given(shapes, st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(0, 6)] * 3))
def test_copying_cut_keeps_values_and_comes_back_exactly(shape, size, start):
    rng = np.random.default_rng(0)
    array = rng.integers(1, 100, shape).astype(np.int16)
    grid = Grid(shape, np.diag([1.5, 1, 2, 1.0]))
    box = tuple(slice(s, s + 3) for s in start)
    placement = place(grid, (None,) * 3, size, box)
    assert placement.offset is not None
    cut = take(array, grid, placement, outside=0, kind="image")
    assert cut.shape == size
    back = put_back(cut, grid, placement, outside=-7, kind="image")
    inside = back != -7
    assert np.array_equal(back[inside], array[inside])
    if all(o <= 0 and o + n >= s for o, n, s in zip(placement.offset, size, shape, strict=True)):
        assert inside.all()
    # each voxel of the cut lies where it lay in the scan
    first = placement.grid.affine @ [0, 0, 0, 1]
    assert np.allclose(first, grid.affine @ [*placement.offset, 1])


@given(st.floats(0.7, 3.0))
@settings(max_examples=20, deadline=None)
def test_resampling_keeps_linear_fields_in_their_place(step):
    """A ramp along a world axis is a ramp with the same values on any grid."""
    grid = oblique_grid((24, 24, 24), (1.0, 1.2, 1.5), (0, 0, 0), (10, 5, -8))
    index = np.indices(grid.shape).reshape(3, -1)
    ramp = ((grid.affine[:3, :3] @ index + grid.affine[:3, 3:])[1] * 10).reshape(grid.shape).astype(np.float32)
    placement = place(grid, (step, step, step), (8, 8, 8), (slice(8, 16),) * 3)
    cut = take(ramp, grid, placement, outside=0, kind="image")
    index = np.indices((8, 8, 8)).reshape(3, -1)
    there = placement.grid.affine
    expected = ((there[:3, :3] @ index + there[:3, 3:])[1] * 10).reshape(8, 8, 8)
    low = placement.grid.affine @ [0, 0, 0, 1]
    if placement.offset is None and np.abs(low[:3]).max() < 8:
        assert np.abs(cut - expected)[1:-1, 1:-1, 1:-1].max() < 0.5


def test_labels_never_get_new_ids_by_resampling():
    grid = Grid((20, 20, 20), np.eye(4))
    labels = np.zeros(grid.shape, np.uint8)
    labels[5:12, 5:12, 5:12] = 200
    labels[8:14, 8:14, 8:14] = 3
    placement = place(grid, (1.7, 1.3, 0.6), (20, 20, 40), (slice(0, 20),) * 3)
    assert set(np.unique(take(labels, grid, placement, outside=0, kind="labels"))) <= {0, 3, 200}


def test_hu_are_stored_as_they_are_and_other_scales_come_back_closely():
    recipe = SliceRecipe(kind="slices")
    stored, values = stored_values(ball_ct(), None, "CT", "hu", recipe)
    assert np.array_equal(stored, ball_ct())
    assert (values["slope"], values["intercept"]) == (1.0, 0.0)
    signal = np.random.default_rng(0).gamma(2, 100, (20, 20, 20)).astype(np.float32)
    stored, values = stored_values(signal, None, "MR", "arbitrary", recipe)
    back = stored * values["slope"] + values["intercept"]
    inside = (signal > values["low"]) & (signal < values["high"])
    assert np.abs(back - signal)[inside].max() <= values["slope"]
    assert stored.min() == -32767
    assert stored.max() == 32767


def test_percentiles_are_taken_inside_the_body():
    image = np.zeros((10, 10, 10), np.float32)
    body = np.zeros(image.shape, bool)
    body[2:8, 2:8, 2:8] = True
    image[body] = np.linspace(100, 200, body.sum())
    _, values = stored_values(image, body, "MR", "arbitrary", SliceRecipe(kind="slices"))
    assert values["low"] > 99
    with pytest.raises(ScanError, match="are equal"):
        stored_values(np.ones((4, 4, 4)), None, "MR", "arbitrary", SliceRecipe(kind="slices"))


def imported(tmp_path, array=None, **kwargs):
    affine = np.array([[0, 0, 2.0, -9], [-1.5, 0, 0, 30], [0, 1.0, 0, 5], [0, 0, 0, 1]])
    path = save(tmp_path / "a.nii.gz", ball_ct() if array is None else array, affine)
    files = {"image": path}
    if "labels" in kwargs:
        files["labels"] = save(tmp_path / "l.nii.gz", kwargs["labels"], affine)
    import_scan(ScanRequest("a", "CT", "hu", files), ImportSettings(), tmp_path / "scan", record_refusal=False)
    return tmp_path / "scan"


def test_slices_of_a_scan_come_back_on_its_grid(tmp_path):
    scan = imported(tmp_path)
    recipe = TypeAdapter(Recipe).validate_python({"kind": "slices", "axis": "coronal", "size": [64, 48]})
    assert cut_scan(scan, recipe, tmp_path / "cut")
    store = SliceStore(tmp_path / "cut")
    from volforge.volume.read import read_canonical

    image, _ = read_canonical(scan / "image.nii.gz", labels=False)
    assert store["image"].shape == (image.shape[1], 64, 48)
    assert np.array_equal(restore(store["image"][:], store.geometry, kind="image"), image)
    body, _ = read_canonical(scan / "body.nii.gz", labels=True)
    assert np.array_equal(restore(store["body"][:], store.geometry, kind="mask"), body)
    index = (tmp_path / "cut" / "index.tsv").read_text().splitlines()
    kept = [line.split("\t")[3] for line in index[1:]]
    assert 0 < kept.count("1") < len(kept) == image.shape[1]
    first = store.normalised(int(kept.index("1")))
    assert first.min() >= -1
    assert first.max() <= 1


def test_index_positions_are_millimetres_along_the_axis(tmp_path):
    scan = imported(tmp_path)
    cut_scan(scan, SliceRecipe(kind="slices", axis="axial"), tmp_path / "cut")
    rows = [line.split("\t") for line in (tmp_path / "cut" / "index.tsv").read_text().splitlines()[1:]]
    positions = np.array([float(r[1]) for r in rows])
    assert np.allclose(np.diff(positions), 1.0)
    assert positions[0] == pytest.approx(5.0)


def test_blank_rules(tmp_path):
    labels = np.zeros((40, 40, 30), np.uint8)
    labels[18:22, 18:22, 14:16] = 3
    scan = imported(tmp_path, labels=labels)
    count = {}
    for required in (False, True):
        recipe = SliceRecipe(kind="slices", axis="sagittal", require_labels=required)
        cut_scan(scan, recipe, tmp_path / "cut")
        count[required] = read_json(tmp_path / "cut" / "record.json")["kept"]
    assert count[True] == 2
    assert count[False] > 10
    with pytest.raises(ScanError, match="every one of the 30 slices is blank"):
        cut_scan(scan, SliceRecipe(kind="slices", axis="sagittal", min_body_mm2=1e6), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_region_around_structures(tmp_path):
    labels = np.zeros((40, 40, 30), np.uint8)
    labels[10:20, 12:16, 8:10] = 1
    scan = imported(tmp_path, labels=labels)
    recipe = RegionRecipe(kind="region", around=["a"], margin_mm=3.0)
    cut_scan(scan, recipe, tmp_path / "cut", structures={"a": 1})
    store = SliceStore(tmp_path / "cut")
    # file axes run P, S, R with 1.5, 1, 2 mm: 10, 4, 2 voxels and margins of 2, 3, 2 on each side
    assert store["labels"].shape == (2 + 4, 10 + 4, 4 + 6)
    assert store["labels"][:].sum() == 80
    with pytest.raises(ScanError, match="nothing to cut a region around"):
        cut_scan(scan, recipe, tmp_path / "no", structures={"a": 9})


def test_region_of_a_resampled_mask_keeps_its_volume(tmp_path):
    mask = (ball_ct() > 0).astype(np.uint8)
    path = save(tmp_path / "m.nii.gz", mask, np.diag([0.7, 0.7, 0.9, 1]))
    import_scan(
        ScanRequest("m", "mask", "arbitrary", {"image": path}),
        ImportSettings(),
        tmp_path / "s",
        record_refusal=False,
    )
    recipe = RegionRecipe(kind="region", around="image", margin_mm=0, spacing_mm=[1.5, 1.5, 1.5])
    cut_scan(tmp_path / "s", recipe, tmp_path / "cut")
    store = SliceStore(tmp_path / "cut")
    volume = store["image"][:].sum() * np.prod(store.geometry["spacing_mm"])
    assert volume == pytest.approx(mask.sum() * 0.7 * 0.7 * 0.9, rel=0.03)


def test_legacy_background_needs_the_raw_image_and_stores_levels(tmp_path):
    rng = np.random.default_rng(0)
    array = np.full((80, 80, 6), -1000, np.int16)
    array[20:60, 20:60] = rng.integers(0, 200, (40, 40, 6))
    array[2:5, 2:70] = 100  # a couch of 204 pixels
    path = save(tmp_path / "a.nii.gz", array, np.diag([2, 2, 5, 1]))
    settings = ImportSettings(background="keep")
    import_scan(ScanRequest("a", "CT", "hu", {"image": path}), settings, tmp_path / "s", record_refusal=False)
    cut_scan(tmp_path / "s", SliceRecipe(kind="slices", background="legacy_threshold"), tmp_path / "cut")
    store = SliceStore(tmp_path / "cut")
    stack = store["image"][:]
    assert stack.dtype == np.uint8
    assert (stack > 0).sum() == 40 * 40 * 6
    with pytest.raises(ScanError, match="lost their unit"):
        restore(stack, store.geometry, kind="image")


def test_the_same_scan_gives_the_same_bytes(tmp_path):
    scan = imported(tmp_path)
    for name in ("one", "two"):
        cut_scan(scan, SliceRecipe(kind="slices", spacing_mm=2.3, size=[32, 32]), tmp_path / name)
    assert sha256_of(tmp_path / "one") == sha256_of(tmp_path / "two")


def test_slice_placement_is_centred_on_the_body():
    grid = Grid((100, 80, 10), np.eye(4))
    focus = np.zeros(grid.shape, bool)
    focus[10:31, 40:61] = True
    placement = slice_placement(grid, SliceRecipe(kind="slices", size=[31, 41]), focus)
    assert placement.offset == (0, 35, 0)
    assert placement.grid.shape == (41, 31, 10)


def test_bytes_of_an_array_do_not_differ_with_the_number_of_cores(tmp_path):
    code = (
        "import sys, blosc2, numpy as np, pathlib; blosc2.set_nthreads(int(sys.argv[1]));"
        "from volforge.volume.store import write_array;"
        "write_array(pathlib.Path(sys.argv[2]), np.arange(6 * 40 * 50).reshape(6, 40, 50).astype('i2'), (1, 40, 50))"
    )
    for n in (1, 2):
        subprocess.run([sys.executable, "-c", code, str(n), str(tmp_path / f"{n}.b2nd")], check=True)
    assert (tmp_path / "1.b2nd").read_bytes() == (tmp_path / "2.b2nd").read_bytes()
