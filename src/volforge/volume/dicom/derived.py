"""A CT series that was derived from the slices of another DICOM series: a synthetic CT beside its MR.

Every slice has the patient, study, frame of reference and place of the slice that it was made from, and values in HU.
What only the source's scanner knows (sequence, coils, private fields) is not taken over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from volforge import __version__
from volforge.errors import VolforgeError
from volforge.volume.companions import channel_of
from volforge.volume.dicom.damage import read_dataset
from volforge.volume.dicom.headers import Frame
from volforge.volume.dicom.series import pick_stack
from volforge.volume.dicom.stacks import Stack, spacing_of
from volforge.volume.folders import refuse_foreign, whole_folder
from volforge.volume.geometry import Array

COPIED = (
    # patient, study and frame of reference
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "ReferringPhysicianName", "FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition",
    "BodyPartExamined", "AcquisitionDate", "AcquisitionTime", "InstitutionName",
)  # fmt: skip
EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator",
)  # fmt: skip
"""Tags that must be present, though they may be empty; anonymised series lack some."""
PLACED = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices",
    "SliceLocation",
)  # fmt: skip
DATES = {"SeriesDate": "StudyDate", "SeriesTime": "StudyTime", "ContentDate": "StudyDate", "ContentTime": "StudyTime"}
SERIES_NUMBER = 901
NOTE = "synthetic CT, not for clinical use"


def write_ct_series(out: Path, hu: Array, series: Path, *, derivation: str, origin: str) -> int:
    """Write HU as a CT series derived from a DICOM series, into a folder that appears whole.

    The files name the patient of the series: they belong beside it, not into results. The same values, series and
    origin give the same bytes; the UIDs follow from them.

    Args:
        out: Folder to write, one file per slice.
        hu: int16, one slice per slice of the series: (columns, rows, N) in its sorted order.
        series: Folder, list of files, or multi-frame file; `#k` behind it: its volume of that number, from 0.
        derivation: What was done, for `DerivationDescription`.
        origin: What the values depend on beside the series (a hash of weights), for the UIDs.

    Returns:
        Number of slices.

    Raises:
        VolforgeError: Sizes that differ; values that are no int16; a series that lacks the UIDs that it must name, or
            slices of several series or studies.
    """
    path, channel = channel_of(str(series))
    stack, _ = pick_stack(Path(path), channel)
    first = stack.frames[0]
    if hu.shape != (*first.shape, len(stack.frames)) or hu.dtype != np.int16:
        text = f"values of shape {hu.shape} ({hu.dtype}) for {len(stack.frames)} slices of {first.shape} (int16)"
        raise VolforgeError(text, str(out), "give the series that the image was made from")
    _check(stack, out)
    digest = hashlib.sha256(origin.encode())
    for k, frame in enumerate(stack.frames):
        digest.update(frame.instance_uid.encode() + np.ascontiguousarray(hu[:, :, k]).tobytes())
    content = digest.hexdigest()
    step = spacing_of(stack).step_mm
    with whole_folder(out) as scratch:
        for k, (frame, source) in enumerate(_sources(stack)):
            made = _slice(source, frame, k, hu[:, :, k], content, derivation, step)
            made.save_as(scratch / f"CT{k + 1:04d}.dcm", enforce_file_format=True)
    return len(stack.frames)


def refuse_series(out: Path, series: Path) -> None:
    """Refuse before long work what `write_ct_series` would refuse after it: the folder, or what the series lacks.

    Args:
        out, series: As there.

    Raises:
        VolforgeError: As there, and where the folder holds files of others.
    """
    path, channel = channel_of(str(series))
    _check(pick_stack(Path(path), channel)[0], out)
    refuse_foreign(out)


def _check(stack: Stack, out: Path) -> None:
    """Raise `VolforgeError` for a series that lacks what a derived one must name."""
    for word, uids in (("series", {f.series for f in stack.frames}), ("study", {f.study for f in stack.frames})):
        if len(uids) > 1:
            text = f"its slices have {len(uids)} {word} UIDs, and a derived series must name one"
            raise VolforgeError(text, str(out), "write .nii.gz alone")
    for frame in stack.frames:
        needed = {
            "SOPInstanceUID": frame.instance_uid,
            "StudyInstanceUID": frame.study,
            "FrameOfReferenceUID": frame.frame_uid,
        }
        missing = [tag for tag, value in needed.items() if not value]
        if missing:
            text = f"a slice lacks {', '.join(missing)}, which a derived series must name"
            raise VolforgeError(text, str(out), "write .nii.gz alone")


def _sources(stack: Stack) -> Iterator[tuple[Frame, Any]]:
    """Every slice with the data set of its file; each file is read once at a time."""
    file, dataset = None, None
    for frame in stack.frames:
        if frame.file != file:
            file, dataset = frame.file, read_dataset(frame.file)
        yield frame, dataset


def _slice(source: Any, frame: Frame, number: int, hu: Array, content: str, derivation: str, step: float) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    made = Dataset()
    for keyword in COPIED:
        if keyword in source:
            made[keyword] = source[keyword]
    for keyword in EMPTY:
        if keyword not in made:
            setattr(made, keyword, "")
    made.FrameOfReferenceUID = frame.frame_uid
    _place(made, source, frame, step)
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = generate_uid(entropy_srcs=["instance", content, str(number)])
    made.SeriesInstanceUID = generate_uid(entropy_srcs=["series", content])
    made.Modality, made.SeriesNumber, made.InstanceNumber = "CT", SERIES_NUMBER, number + 1
    made.AcquisitionNumber, made.KVP = "", ""
    made.SeriesDescription = NOTE
    made.ImageComments = NOTE
    made.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    made.DerivationDescription = derivation
    made.BurnedInAnnotation = "NO"
    made.Manufacturer = made.ManufacturerModelName = "volforge"
    made.SoftwareVersions = __version__
    for keyword, like in DATES.items():  # of the study instead of now: the same input gives the same bytes
        setattr(made, keyword, made[like].value)
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = frame.instance_uid
    if "NumberOfFrames" in source and int(source.NumberOfFrames or 1) > 1:
        reference.ReferencedFrameNumber = frame.index + 1
    made.SourceImageSequence = [reference]
    made.Columns, made.Rows = hu.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.RescaleSlope, made.RescaleIntercept, made.RescaleType = 1, 0, "HU"
    made.WindowCenter, made.WindowWidth = 40, 400
    made.PixelData = np.ascontiguousarray(hu.T).astype("<i2").tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def _place(made: Any, source: Any, frame: Frame, step: float) -> None:
    """Where the slice lies: as the source's file writes it, to the last digit; else (multi-frame) as it was read."""
    from pydicom.valuerep import DSfloat

    for keyword in PLACED:
        if keyword in source:
            made[keyword] = source[keyword]
    assert frame.position is not None
    assert frame.orientation is not None
    assert frame.spacing is not None
    read = {
        "ImagePositionPatient": frame.position,
        "ImageOrientationPatient": frame.orientation,
        "PixelSpacing": (frame.spacing[1], frame.spacing[0]),
    }
    for keyword, values in read.items():
        if keyword not in made:
            setattr(made, keyword, [DSfloat(float(v), auto_format=True) for v in values])
    if not made.get("SliceThickness"):
        made.SliceThickness = DSfloat(float(step), auto_format=True)
