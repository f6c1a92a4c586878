"""Labels and signals of scans whose slices are straightened: what a file holds is said by the caller, never guessed."""

import inspect
import json

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import ball_ct, save
from tests.volume.test_straighten import tilted
from volforge.by_hand.joints import _mask
from volforge.by_hand.measure import Pair, overlap, present_structures
from volforge.errors import VolforgeError
from volforge.metrics.segmentation import SegmentationMetrics
from volforge.volume.dicom.series import read_series
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.read import read_canonical, read_volume
from volforge.volume.resample import resample_to
from volforge.volume.restore import on_scan_grid, restore_file, write_on_source_grid
from volforge.volume.straighten import onto_planes, straighten, straighten_affine

SHAPE = (40, 36, 30)
TILT = tilted(14)


def ball(shape=SHAPE, value=4):
    return np.where(ball_ct(shape, 9) > 0, value, 0).astype(np.uint8)


def tilted_scan(folder, modality="CT", **files):
    request = ScanRequest("s", modality, "arbitrary" if modality == "mask" else "hu", files)
    import_scan(request, ImportSettings(), folder / "scan", record_refusal=False)
    return folder / "scan", json.loads((folder / "scan/record.json").read_text())


@pytest.fixture
def scan(tmp_path):
    return tilted_scan(tmp_path, image=save(tmp_path / "ct.nii.gz", ball_ct(SHAPE), TILT))


def test_a_predicted_map_holds_no_ids_between_its_own(tmp_path, scan):
    """A perfect map of {0, 4}, saved on the file's own sheared grid."""
    _, record = scan
    values = on_scan_grid(save(tmp_path / "p.nii.gz", ball(), TILT), record, labels=True)
    assert values.dtype.kind == "u"
    assert np.unique(values).tolist() == [0, 4]
    assert abs(int((values == 4).sum()) / int((ball() == 4).sum()) - 1) < 0.03


def test_a_signal_of_few_whole_numbers_is_no_label_map(tmp_path, scan):
    """Samples of an image task: between 0 and 100 there is a slope, not a step."""
    _, record = scan
    image = np.zeros(tuple(record["grid"]["shape"]), np.int16)
    image[:, image.shape[1] // 2 :] = 100
    write_on_source_grid(tmp_path / "signal.nii.gz", image, record, labels=False)
    write_on_source_grid(tmp_path / "labels.nii.gz", image, record, labels=True)
    signal, labels = (np.asanyarray(nib.load(tmp_path / f"{n}.nii.gz").dataobj) for n in ("signal", "labels"))
    assert np.unique(labels).tolist() == [0, 100]
    assert ((signal > 0) & (signal < 100)).any()


def test_measures_by_hand_of_sheared_maps_know_no_other_ids(tmp_path):
    paths = [save(tmp_path / f"{n}.nii.gz", ball(), TILT) for n in ("a", "b")]
    pair = Pair("a", *paths)
    assert present_structures([pair]) == {"mask": 4}
    dice = [m.value for m in overlap(pair, {"x": 4, "y": 2}, SegmentationMetrics((), "voxels"), None)]
    assert dice[0] == 1
    assert _mask(paths[0], None, None)[0].sum() == _mask(paths[0], "4", None)[0].sum()
    with pytest.raises(VolforgeError, match="no voxel has the id 2"):
        _mask(paths[0], "2", None)


def test_a_sheared_mask_of_0_and_255_stays_one(tmp_path):
    folder, _ = tilted_scan(tmp_path, "mask", image=save(tmp_path / "m.nii.gz", ball(value=255), TILT))
    assert np.unique(read_canonical(folder / "image.nii.gz", labels=True)[0]).tolist() == [0, 1]


def test_beyond_sheared_slices_a_map_under_a_slope_holds_background(tmp_path):
    """Ids saved as decimals with an integer header: 0 is stored as -32768, and a stored 0 means 1.5."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(ball(value=3).astype(float), TILT, header), tmp_path / "l.nii.gz")
    assert nib.load(tmp_path / "l.nii.gz").dataobj.inter == pytest.approx(1.5, abs=0.01)
    volume = read_volume(tmp_path / "l.nii.gz", labels=True)
    assert volume.grid.shape[1] > SHAPE[1]  # so that there is something beyond
    assert np.unique(volume.array).tolist() == [0, 3]


def test_restoring_asks_only_where_slices_are_resampled(tmp_path, scan):
    folder, record = scan
    labels = np.where(read_canonical(folder / "image.nii.gz", labels=False)[0] > 0, 4, 0).astype(np.uint8)
    own = save(tmp_path / "prediction.nii.gz", labels, np.array(record["grid"]["affine"]))
    with pytest.raises(VolforgeError, match="pass --labels for ids"):
        restore_file(own, folder / "record.json", tmp_path / "back.nii.gz", labels=None)
    restore_file(own, folder / "record.json", tmp_path / "back.nii.gz", labels=True)
    assert np.unique(np.asanyarray(nib.load(tmp_path / "back.nii.gz").dataobj)).tolist() == [0, 4]
    restore_file(folder / "body.nii.gz", folder / "record.json", tmp_path / "body.nii.gz", labels=None)
    assert np.unique(np.asanyarray(nib.load(tmp_path / "body.nii.gz").dataobj)).tolist() == [0, 1]


@pytest.mark.parametrize(
    "function",
    [
        read_volume, read_canonical, read_series, on_scan_grid, write_on_source_grid, restore_file,
        straighten, straighten_affine, onto_planes, resample_to,
    ],
)  # fmt: skip
def test_every_caller_says_whether_values_are_labels(function):
    said = [p for n, p in inspect.signature(function).parameters.items() if n in ("labels", "nearest")]
    assert [(p.kind, p.default) for p in said] == [(inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty)]
