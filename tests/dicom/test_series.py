"""DICOM series as scanners, archives and anonymisers leave them: read rightly (test_refused.py has the others)."""

import math
import re
import shutil

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEGLSLossless, RLELossless
from scipy.ndimage import binary_erosion

from tests.conftest import volforge
from tests.dicom.files import phantom, uid, write_multi_frame, write_series
from volforge.errors import ScanError
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

HU = phantom()


def refused(path) -> str:
    with pytest.raises(ScanError) as error:
        read_volume(path, labels=False)
    assert error.value.remedy
    assert error.value.where
    return error.value.message


def world_ramp(planes_origin, u, v, shape):
    """Values that are a linear function of the place: linear resampling must reproduce them."""
    i, j = np.indices(shape)
    out = np.empty((*shape, len(planes_origin)))
    for k, origin in enumerate(planes_origin):
        p = origin[:, None, None] + u[:, None, None] * i + v[:, None, None] * j
        out[:, :, k] = 3 * p[0] - 2 * p[1] + 1.5 * p[2]
    return out


def ramp_at(volume):
    x, y, z = np.indices(volume.grid.shape)
    p = np.einsum("ab,bxyz->axyz", volume.grid.affine[:3, :3], np.stack([x, y, z]).astype(float))
    p += volume.grid.affine[:3, 3][:, None, None, None]
    return 3 * -p[0] - 2 * -p[1] + 1.5 * p[2]


# --- read rightly


@pytest.mark.parametrize("reverse", [False, True])
def test_slices_are_sorted_by_place_whatever_their_names(tmp_path, reverse):
    write_series(tmp_path / "s", HU, reverse=reverse)
    volume = read_volume(tmp_path / "s", labels=False)
    assert np.array_equal(scaled(volume), HU)
    assert np.allclose(volume.grid.affine, [[-2, 0, 0, 40], [0, -2.5, 0, 45], [0, 0, 3, 10], [0, 0, 0, 1]])
    assert volume.flags == []


def test_a_series_equals_what_simpleitk_reads(tmp_path):
    import SimpleITK as sitk

    tilted = (0.9961947, 0.0871557, 0, -0.0871557, 0.9961947, 0)
    write_series(tmp_path / "s", HU, orientation=tilted, reverse=True)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "s")))
    image = reader.Execute()
    volume = read_volume(tmp_path / "s", labels=False)
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), scaled(volume))
    for index in [(0, 0, 0), (39, 35, 19), (5, 30, 2)]:
        ours = volume.grid.affine @ [*index, 1]
        theirs = np.array(image.TransformIndexToPhysicalPoint(index)) * [-1, -1, 1]
        assert np.allclose(ours[:3], theirs, atol=1e-4)


def test_unsigned_with_slope_and_signed_with_unused_bits(tmp_path):
    write_series(tmp_path / "u", HU, dtype=np.uint16, slope=0.5)
    assert np.array_equal(scaled(read_volume(tmp_path / "u", labels=False)), HU)
    files = write_series(tmp_path / "s", HU, intercept=0)
    for path in files:  # 12 bits stored, and an old scanner's overlay in the bits above
        d = pydicom.dcmread(path)
        stored = np.clip(d.pixel_array, -2048, 2047).astype(np.int16)
        d.BitsStored, d.HighBit = 12, 11
        d.PixelData = ((stored.view(np.uint16) & 0x0FFF) | 0x9000).tobytes()
        d.save_as(path)
    assert np.array_equal(scaled(read_volume(tmp_path / "s", labels=False)), HU)


def test_signed_and_unsigned_slices_in_one_series(tmp_path):
    write_series(tmp_path / "s", HU[:, :, :10])
    upper = write_series(tmp_path / "u", HU[:, :, 10:], dtype=np.uint16, origin=(-40, -45, 40), first=11)
    for path in upper:
        shutil.copy(path, tmp_path / "s" / path.name)
    assert np.array_equal(scaled(read_volume(tmp_path / "s", labels=False)), HU)


def test_slices_with_their_own_scaling(tmp_path):
    """PET writes a slope for each slice."""
    values = (phantom() + 1000).astype(np.float64)
    files = write_series(tmp_path / "p", np.zeros_like(HU), modality="MR")
    for k, path in enumerate(sorted(files)):
        d = pydicom.dcmread(path)
        d.RescaleSlope, d.RescaleIntercept = f"{0.05 * (k + 1):.3f}", 0
        d.PixelData = np.rint(values[:, :, k].T / (0.05 * (k + 1))).astype(np.int16).tobytes()
        d.save_as(path)
    assert np.abs(scaled(read_volume(tmp_path / "p", labels=False)) - values).max() <= 0.5


@pytest.mark.parametrize("shuffled", [False, True])
def test_multi_frame_file_with_scaling_per_frame(tmp_path, shuffled):
    volume = read_volume(write_multi_frame(tmp_path / "m.dcm", HU, shuffled=shuffled), labels=False)
    assert np.array_equal(scaled(volume), HU)
    assert np.allclose(volume.grid.affine[:3, 3], [40, 45, 10])


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_by_pydicom(tmp_path, syntax):
    for path in write_series(tmp_path / "s", HU, dtype=np.uint16):
        d = pydicom.dcmread(path)
        d.compress(syntax, generate_instance_uid=False)
        d.save_as(path)
    assert np.array_equal(scaled(read_volume(tmp_path / "s", labels=False)), HU)


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEG2000Lossless", "JPEGLSLossless", "RLELossless"])
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_compressed_by_gdcm(tmp_path, syntax, dtype):
    import gdcm

    for path in write_series(tmp_path / "s", HU, dtype=dtype):
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        assert pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.is_compressed
    assert np.array_equal(scaled(read_volume(tmp_path / "s", labels=False)), HU)


def test_files_without_head_and_suffix(tmp_path):
    for path in write_series(tmp_path / "s", HU):
        d = pydicom.dcmread(path)
        del d.file_meta
        d.save_as(path.with_suffix(""), implicit_vr=True, little_endian=True, enforce_file_format=False)
        path.unlink()
    assert np.array_equal(scaled(read_volume(tmp_path / "s", labels=False)), HU)


def test_a_list_of_files(tmp_path):
    files = write_series(tmp_path / "deep" / "s", HU) + write_series(
        tmp_path / "deep" / "s", HU, series="b", name="B{}.dcm"
    )
    (tmp_path / "list.txt").write_text("# one volume\n" + "\n".join(str(f.relative_to(tmp_path)) for f in files[:20]))
    assert np.array_equal(scaled(read_volume(tmp_path / "list.txt", labels=False)), HU)
    (tmp_path / "list.txt").write_text("nothing.dcm\n")
    assert "nothing.dcm" in refused(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("\n")
    assert "no file" in refused(tmp_path / "list.txt")


@given(
    st.floats(-30, 30).filter(lambda t: abs(t) > 1),
    st.sampled_from([(1, 0, 0), (0.995, 0.0998, 0)]),
    st.floats(0.8, 5),
)
@settings(max_examples=15, deadline=None)
def test_gantry_tilt_of_any_angle_is_taken_out(tmp_path_factory, degrees, row, step):
    """A linear function of the place survives: every voxel lies where the affine says."""
    folder = tmp_path_factory.mktemp("tilt")
    t = math.radians(degrees)
    row = np.array(row) / np.linalg.norm(row)
    across = np.cross([0, 0, 1], row)
    column = math.cos(t) * across + math.sin(t) * np.array([0, 0, 1])
    origins = np.array([-40.0, -45, 10]) + np.arange(30)[:, None] * np.array([0, 0, step])
    values = world_ramp(origins, row * 2.0, column * 2.5, (20, 18))
    write_series(
        folder / "s", values, positions=origins, orientation=(*row, *column), slope=0.01, intercept=0, dtype=np.int32
    )
    volume = read_volume(folder / "s", labels=False)
    assert "gantry_tilt_resampled" in volume.flags
    said = float(re.search(r"stacked ([0-9.]+) degrees", volume.notes[0])[1])
    assert said == pytest.approx(abs(degrees), abs=0.02)
    columns = volume.grid.affine[:3, :3] / np.linalg.norm(volume.grid.affine[:3, :3], axis=0)
    assert np.allclose(columns.T @ columns, np.eye(3), atol=1e-6)
    read, true = scaled(volume), ramp_at(volume)
    inside = read > read.min() + 1e-9
    core = inside & np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1)
    core[[0, -1]], core[:, [0, -1]] = False, False
    assert core.sum() > 0.5 * values.size
    assert np.abs(read - true)[core].max() < 0.1


def test_two_deliberate_spacings_are_resampled_to_the_finer(tmp_path):
    heights = np.concatenate([np.arange(8) * 3.0, 21 + 6.0 * np.arange(1, 9)])
    origins = np.array([-40.0, -45, 0]) + heights[:, None] * np.array([0, 0, 1.0])
    values = world_ramp(origins, np.array([2.0, 0, 0]), np.array([0, 2.5, 0]), (20, 18))
    write_series(tmp_path / "s", values, positions=origins, slope=0.01, intercept=0, dtype=np.int32)
    volume = read_volume(tmp_path / "s", labels=False)
    assert volume.flags == ["uneven_spacing_resampled"]
    assert volume.grid.spacing_mm[2] == pytest.approx(3)
    assert volume.grid.shape[2] == 24
    assert np.abs(scaled(volume) - ramp_at(volume)).max() < 0.05


@pytest.mark.parametrize("degrees", [0, 18.5])
@pytest.mark.parametrize(
    ("steps", "spacing"),
    [
        ([4.0] * 8 + [1.08] + [7.0] * 6, 4),  # two blocks that meet
        ([7.0] * 6 + [1.08] + [4.0] * 8, 4),
        ([4.0] * 8 + [0.5] + [4.0] * 6, 4),
        ([4.0] * 8 + [1.0, 3.0, 4.0] + [7.0] * 6, 4),  # they overlap: the second begins 3 mm before the end
        ([5.0] * 5 + [1.5] + [4.0] * 5 + [2.0] + [7.0] * 5, 4),
    ],
)
def test_blocks_of_a_head_are_resampled_to_the_finer_of_them(tmp_path, degrees, steps, spacing):
    t = math.radians(degrees)
    heights = np.concatenate([[0], np.cumsum(steps)])
    u, v = np.array([2.0, 0, 0]), 2.5 * np.array([0, math.cos(t), math.sin(t)])
    origins = np.array([-40.0, -45, 10]) + heights[:, None] / math.cos(t) * np.array([0, 0, 1.0])
    values = world_ramp(origins, u, v, (20, 18))
    write_series(
        tmp_path / "s", values, positions=origins, orientation=(1, 0, 0, *(v / 2.5)), slope=0.01, intercept=0,
        dtype=np.int32,
    )  # fmt: skip
    volume = read_volume(tmp_path / "s", labels=False)
    assert volume.flags == ["gantry_tilt_resampled"] * (degrees > 0) + ["uneven_spacing_resampled"]
    assert volume.grid.spacing_mm[2] == pytest.approx(spacing, abs=1e-3)
    read, true = scaled(volume), ramp_at(volume)
    rim = np.ones((3, 7, 1), dtype=bool)  # slices that are mixed reach to different rows
    core = binary_erosion(read > read.min() + 1e-9, rim)
    assert core.sum() > 0.4 * values.size
    assert np.abs(read - true)[core].max() < 0.1


def test_rounded_positions_are_even(tmp_path):
    places = np.array([-40.0, -45, 0]) + np.round(np.arange(40)[:, None] * 0.625, 1) * np.array([0, 0, 1.0])
    write_series(tmp_path / "s", phantom((30, 30, 40)), positions=places)
    volume = read_volume(tmp_path / "s", labels=False)
    assert volume.flags == []
    assert volume.grid.spacing_mm[2] == pytest.approx(0.625, abs=2e-3)


def test_slices_sent_twice_are_dropped_and_named(tmp_path):
    files = write_series(tmp_path / "s", HU)
    shutil.copy(files[4], tmp_path / "s" / "resent.dcm")
    volume = read_volume(tmp_path / "s", labels=False)
    assert volume.flags == ["duplicate_slices_dropped"]
    assert "resent.dcm" in volume.notes[0]
    assert np.array_equal(scaled(volume), HU)


def test_localiser_in_the_folder_is_left_out(tmp_path):
    write_series(tmp_path / "s", HU)
    scout = phantom((64, 80, 1))
    write_series(
        tmp_path / "s", scout, name="scout{}.dcm", orientation=(1, 0, 0, 0, 0, -1), ImageType=["ORIGINAL", "LOCALIZER"]
    )
    volume = read_volume(tmp_path / "s", labels=False)
    assert volume.flags == ["other_stacks_left_out"]
    assert "localiser" in volume.notes[0]
    assert np.array_equal(scaled(volume), HU)


def test_oblique_series_keeps_its_place(tmp_path):
    rng = np.random.default_rng(3)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    write_series(tmp_path / "s", HU, orientation=(*q[:, 0], *q[:, 1]), step=q[:, 2] * 3)
    volume = read_volume(tmp_path / "s", labels=False)
    expected = np.diag([-1, -1, 1]) @ (q * [2, 2.5, 3])
    assert np.allclose(volume.grid.affine[:3, :3], expected, atol=1e-4)
    assert volume.flags == []


def test_padding_below_air_becomes_air_and_padding_of_tissue_stays(tmp_path):
    hu = HU.copy()
    hu[:3] = -2000
    write_series(tmp_path / "s", hu, intercept=0, PixelPaddingValue=-2000)
    volume = read_volume(tmp_path / "s", labels=False)
    assert volume.flags == ["padding_set_to_air"]
    assert (scaled(volume)[:3] == -1024).all()
    assert np.array_equal(scaled(volume)[3:], hu[3:])
    write_series(tmp_path / "t", HU, intercept=0, PixelPaddingValue=40)
    assert np.array_equal(scaled(read_volume(tmp_path / "t", labels=False)), HU)


# --- through the import


def imported(folder, out, *arguments):
    return volforge("scan", "import", "--image", folder, "--out", out, *arguments)


def test_import_keeps_the_patient_out_of_results(tmp_path):
    write_series(tmp_path / "Secret^Name" / "s", HU)
    done = imported(tmp_path / "Secret^Name" / "s", tmp_path / "out", "--scan", "x")
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "out").iterdir():
        content = path.read_bytes()
        if path.name.endswith(".gz"):
            from isal import igzip

            content = igzip.decompress(content)
        for secret in (b"Secret", b"4711", b"19700101", uid("series", "a").encode(), uid("study", "MRN-4711").encode()):
            assert secret not in content, path


def test_unit_and_modality_are_asked_for(tmp_path):
    write_series(tmp_path / "shifted", HU + 1024, intercept=0)
    done = imported(tmp_path / "shifted", tmp_path / "out")
    assert done.returncode == 1
    assert "unit" in done.stderr
    done = imported(tmp_path / "shifted", tmp_path / "out", "--unit", "hu+1024")
    assert done.returncode == 0, done.stderr
    write_series(tmp_path / "mr", HU + 1024, modality="MR")
    done = imported(tmp_path / "mr", tmp_path / "out2")
    assert "files say modality MR, the sheet CT" in done.stderr
    assert imported(tmp_path / "mr", tmp_path / "out2", "--modality", "MR").returncode == 0


def test_ct_without_rescale_is_flagged_and_judged_by_its_air(tmp_path):
    write_series(tmp_path / "s", HU, intercept=0, RescaleSlope=None, RescaleIntercept=None)
    assert read_volume(tmp_path / "s", labels=False).flags == ["rescale_assumed"]
