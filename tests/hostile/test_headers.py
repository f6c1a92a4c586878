"""Damaged headers of volumes, and headers that promise more than any file holds."""

import gzip
import io
import struct
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from tests.conftest import save
from tests.dicom.files import phantom, write_multi_frame, write_series
from tests.hostile.damage import bounded, damages, fuzz, small_ct
from volforge.errors import ScanError
from volforge.volume.dicom import damage as damage_module
from volforge.volume.promises import MOST_VOXELS, inflated
from volforge.volume.read import read_volume

ANY = damages()


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Content and length of the header of a small volume in each format."""
    folder = tmp_path_factory.mktemp("good")
    image = sitk.GetImageFromArray(small_ct().transpose(2, 1, 0))
    image.SetSpacing((2, 2, 2))
    found = {".nii": (save(folder / "a.nii", small_ct()).read_bytes(), 352)}
    for name, packed in (("a.nrrd", False), ("b.nrrd", True), ("a.mha", False), ("b.mha", True)):
        sitk.WriteImage(image, str(folder / name), packed)
        content = (folder / name).read_bytes()
        end = content.index(b"\n\n") + 2 if name.endswith("nrrd") else content.index(b"LOCAL") + 6
        found[name] = (content, end)
    multi = write_multi_frame(folder / "m.dcm", phantom((16, 14, 5)), step=6).read_bytes()
    found[".dcm"] = (multi, len(multi) - 16 * 14 * 5 * 2)
    return found


def tried(path, content):
    path.write_bytes(content)
    with bounded():
        read_volume(path, labels=False)


@fuzz(60)
@given(damage=ANY)
def test_nifti(good, tmp_path_factory, damage):
    content = damage(*good[".nii"])
    folder = tmp_path_factory.getbasetemp()
    tried(folder / "f.nii", content)
    tried(folder / "f.nii.gz", gzip.compress(content, 1))


@fuzz(40)
@given(damage=ANY)
def test_packed_nifti(good, tmp_path_factory, damage):
    packed = gzip.compress(good[".nii"][0], 1, mtime=0)
    tried(tmp_path_factory.getbasetemp() / "p.nii.gz", damage(packed, len(packed)))


@pytest.mark.parametrize("name", ["a.nrrd", "b.nrrd", "a.mha", "b.mha"])
@fuzz(50)
@given(damage=ANY)
def test_nrrd_and_metaimage(good, tmp_path_factory, name, damage):
    """ITK ended the process on some of these."""
    tried(tmp_path_factory.getbasetemp() / f"f{name}", damage(*good[name]))


@fuzz(60)
@given(damage=ANY)
def test_dicom(good, tmp_path_factory, damage):
    tried(tmp_path_factory.getbasetemp() / "f.dcm", damage(*good[".dcm"]))


@fuzz(25)
@given(damage=ANY)
def test_dicom_series(tmp_path_factory, damage):
    folder = tmp_path_factory.getbasetemp() / "series"
    if not folder.exists():
        write_series(folder, phantom((16, 14, 5)), spacing=(3, 3), step=(0, 0, 6))
    names = sorted(folder.iterdir())
    kept = names[2].read_bytes()
    try:
        names[2].write_bytes(damage(kept, len(kept) - 16 * 14 * 2))
        with bounded():
            read_volume(folder, labels=False)
    finally:
        names[2].write_bytes(kept)


def nifti1(*shape):
    content = bytearray(nib.Nifti1Image(small_ct((4, 4, 4)), np.diag([2.0, 2, 2, 1])).to_bytes()[:352])
    struct.pack_into(f"<{len(shape) + 1}h", content, 40, len(shape), *shape)
    return bytes(content) + bytes(1000)


def nifti2(*shape):
    header = nib.Nifti2Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.float64)
    header.set_sform(np.diag([2.0, 2, 2, 1]), 1)
    header["vox_offset"] = 544
    return header.binaryblock + bytes(1004)


def nrrd(sizes="100000 100000 100000", encoding="raw", data=bytes(100), more=""):
    return (
        f"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {sizes}\nspace directions: "
        f"(2,0,0) (0,2,0) (0,0,2)\nendian: little\nencoding: {encoding}\nspace origin: (0,0,0)\n{more}\n"
    ).encode() + data


def meta(sizes="100000 100000 100000", packed=False, data=bytes(100), file="LOCAL"):
    return (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = {packed}\n"
        f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 2 2 2\nDimSize = {sizes}\n"
        f"ElementType = MET_SHORT\nElementDataFile = {file}\n"
    ).encode() + data


PETABYTES = {
    "a.nii": nifti1(32767, 32767, 32767),
    "a.nii.gz": gzip.compress(nifti1(32767, 32767, 32767)),
    "b.nii": nifti2(10**5, 10**5, 10**5),
    "b.nii.gz": gzip.compress(nifti2(10**5, 10**5, 10**5)),
    "c.nii": nifti2(1000, 1000, 1000),
    "a.nrrd": nrrd(),
    "b.nrrd": nrrd(encoding="gzip", data=gzip.compress(bytes(1000))),
    "c.nrrd": nrrd("4294967296 4294967296 4294967296"),
    "d.nrrd": nrrd("1500 1500 1500", "ascii", b"1 2 3"),
    "e.nrrd": nrrd("1500 1500 1500"),
    "a.mha": meta(),
    "b.mha": meta("1500 1500 1500", True, zlib.compress(bytes(1000))),
    "c.mha": meta("1500 1500 1500"),
}


@pytest.mark.parametrize("name", PETABYTES)
def test_what_a_header_promises_is_refused_before_memory_is_taken(tmp_path, name):
    (tmp_path / name).write_bytes(PETABYTES[name])
    tracemalloc.start()
    try:
        with bounded(), pytest.raises(ScanError, match=r"its header promises [0-9]+ x [0-9]+ x [0-9]+ voxels"):
            read_volume(tmp_path / name, labels=False)
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_more_voxels_than_any_scan_has(tmp_path):
    with (tmp_path / "a.nii").open("wb") as file:
        file.write(nifti2(2100, 2100, 2100)[:544])
        file.truncate(544 + 2100**3 * 8)  # a file of holes, which takes no space
    with bounded(), pytest.raises(ScanError, match="more than any scan has"):
        read_volume(tmp_path / "a.nii", labels=False)
    assert 2100**3 > MOST_VOXELS > 1024 * 1024 * 4000


def test_a_small_file_that_unpacks_to_gigabytes(tmp_path):
    head = nifti1(20, 20, 20)[:352]
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(head) + b"".join(packer.compress(bytes(10**7)) for _ in range(12)) + packer.flush()
    assert len(bomb) < 400_000
    (tmp_path / "a.nii.gz").write_bytes(bomb)
    with bounded(), pytest.raises(ScanError, match="unpacks to more than"):
        read_volume(tmp_path / "a.nii.gz", labels=False)


def test_unpacking_agrees_with_gzip_and_checks_its_sum():
    content = np.random.default_rng(0).integers(0, 9, 100_000).astype(np.int16).tobytes()
    packed = gzip.compress(content)
    assert inflated(packed, len(content)) == content
    assert (
        inflated(packed[:0] + gzip.compress(content[:777]) + gzip.compress(content[777:]) + bytes(99), 10**6) == content
    )
    with pytest.raises(ScanError, match="unpacks to more"):
        inflated(packed, len(content) - 1)
    wrong = bytearray(packed)
    wrong[-6] ^= 1
    with pytest.raises(zlib.error):
        inflated(bytes(wrong), 10**6)
    with pytest.raises(EOFError):
        inflated(packed[:-9], 10**6)


def test_packed_values_of_metaimage_that_end_early_are_no_zeros(tmp_path):
    """ITK reads them without a word, and fills up."""
    values = small_ct().transpose(2, 1, 0).tobytes()
    for part, ok in ((values, True), (values[: len(values) // 2], False)):
        packed = zlib.compress(part)
        size = f"CompressedDataSize = {len(packed)}\nDimSize".encode()
        (tmp_path / "a.mha").write_bytes(meta("24 24 24", True, packed).replace(b"DimSize", size))
        if ok:
            assert np.array_equal(read_volume(tmp_path / "a.mha", labels=False).array, small_ct())
        else:
            with pytest.raises(ScanError, match="bytes of values, 27648 expected"):
                read_volume(tmp_path / "a.mha", labels=False)
    (tmp_path / "b.mha").write_bytes(meta("24 24 24", True, zlib.compress(values)))
    with pytest.raises(ScanError, match="CompressedDataSize"):
        read_volume(tmp_path / "b.mha", labels=False)


@pytest.mark.parametrize("there", ["/etc/passwd", "../beside.raw", "sub/../../beside.raw"])
def test_headers_do_not_reach_files_outside_of_their_folder(tmp_path, there):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "beside.raw").write_bytes(bytes(24**3 * 2))
    (folder / "a.nhdr").write_bytes(nrrd("24 24 24", data=b"", more=f"data file: {there}\n"))
    (folder / "a.mhd").write_bytes(meta("24 24 24", data=b"", file=there))
    for name in ("a.nhdr", "a.mhd"):
        with pytest.raises(ScanError, match="outside of its own folder"):
            read_volume(folder / name, labels=False)
    (folder / "own.raw").write_bytes(small_ct().transpose(2, 1, 0).tobytes())
    (folder / "b.mhd").write_bytes(meta("24 24 24", data=b"", file="own.raw"))
    assert np.array_equal(read_volume(folder / "b.mhd", labels=False).array, small_ct())


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (nrrd("20 20 20").replace(b"(0,0,0)", b"(0,0,0\x18\xfc" + b"\x18\xfc" * 30), "damaged at ' space origin'|damaged at 'space origin'"),
        (nrrd("20 20 20").replace(b"(0,0,0)", b"(0,0,x)"), "spaceorigin is"),
        (nrrd("20 20"), "sizes is '20 20'"),
        (nrrd("20 0 20"), "no length"),
        (nrrd("20 20 20").replace(b"short", b"block"), "of type 'block'"),
        (nrrd("20 20 20", "bzip2"), "encoded as 'bzip2'"),
        (nrrd("20 20 20").replace(b"dimension: 3", b"dimension: 3\ndimension: 3"), "stands twice"),
        (meta("20 20 20").replace(b"NDims = 3", b"NDims =-1"), "NDims is"),
        (meta("20 20 20").replace(b"Offset = 0 0 0", b"Offset = 0 0"), "Offset is"),
        (meta("20 20 20").replace(b"MET_SHORT", b"MET_STRING"), "of type 'STRING'"),
    ],
)  # fmt: skip
def test_fields_that_a_library_would_stumble_over_are_named(tmp_path, header, expected):
    name = "a.nrrd" if header.startswith(b"NRRD") else "a.mha"
    (tmp_path / name).write_bytes(header + bytes(16000))
    with pytest.raises(ScanError, match=expected):
        read_volume(tmp_path / name, labels=False)


def changed(content, change):
    dataset = pydicom.dcmread(io.BytesIO(content))
    change(dataset)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def many_frames(dataset):
    dataset.NumberOfFrames = 2**31 - 1
    del dataset.PerFrameFunctionalGroupsSequence


def wide(dataset):
    dataset.Rows = dataset.Columns = 65535


def packed_wide(dataset):
    dataset.Rows = dataset.Columns = 60000
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = pydicom.encaps.encapsulate([struct.pack("<16L", 2, 64, 66, *([0] * 13)) + b"\x80\0" * 2] * 5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [(many_frames, "promises 2147483647 frames"), (wide, "65535 x 65535 voxels"), (packed_wide, "60000 x 60000")],
)
def test_dicom_that_promises_too_much(good, tmp_path, change, expected):
    (tmp_path / "a.dcm").write_bytes(changed(good[".dcm"][0], change))
    with bounded(), pytest.raises(ScanError, match=expected):
        read_volume(tmp_path / "a.dcm", labels=False)


def test_a_dicom_file_that_is_packed_as_a_whole(good, tmp_path, monkeypatch):
    def pack(dataset):
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    content = changed(good[".dcm"][0], pack)
    (tmp_path / "a.dcm").write_bytes(content)
    assert read_volume(tmp_path / "a.dcm", labels=False).array.shape == (16, 14, 5)
    start = 144 + int.from_bytes(content[140:144], "little")
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = packer.compress(zlib.decompress(content[start:], -15))
    body += packer.compress(struct.pack("<HH2sHL", 0x7FE1, 0x10, b"OB", 0, 0xFFFFFFF0))
    body += b"".join(packer.compress(bytes(1 << 24)) for _ in range(3)) + packer.flush()
    (tmp_path / "b.dcm").write_bytes(content[:start] + body)
    assert damage_module.MOST_INFLATED == 1 << 30
    monkeypatch.setattr(damage_module, "MOST_INFLATED", 1 << 25)
    with bounded(), pytest.raises(ScanError, match="unpacks to more than"):
        read_volume(tmp_path / "b.dcm", labels=False)
