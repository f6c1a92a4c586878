"""Inputs that once gave wrong results, crashes or lost files; each as small as it can be."""

import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from tests.conftest import ball_ct, save, volforge
from volforge.cohort.phantoms.fields import rotation
from volforge.errors import ScanError, VolforgeError
from volforge.volume.body_mask import find_body
from volforge.volume.companions import companions
from volforge.volume.folders import read_json, whole_folder
from volforge.volume.geometry import Grid, Reorientation, reorientation_of
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.intensity import canonical_values
from volforge.volume.label_map import Target
from volforge.volume.labels import read_labels
from volforge.volume.read import read_volume
from volforge.volume.signal_threshold import signal_threshold
from volforge.volume.source_volume import scaled

SHAPE = (12, 11, 10)


def head() -> np.ndarray:
    """Flesh with a rind of bone in air, with noise: enough for the histogram of a CT."""
    rng = np.random.default_rng(0)
    radius = np.sqrt(((np.indices((48, 48, 40)) - np.array([23.5, 23.5, 19.5])[:, None, None, None]) ** 2).sum(axis=0))
    values = np.where(radius < 17, rng.normal(35, 12, radius.shape), rng.normal(-1000, 8, radius.shape))
    values[(radius > 14) & (radius < 16)] = rng.normal(900, 250, int(((radius > 14) & (radius < 16)).sum()))
    return np.rint(values).astype(np.int16)


def test_true_hu_are_accepted_and_each_wrong_scale_is_refused():
    assert canonical_values(head(), "hu").flags == []
    assert canonical_values(np.maximum(head() + 1024, 0).astype(np.uint16), "hu+1024").flags == []
    with pytest.raises(ScanError, match="below -1100 HU"):
        canonical_values(head(), "hu+1024")
    padded = head() + 1024
    padded[:3] = -1000
    with pytest.raises(ScanError, match=r"HU \+ 1024"):
        canonical_values(padded, "hu")


@pytest.mark.parametrize("padding", [-2000, -3024, -32768])
def test_padding_below_air_is_no_other_scale(padding):
    values = head()
    corner = np.hypot(*(np.indices((48, 48)) - 23.5)) > 24
    values[corner] = padding
    assert canonical_values(values, "hu").flags == []
    masked = np.where(find_body(head(), (4, 4, 4), True).mask, head(), padding)
    canonical_values(masked, "hu")


def test_padding_with_zero_is_flagged():
    values = head()
    values[:8] = 0
    assert canonical_values(values, "hu").flags == ["constant_region_above_air"]


def test_constant_images_are_named_as_empty(tmp_path):
    for value in (-2000, 0):
        path = save(tmp_path / "c.nii.gz", np.full((20, 20, 20), value, np.int16))
        request = ScanRequest("c", "CT", "hu", {"image": path})
        with pytest.raises(ScanError, match="the image is empty"):
            import_scan(request, ImportSettings(), tmp_path / "out", record_refusal=False)


def test_scanner_padding_does_not_become_the_zero_of_an_arbitrary_scale():
    plain = find_body(head(), (4, 4, 4), False).mask
    padded = head()
    padded[np.hypot(*(np.indices((48, 48)) - 23.5)) > 24] = -3024
    assert 0.95 < find_body(padded, (4, 4, 4), False).mask.sum() / plain.sum() < 1.05
    assert signal_threshold(np.where(np.arange(1000).reshape(10, 10, 10) > 997, 1000.0, 100.0)) is None


def test_existing_folder_of_the_user_is_never_replaced(tmp_path):
    source = save(tmp_path / "mine/ct.nii.gz", ball_ct())
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    done = volforge("scan", "import", "--image", source, "--out", tmp_path / "mine")
    assert done.returncode == 1
    assert "would replace the folder that holds --image" in done.stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("years of work")
    done = volforge("scan", "import", "--image", source, "--out", tmp_path / "other")
    assert done.returncode == 1
    assert "files that volforge did not make" in done.stderr
    assert (tmp_path / "mine/thesis.txt").exists()
    assert (tmp_path / "other/thesis.txt").exists()
    assert source.exists()
    with pytest.raises(VolforgeError), whole_folder(tmp_path / "mine"):
        pass


def test_picture_stacks_are_ordered_by_number(tmp_path):
    folder = tmp_path / "s" / "bone"
    folder.mkdir(parents=True)
    truth = np.zeros((8, 8, 12), np.uint8)
    truth[2:5, 2:6, 3] = truth[1:7, 1:7, 10] = 1
    for k in range(12):
        Image.fromarray(truth[:, :, k].T * 255).save(folder / f"slice{k + 1}.png")
    target = Target(Grid((8, 8, 12), np.diag([3, 3, 3, 1.0])), (8, 8, 12), Reorientation((0, 1, 2), (False,) * 3))
    found = read_labels(tmp_path / "s", target, {"bone": 1}, resample=False, mesh_frame="ras")
    assert np.array_equal(found.array, truth)


def nifti_with(tmp_path, offset, content):
    save(tmp_path / "a.nii.gz", ball_ct())
    raw = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    raw[offset : offset + len(content)] = content
    for name in ("b.nii.gz", "b.nii"):
        (tmp_path / name).write_bytes(gzip.compress(bytes(raw)) if name.endswith("gz") else bytes(raw))
    return [tmp_path / "b.nii.gz", tmp_path / "b.nii"]


@pytest.mark.parametrize(
    ("offset", "content"),
    [(42, np.array([-40], "<i2").tobytes()), (42, np.array([30000, 30000, 30000], "<i2").tobytes())],
)
def test_absurd_dimensions_are_refused(tmp_path, offset, content):
    for path in nifti_with(tmp_path, offset, content):
        with pytest.raises(ScanError, match=r"damaged or truncated|length"):
            read_volume(path, labels=False)


def test_short_gzip_is_refused(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(b"xyz"))
    with pytest.raises(ScanError, match="damaged or truncated"):
        read_volume(tmp_path / "a.nii.gz", labels=False)


def test_unknown_unit_code_is_read_as_undeclared(tmp_path):
    for path in nifti_with(tmp_path, 123, bytes([6])):
        assert "unit_assumed" in read_volume(path, labels=False).flags


def test_rounded_quaternion_beside_a_good_sform_is_no_obstacle(tmp_path):
    image = nib.Nifti1Image(ball_ct(), np.diag([2, 2, 2, 1]))
    image.set_qform(np.diag([2, 2, 2, 1]), 1)
    image.header["quatern_b"] = 1.0005
    nib.save(image, tmp_path / "q.nii.gz")
    volume = read_volume(tmp_path / "q.nii.gz", labels=False)
    assert "qform_invalid" in volume.flags
    assert volume.grid.spacing_mm == pytest.approx((2, 2, 2))


def test_metaimage_variants_are_read(tmp_path):
    image = sitk.GetImageFromArray(ball_ct().transpose(2, 1, 0))
    image.SetSpacing((2, 2, 2))
    sitk.WriteImage(image, str(tmp_path / "a.mha"), useCompression=True)
    text = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "b.mha").write_bytes(text.replace(b"CompressedData = True", b"CompressedData = true"))
    sitk.WriteImage(image, str(tmp_path / "c.mha"))
    (tmp_path / "C2.MHA").write_bytes((tmp_path / "c.mha").read_bytes())
    text = (tmp_path / "c.mha").read_bytes()
    (tmp_path / "d.mha").write_bytes(text.replace(b"ElementDataFile = LOCAL", b"ElementDataFile = Local"))
    for name in ("b.mha", "C2.MHA", "d.mha"):
        assert np.array_equal(scaled(read_volume(tmp_path / name, labels=False)), ball_ct()), name


def test_two_file_formats_are_hashed_with_their_voxels(tmp_path):
    nib.save(nib.Nifti1Pair(ball_ct(), np.diag([2, 2, 2, 1])), tmp_path / "p.hdr")
    assert companions(tmp_path / "p.hdr") == [tmp_path / "p.img"]
    sitk.WriteImage(sitk.GetImageFromArray(ball_ct()), str(tmp_path / "m.mhd"))
    assert companions(tmp_path / "m.mhd") == [tmp_path / "m.raw"]
    request = ScanRequest("p", "CT", "hu", {"image": tmp_path / "p.hdr"})
    import_scan(request, ImportSettings(), tmp_path / "out", record_refusal=False)
    assert ".img" in read_json(tmp_path / "out/record.json")["source"]["image"]["with"]


def test_pairs_and_several_labels_in_a_folder(tmp_path):
    mask = (ball_ct() > 0).astype(np.uint8)
    (tmp_path / "s").mkdir()
    nib.save(nib.Nifti1Pair(mask, np.diag([2, 2, 2, 1])), tmp_path / "s/bone.hdr")
    found = read_labels(tmp_path / "s", None, {"bone": 4}, resample=False, mesh_frame="ras")
    assert np.array_equal(found.array, mask * 4)
    save(tmp_path / "t/bone.nii.gz", mask + (np.indices(mask.shape)[0] > 20) * mask)
    with pytest.raises(ScanError, match="holds several labels"):
        read_labels(tmp_path / "t", None, {"bone": 4}, resample=False, mesh_frame="ras")


def test_labels_of_a_grid_at_45_degrees_match(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, SHAPE).astype(np.uint8)
    for _ in range(10):
        affine = np.eye(4)
        affine[:3, :3] = rotation((0, 0, 45)) @ np.diag([3.0, 3.0, 4.0])
        turn = reorientation_of(affine)
        target = Target(turn.canonical(Grid(SHAPE, affine)), SHAPE, turn)
        shaken = affine.copy()
        shaken[:3, :3] *= 1 + rng.normal(0, 1e-6, (3, 3))
        path = save(tmp_path / "l.nii.gz", labels, shaken)
        found = read_labels(path, target, {"a": 1, "b": 2}, resample=False, mesh_frame="ras")
        assert np.array_equal(found.array, turn.apply(labels))


def test_units_of_nrrd_are_converted_and_open_geometry_is_flagged(tmp_path):
    image = sitk.GetImageFromArray(ball_ct().transpose(2, 1, 0))
    image.SetSpacing((0.2, 0.2, 0.2))
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    content = (tmp_path / "a.nrrd").read_bytes()
    head_end = content.index(b"\n\n")
    with_units = content[:head_end] + b'\nspace units: "cm" "cm" "cm"' + content[head_end:]
    (tmp_path / "cm.nrrd").write_bytes(with_units)
    volume = read_volume(tmp_path / "cm.nrrd", labels=False)
    assert volume.grid.spacing_mm == pytest.approx((2, 2, 2))
    assert "unit_converted_from_cm" in volume.flags


def test_mask_of_zero_and_minus_one_is_binary(tmp_path):
    path = save(tmp_path / "m.nii.gz", -(ball_ct() > 0).astype(np.int8))
    request = ScanRequest("m", "mask", "arbitrary", {"image": path})
    import_scan(request, ImportSettings(), tmp_path / "out", record_refusal=False)


def test_mistakes_by_hand_get_words_and_no_traceback(tmp_path):
    for words, expected in (
        (("cut", tmp_path, "--recipe", '{"kind": "slices", "spacing": 2}', "--out", tmp_path / "o"), "spacing"),
        (("cut", tmp_path, "--recipe", '{"kind": "slices"}', "--out", tmp_path / "o"), "record.json: file not found"),
        (("cut", tmp_path, "--recipe", "{", "--out", tmp_path / "o"), "--recipe"),
    ):
        done = volforge("scan", *words)
        assert done.returncode == 1, done.stderr
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def test_scan_commands_replace_no_input(tmp_path):
    ct = save(tmp_path / "ct.nii.gz", ball_ct())
    before = ct.read_bytes()
    save(tmp_path / "m.nii.gz", (ball_ct() > 0).astype(np.uint8))
    copy = '["cp", "m.nii.gz", "{labels}"]'
    for out, wrong in (("ct.json", "the map beside --out would be written over --image"), ("ct.nii.gz", "as .json")):
        done = volforge("scan", "label", "--image", "ct.nii.gz", "--out", out, "--command", copy, cwd=tmp_path)
        assert done.returncode == 1
        assert wrong in done.stderr
    assert ct.read_bytes() == before
    assert volforge("scan", "import", "--image", ct, "--out", tmp_path / "scan").returncode == 0
    files = {p.name for p in (tmp_path / "scan").iterdir()}
    recipe = '{"kind": "slices", "spacing_mm": 2}'
    for words in (
        ("cut", tmp_path / "scan", "--recipe", recipe, "--out", tmp_path / "scan"),
        ("import", "--image", tmp_path / "scan" / "image.nii.gz", "--out", tmp_path / "scan"),
    ):
        done = volforge("scan", *words)
        assert done.returncode == 1
        assert "would replace the folder that holds" in done.stderr
        assert {p.name for p in (tmp_path / "scan").iterdir()} == files


def test_labels_of_64_bit_are_restored(tmp_path):
    ct = save(tmp_path / "ct.nii.gz", ball_ct())
    assert volforge("scan", "import", "--image", ct, "--out", tmp_path / "scan").returncode == 0
    stored = nib.load(tmp_path / "scan" / "image.nii.gz")
    labels = (np.asarray(stored.dataobj) > 0).astype(np.int64) * 300
    nib.save(nib.Nifti1Image(labels, stored.affine, dtype=np.int64), tmp_path / "l.nii.gz")
    record, out = tmp_path / "scan" / "record.json", tmp_path / "r.nii.gz"
    done = volforge("scan", "restore", tmp_path / "l.nii.gz", "--record", record, "--out", out, "--labels")
    assert done.returncode == 0, done.stderr
    assert set(np.unique(np.asarray(nib.load(out).dataobj))) == {0, 300}
    assert nib.load(out).get_data_dtype() == np.int16


def test_integers_that_float32_does_not_hold_are_flagged():
    values = np.full((4, 4, 4), 2**24 + 1, np.int32) + np.arange(64, dtype=np.int32).reshape(4, 4, 4)
    assert "values_rounded" in canonical_values(values, "arbitrary").flags
    assert canonical_values(values - 2**24 + 70000, "arbitrary").flags == []


@pytest.mark.parametrize(
    ("space", "assumed"),
    [
        ("scanner-xyz", True), ("3D-left-handed", True), ("left-posterior-superior", False), ("RAS", False),
        ("right-anterior-superior", False),
    ],
)  # fmt: skip
def test_nrrd_spaces_that_name_no_sides_are_flagged(tmp_path, space, assumed):
    head = f"NRRD0004\ntype: uint8\ndimension: 3\nspace: {space}\nsizes: 12 12 12\n"
    head += "space directions: (2,0,0) (0,2,0) (0,0,3)\nkinds: domain domain domain\nencoding: raw\n"
    head += "space origin: (0,0,0)\n\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + (np.arange(12**3) % 251).astype(np.uint8).tobytes())
    assert ("orientation_assumed" in read_volume(tmp_path / "a.nrrd", labels=False).flags) == assumed


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_that_are_said_to_begin_in_the_header_are_refused(tmp_path, ending):
    path = tmp_path / "a.nii"
    nib.save(nib.Nifti1Image(ball_ct(), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[108:112] = np.float32(0).tobytes()
    path = tmp_path / f"b{ending}"
    path.write_bytes(gzip.compress(bytes(content)) if ending == ".nii.gz" else bytes(content))
    with pytest.raises(ScanError, match="begin at byte 0, within the header of 348 bytes"):
        read_volume(path, labels=False)
