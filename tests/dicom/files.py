"""DICOM files made for tests: series as scanners write them, and the ways in which they go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

PATIENT = {"PatientName": "Secret^Name", "PatientID": "MRN-4711", "PatientBirthDate": "19700101"}


def uid(*words: object) -> str:
    return str(generate_uid(entropy_srcs=[str(w) for w in words]))


def base(modality: str, series: str, instance: int, patient: dict[str, str] | None = None) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = {"CT": CTImageStorage, "MR": MRImageStorage}.get(modality, CTImageStorage)
    dataset.SOPInstanceUID = uid("instance", series, instance)
    dataset.SeriesInstanceUID = uid("series", series)
    dataset.StudyInstanceUID = uid("study", (patient or PATIENT)["PatientID"])
    dataset.FrameOfReferenceUID = uid("frame", (patient or PATIENT)["PatientID"])
    dataset.Modality = modality
    dataset.SeriesNumber = 3
    dataset.InstanceNumber = instance
    dataset.StudyDate = "20200102"
    for keyword, value in (patient or PATIENT).items():
        setattr(dataset, keyword, value)
    return dataset


def put_pixels(dataset: Dataset, stored: np.ndarray, bits_stored: int | None = None) -> None:
    """Put (rows, columns) stored values into a data set."""
    bits = stored.dtype.itemsize * 8
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored = bits, bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()


def write(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def phantom(shape: tuple[int, int, int] = (40, 36, 20)) -> np.ndarray:
    """An egg of water with an off-centre bone in air, (columns, rows, slices), int16 HU: no symmetry."""
    x, y, z = np.indices(shape)
    a, b, c = (n / 2 for n in shape)
    body = ((x - a) / (0.8 * a)) ** 2 + ((y - b) / (0.7 * b)) ** 2 + ((z - c) / (1.3 * c)) ** 2 <= 1
    bone = ((x - 1.3 * a) ** 2 + (y - 0.8 * b) ** 2 + (z - 0.6 * c) ** 2) <= (0.2 * a) ** 2
    return np.where(bone, 900, np.where(body, 40 + x, -1000)).astype(np.int16)


def write_series(
    folder: Path,
    hu: np.ndarray,
    *,
    spacing: tuple[float, float] = (2.0, 2.5),
    positions: np.ndarray | None = None,
    step: Sequence[float] = (0, 0, 3.0),
    origin: Sequence[float] = (-40, -45, 10),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    series: str = "a",
    modality: str = "CT",
    dtype: Any = np.int16,
    intercept: float = -1024,
    slope: float = 1,
    reverse: bool = False,
    skip: Sequence[int] = (),
    name: str = "IM{:04d}.dcm",
    first: int = 1,
    patient: dict[str, str] | None = None,
    **tags: Any,
) -> list[Path]:
    """Write one file per slice of `hu` (columns, rows, slices); tags that are callables get the slice's index.

    Args:
        spacing: Distance of columns, of rows.
        positions: (N, 3) LPS; from origin and step where None.
        reverse: File names and instance numbers run against the places.
        skip: Slices that are not written.
    """
    n = hu.shape[2]
    places = np.array(origin) + np.arange(n)[:, None] * np.array(step) if positions is None else positions
    files = []
    for k in range(n):
        if k in skip:
            continue
        number = (n - k if reverse else k + 1) - 1 + first
        dataset = base(modality, series, number, patient)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.ImagePositionPatient = [f"{v:.6g}" for v in places[k]]
        dataset.ImageOrientationPatient = [f"{v:.10g}" for v in orientation]
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        if modality == "CT":
            dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = slope, intercept, "HU"
        stored = np.rint((hu[:, :, k].astype(float) - (intercept if modality == "CT" else 0)) / slope)
        put_pixels(dataset, np.ascontiguousarray(stored.astype(dtype).T))
        for keyword, value in tags.items():
            setattr(dataset, keyword, value(k) if callable(value) else value)
        for keyword in [t for t in tags if getattr(dataset, t) is None]:
            delattr(dataset, keyword)
        files.append(write(dataset, folder / name.format(number)))
    return files


def write_multi_frame(path: Path, hu: np.ndarray, *, step: float = 3.0, shuffled: bool = False) -> Path:
    """One enhanced CT file of all slices, with each frame's place and scaling in its functional groups."""
    dataset = base("CT", "multi", 1)
    dataset.SOPClassUID = EnhancedCTImageStorage
    n = hu.shape[2]
    order = np.random.default_rng(0).permutation(n) if shuffled else np.arange(n)
    stored = np.empty((n, hu.shape[1], hu.shape[0]), dtype=np.int16)
    shared, frames = Dataset(), []
    measures, plane = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2.5, 2.0], step
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Items([measures]), Items([plane])
    for i, k in enumerate(order):
        intercept = -1000 - int(k)  # each frame its own
        stored[i] = (hu[:, :, k].astype(int) - intercept).T
        group, place, scaling = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [-40, -45, 10 + step * int(k)]
        scaling.RescaleSlope, scaling.RescaleIntercept, scaling.RescaleType = 1, intercept, "HU"
        group.PlanePositionSequence, group.PixelValueTransformationSequence = Items([place]), Items([scaling])
        frames.append(group)
    put_pixels(dataset, stored)
    dataset.NumberOfFrames = n
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    return write(dataset, path)


def write_structure_set(path: Path, contours: dict[str, list[np.ndarray]], frame_uid: str, slice_uid: str = "") -> Path:
    """Contours, each (n, 3) LPS mm, by the name of their ROI; `slice_uid`: the slice that all of them name."""
    dataset = base("RTSTRUCT", "structures", 1)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    rois, drawn = [], []
    for number, (name, polygons) in enumerate(contours.items(), start=1):
        roi, contour_set = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame_uid
        contour_set.ReferencedROINumber = number
        items = []
        for polygon in polygons:
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR" if len(polygon) > 1 else "POINT"
            contour.NumberOfContourPoints = len(polygon)
            contour.ContourData = [f"{v:.8g}" for v in polygon.ravel()]
            if slice_uid:
                image = Dataset()
                image.ReferencedSOPInstanceUID = slice_uid
                contour.ContourImageSequence = Items([image])
            items.append(contour)
        contour_set.ContourSequence = Items(items)
        rois.append(roi)
        drawn.append(contour_set)
    dataset.StructureSetROISequence, dataset.ROIContourSequence = Items(rois), Items(drawn)
    return write(dataset, path)
