import nibabel as nib
import numpy as np
import pytest
import trimesh

from tests.conftest import ball_ct, save, volforge
from volforge.config.models import BodyMask
from volforge.errors import ScanError
from volforge.volume.folders import read_json, sha256_of
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.read import read_canonical
from volforge.volume.restore import restore_file

AFFINE = np.array([[0, 0, 2.0, -9], [-1.5, 0.02, 0, 30], [0.02, 1.5, 0, 5], [0, 0, 0, 1]])


def run(tmp_path, modality="CT", unit="hu", settings=None, **files):
    request = ScanRequest("a", modality, unit, files)
    import_scan(request, settings or ImportSettings(), tmp_path / "out", record_refusal=False)
    return tmp_path / "out", read_json(tmp_path / "out" / "record.json")


def test_outside_becomes_air_and_inside_is_untouched(tmp_path):
    array = ball_ct()
    array[1:3, :, 1:3] = 300  # a rod far from the ball
    out, record = run(tmp_path, image=save(tmp_path / "a.nii.gz", array, AFFINE))
    image, grid = read_canonical(out / "image.nii.gz", labels=False)
    body = read_canonical(out / "body.nii.gz", labels=True)[0] > 0
    assert image.dtype == np.int16
    assert (image[~body] == -1024).all()
    assert (image[body] == 40).all()
    assert body.sum() == (ball_ct() > 0).sum()
    assert record["body"]["removed_ml"] == pytest.approx((array == 300).sum() * grid.voxel_mm3 / 1000, abs=0.1)


def test_written_back_affine_and_values_are_identical(tmp_path):
    rng = np.random.default_rng(0)
    array = np.where(ball_ct() > 0, rng.integers(-100, 900, ball_ct().shape), -1000).astype(np.int16)
    source = save(tmp_path / "a.nii.gz", array, AFFINE)
    out, _ = run(tmp_path, image=source)
    for name in ("image", "body"):
        restore_file(out / f"{name}.nii.gz", out / "record.json", tmp_path / f"{name}.nii.gz", labels=None)
    first, image, body = (nib.load(p) for p in (source, tmp_path / "image.nii.gz", tmp_path / "body.nii.gz"))
    assert np.array_equal(first.affine, image.affine)
    assert first.shape == image.shape
    inside = np.asanyarray(body.dataobj) > 0
    assert inside.sum() > 1000
    assert np.array_equal(np.asanyarray(image.dataobj)[inside], array[inside])


def test_background_can_be_kept(tmp_path):
    source = save(tmp_path / "a.nii.gz", ball_ct(), AFFINE)
    out, _ = run(tmp_path, settings=ImportSettings(background="keep"), image=source)
    assert read_canonical(out / "image.nii.gz", labels=False)[0].min() == -1000


def test_body_mask_of_the_sheet_is_used(tmp_path):
    mask = np.zeros((40, 40, 30), np.uint8)
    mask[5:30, 5:30, 5:25] = 1
    out, record = run(
        tmp_path,
        image=save(tmp_path / "a.nii.gz", ball_ct(), AFFINE),
        body_mask=save(tmp_path / "m.nii.gz", mask, AFFINE),
    )
    assert read_canonical(out / "body.nii.gz", labels=True)[0].sum() == mask.sum()
    assert record["body"]["from"] == "sheet"


def test_labels_follow_the_image_and_are_counted(tmp_path):
    labels = np.zeros((40, 40, 30), np.uint8)
    labels[10:14, 10:14, 10:14] = 1
    labels[0, 0, 0] = 2
    settings = ImportSettings(structures={"a": 1, "b": 2})
    out, record = run(
        tmp_path,
        settings=settings,
        image=save(tmp_path / "a.nii.gz", ball_ct(), AFFINE),
        labels=save(tmp_path / "l.nii.gz", labels, AFFINE),
    )
    assert record["labels"]["voxels"] == {"a": 64, "b": 1}
    assert record["labels"]["outside_body_voxels"] >= 1
    assert "labels_outside_body" in record["flags"]
    assert (
        read_canonical(out / "labels.nii.gz", labels=True)[0].shape
        == read_canonical(out / "image.nii.gz", labels=False)[0].shape
    )


def test_labels_alone_make_a_scan(tmp_path):
    labels = np.zeros((40, 40, 30), np.uint8)
    labels[10:14, 10:14, 10:14] = 1
    out, record = run(tmp_path, labels=save(tmp_path / "l.nii.gz", labels, AFFINE))
    assert sorted(p.name for p in out.glob("[!.]*")) == ["labels.nii.gz", "qc.png", "record.json"]
    restore_file(out / "labels.nii.gz", out / "record.json", tmp_path / "back.nii.gz", labels=None)
    back = nib.load(tmp_path / "back.nii.gz")
    assert np.array_equal(np.asanyarray(back.dataobj), labels)
    assert np.array_equal(back.affine, nib.load(tmp_path / "l.nii.gz").affine)
    assert record["source_grid"]["axes"] == "PSR"


def test_skull_triple_with_an_implant_as_surface(tmp_path):
    complete = np.zeros((40, 40, 30), np.uint8)
    complete[8:32, 8:32, 6:24] = 1
    defective = complete.copy()
    defective[10:16, 10:16, 10:16] = 0
    affine = np.diag([1.5, 1.5, 1.5, 1])
    box = trimesh.creation.box(bounds=[np.full(3, 9.5 * 1.5), np.full(3, 15.5 * 1.5)])
    box.export(tmp_path / "implant.stl")
    out, record = run(
        tmp_path,
        modality="mask",
        unit="arbitrary",
        settings=ImportSettings(mesh_frame="ras"),
        image=save(tmp_path / "c.nii.gz", complete, affine),
        defective=save(tmp_path / "d.nii.gz", defective, affine),
        implant=tmp_path / "implant.stl",
    )
    assert record["flags"] == []
    assert read_canonical(out / "implant.nii.gz", labels=True)[0].sum() == 6**3
    broken = defective.copy()
    broken[8, 8, 8] = 0
    _, record = run(
        tmp_path,
        modality="mask",
        unit="arbitrary",
        settings=ImportSettings(mesh_frame="ras"),
        image=tmp_path / "c.nii.gz",
        defective=save(tmp_path / "d.nii.gz", broken, affine),
        implant=tmp_path / "implant.stl",
    )
    assert record["flags"] == ["complete_differs_from_defective_and_implant"]


def test_mask_scans_must_be_binary(tmp_path):
    values = np.arange(40 * 40 * 30).reshape(40, 40, 30) % 3
    with pytest.raises(ScanError, match="0 and one other"):
        run(
            tmp_path,
            modality="mask",
            unit="arbitrary",
            image=save(tmp_path / "a.nii.gz", values.astype(np.uint8)),
        )


def test_refusal_leaves_the_record_alone(tmp_path):
    array = ball_ct().astype(np.float32)
    array[0, 0, 0] = np.nan
    request = ScanRequest("a", "CT", "hu", {"image": save(tmp_path / "a.nii.gz", array)})
    assert not import_scan(request, ImportSettings(), tmp_path / "out", record_refusal=True)
    assert [p.name for p in (tmp_path / "out").glob("[!.]*")] == ["record.json"]
    record = read_json(tmp_path / "out" / "record.json")
    assert not record["accepted"]
    assert "NaN" in record["refused"]["reason"]
    with pytest.raises(ScanError):
        import_scan(request, ImportSettings(), tmp_path / "other", record_refusal=False)
    assert not (tmp_path / "other").exists()


def test_importing_again_replaces_everything(tmp_path):
    source = save(tmp_path / "a.nii.gz", ball_ct(), AFFINE)
    out, _ = run(tmp_path, image=source)
    before = sha256_of(out)
    (out / "stale.txt").write_text("x")
    run(tmp_path, image=source)
    assert sha256_of(out) == before
    assert [p.name for p in tmp_path.iterdir() if "partial" in p.name or "old" in p.name] == []


def test_body_mask_none_keeps_the_whole_grid(tmp_path):
    settings = ImportSettings(body_mask=BodyMask(method="none"))
    out, _ = run(tmp_path, settings=settings, image=save(tmp_path / "a.nii.gz", ball_ct(), AFFINE))
    assert (read_canonical(out / "body.nii.gz", labels=True)[0] == 1).all()


def test_command_says_what_is_wrong_in_three_lines(tmp_path):
    save(tmp_path / "a.nii.gz", ball_ct() + 1024)
    done = volforge("scan", "import", "--image", tmp_path / "a.nii.gz", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "look like HU + 1024" in done.stderr
    assert "`unit` column" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    fixed = volforge("scan", "import", "--image", tmp_path / "a.nii.gz", "--unit", "hu+1024", "--out", tmp_path / "out")
    assert fixed.returncode == 0, fixed.stderr
    assert read_canonical(tmp_path / "out" / "image.nii.gz", labels=False)[0].max() == 40
