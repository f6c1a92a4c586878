"""One scan translated by hand, whatever its format and orientation."""

import json
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from tests.conftest import save
from tests.dicom.files import phantom, write_series
from tests.tasks.translation.models import CT, MR, model_in
from tests.tasks.translation.test_apply import turned_affine
from volforge import cli
from volforge.errors import ScanError, VolforgeError
from volforge.tasks.translation.by_hand import predict_translation
from volforge.tasks.translation.views import Views
from volforge.volume.folders import read_json
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

SHAPE = (40, 36, 20)
OBLIQUE = (0.9961946981, 0.0, -0.0871557427, 0.015134436, 0.9848077530, 0.1729873939)
TURNS = {
    "RAS": np.eye(4),
    "LPS": np.diag([-1.0, -1, 1, 1]),
    "SAL": np.array([[0, 0, -1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]),
    "oblique": turned_affine((1, 1, 1)),
}


def head(seed=0):
    """An MR of an egg in noise."""
    inside = phantom(SHAPE) > -500
    rng = np.random.default_rng(seed)
    grey = np.where(inside, 300 + 8 * np.indices(SHAPE)[0] + rng.integers(0, 40, SHAPE), rng.integers(0, 9, SHAPE))
    return grey.astype(np.int16), inside


def expected(grey, inside):
    """What the identity makes of it."""
    low, high = np.percentile(grey[inside], [0.5, 99.5])
    share = np.clip((grey - low) / (high - low), 0, 1)
    return np.where(inside, -1000 + 2400 * share, -1024)


@pytest.mark.parametrize("turn", TURNS)
def test_the_image_lies_on_the_grid_of_the_file(tmp_path, turn):
    grey, inside = head()
    affine = TURNS[turn] @ np.diag([2.0, 2.5, 3.0, 1.0])
    scan = save(tmp_path / "mr.nii.gz", grey, affine)
    mask = save(tmp_path / "body.nii.gz", inside.astype(np.uint8), affine)
    folder = model_in(tmp_path / "m", recipe={"axis": "coronal", "size": [12, 12]})
    out = tmp_path / "ct.nii.gz"
    predict_translation(scan, [folder], out, "CT", "", body_mask=mask)
    made = nib.load(out)
    values = np.asarray(made.dataobj)
    assert values.dtype == np.int16
    assert np.array_equal(made.affine, nib.load(scan).affine)
    assert np.abs(values - expected(grey, inside)).max() <= 0.6
    assert bytes(made.header["descrip"]).rstrip(b"\0") == b"synthetic image by volforge, not for clinical use"
    about = read_json(tmp_path / "ct.json")
    assert (about["window"], about["outside_of_body"], about["unit"]) == ([-1000.0, 1400.0], -1024.0, "hu")
    assert "not for clinical use" in about["note"]
    assert about["sources"][0]["name"] == "mr.nii.gz"
    assert about["models"][0]["step"] == 7
    assert np.allclose(about["source_grid"]["affine"], affine)
    first = out.read_bytes(), (tmp_path / "ct.json").read_bytes()
    predict_translation(scan, [folder], out, "MR", "arbitrary", body_mask=mask)
    assert (out.read_bytes(), (tmp_path / "ct.json").read_bytes()) == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["body.nii.gz", "ct.json", "ct.nii.gz", "m", "mr.nii.gz"]


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd"])
def test_formats_of_itk(tmp_path, ending):
    grey, inside = head()
    for name, values in ((f"mr{ending}", grey), (f"body{ending}", inside.astype(np.uint8))):
        image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
        image.SetSpacing((2.0, 2.5, 3.0))
        image.SetOrigin((5.0, -7.0, 11.0))
        sitk.WriteImage(image, str(tmp_path / name))
    predict_translation(
        tmp_path / f"mr{ending}", [model_in(tmp_path / "m")], tmp_path / "ct.nii.gz", "MR", "",
        body_mask=tmp_path / f"body{ending}",
    )  # fmt: skip
    made = nib.load(tmp_path / "ct.nii.gz")
    assert np.abs(np.asarray(made.dataobj) - expected(grey, inside)).max() <= 0.6
    assert np.allclose(made.affine, read_volume(tmp_path / f"mr{ending}", labels=False).grid.affine)


def test_a_body_is_found_where_no_mask_is_given(tmp_path):
    grey, inside = head()
    scan = save(tmp_path / "mr.nii.gz", grey, np.diag([2.0, 2.5, 3.0, 1.0]))
    predict_translation(scan, [model_in(tmp_path / "m")], tmp_path / "ct.nii.gz", "MR", "")
    found = np.asarray(nib.load(tmp_path / "ct.nii.gz").dataobj) > -1024
    assert 2 * (found & inside).sum() / (found.sum() + inside.sum()) > 0.97
    assert read_json(tmp_path / "ct.json")["sources"][0]["body"]["from"] == "image"


@pytest.mark.parametrize("tilt", [0.0, 1.5])
def test_a_dicom_series_gives_a_ct_series(tmp_path, tilt):
    """Also where slices were shifted against each other, and had to be straightened on the way."""
    grey, inside = head()
    step = 3 * np.cross(OBLIQUE[:3], OBLIQUE[3:]) + tilt * np.array(OBLIQUE[:3])
    write_series(tmp_path / "mr", grey, modality="MR", orientation=OBLIQUE, step=tuple(step))
    series = read_volume(tmp_path / "mr", labels=False)
    assert (series.planes is not None) == bool(tilt)
    predict_translation(
        tmp_path / "mr", [model_in(tmp_path / "m")], tmp_path / "ct.nii.gz", "MR", "", dicom=tmp_path / "ct"
    )
    volume = nib.load(tmp_path / "ct.nii.gz")
    back = read_volume(tmp_path / "ct", labels=False)
    assert (back.modality, back.frame_uid) == ("CT", series.frame_uid)
    assert np.array_equal(back.grid.affine, series.grid.affine)
    if tilt:
        values = scaled(back).astype(int)
        middle = (slice(8, -8), slice(8, -8), slice(4, -4))
        assert values.shape == volume.shape
        assert np.abs(values - np.asarray(volume.dataobj))[middle].mean() < 40  # interpolated twice more
    else:
        assert np.array_equal(scaled(back), np.asarray(volume.dataobj))
        assert np.allclose(volume.affine, series.grid.affine, atol=1e-5)
    text = (tmp_path / "ct.json").read_text()
    assert "Secret" not in text
    assert "MRN-4711" not in text


def test_what_forbids_a_ct_series_is_said_before_the_work(tmp_path, monkeypatch):
    """A folder of others' files, a series without a frame of reference: an hour's translation is not lost to them."""

    def too_late(*_, **__):
        raise AssertionError("the scan was translated first")

    monkeypatch.setattr(Views, "__call__", too_late)
    grey, _ = head()
    step = tuple(3 * np.cross(OBLIQUE[:3], OBLIQUE[3:]))
    write_series(tmp_path / "mr", grey, modality="MR", orientation=OBLIQUE, step=step)
    write_series(tmp_path / "bare", grey, modality="MR", orientation=OBLIQUE, step=step, FrameOfReferenceUID=None)
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct/mine.txt").write_text("")
    weights, out = [model_in(tmp_path / "m")], tmp_path / "ct.nii.gz"
    with pytest.raises(VolforgeError, match="files that volforge did not make"):
        predict_translation(tmp_path / "mr", weights, out, "MR", "", dicom=tmp_path / "ct")
    with pytest.raises(VolforgeError, match="lacks FrameOfReferenceUID"):
        predict_translation(tmp_path / "bare", weights, out, "MR", "", dicom=tmp_path / "new")
    assert not out.exists()


def test_views_flips_and_deviation(tmp_path):
    grey, inside = head()
    affine = np.diag([2.0, 2.5, 3.0, 1.0])
    scan = save(tmp_path / "mr.nii.gz", grey, affine)
    mask = save(tmp_path / "body.nii.gz", inside.astype(np.uint8), affine)
    made = [model_in(tmp_path / a, "Small", seed=k, recipe={"axis": a}) for k, a in enumerate(("axial", "sagittal"))]
    options = {"body_mask": mask, "flips": "x", "deviation": tmp_path / "sd.nii.gz", "fuse": "mean"}
    predict_translation(scan, made, tmp_path / "ct.nii.gz", "MR", "", **options)
    deviation = np.asarray(nib.load(tmp_path / "sd.nii.gz").dataobj)
    assert deviation[inside].mean() > 1
    assert (deviation[~inside] == 0).all()
    about = read_json(tmp_path / "ct.json")
    assert (about["fuse"], about["flips"], about["deviation"]) == ("mean", ["x"], {"flips": True, "jitters": 4})
    assert [m["view"] for m in about["models"]] == ["axial", "sagittal"]


def test_a_deviation_does_not_change_the_image(tmp_path):
    grey, inside = head()
    scan = save(tmp_path / "mr.nii.gz", grey, np.diag([2.0, 2.5, 3.0, 1.0]))
    made = [model_in(tmp_path / "m", "Small", seed=3)]
    predict_translation(scan, made, tmp_path / "plain.nii.gz", "MR", "")
    predict_translation(scan, made, tmp_path / "ct.nii.gz", "MR", "", deviation=tmp_path / "sd.nii.gz")
    plain, doubted = (np.asarray(nib.load(tmp_path / f"{n}.nii.gz").dataobj) for n in ("plain", "ct"))
    assert np.array_equal(plain, doubted)
    assert np.asarray(nib.load(tmp_path / "sd.nii.gz").dataobj).max() > 1


def test_no_file_is_written_over_an_input_or_another_output(tmp_path):
    grey, inside = head()
    affine = np.diag([2.0, 2.5, 3.0, 1.0])
    scan = save(tmp_path / "mr.nii.gz", grey, affine)
    mask = save(tmp_path / "body.nii.gz", inside.astype(np.uint8), affine)
    out, made = tmp_path / "ct.nii.gz", [model_in(tmp_path / "m")]
    before = scan.read_bytes(), mask.read_bytes()
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "side.json").write_text('{"EchoTime": 0.003}')
    (tmp_path / "file").write_text("")
    for target, more, wrong in (
        (scan, {}, "--out would be written over --image"),
        (mask, {"body_mask": mask}, "--out would be written over --body-mask"),
        (out, {"deviation": out}, "--deviation would be written over --out"),
        (out, {"deviation": tmp_path / "m" / ".." / "mr.nii.gz"}, "--deviation would be written over --image"),
        (tmp_path / "folder.nii.gz", {}, "it is a folder"),
        (out, {"deviation": tmp_path / "file" / "sd.nii.gz"}, "is a file, not a folder"),
        (tmp_path / "side.nii.gz", {}, "no record of an image"),
    ):
        with pytest.raises(VolforgeError, match=wrong):
            predict_translation(scan, made, target, "MR", "", **more)
    assert (scan.read_bytes(), mask.read_bytes()) == before
    assert (tmp_path / "side.json").read_text() == '{"EchoTime": 0.003}'
    assert not out.exists()


def test_models_of_cohorts_that_were_imported_otherwise_are_not_joined(tmp_path):
    made = [model_in(tmp_path / a, seed=k, recipe={"axis": a}) for k, a in enumerate(("axial", "sagittal"))]
    about = read_json(made[1] / "model.json")
    (made[1] / "model.json").write_text(json.dumps({**about, "import": {"background": "air", "body_mask": {"mm": 9}}}))
    with pytest.raises(VolforgeError, match="imported in another way"):
        Views.load({"a": made[0], "b": made[1]})


def test_a_mask_serves_a_contrast_on_another_grid(tmp_path):
    grey, inside = head()
    scan = save(tmp_path / "mr.nii.gz", grey, np.diag([2.0, 2.5, 3.0, 1.0]))
    other = save(tmp_path / "t2.nii.gz", grey[::2], np.diag([4.0, 2.5, 3.0, 1.0]))
    mask = save(tmp_path / "body.nii.gz", inside.astype(np.uint8), np.diag([2.0, 2.5, 3.0, 1.0]))
    folder = model_in(tmp_path / "m", also=["T2"])
    predict_translation(scan, [folder], tmp_path / "ct.nii.gz", "MR", "", also={"T2": other}, body_mask=mask)
    assert (np.asarray(nib.load(tmp_path / "ct.nii.gz").dataobj)[~inside] == -1024).all()


@pytest.fixture
def call(monkeypatch):
    """Runs the command line, and returns its exit code."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["volforge", *map(str, words)])
        with pytest.raises(SystemExit) as done:
            cli.main()
        return done.value.code or 0

    return run


def test_options_of_a_study_or_of_other_models_are_refused(tmp_path, call, capsys):
    grey, _ = head()
    scan = save(tmp_path / "mr.nii.gz", grey, np.diag([2.0, 2.5, 3.0, 1.0]))
    words = ["model", "predict", "--image", scan, "--weights", model_in(tmp_path / "m"), "--out", tmp_path / "o.nii.gz"]
    for more, wrong in (
        (("--overlap", "0.9"), "--overlap is for other models"),
        (("--fold", "3", "--labels", tmp_path), "--fold and --labels of a study, and --image by hand"),
    ):
        assert call(*words, *more) != 0
        assert wrong in capsys.readouterr().err
    assert call("model", "export", "--weights", tmp_path / "m", "--out", tmp_path / "bundle") != 0
    assert "models of translation are not exported" in capsys.readouterr().err


def test_further_contrasts_by_name(tmp_path):
    grey, inside = head()
    water, _ = head(1)
    affine = np.diag([2.0, 2.5, 3.0, 1.0])
    scan, other = save(tmp_path / "ip.nii.gz", grey, affine), save(tmp_path / "w.nii.gz", water[::-1].copy(), affine)
    mask = save(tmp_path / "body.nii.gz", np.ones(SHAPE, np.uint8), affine)
    folder = model_in(tmp_path / "m", "Channel", number=1, also=["water"])
    predict_translation(scan, [folder], tmp_path / "ct.nii.gz", "MR", "", also={"water": other}, body_mask=mask)
    predict_translation(other, [model_in(tmp_path / "n")], tmp_path / "w_ct.nii.gz", "MR", "", body_mask=mask)
    one, two = (np.asarray(nib.load(tmp_path / n).dataobj) for n in ("ct.nii.gz", "w_ct.nii.gz"))
    assert np.array_equal(one, two)
    assert inside.any()
    with pytest.raises(VolforgeError, match="reads water beside the image") as error:
        predict_translation(scan, [folder], tmp_path / "x.nii.gz", "MR", "")
    assert "--also water=FILE" in error.value.remedy


def test_a_killed_translation_goes_on(tmp_path, monkeypatch):
    from volforge.tasks.translation import apply, views

    monkeypatch.setattr(views, "LARGE", 0)
    scan = save(tmp_path / "mr.nii.gz", head()[0], np.diag([2.0, 2.5, 3.0, 1.0]))
    folder = model_in(tmp_path / "m", "Small")
    predict_translation(scan, [folder], tmp_path / "whole.nii.gz", "MR", "")
    plain, calls = apply._passed, []

    def killed(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments)

    monkeypatch.setattr(apply, "_passed", killed)
    with pytest.raises(KeyboardInterrupt):
        predict_translation(scan, [folder], tmp_path / "ct.nii.gz", "MR", "")
    predict_translation(scan, [folder], tmp_path / "ct.nii.gz", "MR", "")
    assert len(calls) == 4  # three slabs: one before it was killed, two behind
    assert (tmp_path / "ct.nii.gz").read_bytes() == (tmp_path / "whole.nii.gz").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_what_does_not_fit_is_refused(tmp_path):
    grey, inside = head()
    scan = save(tmp_path / "mr.nii.gz", grey, np.diag([2.0, 2.5, 3.0, 1.0]))
    folder, out = model_in(tmp_path / "m"), tmp_path / "ct.nii.gz"
    wrong = [
        ({"out": tmp_path / "ct.mha"}, "written as .nii.gz"),
        ({"modality": "CBCT"}, "the model reads MR"),
        ({"unit": "grey"}, "unknown unit"),
        ({"confidence": out}, "no confidence"),
        ({"flips": "w"}, "no axes"),
        ({"fuse": "best"}, "no way 'best'"),
        ({"also": {"fat": scan}}, "no further contrast"),
        ({"dicom": tmp_path / "ct"}, "the image is none"),
    ]
    for options, message in wrong:
        given = {"image": scan, "weights": [folder], "out": out, "modality": "MR", "unit": ""} | options
        with pytest.raises(VolforgeError, match=message):
            predict_translation(**given)
    back = model_in(tmp_path / "n", source=CT, target=MR)
    with pytest.raises(VolforgeError, match="only HU"):
        predict_translation(scan, [back], out, "CT", "", dicom=tmp_path / "ct")
    tiny = save(tmp_path / "tiny.nii.gz", grey[18:23], np.diag([2.0, 2.5, 3.0, 1.0]))
    with pytest.raises(VolforgeError, match="fewer than 8 pixels"):
        predict_translation(tiny, [folder], out, "MR", "")
    empty = save(tmp_path / "empty.nii.gz", np.zeros(SHAPE, np.int16), np.eye(4))
    with pytest.raises(ScanError, match="the image is empty"):
        predict_translation(empty, [folder], out, "MR", "")
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))
    assert inside.any()


def test_the_command_line_finds_it(tmp_path, call, capsys):
    grey, _ = head()
    scan = save(tmp_path / "mr.nii.gz", grey, np.diag([2.0, 2.5, 3.0, 1.0]))
    folder = model_in(tmp_path / "m")
    words = ["model", "predict", "--image", scan, "--weights", folder, "--out", tmp_path / "ct.nii.gz"]
    assert call(*words, "--modality", "MR", "--flips", "x", "--deviation", tmp_path / "sd.nii.gz") == 0
    assert (tmp_path / "ct.nii.gz").exists()
    assert (tmp_path / "sd.nii.gz").exists()
    assert call(*words, "--window", "8,8,8", "--keep", "a=1") == 1
    assert "--window and --keep are for other models than this one" in capsys.readouterr().err
