"""NRRD and MetaImage by SimpleITK, with what their headers leave open."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import Grid, check_affine
from volforge.volume.itk_headers import META, NRRD, check_meta, check_nrrd, nrrd_header
from volforge.volume.read_nifti import three_dimensional
from volforge.volume.source_volume import SourceVolume

if TYPE_CHECKING:
    import SimpleITK as sitk

SEGMENT = re.compile(r"Segment(\d+)_(ID|Name|LabelValue|Layer)")


def read_itk(path: Path) -> SourceVolume:
    """Read an NRRD or MetaImage file of one value per voxel.

    Raises:
        ScanError: damaged or truncated, not three dimensions, several values per voxel, unknown units.
    """
    image = _image(path)
    count = image.GetNumberOfComponentsPerPixel()
    if count != 1 and is_segmentation(path):
        raise ScanError(
            f"a segmentation of 3D Slicer whose segments overlap, in {count} layers",
            remedy="give it as the labels of a scan, with a table of structures that names its segments; or export "
            "its segments to one file each",
        )
    if count != 1:
        raise ScanError(f"{count} values per voxel (colour or vectors)", remedy="export one grey channel")
    return _volume(path, image)


def read_layers(path: Path) -> list[SourceVolume]:
    """Read an NRRD file of one or more values per voxel, as a volume for each.

    Raises:
        ScanError: as `read_itk`.
    """
    import SimpleITK as sitk

    image = _image(path)
    count = image.GetNumberOfComponentsPerPixel()
    if count == 1:
        return [_volume(path, image)]
    return [_volume(path, sitk.VectorIndexSelectionCast(image, k)) for k in range(count)]


def is_segmentation(path: Path) -> bool:
    """Whether a file is a segmentation of 3D Slicer: an NRRD file that describes segments."""
    if path.suffix.lower() not in NRRD or not path.is_file():
        return False
    return any(SEGMENT.fullmatch(key) for key in nrrd_header(path).pairs)


def _image(path: Path) -> sitk.Image:
    check_nrrd(path) if path.suffix.lower() in NRRD else check_meta(path)
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    if path.suffix.lower() in META:
        reader.SetImageIO("MetaImageIO")  # which does not know its own suffixes in capitals
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        if 0 in reader.GetSize():
            raise ScanError(f"an axis has no length: shape {reader.GetSize()}", remedy="export it again")
        image = reader.Execute()
    except RuntimeError as error:
        line = next((t for t in reversed(str(error).splitlines()) if t.strip()), "unreadable").strip()
        raise ScanError(f"the file is damaged or truncated ({line})", remedy="copy or export it again") from error
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3:
        raise ScanError(f"{image.GetDimension()}-D, shape {image.GetSize()}", remedy="export one 3-D volume")
    return image


def _volume(path: Path, image: sitk.Image) -> SourceVolume:
    import SimpleITK as sitk

    flags: list[str] = []
    array = three_dimensional(sitk.GetArrayFromImage(image).transpose(2, 1, 0), flags)
    to_ras = np.diag([-1.0, -1.0, 1.0])
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = to_ras @ direction * np.array(image.GetSpacing())
    affine[:3, 3] = to_ras @ np.array(image.GetOrigin())
    if path.suffix.lower() in NRRD:
        affine = np.diag([_nrrd_scale(path, flags)] * 3 + [1.0]) @ affine
    check_affine(affine)
    return SourceVolume(array, 1.0, 0.0, Grid(array.shape, affine), flags, kind="itk")


PATIENT_SPACE = re.compile(r"(left|right)-(anterior|posterior)-(superior|inferior)(-time)?|[lr][ap][si]t?")


def _nrrd_scale(path: Path, flags: list[str]) -> float:
    """Millimetres per length unit of an NRRD header; flags what the header leaves open."""
    fields = nrrd_header(path).fields
    space = fields.get("space", "").strip().lower()
    if not PATIENT_SPACE.fullmatch(space) and "space dimension" not in fields:
        flags.append(
            "orientation_assumed"
        )  # none, or one that names no sides of a patient: scanner-xyz, 3D-left-handed
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
