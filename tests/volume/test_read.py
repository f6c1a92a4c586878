import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.conftest import ball_ct, save
from volforge.errors import ScanError
from volforge.volume.geometry import Grid, reorientation_of
from volforge.volume.read import read_volume
from volforge.volume.source_volume import SourceVolume, scaled
from volforge.volume.write import nifti_bytes, write_nifti


def test_gzip_of_several_members_and_of_zeros_behind(tmp_path):
    plain = gzip.decompress(save(tmp_path / "one.nii.gz", ball_ct()).read_bytes())
    half = len(plain) // 2
    parts = gzip.compress(plain[:half]) + gzip.compress(plain[half:])  # as bgzip writes
    for name, content in {"parts": parts, "equal": gzip.compress(plain) + gzip.compress(plain)}.items():
        (tmp_path / f"{name}.nii.gz").write_bytes(content + bytes(512))  # as tapes and some servers pad
        volume = read_volume(tmp_path / f"{name}.nii.gz", labels=False)
        assert np.array_equal(volume.array, ball_ct())
        assert volume.array.flags.writeable


def test_damage_within_gzip_is_seen(tmp_path):
    good = save(tmp_path / "good.nii.gz", ball_ct()).read_bytes()
    for place in (-1, -5):  # length, checksum
        bad = bytearray(good)
        bad[place] ^= 0xFF
        (tmp_path / "bad.nii.gz").write_bytes(bytes(bad))
        with pytest.raises(ScanError, match="damaged or truncated"):
            read_volume(tmp_path / "bad.nii.gz", labels=False)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_formats_agree(tmp_path, suffix):
    image = sitk.GetImageFromArray(ball_ct().transpose(2, 1, 0))
    image.SetSpacing((0.7, 1.1, 2.5))
    image.SetOrigin((-30, 12, 7))
    image.SetDirection(sitk.VersorTransform((0, 0, 1), 0.2).GetMatrix())
    path = tmp_path / f"v{suffix}"
    sitk.WriteImage(image, str(path))
    volume = read_volume(path, labels=False)
    assert np.array_equal(scaled(volume), ball_ct())
    assert volume.grid.spacing_mm == pytest.approx((0.7, 1.1, 2.5), abs=1e-5)
    place = volume.grid.affine @ [3, 4, 5, 1]
    there = image.TransformIndexToPhysicalPoint((3, 4, 5))
    assert place[:3] == pytest.approx([-there[0], -there[1], there[2]], abs=1e-3)


def test_slope_and_intercept_apply(tmp_path):
    image = nib.Nifti1Image(ball_ct().astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nib.save(image, tmp_path / "s.nii.gz")
    stored = nib.load(tmp_path / "s.nii.gz")
    volume = read_volume(tmp_path / "s.nii.gz", labels=False)
    assert np.allclose(scaled(volume), stored.get_fdata())


def test_units_are_converted_or_flagged(tmp_path):
    array = ball_ct()
    metres = save(tmp_path / "m.nii", array, np.diag([0.002, 0.002, 0.003, 1]), unit="meter")
    volume = read_volume(metres, labels=False)
    assert volume.grid.spacing_mm == pytest.approx((2, 2, 3))
    assert volume.flags == ["unit_converted_from_meter"]
    assert read_volume(save(tmp_path / "u.nii", array, unit="unknown"), labels=False).flags == ["unit_assumed"]


def test_trailing_axis_is_dropped_and_a_series_refused(tmp_path):
    one = save(tmp_path / "one.nii.gz", ball_ct()[..., None])
    assert read_volume(one, labels=False).array.ndim == 3
    series = save(tmp_path / "series.nii.gz", np.stack([ball_ct()] * 3, axis=-1))
    with pytest.raises(ScanError, match="4-D"):
        read_volume(series, labels=False)


def test_nifti2_is_read(tmp_path):
    nib.save(nib.Nifti2Image(ball_ct(), np.diag([2, 2, 2, 1])), tmp_path / "two.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "two.nii.gz", labels=False).array, ball_ct())


def test_damaged_files_are_refused(tmp_path):
    good = save(tmp_path / "good.nii.gz", ball_ct()).read_bytes()
    for name, content in {
        "short.nii.gz": good[: len(good) // 2],
        "text.nii.gz": b"hello",
        "inner.nii.gz": gzip.compress(gzip.decompress(good)[:5000]),
        "empty.nii": b"",
        "empty.nrrd": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ScanError, match="damaged or truncated"):
            read_volume(tmp_path / name, labels=False)


def test_truncated_metaimage_is_not_filled_from_memory(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ball_ct()), str(tmp_path / "v.mha"))
    content = (tmp_path / "v.mha").read_bytes()
    (tmp_path / "v.mha").write_bytes(content[:-1000])
    with pytest.raises(ScanError, match="truncated"):
        read_volume(tmp_path / "v.mha", labels=False)


def test_colour_and_complex_images_are_refused(tmp_path):
    sitk.WriteImage(sitk.Compose([sitk.GetImageFromArray(ball_ct())] * 3), str(tmp_path / "rgb.mha"))
    with pytest.raises(ScanError, match="3 values per voxel"):
        read_volume(tmp_path / "rgb.mha", labels=False)
    save(tmp_path / "c.nii.gz", ball_ct().astype(np.complex64))
    with pytest.raises(ScanError, match="not plain numbers"):
        read_volume(tmp_path / "c.nii.gz", labels=False)


def test_implausible_size_is_refused_with_the_numbers(tmp_path):
    with pytest.raises(ScanError, match=r"voxels of 0\.002 x 0\.002 x 0\.002 mm"):
        read_volume(save(tmp_path / "s.nii", ball_ct(), np.diag([0.002] * 3 + [1])), labels=False)


def test_sform_and_qform_that_differ_are_flagged(tmp_path):
    image = nib.Nifti1Image(ball_ct(), None)
    image.set_sform(np.diag([2, 2, 2, 1]), 1)
    image.set_qform(np.diag([3, 2, 2, 1]), 1)
    nib.save(image, tmp_path / "q.nii")
    volume = read_volume(tmp_path / "q.nii", labels=False)
    assert "sform_qform_differ" in volume.flags
    assert volume.grid.spacing_mm == pytest.approx((2, 2, 2))


@pytest.mark.parametrize("forms", ["qform", "sform", "both", "neither"])
def test_written_back_header_is_the_source_header(tmp_path, forms):
    """Whatever form places the grid: the affine that nibabel reads stays identical to the last bit."""
    affine = np.array([[0, 0, 2.1, -7.3], [-1.1, 0.05, 0, 9.1], [0.05, 1.1, 0, 3.3], [0, 0, 0, 1]])
    image = nib.Nifti1Image(ball_ct(), None)
    if forms in ("qform", "both"):
        image.set_qform(affine, 1)
    if forms in ("sform", "both"):
        image.set_sform(affine, 2)
    if forms == "neither":
        image.header["pixdim"][1:4] = 2
    nib.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz", labels=False)
    turn = reorientation_of(volume.grid.affine)
    write_nifti(tmp_path / "b.nii.gz", turn.invert(turn.apply(volume.array)), volume.grid, volume.header)
    a, b = nib.load(tmp_path / "a.nii.gz"), nib.load(tmp_path / "b.nii.gz")
    assert np.array_equal(a.affine, b.affine)
    assert np.array_equal(np.asanyarray(a.dataobj), np.asanyarray(b.dataobj))


def test_written_bytes_are_the_same_each_time(tmp_path):
    volume = read_volume(save(tmp_path / "a.nii.gz", ball_ct()), labels=False)
    assert nifti_bytes(volume.array, volume.grid) == nifti_bytes(volume.array, volume.grid)
    assert nifti_bytes(volume.array, volume.grid)[4:8] == b"\0\0\0\0"  # no time stamp


@given(
    hnp.arrays(st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32]), (3, 3, 3)),
    st.sampled_from([1.0, -1.0, 2.0, 0.5, 3.0]),
    st.sampled_from([0.0, -1024.0, 100000.0, 0.25]),
)
def test_scaling_is_exact_whatever_the_type(array, slope, intercept):
    """Whole numbers stay whole and never wrap around."""
    values = scaled(SourceVolume(array, slope, intercept, Grid((3, 3, 3), np.eye(4))))
    assert np.array_equal(values.astype(np.float64), array.astype(np.float64) * slope + intercept)


def test_what_counts_is_how_a_file_begins_and_not_its_name(tmp_path):
    good = save(tmp_path / "good.nii.gz", ball_ct()).read_bytes()
    plain = gzip.decompress(good)
    for name, content in {
        "plain.nii.gz": plain,
        "packed.nii": good,
        "TWICE.NII.GZ": gzip.compress(good),
        "padded.nii.gz": good + bytes(512),
        "two_members.nii.gz": gzip.compress(plain[:5000]) + gzip.compress(plain[5000:]),
    }.items():
        (tmp_path / name).write_bytes(content)
        volume = read_volume(tmp_path / name, labels=False)
        assert np.array_equal(volume.array, ball_ct()), name
        assert ("compression_not_as_named" in volume.flags) == (name not in ("two_members.nii.gz", "padded.nii.gz")), (
            name
        )
    assert read_volume(tmp_path / "good.nii.gz", labels=False).flags == []


LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 12345\n".encode()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LFS, r"git-lfs pointer: its data \(12,345 bytes\) were not fetched(.|\n)*git lfs pull"),
        (b"/annex/objects/MD5E-s123--0123.nii.gz\n", r"git-annex pointer(.|\n)*datalad get"),
        (b"../.git/annex/objects/Xx/Yy/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz", "git-annex pointer"),
        (b"\n<!DOCTYPE html><html><body>403 Forbidden</body></html>", "a web page(.|\n)*download it again"),
        (b"PK\x03\x04" + bytes(60), "a zip archive"),
        (b"NRRD0004\ntype: short\n", "an NRRD file(.|\n)*ending .nrrd"),
        (bytes(128) + b"DICM" + bytes(40), "is DICOM, not NIfTI(.|\n)*ending .dcm"),
        (b"BZh91AY&SY", "compressed by bzip2"),
        (b"ct.nii".ljust(257, b"\0") + b"ustar" + bytes(300), "a tar archive(.|\\n)*unpack it"),
        (b"\x00\x05\x16\x07\x00\x02" + bytes(90), "companion file of macOS"),
    ],
)
def test_stand_ins_for_the_data_are_named_for_what_they_are(tmp_path, content, expected):
    for name, data in (("a.nii.gz", content), ("b.nii", content), ("c.nii.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ScanError, match=expected):
            read_volume(tmp_path / name, labels=False)


def test_pointers_in_place_of_other_formats_and_links_to_nothing_are_named(tmp_path):
    (tmp_path / "v.nrrd").write_bytes(LFS)
    (tmp_path / "a.nii.gz").symlink_to("../.git/annex/objects/Xx/Yy/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz")
    (tmp_path / "b.nii.gz").symlink_to("elsewhere.nii.gz")
    for name, expected in {
        "v.nrrd": "git-lfs pointer",
        "a.nii.gz": "git-annex link: its data were not fetched",
        "b.nii.gz": r"a link that leads nowhere",
    }.items():
        with pytest.raises(ScanError, match=expected):
            read_volume(tmp_path / name, labels=False)


def with_header(path, pixdim, sform=None, qform=None, unit="mm"):
    """A NIfTI file whose fields were set one by one, as tools do that edit headers."""
    image = nib.Nifti1Image(ball_ct(), None)
    header = image.header
    header.set_sform(np.eye(4) if sform is None else sform, 0 if sform is None else 1)
    if qform is not None:
        header.set_qform(qform, 1)
    header.set_xyzt_units(unit)
    content = bytearray(image.to_bytes())
    content[80:92] = np.asarray(pixdim, "<f4").tobytes()
    path.write_bytes(bytes(content))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("pixdim", "steps", "flags"),
    [
        ((0.8658, 0.8658, 0.796), (1, 1, 1), ["pixdim_differs"]),
        ((2, 2, 2.25), (2, 2, 3), ["pixdim_differs"]),
        ((0, 0, 0), (2, 2, 3), ["pixdim_differs"]),
        ((2, 2, np.nan), (2, 2, 3), ["pixdim_differs"]),
        ((2, 2, 3.00001), (2, 2, 3), []),
    ],
)
def test_a_coded_sform_wins_over_pixdim_and_a_flag_says_so(tmp_path, suffix, pixdim, steps, flags):
    path = with_header(tmp_path / "a.nii", pixdim, sform=np.diag([*steps, 1.0]))
    if suffix == ".nii.gz":
        (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    volume = read_volume(tmp_path / f"a{suffix}", labels=False)
    assert volume.grid.spacing_mm == pytest.approx(steps)
    assert volume.flags == flags
    assert len(volume.notes) == len(flags)


def test_pixdim_in_metres_and_two_forms_that_differ_in_spacing(tmp_path):
    metres = with_header(tmp_path / "m.nii", [0.002] * 3, sform=np.diag([0.002] * 3 + [1]), unit="meter")
    assert read_volume(metres, labels=False).flags == ["unit_converted_from_meter"]
    both = with_header(tmp_path / "b.nii", (2, 2, 2.4), np.diag([2, 2, 3.2, 1.0]), np.diag([2, 2, 2.4, 1.0]))
    volume = read_volume(both, labels=False)
    assert volume.flags == ["pixdim_differs", "sform_qform_differ"]
    assert volume.grid.spacing_mm == pytest.approx((2, 2, 3.2))


def test_a_qform_or_no_form_at_all_needs_pixdim(tmp_path):
    """A voxel size of 0 was read as 1 mm, without a word."""
    for qform in (None, np.diag([2, 2, 3, 1.0])):
        with pytest.raises(ScanError, match="pixdim says voxels of 0 x 2 x 3, and no sform overrules it"):
            read_volume(with_header(tmp_path / "z.nii", (0, 2, 3), qform=qform), labels=False)
        volume = read_volume(with_header(tmp_path / "q.nii", (2, 2, 3), qform=qform), labels=False)
        assert volume.grid.spacing_mm == pytest.approx((2, 2, 3))
        assert volume.flags == (["orientation_assumed"] if qform is None else [])
