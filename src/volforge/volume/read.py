"""Reading volumes: NIfTI, NRRD, MetaImage and DICOM, with their geometry and without guesses."""

from __future__ import annotations

from pathlib import Path

from volforge.errors import ScanError
from volforge.volume.companions import channel_of
from volforge.volume.geometry import MAX_SHEAR_DEGREES, Array, Grid, shear_degrees
from volforge.volume.read_itk import is_segmentation, read_itk
from volforge.volume.read_nifti import read_nifti
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
        path: A file (`#k` behind a 4-D NIfTI or multi-frame DICOM names one of its volumes, from 0); a folder of
            DICOM slices; a `.txt` that lists the files of a DICOM series.
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
            if channel is not None:
                raise ScanError(f"no volume #{channel}: a {suffix} file holds one", remedy=f"leave out #{channel}")
            refuse_stand_in(path)
            volume = read_itk(path)
        elif is_dicom(path):
            from volforge.volume.dicom.series import read_series

            volume = read_series(path, labels=labels, channel=channel)
        else:
            raise ScanError(
                f"unknown volume format '{path.suffix or path.name}'",
                remedy=f"use one of {' '.join(SUFFIXES)}, or DICOM",
            )
        volume.where = str(path)
        if labels:
            volume.scale_as_labels()
        _straighten(volume, labels)
        check_size(volume, cropped=is_segmentation(path))
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


def check_size(volume: SourceVolume, *, cropped: bool) -> None:
    """Raise `ScanError` where voxels or the whole are of a size that no scan has; a cropped one may be small."""
    spacing, extent = volume.grid.spacing_mm, max(volume.grid.extent_mm)
    if min(spacing) < 0.1 or max(spacing) > 20 or not (0 if cropped else 20) <= extent <= 2500:
        shown = " x ".join(f"{s:.4g}" for s in spacing)
        assumed = " (the file declares no unit, mm was assumed)" if "unit_assumed" in volume.flags else ""
        raise ScanError(
            f"voxels of {shown} mm and a largest extent of {extent:.4g} mm are implausible{assumed}",
            volume.where,
            "a spacing of 0.1 to 20 mm and an extent of 20 to 2500 mm are accepted; mend the header",
        )


def read_canonical(path: Path, *, labels: bool) -> tuple[Array, Grid]:
    """Read a volume that volforge wrote (canonical RAS): values and grid; `labels` as in `read_volume`."""
    volume = read_volume(path, labels=labels)
    return scaled(volume), volume.grid
