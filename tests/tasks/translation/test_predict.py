"""An arm of models over the cases of a fold: files, views, doubt, and work that is found again."""

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.conftest import save
from tests.study.cohorts import arm, imported, predict
from tests.tasks.translation.models import CT, MR, model_in
from volforge.config.training import Inference
from volforge.errors import VolforgeError
from volforge.study.predictions import read_predictions
from volforge.tasks.translation import apply, views
from volforge.volume.folders import read_json

SHAPE = (24, 28, 18)
AFFINE = np.array([[0, -2.2, 0, 5], [2.5, 0, 0, -7], [0, 0, -3.0, 30], [0, 0, 0, 1]])
PLAIN = Inference().model_dump() | {"threads": 1}
VIEWS = ("axial", "coronal", "sagittal")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Three heads with two contrasts of MR and a CT each, on an axis order that is not RAS; the first one trains."""
    folder = tmp_path_factory.mktemp("cohort")
    lines = ["subject\tscan\tmodality\tcontrast\tframe\timage\tbody_mask\tsplit"]
    place = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    far = np.sqrt((place**2).sum(axis=0))
    for i in range(3):
        body = far < 7 + i
        save(folder / f"b{i}.nii.gz", body.astype(np.uint8), AFFINE)
        rng = np.random.default_rng(i)
        grey = np.where(body, 100 + 20 * far + rng.integers(0, 9, SHAPE), rng.integers(0, 5, SHAPE)).astype(np.int16)
        hu = np.where(body, np.where(far > 5, 700, 40), -1000).astype(np.int16)
        for name, contrast, values in (("m", "t1", grey), ("w", "water", grey[::-1]), ("c", "", hu)):
            save(folder / f"{name}{i}.nii.gz", np.ascontiguousarray(values), AFFINE)
            modality = "CT" if name == "c" else "MR"
            split = "train" if i == 0 else "test"
            lines.append(f"p{i}\t{name}{i}\t{modality}\t{contrast}\tf{i}\t{name}{i}.nii.gz\tb{i}.nii.gz\t{split}")
    return imported(folder, lines, {})


def own_arm(folder, **more):
    content = {"source": MR | {"contrast": "t1"}, "target": CT, "inference": PLAIN, "fuse": "median", "doubt": None}
    return arm(folder, task="translation", structures=[], baseline=None, **(content | more))


def models(folder, axes=VIEWS, network="Small", **more):
    source = {"modality": "MR", "contrast": "t1"}
    return {
        a: model_in(folder / a, network, seed=k, **({"source": source, "recipe": {"axis": a, "size": [12, 12]}} | more))
        for k, a in enumerate(axes)
    }


def content_of(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "cost.json"}


def test_one_model_over_all_cases(scans, tmp_path):
    made = models(tmp_path / "m", ["axial"])
    assert predict(own_arm(tmp_path), scans, 0, tmp_path / "out", models=made) == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        ".volforge", "cost.json", "m1.nii.gz", "m1.raw.nii.gz", "m2.nii.gz", "m2.raw.nii.gz", "predictions.tsv", "views.tsv",
    ]  # fmt: skip
    source = nib.load(scans.parents[3] / "m1.nii.gz")
    image = nib.load(tmp_path / "out/m1.nii.gz")
    assert np.allclose(image.affine, source.affine)
    assert image.shape == source.shape
    values = np.asarray(image.dataobj)
    assert values.dtype == np.int16
    body = np.asarray(nib.load(scans.parents[3] / "b1.nii.gz").dataobj) > 0
    assert (values[~body] == -1024).all()
    assert values[body].min() >= -1000
    assert values[body].max() <= 1400
    assert values[body].std() > 1
    assert "not for clinical use" in bytes(image.header["descrip"]).decode()
    (first, second) = read_predictions(tmp_path / "out")
    assert (first.scan, first.reference, first.deviation, second.scan) == ("m1", "c1", "", "m2")
    cost = read_json(tmp_path / "out/cost.json")
    assert (cost["cases"], cost["device"]) == (2, "CPU")


def test_views_are_joined_and_kept_beside(scans, tmp_path):
    made = models(tmp_path / "m")
    own = own_arm(tmp_path, doubt={"flips": True, "jitters": 1})
    predict(own, scans, 0, tmp_path / "out", models=made)
    with (tmp_path / "out/views.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(r["scan"], r["view"], r["file"]) for r in rows[:3]] == [
        ("m1", v, f"m1.{v}.nii.gz") for v in VIEWS
    ]  # fmt: skip
    assert len({r["weights_sha256"] for r in rows}) == 3
    assert {r["step"] for r in rows} == {"7"}
    each = np.stack([np.asarray(nib.load(tmp_path / f"out/m1.{v}.nii.gz").dataobj) for v in VIEWS])
    joined = np.asarray(nib.load(tmp_path / "out/m1.nii.gz").dataobj)
    assert np.array_equal(joined, np.median(each, axis=0))
    assert len(np.unique(each.reshape(3, -1), axis=0)) == 3
    (first, _) = read_predictions(tmp_path / "out")
    assert first.deviation == "m1.deviation.nii.gz"
    deviation = np.asarray(nib.load(tmp_path / "out" / first.deviation).dataobj)
    between = each.std(axis=0, ddof=1)
    assert deviation.dtype == np.float32
    assert (deviation >= between - 0.1).all()
    assert (deviation[joined == -1024] == 0).all()
    predict(own_arm(tmp_path, fuse="mean"), scans, 0, tmp_path / "mean", models=made)
    plain = np.stack([np.asarray(nib.load(tmp_path / f"mean/m1.{v}.nii.gz").dataobj) for v in VIEWS])
    assert np.array_equal(np.asarray(nib.load(tmp_path / "mean/m1.nii.gz").dataobj), np.rint(plain.mean(axis=0)))


def test_a_retry_finds_finished_scans_and_slabs_and_gives_the_same_bytes(scans, tmp_path, monkeypatch):
    """Killed in the second scan's second view, behind its first slab."""
    monkeypatch.setattr(views, "LARGE", 0)
    made = models(tmp_path / "m")
    own = own_arm(tmp_path, doubt={"flips": True, "jitters": 1})
    predict(own, scans, 0, tmp_path / "whole", models=made)
    calls = []
    plain = apply._passed

    def counted(generator, *arguments):
        calls.append(generator.settings.view)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return plain(generator, *arguments)

    monkeypatch.setattr(apply, "_passed", counted)
    stop = 0
    predict(own, scans, 0, tmp_path / "counted", models=made)
    every = list(calls)
    first, calls = len(every) // 2, []
    stop = first + every[first:].index("coronal") + 2
    with pytest.raises(KeyboardInterrupt):
        predict(own, scans, 0, tmp_path / "out", models=made)
    assert not (tmp_path / "out").exists()
    kept = tmp_path / ".out.unfinished"
    assert sorted(p.name for p in (kept / "scans").iterdir()) == ["m1"]
    assert not list((kept / "slabs").glob("m1-*"))
    stop, calls = 0, []
    assert predict(own, scans, 0, tmp_path / "out", models=made) == 2
    assert len(calls) == len(every) - (first + every[first:].index("coronal") + 1)
    assert content_of(tmp_path / "out") == content_of(tmp_path / "whole")
    assert not kept.exists()


def test_work_of_other_weights_or_images_is_not_taken(scans, tmp_path, monkeypatch):
    made = models(tmp_path / "m", ["axial"])
    other = models(tmp_path / "n", ["axial"], network="Constant", value=0.5)
    plain = views.Views.__call__
    seen = []

    def second_fails(self, contrasts, slabs=None, **more):
        seen.append(contrasts[0].scan)
        if contrasts[0].scan == "m2" and fails:
            raise VolforgeError("killed")
        return plain(self, contrasts, slabs, **more)

    monkeypatch.setattr(views.Views, "__call__", second_fails)
    own, fails = own_arm(tmp_path), True
    with pytest.raises(VolforgeError, match="killed"):
        predict(own, scans, 0, tmp_path / "out", models=made)
    copy = tmp_path / "cohort/scans.tsv"
    shutil.copytree(scans.parent, copy.parent)
    nifti = nib.load(copy.parent / "scans/m1/image.nii.gz")
    changed = np.asarray(nifti.dataobj).copy()
    changed[12, 14, 9] += 1
    with pytest.raises(VolforgeError, match="killed"):  # found again
        predict(own, scans, 0, tmp_path / "out", models=made)
    assert seen == ["m1", "m2", "m2"]
    nib.save(nib.Nifti1Image(changed, nifti.affine, nifti.header), copy.parent / "scans/m1/image.nii.gz")
    seen.clear()
    with pytest.raises(VolforgeError, match="killed"):  # another image
        predict(own, copy, 0, tmp_path / "out", models=made)
    assert seen == ["m1", "m2"]
    seen.clear()
    fails = False
    predict(own, scans, 0, tmp_path / "out", models=other)  # other weights
    assert seen == ["m1", "m2"]
    values = np.asarray(nib.load(tmp_path / "out/m1.nii.gz").dataobj)
    assert set(np.unique(values)) == {-1024, 800}


def test_further_contrasts_come_from_the_same_frame(scans, tmp_path, capsys):
    made = models(tmp_path / "m", ["axial"], network="Channel", number=1, also=["water"])
    predict(own_arm(tmp_path), scans, 0, tmp_path / "out", models=made)
    water = models(tmp_path / "w", ["axial"], network="Same", source={"modality": "MR", "contrast": "water"})
    own = own_arm(tmp_path, source={"modality": "MR", "contrast": "water"})
    predict(own, scans, 0, tmp_path / "water", models=water)
    one, other = (np.asarray(nib.load(f).dataobj) for f in (tmp_path / "out/m1.nii.gz", tmp_path / "water/w1.nii.gz"))
    assert np.array_equal(one, other)
    missing = models(tmp_path / "f", ["axial"], network="Channel", number=1, also=["fat"])
    predict(own_arm(tmp_path), scans, 0, tmp_path / "none", models=missing)
    assert [p.file for p in read_predictions(tmp_path / "none")] == ["", ""]
    assert "m1 is not translated: the contrast fat is missing" in capsys.readouterr().err


def test_mr_of_ct(scans, tmp_path):
    made = models(tmp_path / "m", ["coronal"], source=CT, target=MR)
    own = own_arm(tmp_path, source=CT, target=MR | {"contrast": "t1"})
    assert predict(own, scans, 0, tmp_path / "out", models=made) == 2
    values = np.asarray(nib.load(tmp_path / "out/c1.nii.gz").dataobj)
    body = np.asarray(nib.load(scans.parents[3] / "b1.nii.gz").dataobj) > 0
    assert values.dtype == np.float32
    assert (values[~body] == 0).all()
    assert 0 <= values[body].min() < values[body].max() <= 100


def test_models_that_do_not_go_together_are_refused(scans, tmp_path):
    made = models(tmp_path / "m", ["axial"]) | models(tmp_path / "n", ["coronal"], also=["water"])
    with pytest.raises(VolforgeError, match="cannot be joined"):
        predict(own_arm(tmp_path), scans, 0, tmp_path / "out", models=made)
    own = own_arm(tmp_path, doubt={"flips": False, "jitters": 0})
    with pytest.raises(VolforgeError, match="would be 0 everywhere"):
        predict(own, scans, 0, tmp_path / "out", models={"axial": made["axial"]})
    with pytest.raises(VolforgeError, match="no model of translation"):
        predict(own_arm(tmp_path), scans, 0, tmp_path / "out", models={"shared/outline": made["axial"]})


def test_two_models_of_one_view_keep_their_own_names(scans, tmp_path):
    made = {n: models(tmp_path / n, ["axial"])["axial"] for n in ("one", "two")}
    predict(own_arm(tmp_path), scans, 0, tmp_path / "out", models=made)
    assert {"m1.one.nii.gz", "m1.two.nii.gz"} <= {p.name for p in (tmp_path / "out").iterdir()}


def test_a_scan_that_no_network_can_take_is_a_failure_and_the_others_go_on(tmp_path, capsys):
    """A scout of one coronal slice has no axial slices; a row of labels alone is no source."""
    lines = ["subject\tscan\tmodality\tcontrast\tframe\timage\tlabels\tbody_mask\tsplit"]
    place = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    body = np.sqrt((place**2).sum(axis=0)) < 8
    rng = np.random.default_rng(0)
    grey = np.where(body, rng.integers(100, 200, SHAPE), rng.integers(0, 5, SHAPE)).astype(np.int16)
    hu = np.where(body, 40, -1000).astype(np.int16)
    middle = (slice(None), slice(13, 14), slice(None))
    for name, part in (("whole", (slice(None),) * 3), ("scout", middle)):
        for modality, values, contrast in (("mr", grey, "t1"), ("ct", hu, "")):
            save(tmp_path / f"{name}-{modality}.nii.gz", np.ascontiguousarray(values[part]), np.diag([3.0, 3, 3, 1]))
            files = f"{name}-{modality}.nii.gz\t\t{name}-body.nii.gz"
            lines.append(f"{name}\t{name}-{modality}\t{modality.upper()}\t{contrast}\tf\t{files}\ttest")
        save(
            tmp_path / f"{name}-body.nii.gz", np.ascontiguousarray(body[part]).astype(np.uint8), np.diag([3.0, 3, 3, 1])
        )
    lines.append("drawn\tdrawn-mr\tMR\tt1\tf\t\twhole-body.nii.gz\t\ttest")
    lines.append("drawn\tdrawn-ct\tCT\t\tf\twhole-ct.nii.gz\t\twhole-body.nii.gz\ttest")
    scans = imported(tmp_path, lines, {})
    own, made = own_arm(tmp_path), models(tmp_path / "m", ["axial"])
    assert predict(own, scans, 0, tmp_path / "out", models=made) == 2
    found = {p.scan: p.file for p in read_predictions(tmp_path / "out")}
    assert found == {"whole-mr": "whole-mr.nii.gz", "scout-mr": ""}
    assert "scout-mr is not translated" in capsys.readouterr().err


def test_a_damaged_scan_is_no_failure_of_the_arm(scans, tmp_path):
    """It stops the job, which may go well when the file is mended: nothing is measured as missing."""
    folder = tmp_path / "copy"
    shutil.copytree(scans.parent, folder)
    file = folder / "scans/m1/image.nii.gz"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(VolforgeError, match=r"image\.nii\.gz"):
        predict(own_arm(tmp_path), folder / scans.name, 0, tmp_path / "out", models=models(tmp_path / "m", ["axial"]))
    assert not (tmp_path / "out").exists()
