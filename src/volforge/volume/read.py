"""Reading volumes: NIfTI, NRRD, MetaImage and DICOM, with their geometry and without guesses."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from volforge.errors import ScanError
from volforge.volume.companions import channel_of
from volforge.volume.geometry import MAX_SHEAR_DEGREES, Array, Grid, check_affine, shear_degrees
from volforge.volume.read_nifti import read_nifti, three_dimensional
from volforge.volume.source_volume import SourceVolume, scaled
from volforge.volume.stand_ins import missing_file, refuse_stand_in

NIFTI = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
SUFFIXES = (*NIFTI, *ITK)


def suffix_of(path: Path) -> str:
    """The lower-case suffix of a volume file, `.nii.gz` taken as one; empty if the format is unknown."""
    name = path.name.lower()
    return next((s for s in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(s)), "")


def read_volume(path: Path, *, labels: bool) -> SourceVolume:
    """Read a volume with the geometry of its file.

    Args:
        path: A file (`#k` behind a 4-D NIfTI names one of its volumes, from 0); a folder of DICOM slices; a `.txt`
            that lists the files of a DICOM series.
        labels: The values are labels or a mask, no signal: slices that must be resampled are so by nearest
            neighbour, and values that are whole but for rounding become integers. Only the caller knows it.

    Raises:
        ScanError: unknown format, a stand-in for the data (a pointer, a web page), damaged or empty file, not three
            dimensions, not numbers, an affine
            that is not invertible, an implausible size in mm; of DICOM: see `dicom.series.read_series`.
    """
    name, channel = channel_of(str(path))
    path, suffix = Path(name), suffix_of(Path(name))
    try:
        if not path.exists():
            raise missing_file(path)
        if suffix in NIFTI and path.is_file():
            volume = read_nifti(path, channel)
        elif suffix in ITK and path.is_file():
            refuse_stand_in(path)
            volume = _read_itk(path)
        elif is_dicom(path):
            from volforge.volume.dicom.series import read_series

            volume = read_series(path, labels=labels)
        else:
            raise ScanError(
                f"unknown volume format '{path.suffix or path.name}'",
                remedy=f"use one of {' '.join(SUFFIXES)}, or DICOM",
            )
        volume.where = str(path)
        if labels:
            volume.scale_as_labels()
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
    outside = 0 if labels else volume.outside
    volume.array, volume.grid = straighten_affine(volume.array, volume.grid.affine, nearest=labels, outside=outside)
    volume.flags.append("gantry_tilt_resampled")
    volume.notes.append(f"slices stacked {tilt:.2f} degrees off their normal were resampled onto a perpendicular grid")


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
    array = three_dimensional(sitk.GetArrayFromImage(image).transpose(2, 1, 0), flags)
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


def _check_size(volume: SourceVolume) -> None:
    spacing, extent = volume.grid.spacing_mm, max(volume.grid.extent_mm)
    if min(spacing) < 0.1 or max(spacing) > 20 or not 20 <= extent <= 2500:
        shown = " x ".join(f"{s:.4g}" for s in spacing)
        assumed = " (the file declares no unit, mm was assumed)" if "unit_assumed" in volume.flags else ""
        raise ScanError(
            f"voxels of {shown} mm and a largest extent of {extent:.4g} mm are implausible{assumed}",
            remedy="a spacing of 0.1 to 20 mm and an extent of 20 to 2500 mm are accepted; mend the header",
        )


def read_canonical(path: Path, *, labels: bool) -> tuple[Array, Grid]:
    """Read a volume that volforge wrote (canonical RAS): values and grid; `labels` as in `read_volume`."""
    volume = read_volume(path, labels=labels)
    return scaled(volume), volume.grid
