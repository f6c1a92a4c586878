"""A generator over a whole scan: what goes in is what a training sees, what comes out lies on the scan's grid."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_
from hypothesis import strategies as st

from tests.tasks.translation.models import CT, MR, model_in
from volforge.errors import VolforgeError
from volforge.tasks.translation.apply import SLAB, load_generator, translated
from volforge.tasks.translation.canvas import Contrast, Source, canvas_of, channels_of
from volforge.tasks.translation.doubt import Doubt
from volforge.volume.cut_scan import cut_scan
from volforge.volume.geometry import Grid
from volforge.volume.store import SliceStore

SHAPE = (30, 26, 14)
VIEWS = ("axial", "coronal", "sagittal")


def turned_affine(spacing=(1.5, 2.0, 3.0), degrees=12.0):
    """An oblique grid."""
    a = np.radians(degrees)
    about = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    also = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about @ also @ np.diag(spacing)
    affine[:3, 3] = [-30.0, 12.5, 7.0]
    return affine


def egg(shape=SHAPE, seed=0, low=-1300, high=1700):
    """An image of whole HU beyond the window on both sides, and a body off the middle of the grid."""
    rng = np.random.default_rng(seed)
    image = np.asfortranarray(rng.integers(low, high, shape).astype(np.int16))
    place = (np.indices(shape) + 0.5) / np.array(shape)[:, None, None, None]
    body = ((place - np.array([0.55, 0.45, 0.5])[:, None, None, None]) ** 2).sum(axis=0) < 0.13
    return image, np.asfortranarray(body)


def smooth(shape=SHAPE):
    x, y, z = np.indices(shape).astype(np.float32)
    return np.asfortranarray(200 * np.sin(x / 6) + 150 * np.cos(y / 7) + 90 * np.sin(z / 5) + 300)


def contrast(image, body, affine=None, unit="hu", outside=-1024.0):
    grid = Grid(image.shape, np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine)
    return Contrast(image, grid, body, unit, outside, "s1")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [None, [16, 12], [40, 44]])
@pytest.mark.parametrize("context", [0, 2])
def test_the_identity_gives_the_window_back_bit_by_bit(tmp_path, view, size, context):
    """Crop and pad undo each other, whatever the size: no body beyond the slices becomes air."""
    folder = model_in(tmp_path / "m", source=CT, context=context, recipe={"axis": view, "size": size})
    image, body = egg()
    made, deviation = translated(load_generator(folder), [contrast(image, body, turned_affine())], slab=5)
    assert made.dtype == np.int16
    assert np.array_equal(made, np.where(body, np.clip(image, -1000, 1400), -1024))
    assert deviation is None


@settings_(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(8, 20), st.integers(8, 20), st.integers(8, 20)),
    st.lists(st.integers(8, 24), min_size=2, max_size=2),
    st.sampled_from(VIEWS),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_crop_and_pad_undo_each_other(tmp_path_factory, shape, size, view, slab, seed):
    folder = model_in(tmp_path_factory.mktemp("m") / "m", source=CT, recipe={"axis": view, "size": size})
    image, body = egg(shape, seed)
    made, _ = translated(load_generator(folder), [contrast(image, body)], slab=slab)
    assert np.array_equal(made, np.where(body, np.clip(image, -1000, 1400), -1024))


@pytest.mark.parametrize("spacing", [1.3, 2.6, 3.5])
@pytest.mark.parametrize("view", VIEWS)
def test_resampled_slices_come_back_within_interpolation(tmp_path, spacing, view):
    folder = model_in(tmp_path / "m", source=CT, recipe={"axis": view, "spacing_mm": spacing, "size": [16, 16]})
    image, body = smooth(), egg()[1]
    made, _ = translated(load_generator(folder), [contrast(image, body, turned_affine())])
    assert (made[~body] == -1024).all()
    inner = body.copy()
    inner[[0, -1]] = inner[:, [0, -1]] = False
    apart = np.abs(made.astype(float) - image)[inner]
    assert apart.mean() < 12 * (spacing / 2.0) ** 2
    assert apart.max() < 150  # no air


@pytest.mark.parametrize(("value", "hu"), [(-1.0, -1000), (1.0, 1400), (0.0, 200), (-3.0, -1000), (9.0, 1400)])
def test_ends_of_the_window_are_exact(tmp_path, value, hu):
    folder = model_in(tmp_path / "m", "Constant", value=value)
    _, body = egg()
    made, _ = translated(load_generator(folder), [contrast(smooth(), body, unit="arbitrary", outside=0.0)])
    assert (made[body] == hu).all()
    assert (made[~body] == -1024).all()


def test_mr_is_made_in_percent(tmp_path):
    folder = model_in(tmp_path / "m", "Constant", value=-0.5, source=CT, target=MR)
    image, body = egg()
    made, deviation = translated(load_generator(folder), [contrast(image, body)], doubt=Doubt(flips=True))
    assert made.dtype == np.float32
    assert np.array_equal(made, np.where(body, np.float32(25), np.float32(0)))
    assert not deviation.any()


@pytest.mark.parametrize("spacing", [None, 2.7])
@pytest.mark.parametrize("modality", ["MR", "CT"])
@pytest.mark.parametrize("view", VIEWS)
def test_the_network_sees_what_a_training_sees(tmp_path, spacing, modality, view):
    """The slices of the store, to one step of its 65534 where they are resampled; and nothing is grown in vain."""
    from tests.conftest import save
    from volforge.config.models import SliceRecipe
    from volforge.study.cases import Cohort
    from volforge.tasks.translation.predict import read_contrasts
    from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan

    image, body = egg(low=-900)
    image = np.where(body, image, -1000).astype(np.int16) + (1000 if modality == "MR" else 0)
    affine = turned_affine() @ np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])
    save(tmp_path / "s1.nii.gz", image, affine)
    save(tmp_path / "body.nii.gz", body.astype(np.uint8), affine)
    unit = "hu" if modality == "CT" else "arbitrary"
    files = {"image": tmp_path / "s1.nii.gz", "body_mask": tmp_path / "body.nii.gz"}
    import_scan(ScanRequest("s1", modality, unit, files), ImportSettings(), tmp_path / "scans/s1", record_refusal=False)
    recipe = SliceRecipe(kind="slices", axis=view, spacing_mm=spacing, size=[60, 56])
    cut_scan(tmp_path / "scans/s1", recipe, tmp_path / "cut")
    store = SliceStore(tmp_path / "cut")
    (tmp_path / "scans.tsv").write_text(f"scan\tsubject\taccepted\tmodality\ns1\tp\t1\t{modality}\n")
    (seen,) = read_contrasts(Cohort(tmp_path / "scans.tsv"), ["s1"])
    canvas = canvas_of(seen.grid, recipe, seen.body, 4)
    source = Source([seen], recipe, canvas)
    stacks = np.concatenate([source.slab(k, min(k + 3, canvas.count))[0] for k in range(0, canvas.count, 3)])
    wanted = store.normalised(slice(None))
    assert stacks.shape == wanted.shape
    assert np.allclose(canvas.placement.grid.affine, store.geometry["cut_grid"]["affine"])
    if spacing is None:
        assert np.array_equal(stacks, wanted)
    else:
        assert np.abs(stacks - wanted).max() <= (2.1 / 65534 if modality == "MR" else 2.1 / 2524)
        assert (stacks != wanted).mean() < 0.01


def test_a_canvas_grows_by_whole_pixels_of_the_recipe_about_the_body():
    from volforge.config.models import SliceRecipe
    from volforge.volume.cut import slice_placement

    grid = Grid((60, 50, 10), turned_affine())
    body = np.zeros(grid.shape, bool)
    body[5:55, 10:30, 2:8] = True
    recipe = SliceRecipe(kind="slices", spacing_mm=2.0, size=[16, 16])
    canvas = canvas_of(grid, recipe, body, 4)
    plain = slice_placement(grid, recipe, body)
    there = np.linalg.inv(plain.grid.affine) @ canvas.placement.grid.affine
    assert np.allclose(there[:3, :3], np.eye(3))
    assert np.allclose(there[:3, 3], [-12, -2, 0])  # 50 voxels of 1.5 mm are 37.5 pixels of 2 mm; 20 of 2 mm are 20
    assert canvas.placement.grid.shape == (40, 20, 10)


@pytest.mark.parametrize("slab", [1, 3, 64])
def test_slabs_change_nothing_but_memory(tmp_path, slab):
    folder = model_in(tmp_path / "m", "Small", context=1, recipe={"spacing_mm": 2.5, "size": [16, 16]})
    body = egg()[1]
    scan = [contrast(smooth(), body, turned_affine(), "arbitrary", 0.0)]
    doubt = Doubt(flips=True, jitters=2)
    whole = translated(load_generator(folder), scan, doubt=doubt, slab=SLAB)
    parts = translated(load_generator(folder), scan, doubt=doubt, slab=slab)
    # sampling positions of slabs differ in the last digits of a double: values that lie between two may round the other way
    assert np.abs(whole[0].astype(int) - parts[0]).max() <= 1
    assert np.abs(whole[1] - parts[1]).max() <= 0.125


def test_further_contrasts_are_channels_on_the_source_s_grid(tmp_path):
    """In order, each with its neighbours from below upwards; a contrast of another grid is put onto the source's."""
    body = egg()[1]
    first = contrast(smooth(), body, turned_affine(), "arbitrary", 0.0)
    second = replace(first, image=np.asfortranarray(first.image[::-1]))
    fine = np.eye(4)
    fine[:3, :3] /= 2
    fine[:3, 3] = -0.25
    shape = tuple(2 * n for n in SHAPE)
    grid = Grid(shape, turned_affine() @ fine)
    image, mask = (np.asfortranarray(v.repeat(2, 0).repeat(2, 1).repeat(2, 2)) for v in (second.image, body))
    third = Contrast(image, grid, mask, "arbitrary", 0.0)
    found = {}
    for number in (0, 1, 2, 4, 7):
        folder = model_in(tmp_path / f"m{number}", "Channel", number=number, also=["water", "fat"], context=1)
        found[number] = translated(load_generator(folder), [first, second, third])[0]
    plain = [
        translated(load_generator(model_in(tmp_path / f"p{k}", "Same")), [c])[0] for k, c in enumerate((first, second))
    ]
    assert np.array_equal(found[1], plain[0])
    assert np.array_equal(found[4], plain[1])
    below = np.where(body, np.concatenate([found[1][:, :, :1], found[1][:, :, :-1]], axis=2), -1024)
    inner = body & np.roll(body, 1, axis=2)
    assert np.array_equal(found[0][inner], below[inner])
    assert np.array_equal(found[2][:, :, :-1][inner[:, :, 1:]], found[1][:, :, 1:][inner[:, :, 1:]])
    middle = body.copy()
    middle[[0, -1]] = middle[:, [0, -1]] = middle[:, :, [0, -1]] = False
    apart = np.abs(found[7].astype(int) - found[4])[middle]
    assert np.median(apart) < 40
    assert apart.max() < 200
    with pytest.raises(VolforgeError, match=r"2 contrasts for a model of 3 \(source, water, fat\)"):
        translated(load_generator(folder), [first, second])


def test_neighbours_beyond_the_ends_are_the_last_slice():
    stacks = np.arange(2 * 5, dtype=np.float32).reshape(2, 5, 1, 1)
    padded = np.pad(stacks, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
    seen = channels_of(padded, 1)
    assert seen.shape == (5, 6, 1, 1)
    assert seen[0, :, 0, 0].tolist() == [0, 0, 1, 5, 5, 6]
    assert seen[4, :, 0, 0].tolist() == [3, 4, 4, 8, 9, 9]


def test_a_scan_without_a_body_mask_is_translated_whole(tmp_path):
    folder = model_in(tmp_path / "m", source=CT, recipe={"size": [12, 12]})
    image, _ = egg()
    made, _ = translated(load_generator(folder), [contrast(image, None)])
    assert np.array_equal(made, np.clip(image, -1000, 1400))


@pytest.mark.parametrize(
    ("shape", "view"), [((7, 30, 30), "axial"), ((30, 30, 5), "coronal"), ((30, 30, 1), "sagittal")]
)
def test_scans_smaller_than_eight_pixels_are_refused(tmp_path, shape, view):
    folder = model_in(tmp_path / "m", recipe={"axis": view, "size": [16, 16]})
    scan = contrast(np.ones(shape, np.float32), np.ones(shape, bool), unit="arbitrary")
    scan.image[0, 0, 0] = 3
    with pytest.raises(VolforgeError, match="fewer than 8 pixels") as error:
        translated(load_generator(folder), [scan])
    assert error.value.where == "s1"


def test_one_slice_is_translated(tmp_path):
    folder = model_in(tmp_path / "m", source=CT, context=2)
    image, body = egg((20, 20, 1))
    made, _ = translated(load_generator(folder), [contrast(image, body)])
    assert np.array_equal(made, np.where(body, np.clip(image, -1000, 1400), -1024))


def test_what_cannot_be_translated_is_refused(tmp_path):
    image, body = egg()
    generator = load_generator(model_in(tmp_path / "m", source=CT))
    with pytest.raises(VolforgeError, match="body mask is empty"):
        translated(generator, [contrast(image, np.zeros_like(body))])
    with pytest.raises(VolforgeError, match="no doubt"):
        translated(generator, [contrast(image, body)], doubt=Doubt(jitters=1))
    stretched = model_in(tmp_path / "l", source=CT, recipe={"background": "legacy_threshold"})
    with pytest.raises(VolforgeError, match="stretched one by one"):
        translated(load_generator(stretched), [contrast(image, body)])
    broken = load_generator(model_in(tmp_path / "b", "Constant"))
    broken.network.value.data[:] = float("nan")
    with pytest.raises(VolforgeError, match="not finite"):
        translated(broken, [contrast(smooth(), body, unit="arbitrary")])
    flat = contrast(np.ones(SHAPE, np.float32), body, unit="arbitrary")
    with pytest.raises(VolforgeError, match="percentiles inside the body are equal"):
        translated(load_generator(model_in(tmp_path / "n")), [flat])


def test_folders_that_hold_no_generator_are_refused(tmp_path):
    from volforge.volume.folders import read_json, write_json

    folder = model_in(tmp_path / "m")
    about = read_json(folder / "model.json")
    write_json(folder / "model.json", about | {"kind": "shape_extractor"})
    with pytest.raises(VolforgeError, match="translates nothing"):
        load_generator(folder)
    write_json(folder / "model.json", about | {"also": ["fat"], "network": {**about["network"], "name": "nothing"}})
    with pytest.raises(VolforgeError, match="no network"):
        load_generator(folder)
    write_json(folder / "model.json", about | {"sha256": "0"})
    with pytest.raises(VolforgeError, match="not those that model"):
        load_generator(folder)
    write_json(folder / "model.json", {k: v for k, v in about.items() if k != "recipe_settings"})
    with pytest.raises(VolforgeError, match="not the description of a model of translation"):
        load_generator(folder)


def test_memory_is_that_of_a_slab(tmp_path):
    """Beside the volumes of two bytes that come and go, the peak does not grow with the number of slices."""
    generator = load_generator(model_in(tmp_path / "m", context=1))

    def peak(slices):
        shape = (96, 88, slices)
        image = np.asfortranarray(np.random.default_rng(0).integers(0, 900, shape).astype(np.int16))
        scan = contrast(image, np.ones(shape, bool), unit="arbitrary", outside=0.0)
        tracemalloc.start()
        made, _ = translated(generator, [scan], slab=4)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert made.shape == shape
        return found

    peak(8)
    few, many = peak(32), peak(160)
    voxels = 96 * 88 * (160 - 32)
    assert (many - few) / voxels < 5.2  # the volume that is made, and for a moment a copy of it and a mask
    assert generator.network.largest <= 3 * 4 * 96 * 88


def test_progress_is_told_slice_by_slice(tmp_path, capsys):
    from volforge.tasks.translation.progress import Progress

    image, body = egg()
    told = []
    generator = load_generator(model_in(tmp_path / "m", source=CT))
    translated(generator, [contrast(image, body)], slab=4, say=lambda done, total, found: told.append((done, total)))
    assert told == [(4, 14), (8, 14), (12, 14), (14, 14)]
    translated(generator, [contrast(image, body)], slab=4, say=Progress("s1 (axial)", seconds=0.0))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("s1 (axial): slice 4 of 14, ")
    assert lines[-1].endswith("0:00:00 left")


def test_slabs_that_were_found_finished_do_not_make_slices_fast(capsys, monkeypatch):
    from volforge.tasks.translation import progress

    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    tell = progress.Progress("s1 (axial)", seconds=0.0)
    for done in range(8, 201, 8):  # half of the volume was kept: reading it takes no time
        now[0] += 0.01
        tell(done, 400, found=True)
    assert not capsys.readouterr().err
    now[0] += 20.0
    tell(208, 400)
    assert "slice 208 of 400, 2.50 s a slice, 0:08:00 left" in capsys.readouterr().err
