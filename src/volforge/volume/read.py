"""Reading volumes: NIfTI, NRRD, MetaImage and DICOM, with their geometry and without guesses."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import ScanError
from volforge.volume.companions import channel_of
from volforge.volume.geometry import MAX_SHEAR_DEGREES, Array, Grid, check_affine, shear_degrees
from volforge.volume.straighten import Planes

NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = (*NIFTI, *ITK)
UNIT_TO_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}


@dataclass
class SourceVolume:
    """A volume as its file holds it.

    Attributes:
        array: Stored values, (X, Y, Z) in file order.
        slope, intercept: value = stored * slope + intercept.
        grid: Grid in file order, in mm.
        flags: What a reader should know (`unit_assumed` ...).
        header: The NIfTI fields that place the grid, to be written back unchanged; empty for other formats.
        notes: What was done on the way, in sentences (slices dropped, tilt taken out ...).
        kind: `nifti`, `itk` or `dicom`.
        modality: DICOM's own word for it (CT, MR, PT ...); empty for other formats.
        planes: Where the slices of the source lie, if they made no perpendicular grid and were resampled.
        axis: The file axis that those slices follow each other on.
        slice_files: Name of the file of each slice of a DICOM series, in order, else empty.
        slice_uids: Its SOP instance UID; multi-frame files: the same for all. Never written to results.
        slices: Where the slices of a DICOM series lie, in order; None for other formats.
        frame_uid: Frame of reference UID of a DICOM series, else empty. Never written to results.
    """

    array: Array
    slope: float
    intercept: float
    grid: Grid
    flags: list[str] = field(default_factory=list)
    header: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kind: str = "nifti"
    modality: str = ""
    planes: Planes | None = None
    axis: int = 2
    slice_files: list[str] = field(default_factory=list)
    slice_uids: list[str] = field(default_factory=list)
    frame_uid: str = ""
    slices: Planes | None = None


def suffix_of(path: Path) -> str:
    """The lower-case suffix of a volume file, `.nii.gz` taken as one; empty if the format is unknown."""
    name = path.name.lower()
    return next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(s)), "")


def read_volume(path: Path, *, labels: bool = False) -> SourceVolume:
    """Read a volume with the geometry of its file.

    Args:
        path: A file (`#k` behind a 4-D NIfTI or multi-frame DICOM names one of its volumes, from 0); a folder of
            DICOM slices; a `.txt` that lists the files of a DICOM series.
        labels: The values are labels: where slices must be resampled, by nearest neighbour.

    Raises:
        ScanError: unknown format, damaged or empty file, not three dimensions, not numbers, an affine
            that is not invertible, an implausible size in mm; of DICOM: see `dicom.series.read_series`.
    """
    name, channel = channel_of(str(path))
    path, suffix = Path(name), suffix_of(Path(name))
    try:
        if not path.exists():
            raise ScanError("file not found", remedy="check the path in the sheet")
        if suffix in NIFTI and path.is_file():
            volume = _read_nifti(path, channel)
        elif suffix in ITK and path.is_file():
            if channel is not None:
                raise ScanError(f"no volume #{channel}: a {suffix} file holds one", remedy=f"leave out #{channel}")
            volume = _read_itk(path)
        elif is_dicom(path):
            from volforge.volume.dicom.series import read_series

            volume = read_series(path, labels=labels, channel=channel)
        else:
            raise ScanError(
                f"unknown volume format '{path.suffix or path.name}'",
                remedy=f"use one of {' '.join(SUFFIXES)}, or DICOM",
            )
        _straighten(volume, labels)
        _check_size(volume)
        return volume
    except ScanError as error:
        error.where = error.where or str(path)
        raise


def is_dicom(path: Path) -> bool:
    """Whether a path is meant as DICOM: a folder, a list of files, or a file that begins so."""
    if path.is_dir() or suffix_of(path) or not path.exists():
        return path.is_dir()
    from volforge.volume.dicom.headers import looks_like_dicom

    return path.suffix.lower() in (".txt", ".dcm", ".dicom", ".ima") or looks_like_dicom(path)


def _straighten(volume: SourceVolume, labels: bool) -> None:
    """Take the shear out of a volume whose slices are not stacked along their normal."""
    if volume.planes is not None or shear_degrees(volume.grid.affine) <= MAX_SHEAR_DEGREES:
        return
    from volforge.volume.straighten import planes_of_affine, straighten_affine

    volume.planes, volume.axis = planes_of_affine(volume.grid.shape, volume.grid.affine)
    tilt = volume.planes.tilt_degrees
    edge = volume.array.max() if volume.slope < 0 else volume.array.min()
    outside = 0 if labels else edge.item()
    volume.array, volume.grid = straighten_affine(volume.array, volume.grid.affine, nearest=labels, outside=outside)
    volume.flags.append("gantry_tilt_resampled")
    volume.notes.append(f"slices stacked {tilt:.2f} degrees off their normal were resampled onto a perpendicular grid")


def _read_nifti(path: Path, channel: int | None) -> SourceVolume:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        if path.name.lower().endswith(".nii.gz"):
            from isal import igzip

            content = igzip.decompress(path.read_bytes())
            kind = nib.Nifti2Image if _is_nifti2(content) else nib.Nifti1Image
            image = kind.from_bytes(content)
        else:
            image = nib.load(path)
            if not isinstance(image, nib.Nifti1Pair):
                raise ScanError("an Analyze file has no trustworthy geometry", remedy="convert it to NIfTI")
        shape = image.shape
        if 0 in shape:
            raise ScanError(f"an axis has no length: shape {shape}", remedy="export the volume again")
        stored = np.asanyarray(image.dataobj.get_unscaled())
    except (
        MemoryError,
        OverflowError,
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        gzip.BadGzipFile,
        ImageFileError,
        HeaderDataError,
        WrapStructError,
    ) as error:
        raise ScanError(
            f"the file is damaged or truncated ({error or type(error).__name__})",
            remedy="copy or export it again",
        ) from error
    flags: list[str] = []
    if channel is not None:
        stored = _channel(stored, channel)
    stored = _three_dimensional(stored, flags)
    slope, intercept = image.dataobj.slope, image.dataobj.inter
    header = image.header
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:  # a code that the standard does not have
        unit = "unknown"
    sform_code = header.get_sform(coded=True)[1]
    try:
        qform, qform_code = header.get_qform(coded=True)
    except ValueError as error:  # a quaternion rounded to more than length 1: the sform may still be good
        if not sform_code:
            raise ScanError(f"the qform is damaged ({error})", remedy="repair the header of the file") from error
        qform, qform_code = None, 0
        flags.append("qform_invalid")
    if not sform_code and not qform_code:
        flags.append("orientation_assumed")
    check_affine(np.asarray(image.affine, dtype=float), may_shear=True)
    affine = np.diag([UNIT_TO_MM[unit]] * 3 + [1.0]) @ np.asarray(image.affine, dtype=float)
    grid = Grid(stored.shape, affine)
    if unit == "unknown":
        flags.append("unit_assumed")
    elif unit != "mm":
        flags.append(f"unit_converted_from_{unit}")
    if sform_code and qform_code and qform is not None:
        from volforge.volume.geometry import corner_displacement_mm

        scale = np.diag([UNIT_TO_MM[unit]] * 3 + [1.0])
        other = Grid(stored.shape, scale @ np.asarray(qform, dtype=float))
        if corner_displacement_mm(grid, other) > 0.5 * min(grid.spacing_mm):
            flags.append("sform_qform_differ")
    return SourceVolume(
        stored,
        float(slope),
        float(intercept),
        grid,
        flags,
        {
            "pixdim": [_finite(v) for v in header["pixdim"]],
            "qform_code": int(qform_code or 0),
            "sform_code": int(sform_code or 0),
            "quatern": [_finite(header[f"quatern_{c}"]) for c in "bcd"],
            "qoffset": [_finite(header[f"qoffset_{c}"]) for c in "xyz"],
            "srow": [[_finite(v) for v in header[f"srow_{c}"]] for c in "xyz"],
            "xyzt_units": int(header["xyzt_units"]),
        },
    )


def _channel(stored: Array, channel: int) -> Array:
    """One volume of a 4-D file."""
    if stored.ndim != 4 or channel >= stored.shape[3]:
        raise ScanError(
            f"no volume #{channel} in a file of shape {stored.shape}", remedy="count from 0, of a file with four axes"
        )
    return np.asarray(stored[..., channel])


def _finite(value: Any) -> float:
    """A header field; those that no code makes valid may hold NaN, which JSON cannot."""
    return float(value) if np.isfinite(value) else 0.0


def _is_nifti2(content: bytes) -> bool:
    return len(content) >= 4 and 540 in (
        int.from_bytes(content[:4], "little"),
        int.from_bytes(content[:4], "big"),
    )


def _read_itk(path: Path) -> SourceVolume:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    if path.suffix.lower() in (".mha", ".mhd"):
        reader.SetImageIO("MetaImageIO")  # which does not know its own suffixes in capitals
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if 0 in reader.GetSize():
            raise ScanError(f"an axis has no length: shape {reader.GetSize()}", remedy="export it again")
        if reader.GetNumberOfComponents() != 1:
            raise ScanError(
                f"{reader.GetNumberOfComponents()} values per voxel (colour or vectors)",
                remedy="export one grey channel",
            )
        image = reader.Execute()
    except RuntimeError as error:
        line = next((t for t in reversed(str(error).splitlines()) if t.strip()), "unreadable").strip()
        raise ScanError(f"the file is damaged or truncated ({line})", remedy="copy or export it again") from error
    flags: list[str] = []
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise ScanError(f"{image.GetDimension()}-D, shape {image.GetSize()}", remedy="export one 3-D volume")
    _check_truncation(path, image.GetSize())
    array = _three_dimensional(sitk.GetArrayFromImage(image).transpose(2, 1, 0), flags)
    to_ras = np.diag([-1.0, -1.0, 1.0])
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = to_ras @ direction * np.array(image.GetSpacing())
    affine[:3, 3] = to_ras @ np.array(image.GetOrigin())
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        affine = np.diag([_nrrd_scale(path, flags)] * 3 + [1.0]) @ affine
    check_affine(affine)
    return SourceVolume(array, 1.0, 0.0, Grid(array.shape, affine), flags, kind="itk")


def _nrrd_scale(path: Path, flags: list[str]) -> float:
    """Millimetres per length unit of an NRRD header; flags what the header leaves open."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for raw in file:
            line = raw.decode("latin-1").strip()
            if not line:
                break
            key, mark, value = line.partition(":")
            if mark and not line.startswith("#"):
                fields[key.strip().lower()] = value.strip()
    if "space" not in fields and "space dimension" not in fields:
        flags.append("orientation_assumed")
    if "space directions" not in fields and "spacings" not in fields:
        flags.append("unit_assumed")
    units = set(re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))) - {""}
    known = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "\u00b5m": 0.001}
    if not units:
        return 1.0
    if len(units) > 1 or not units <= set(known):
        raise ScanError(f"unknown space units {sorted(units)}", remedy="write mm into the header")
    unit = units.pop()
    if known[unit] != 1.0:
        flags.append(f"unit_converted_from_{'micron' if known[unit] < 1 else unit}")
    return known[unit]


def _check_truncation(path: Path, size: tuple[int, ...]) -> None:
    """ITK fills what a short raw MetaImage lacks with whatever was in memory: compare the sizes ourselves."""
    if path.suffix.lower() not in (".mha", ".mhd"):
        return
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        for raw in file:
            key, _, value = raw.decode("latin-1").partition("=")
            fields[key.strip()] = value.strip()
            if key.strip() == "ElementDataFile":
                offset = file.tell()
                break
    widths = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "FLOAT": 4, "DOUBLE": 8}
    kind = fields.get("ElementType", "").removeprefix("MET_").removeprefix("U")
    data = fields.get("ElementDataFile", "")
    local = data.upper() == "LOCAL"
    if fields.get("CompressedData", "F")[:1] in "Tt1" or kind not in widths:
        return
    if not local and not (path.parent / data).is_file():  # a list or a pattern of files: ITK looks for them
        return
    wanted = int(np.prod(size)) * widths[kind]
    held = path.stat().st_size - offset if local else (path.parent / data).stat().st_size
    if held < wanted:
        raise ScanError(f"the file is truncated: {held} bytes of values, {wanted} expected", remedy="copy it again")


def _three_dimensional(array: Array, flags: list[str]) -> Array:
    if array.dtype.names is not None or array.dtype.kind not in "iufb":
        raise ScanError(f"values are not plain numbers ({array.dtype})", remedy="export one grey channel")
    if array.ndim > 3 and all(n == 1 for n in array.shape[3:]):
        array = array.reshape(array.shape[:3])
        flags.append("trailing_axis_dropped")
    if array.ndim != 3:
        raise ScanError(
            f"{array.ndim}-D, shape {array.shape}; one 3-D volume is expected",
            remedy="one row per volume: of a 4-D NIfTI, write `file.nii.gz#0`, `#1` ... in the sheet",
        )
    return array


def _check_size(volume: SourceVolume) -> None:
    spacing, extent = volume.grid.spacing_mm, max(volume.grid.extent_mm)
    if min(spacing) < 0.1 or max(spacing) > 20 or not 20 <= extent <= 2500:
        shown = " x ".join(f"{s:.4g}" for s in spacing)
        assumed = " (the file declares no unit, mm was assumed)" if "unit_assumed" in volume.flags else ""
        raise ScanError(
            f"voxels of {shown} mm and a largest extent of {extent:.4g} mm are implausible{assumed}",
            remedy="a spacing of 0.1 to 20 mm and an extent of 20 to 2500 mm are accepted; mend the header",
        )


def scaled(volume: SourceVolume) -> Array:
    """The values of a volume: integers where stored values, slope and intercept are whole, else float64."""
    if volume.slope == 1.0 and volume.intercept == 0.0:
        return volume.array
    whole = volume.slope.is_integer() and volume.intercept.is_integer() and volume.array.dtype.kind in "iu"
    if whole and volume.array.dtype.itemsize <= 4:
        slope, intercept = int(volume.slope), int(volume.intercept)
        ends = [int(v) * slope + intercept for v in (volume.array.min(), volume.array.max())] + [slope, intercept]
        dtype = np.result_type(np.min_scalar_type(min(0, *ends)), np.min_scalar_type(max(0, *ends)), np.int16)
        if dtype.kind in "iu":  # CT of DICOM: no float of eight bytes for what fits into two
            values = volume.array.astype(dtype)
            values *= dtype.type(slope)
            values += dtype.type(intercept)
            return values
    return volume.array.astype(np.float64) * volume.slope + volume.intercept


def read_canonical(path: Path) -> tuple[Array, Grid]:
    """Read a volume that volforge wrote (canonical RAS): values and grid."""
    volume = read_volume(path)
    return scaled(volume), volume.grid
