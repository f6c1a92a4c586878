"""A CT series derived from an MR series: read back by our own reader, and what its files say."""

import numpy as np
import pydicom
import pytest

from tests.dicom.files import PATIENT, phantom, write_series
from volforge.errors import VolforgeError
from volforge.volume.dicom.derived import write_ct_series
from volforge.volume.read import read_volume
from volforge.volume.source_volume import scaled

SHAPE = (40, 36, 20)
OBLIQUE = (0.9961946981, 0.0, -0.0871557427, 0.015134436, 0.9848077530, 0.1729873939)


def mr_series(folder, **more):
    grey = np.clip(phantom(SHAPE) + 1000, 0, None).astype(np.int16)
    return write_series(folder, grey, modality="MR", SequenceName="secret_sequence", EchoTime=12, **more)


def hu_of(seed=0):
    return np.random.default_rng(seed).integers(-1024, 1400, SHAPE).astype(np.int16)


@pytest.mark.parametrize("reverse", [False, True])
def test_values_and_grid_come_back(tmp_path, reverse):
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    mr_series(tmp_path / "mr", reverse=reverse, orientation=OBLIQUE, step=tuple(3 * normal))
    source = read_volume(tmp_path / "mr", labels=False)
    hu = hu_of()
    assert write_ct_series(tmp_path / "ct", hu, tmp_path / "mr", derivation="made", origin="w") == 20
    back = read_volume(tmp_path / "ct", labels=False)
    assert np.array_equal(scaled(back), hu)
    assert np.array_equal(back.grid.affine, source.grid.affine)
    assert (back.modality, back.frame_uid) == ("CT", source.frame_uid)
    assert back.flags == []


def test_files_name_their_source_and_nothing_of_its_scanner(tmp_path):
    files = mr_series(tmp_path / "mr")
    write_ct_series(tmp_path / "ct", hu_of(), tmp_path / "mr", derivation="made, not for clinical use", origin="w")
    sources = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, files)}
    made = [pydicom.dcmread(f) for f in sorted((tmp_path / "ct").glob("*.dcm"))]
    assert len({d.SOPInstanceUID for d in made}) == 20
    assert len({d.SeriesInstanceUID for d in made}) == 1
    for one in made:
        source = sources[one.SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert one.ImagePositionPatient == source.ImagePositionPatient
        assert one.StudyInstanceUID == source.StudyInstanceUID
        assert one.SeriesInstanceUID != source.SeriesInstanceUID
        assert (one.PatientName, one.PatientID) == (PATIENT["PatientName"], PATIENT["PatientID"])
        assert one.ImageType == ["DERIVED", "SECONDARY", "AXIAL"]
        assert (one.Modality, one.RescaleSlope, one.RescaleIntercept, one.RescaleType) == ("CT", 1, 0, "HU")
        assert "not for clinical use" in one.SeriesDescription
        assert "not for clinical use" in one.DerivationDescription
        assert "SequenceName" not in one
        assert "EchoTime" not in one


def test_same_bytes_for_the_same_and_other_uids_for_others(tmp_path):
    mr_series(tmp_path / "mr")
    for name, seed, origin in (("a", 0, "w"), ("b", 0, "w"), ("c", 1, "w"), ("d", 0, "v")):
        write_ct_series(tmp_path / name, hu_of(seed), tmp_path / "mr", derivation="made", origin=origin)
    content = {n: {f.name: f.read_bytes() for f in (tmp_path / n).glob("*.dcm")} for n in "abcd"}
    assert content["a"] == content["b"]
    uids = {n: pydicom.dcmread(tmp_path / n / "CT0001.dcm").SeriesInstanceUID for n in "abcd"}
    assert len(set(uids.values())) == 3


def test_a_multi_frame_series_becomes_single_slices(tmp_path):
    from tests.dicom.files import write_multi_frame

    file = write_multi_frame(tmp_path / "mr.dcm", phantom(SHAPE), shuffled=True)
    source = read_volume(file, labels=False)
    hu = hu_of()
    write_ct_series(tmp_path / "ct", hu, file, derivation="made", origin="w")
    back = read_volume(tmp_path / "ct", labels=False)
    assert np.array_equal(scaled(back), hu)
    assert np.allclose(back.grid.affine, source.grid.affine, atol=1e-6)
    references = [
        pydicom.dcmread(f).SourceImageSequence[0].ReferencedFrameNumber for f in (tmp_path / "ct").glob("*.dcm")
    ]
    assert sorted(references) == list(range(1, 21))


def test_what_cannot_be_derived_is_refused(tmp_path):
    mr_series(tmp_path / "mr")
    with pytest.raises(VolforgeError, match="for 20 slices"):
        write_ct_series(tmp_path / "ct", hu_of()[:, :, :5], tmp_path / "mr", derivation="", origin="")
    with pytest.raises(VolforgeError, match="int16"):
        write_ct_series(tmp_path / "ct", hu_of().astype(float), tmp_path / "mr", derivation="", origin="")
    mr_series(tmp_path / "bare", FrameOfReferenceUID=None)
    with pytest.raises(VolforgeError, match="lacks FrameOfReferenceUID"):
        write_ct_series(tmp_path / "ct", hu_of(), tmp_path / "bare", derivation="", origin="")
    assert not (tmp_path / "ct").exists()
