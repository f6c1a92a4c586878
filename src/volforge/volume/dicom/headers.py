"""Headers of DICOM files: one record per frame, of the tags that place it, scale it and tell it apart."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import ScanError
from volforge.volume.dicom.damage import damage, frame_count, read_dataset
from volforge.volume.dicom.private import B_VALUES, MOSAIC, PRIVATE_TAGS, private_number

# what tells apart slices that lie at one place, in the order in which it is tried
DISCRIMINATORS = (
    "ImageType",
    "EchoTime",
    "EchoNumbers",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
    "InversionTime",
    "FlipAngle",
    "ConvolutionKernel",
    "AcquisitionNumber",
    "TriggerTime",
    "AcquisitionTime",
)
TAGS = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "Modality",
    "SeriesNumber", "InstanceNumber", "PatientID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames",
    "RescaleSlope", "RescaleIntercept", "RescaleType",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "PixelRepresentation", "BitsStored", "LossyImageCompression",
    "SpacingBetweenSlices", "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "ReferencedSeriesSequence",
    *DISCRIMINATORS,
)  # fmt: skip
GREY = ("MONOCHROME1", "MONOCHROME2")
DIRECTORY = "1.2.840.10008.1.3.10"
NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


@dataclass(frozen=True)
class Frame:
    """One slice: a single-frame file, or one frame of a multi-frame file.

    Attributes:
        file: Its file.
        index: 0-based frame in the file.
        series, study, patient, frame_uid, instance_uid: UIDs and patient id as the file has them. They tell
            files apart and never reach results.
        modality: The tag of that name.
        number: Series number, for messages.
        instance: Instance number (frame number in multi-frame files), None where there is none.
        shape: (columns, rows).
        position: First voxel's centre, LPS mm; None where the file does not tell.
        orientation: Row and column direction cosines, LPS; None where the file does not tell.
        spacing: Distance of columns and of rows in mm; None where the file does not tell.
        slope, intercept: value = stored * slope + intercept.
        rescale_type: `HU`, `US` ... or empty.
        rescaled: Whether the file declares slope and intercept.
        padding: Stored values (lowest, highest) that stand for no measurement, None where there are none.
        localiser: Whether the image type says LOCALIZER.
        mosaic: All slices of a volume stand side by side in the picture (Siemens).
        colour: Photometric interpretation where it is no grey scale (`RGB`, `PALETTE COLOR` ...), else empty.
        lossy: Compressed with loss.
        tags: What may tell it apart from others at its place, by keyword.
        missing: Needed tags that the file lacks, or whose values cannot be.
        declared_step: SpacingBetweenSlices in mm.
        has_table: Whether values go through a table (modality LUT) instead of slope and intercept.
    """

    file: Path
    index: int
    series: str
    study: str
    patient: str
    modality: str
    number: str
    instance: int | None
    shape: tuple[int, int]
    position: tuple[float, float, float] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    slope: float = 1.0
    intercept: float = 0.0
    rescale_type: str = ""
    rescaled: bool = True
    padding: tuple[int, int] | None = None
    localiser: bool = False
    mosaic: bool = False
    colour: str = ""
    lossy: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    frame_uid: str = ""
    instance_uid: str = ""
    declared_step: float | None = None
    has_table: bool = False

    @property
    def name(self) -> str:
        """How messages call it; the name of the file stands in brackets, which records leave out."""
        number = self.instance if self.instance is not None else "?"
        return f"instance {number} [{bare(self.file)}]"


@dataclass
class Headers:
    """What a set of files holds.

    Attributes:
        frames: Of all image files.
        others: DICOM files that are no image: (file, modality).
        not_dicom: Files that are something else.
        damaged: (file, reason) of those that begin like DICOM, or are named so, and cannot be read.
    """

    frames: list[Frame] = field(default_factory=list)
    others: list[tuple[Path, str]] = field(default_factory=list)
    not_dicom: list[Path] = field(default_factory=list)
    damaged: list[tuple[Path, str]] = field(default_factory=list)


def looks_like_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does: with the prefix after 128 bytes, or bare with group 0002 or 0008."""
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return False
    if head[128:132] == b"DICM":
        return True
    return head[:2] in (b"\x08\x00", b"\x02\x00") and head[3:4] == b"\x00" and len(head) > 16


def shown(path: Path) -> str:
    """A file's name in a message. In brackets: names of DICOM files are often those of patients."""
    return f"a file [{bare(path)}]"


def bare(path: Path) -> str:
    """A file's name without brackets of its own."""
    return path.name.replace("[", "(").replace("]", ")")


def without_names(text: str) -> str:
    """A message without the names of files, for records."""
    return re.sub(r" ?\[[^\]]*\]", "", text)


def files_below(folder: Path) -> list[Path]:
    """All files below a folder in name order, links followed, without hidden ones and tables (DICOMDIR)."""
    found: list[Path] = []
    seen: set[str] = set()
    for base, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(base) in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(os.path.realpath(base))
        folders[:] = [n for n in folders if not n.startswith(".")]
        found += [Path(base, n) for n in names if not n.startswith(".") and n.upper() != "DICOMDIR"]
    return sorted(p for p in found if p.is_file())


def read_headers(files: Iterable[Path]) -> Headers:
    """Read the headers of files, pixels left on disk."""
    headers = Headers()
    for path in files:
        if not looks_like_dicom(path):
            if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
                headers.damaged.append((path, "it does not begin as DICOM does"))
            else:
                headers.not_dicom.append(path)
            continue
        try:
            dataset = read_dataset(path, [*TAGS, *PRIVATE_TAGS])
            modality = str(dataset.get("Modality", "") or "")
            if str(getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID", "")) == DIRECTORY:
                continue
            if "Rows" not in dataset or modality in ("SEG", "RTDOSE", "PR", "SR", "RTSTRUCT", "RTPLAN"):
                if "SOPClassUID" in dataset:
                    headers.others.append((path, modality))
                else:
                    headers.damaged.append((path, "neither image size nor SOP class"))
                continue
            headers.frames += _frames(path, dataset, modality)
        except damage() as error:
            headers.damaged.append((path, str(error) or type(error).__name__))
    _find_torn(headers)
    return headers


def _find_torn(headers: Headers) -> None:
    """Empty files, and files named like slices that do not begin like one, were slices."""
    named = {re.sub(r"\d+", "0", f.file.name) for f in headers.frames}
    for path in list(headers.not_dicom):
        is_empty = path.stat().st_size == 0
        is_number = path.name.isdigit()  # slices called 1, 2, 3: a file called 0 need not be one
        if re.sub(r"\d+", "0", path.name) in named and re.search(r"\d", path.name) and (is_empty or not is_number):
            headers.not_dicom.remove(path)
            headers.damaged.append((path, "empty" if is_empty else "it does not begin as DICOM does"))


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if value is None or value == "":
        return None
    values = tuple(float(v) for v in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value]))
    return values if len(values) == count and np.isfinite(values).all() else None


def _frames(path: Path, dataset: Any, modality: str) -> list[Frame]:
    count = frame_count(dataset, path)
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    if groups and len(groups) != count:
        raise ValueError(f"{count} frames, and places of {len(groups)}")
    return [_frame(path, i, dataset, modality, shared, groups[i] if groups else None, count) for i in range(count)]


def _first(dataset: Any, keyword: str) -> Any:
    sequence = dataset.get(keyword) if dataset is not None else None
    return sequence[0] if sequence else None


def _frame(path: Path, index: int, dataset: Any, modality: str, shared: Any, own: Any, count: int) -> Frame:
    def value(keyword: str, *sequences: str) -> Any:
        """The frame's own value, the one that all frames share, or the file's."""
        for group in (own, shared):
            for sequence in sequences:
                item = _first(group, sequence)
                if item is not None and item.get(keyword) not in (None, ""):
                    return item.get(keyword)
        return dataset.get(keyword)

    position = _numbers(value("ImagePositionPatient", "PlanePositionSequence"), 3)
    orientation = _numbers(value("ImageOrientationPatient", "PlaneOrientationSequence"), 6)
    spacing = _numbers(value("PixelSpacing", "PixelMeasuresSequence"), 2)
    if orientation is not None and not _perpendicular(orientation):
        orientation = None
    if spacing is not None and min(spacing) <= 0:
        spacing = None
    if count > 1 and own is None:
        position = None  # one place for many frames tells nothing
    slope = value("RescaleSlope", "PixelValueTransformationSequence")
    intercept = value("RescaleIntercept", "PixelValueTransformationSequence")
    found = {"ImagePositionPatient": position, "ImageOrientationPatient": orientation, "PixelSpacing": spacing}
    tags = {k: str(dataset.get(k)) for k in DISCRIMINATORS if dataset.get(k) not in (None, "")}
    for keyword, sequence in (
        ("EffectiveEchoTime", "MREchoSequence"),
        ("TemporalPositionIndex", "FrameContentSequence"),
        ("DiffusionBValue", "MRDiffusionSequence"),
        ("StackID", "FrameContentSequence"),
        ("FrameType", "MRImageFrameTypeSequence"),
    ):
        special = value(keyword, sequence) if own is not None else None
        if special not in (None, ""):
            tags[keyword] = str(special)
    b_value = next((v for v in (private_number(dataset, *place) for place in B_VALUES) if v is not None), None)
    if b_value is not None:
        tags.setdefault("DiffusionBValue", f"{b_value % 1_000_000_000:g}")  # GE adds a billion
    kind = dataset.get("ImageType")
    kinds = [kind] if isinstance(kind, str) else list(kind or [])
    return Frame(
        file=path,
        index=index,
        series=str(dataset.get("SeriesInstanceUID", "")),
        study=str(dataset.get("StudyInstanceUID", "")),
        patient=str(dataset.get("PatientID", "") or ""),
        modality=modality,
        number=str(dataset.get("SeriesNumber", "") or ""),
        instance=index + 1 if count > 1 else _whole(dataset.get("InstanceNumber")),
        shape=(int(dataset.Columns), int(dataset.Rows)),
        position=position,  # type: ignore[arg-type]
        orientation=orientation,
        spacing=(spacing[1], spacing[0]) if spacing else None,
        slope=float(slope) if slope not in (None, "") else 1.0,
        intercept=float(intercept) if intercept not in (None, "") else 0.0,
        rescale_type=str(value("RescaleType", "PixelValueTransformationSequence") or ""),
        rescaled=slope not in (None, "") and intercept not in (None, ""),
        padding=_padding(dataset),
        localiser="LOCALIZER" in kinds,
        mosaic="MOSAIC" in kinds or (private_number(dataset, *MOSAIC) or 0) > 1,
        colour=_colour(dataset),
        lossy=str(dataset.get("LossyImageCompression", "") or "") == "01",
        tags=tags,
        missing=tuple(k for k in NEEDED if found[k] is None),
        frame_uid=str(dataset.get("FrameOfReferenceUID", "") or ""),
        instance_uid=str(dataset.get("SOPInstanceUID", "") or ""),
        declared_step=(_numbers(value("SpacingBetweenSlices", "PixelMeasuresSequence"), 1) or (None,))[0],
        has_table=bool(dataset.get("ModalityLUTSequence")),
    )


def _colour(dataset: Any) -> str:
    """What the values stand for where they are no grey scale: indices of a palette, colours."""
    kind = " ".join(str(dataset.get("PhotometricInterpretation", "") or "").upper().split())
    samples = int(dataset.get("SamplesPerPixel", 1) or 1)
    if samples > 1:
        return kind or f"{samples} samples per pixel"
    return "" if kind in ("", *GREY) else kind


def _perpendicular(orientation: tuple[float, ...]) -> bool:
    """Whether row and column directions are perpendicular unit vectors, to a hundredth."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    off = max(abs(float(np.linalg.norm(row)) - 1), abs(float(np.linalg.norm(column)) - 1), abs(float(row @ column)))
    return off <= 1e-2


def _whole(value: Any) -> int | None:
    return int(value) if value not in (None, "") else None


def _padding(dataset: Any) -> tuple[int, int] | None:
    value = dataset.get("PixelPaddingValue")
    if value in (None, ""):
        return None
    other = dataset.get("PixelPaddingRangeLimit")
    ends = sorted(_signed(v, dataset) for v in (value, value if other in (None, "") else other))
    return ends[0], ends[1]


def _signed(value: Any, dataset: Any) -> int:
    """The tag may be read as unsigned where the pixels are signed."""
    if isinstance(value, bytes):
        value = int.from_bytes(value[:2], "little")
    number = int(value)
    bits = 16
    return number - (1 << bits) if dataset.get("PixelRepresentation", 0) == 1 and number >= 1 << (bits - 1) else number


def refuse_damaged(headers: Headers) -> None:
    """Raise `ScanError` naming the damaged files, if there are any."""
    if headers.damaged:
        path, reason = headers.damaged[0]
        more = f" and {len(headers.damaged) - 1} more" if len(headers.damaged) > 1 else ""
        raise ScanError(
            f"{shown(path)}{more} cannot be read as DICOM ({reason})",
            remedy="copy the files again, or remove what is no slice",
        )
