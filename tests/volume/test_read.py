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
from volforge.volume.read import SourceVolume, read_volume, scaled
from volforge.volume.write import nifti_bytes, write_nifti


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_formats_agree(tmp_path, suffix):
    image = sitk.GetImageFromArray(ball_ct().transpose(2, 1, 0))
    image.SetSpacing((0.7, 1.1, 2.5))
    image.SetOrigin((-30, 12, 7))
    image.SetDirection(sitk.VersorTransform((0, 0, 1), 0.2).GetMatrix())
    path = tmp_path / f"v{suffix}"
    sitk.WriteImage(image, str(path))
    volume = read_volume(path)
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
    volume = read_volume(tmp_path / "s.nii.gz")
    assert np.allclose(scaled(volume), stored.get_fdata())


def test_units_are_converted_or_flagged(tmp_path):
    array = ball_ct()
    metres = save(tmp_path / "m.nii", array, np.diag([0.002, 0.002, 0.003, 1]), unit="meter")
    volume = read_volume(metres)
    assert volume.grid.spacing_mm == pytest.approx((2, 2, 3))
    assert volume.flags == ["unit_converted_from_meter"]
    assert read_volume(save(tmp_path / "u.nii", array, unit="unknown")).flags == ["unit_assumed"]


def test_trailing_axis_is_dropped_and_a_series_refused(tmp_path):
    one = save(tmp_path / "one.nii.gz", ball_ct()[..., None])
    assert read_volume(one).array.ndim == 3
    series = save(tmp_path / "series.nii.gz", np.stack([ball_ct()] * 3, axis=-1))
    with pytest.raises(ScanError, match="4-D"):
        read_volume(series)


def test_nifti2_is_read(tmp_path):
    nib.save(nib.Nifti2Image(ball_ct(), np.diag([2, 2, 2, 1])), tmp_path / "two.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "two.nii.gz").array, ball_ct())


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
            read_volume(tmp_path / name)


def test_truncated_metaimage_is_not_filled_from_memory(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(ball_ct()), str(tmp_path / "v.mha"))
    content = (tmp_path / "v.mha").read_bytes()
    (tmp_path / "v.mha").write_bytes(content[:-1000])
    with pytest.raises(ScanError, match="truncated"):
        read_volume(tmp_path / "v.mha")


def test_colour_and_complex_images_are_refused(tmp_path):
    sitk.WriteImage(sitk.Compose([sitk.GetImageFromArray(ball_ct())] * 3), str(tmp_path / "rgb.mha"))
    with pytest.raises(ScanError, match="3 values per voxel"):
        read_volume(tmp_path / "rgb.mha")
    save(tmp_path / "c.nii.gz", ball_ct().astype(np.complex64))
    with pytest.raises(ScanError, match="not plain numbers"):
        read_volume(tmp_path / "c.nii.gz")


def test_implausible_size_is_refused_with_the_numbers(tmp_path):
    with pytest.raises(ScanError, match=r"voxels of 0\.002 x 0\.002 x 0\.002 mm"):
        read_volume(save(tmp_path / "s.nii", ball_ct(), np.diag([0.002] * 3 + [1])))


def test_sform_and_qform_that_differ_are_flagged(tmp_path):
    image = nib.Nifti1Image(ball_ct(), None)
    image.set_sform(np.diag([2, 2, 2, 1]), 1)
    image.set_qform(np.diag([3, 2, 2, 1]), 1)
    nib.save(image, tmp_path / "q.nii")
    volume = read_volume(tmp_path / "q.nii")
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
    volume = read_volume(tmp_path / "a.nii.gz")
    turn = reorientation_of(volume.grid.affine)
    write_nifti(tmp_path / "b.nii.gz", turn.invert(turn.apply(volume.array)), volume.grid, volume.header)
    a, b = nib.load(tmp_path / "a.nii.gz"), nib.load(tmp_path / "b.nii.gz")
    assert np.array_equal(a.affine, b.affine)
    assert np.array_equal(np.asanyarray(a.dataobj), np.asanyarray(b.dataobj))


def test_written_bytes_are_the_same_each_time(tmp_path):
    volume = read_volume(save(tmp_path / "a.nii.gz", ball_ct()))
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
