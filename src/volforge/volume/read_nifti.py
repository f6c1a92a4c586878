"""NIfTI: stored values, scaling and the placing of voxels, with flags for what headers leave open or contradict."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from volforge.errors import ScanError
from volforge.volume.geometry import Affine, Array, Grid, check_affine, corner_displacement_mm
from volforge.volume.nibabel_alone import load_nibabel
from volforge.volume.promises import first_inflated, inflated, refuse_promise
from volforge.volume.source_volume import SourceVolume
from volforge.volume.stand_ins import GZIP, refuse_stand_in_bytes

UNIT_TO_MM = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}
SPACING_SLACK = 0.005  # share by which pixdim may differ from the steps of the affine before it is said
MOST_COMPRESSIONS = 3
MOST_PACKED_TWICE = 1 << 31  # bytes of a packed file within a packed one
WIDEST = 16  # bytes of a value
ROOM = 1 << 20  # bytes of header, extensions and padding


def read_nifti(path: Path, channel: int | None) -> SourceVolume:
    """Read a NIfTI file, whether or not it is compressed, whatever its name says.

    Args:
        path: The file; of a pair either one.
        channel: Volume of a 4-D file, from 0; None: the file has one.

    Raises:
        ScanError: damaged, truncated or another format, not three dimensions, not numbers, an affine that is not
            invertible, a voxel size of 0 that no sform overrules.
    """
    flags: list[str] = []
    notes: list[str] = []
    image, stored, pixdim = _loaded(path, flags)
    if channel is not None:
        stored = _channel(stored, channel)
    stored = three_dimensional(stored, flags)
    grid = _placed(image, stored.shape, pixdim, flags, notes)
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    return SourceVolume(stored, slope, intercept, grid, flags, _placing_fields(image.header, flags), notes)


def _loaded(path: Path, flags: list[str]) -> tuple[Any, Array, Array]:
    """The image, its stored values, and pixdim as the file holds it (nibabel turns 0 into 1 and drops signs)."""
    nib = load_nibabel()
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        content = _content(path, flags)
        if content is not None:
            kind = nib.Nifti2Image if _is_nifti2(content) else nib.Nifti1Image
            image = kind.from_bytes(content)
        else:
            image = nib.load(path)
            if not isinstance(image, nib.Nifti1Pair):
                raise ScanError("an Analyze file has no trustworthy geometry", remedy="convert it to NIfTI")
        if 0 in image.shape:
            raise ScanError(f"an axis has no length: shape {image.shape}", remedy="export the volume again")
        _refuse_promise(image, content)
        return image, _stored(image, content), _raw_pixdim(image, content)
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


def _content(path: Path, flags: list[str]) -> bytes | None:
    """The bytes of a single file whose name or first bytes say that it is compressed; None: read it from disk.

    What counts are the bytes: browsers and servers unpack files, or pack them twice, and leave their names.
    """
    with path.open("rb") as file:
        head = file.read(512)
    lower = path.name.lower()
    if not lower.endswith((".img", ".img.gz")):  # bare voxels may begin with anything
        refuse_stand_in_bytes(head, nifti=True)
    is_packed = head.startswith(GZIP)
    if not lower.endswith((".nii", ".nii.gz")) or not (is_packed or lower.endswith(".gz")):
        return None
    content, times = path.read_bytes(), 0
    while content.startswith(GZIP):
        if times == MOST_COMPRESSIONS:
            raise ScanError(f"the file is compressed more than {times} times", remedy="unpack it")
        content, times = inflated(content, _most_inflated(first_inflated(content, 1024))), times + 1
    if times > 1 or is_packed != lower.endswith(".gz"):
        flags.append("compression_not_as_named")
    refuse_stand_in_bytes(content[:512], nifti=True)
    return content


def _most_inflated(head: bytes) -> int:
    """Bytes that a packed file may unpack to: twice what its header promises, since some programs write more.

    Args:
        head: The first bytes of what it holds.

    Raises:
        ScanError: No header of NIfTI, nor another packed file.
    """
    if head.startswith(GZIP):
        return MOST_PACKED_TWICE
    refuse_stand_in_bytes(head[:512], nifti=True)
    from nibabel.spatialimages import HeaderDataError

    nib = load_nibabel()
    kind = nib.Nifti2Header if _is_nifti2(head) else nib.Nifti1Header
    header = kind(head[: kind.template_dtype.itemsize], check=False)
    try:  # some programs leave bitpix at 0, and nibabel goes by the type as well
        width = header.get_data_dtype().itemsize
    except (HeaderDataError, KeyError):  # a type that no program knows
        width = WIDEST
    promised = math.prod(max(0, n) for n in header.get_data_shape()) * width
    return ROOM + 2 * max(0, promised)


def _refuse_promise(image: Any, content: bytes | None) -> None:
    """Refuse a header that promises more than its file holds, before memory is set aside for it."""
    shape, offset = image.shape, int(image.dataobj.offset)
    expected = math.prod(shape) * int(image.dataobj.dtype.itemsize)
    if content is not None:
        refuse_promise(shape, expected, len(content) - offset)
        return
    file = Path(image.file_map["image"].filename)
    is_packed = file.name.lower().endswith(".gz")
    held = file.stat().st_size
    refuse_promise(shape, expected, held if is_packed else held - offset, is_packed=is_packed)


def _stored(image: Any, content: bytes | None) -> Array:
    """The stored values; out of bytes in memory by one copy, where nibabel makes several."""
    proxy = image.dataobj
    header = type(image.header).template_dtype.itemsize
    if "header" not in image.file_map and 0 <= proxy.offset < header:  # voxels of a pair have a file of their own
        text = f"its voxels are said to begin at byte {proxy.offset}, within the header of {header} bytes"
        raise ScanError(text, remedy="write the field vox_offset anew (352, or 544 of NIfTI-2), or export it again")
    count = math.prod(int(n) for n in proxy.shape)
    is_sound = min(proxy.shape) > 0 and proxy.offset >= 0
    if content is None or not is_sound or proxy.offset + count * proxy.dtype.itemsize > len(content):
        return np.asanyarray(proxy.get_unscaled())  # says what is wrong
    flat = np.frombuffer(content, proxy.dtype, count, proxy.offset)
    return flat.reshape(proxy.shape, order="F").copy(order="F")


def _is_nifti2(content: bytes) -> bool:
    return len(content) >= 4 and 540 in (
        int.from_bytes(content[:4], "little"),
        int.from_bytes(content[:4], "big"),
    )


def _raw_pixdim(image: Any, content: bytes | None) -> Array:
    """Voxel sizes (3,) as they stand in the file, in its unit."""
    header = type(image.header)
    if content is None:
        with image.file_map["header" if "header" in image.file_map else "image"].get_prepare_fileobj("rb") as file:
            content = file.read(header.template_dtype.itemsize)
    raw = header(content[: header.template_dtype.itemsize], check=False)
    return np.asarray(raw["pixdim"][1:4], dtype=float)


def _channel(stored: Array, channel: int) -> Array:
    """One volume of a 4-D file."""
    if stored.ndim != 4 or channel >= stored.shape[3]:
        raise ScanError(
            f"no volume #{channel} in a file of shape {stored.shape}", remedy="count from 0, of a file with four axes"
        )
    return np.asarray(stored[..., channel])


def three_dimensional(array: Array, flags: list[str]) -> Array:
    """The array without trailing axes of length 1 (flagged).

    Raises:
        ScanError: not three axes, or no plain numbers.
    """
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


def _placed(image: Any, shape: tuple[int, ...], pixdim: Array, flags: list[str], notes: list[str]) -> Grid:
    """The grid in mm: of the sform where it is coded, else of the qform, else of pixdim alone."""
    header = image.header
    unit = _unit(header, flags)
    sform_code = int(header.get_sform(coded=True)[1])
    qform, qform_code = _qform(header, bool(sform_code), flags)
    if not sform_code and not qform_code:
        flags.append("orientation_assumed")
    if not sform_code and not (np.isfinite(pixdim).all() and pixdim.all()):
        shown = " x ".join(f"{v:g}" for v in pixdim)
        raise ScanError(f"pixdim says voxels of {shown}, and no sform overrules it", remedy="repair the header")
    affine = np.asarray(image.affine, dtype=float)
    check_affine(affine, may_shear=True)
    scale = np.diag([UNIT_TO_MM[unit]] * 3 + [1.0])
    x, y, z = shape
    grid = Grid((x, y, z), scale @ affine)
    if sform_code:
        _compare_with_pixdim(grid, pixdim * UNIT_TO_MM[unit], flags, notes)
    if sform_code and qform_code and qform is not None:
        other = Grid(grid.shape, scale @ np.asarray(qform, dtype=float))
        if corner_displacement_mm(grid, other) > 0.5 * min(grid.spacing_mm):
            flags.append("sform_qform_differ")
    return grid


def _unit(header: Any, flags: list[str]) -> str:
    try:
        unit = str(header.get_xyzt_units()[0])
    except KeyError:  # a code that the standard does not have
        unit = "unknown"
    if unit == "unknown":
        flags.append("unit_assumed")
    elif unit != "mm":
        flags.append(f"unit_converted_from_{unit}")
    return unit


def _qform(header: Any, has_sform: bool, flags: list[str]) -> tuple[Affine | None, int]:
    try:
        qform, code = header.get_qform(coded=True)
    except ValueError as error:  # a quaternion rounded to more than length 1: the sform may still be good
        if not has_sform:
            raise ScanError(f"the qform is damaged ({error})", remedy="repair the header of the file") from error
        flags.append("qform_invalid")
        return None, 0
    return qform, int(code)


def _compare_with_pixdim(grid: Grid, pixdim_mm: Array, flags: list[str], notes: list[str]) -> None:
    """Flag a pixdim that differs from the steps of the sform; the sform holds, since it is coded."""
    steps, declared = np.array(grid.spacing_mm), np.abs(pixdim_mm)
    off = np.abs(declared - steps)
    if np.isfinite(declared).all() and (off <= SPACING_SLACK * steps).all() and (off * grid.shape <= 0.5 * steps).all():
        return
    flags.append("pixdim_differs")
    said, held = (" x ".join(f"{v:.5g}" for v in values) for values in (pixdim_mm, steps))
    notes.append(f"pixdim says voxels of {said} mm, the sform {held} mm: the sform holds")


def _placing_fields(header: Any, flags: list[str]) -> dict[str, Any]:
    """The fields that place the grid, as plain numbers, for the way back."""
    return {
        "pixdim": [_finite(v) for v in header["pixdim"]],
        "qform_code": 0 if "qform_invalid" in flags else int(header["qform_code"]),
        "sform_code": int(header["sform_code"]),
        "quatern": [_finite(header[f"quatern_{c}"]) for c in "bcd"],
        "qoffset": [_finite(header[f"qoffset_{c}"]) for c in "xyz"],
        "srow": [[_finite(v) for v in header[f"srow_{c}"]] for c in "xyz"],
        "xyzt_units": int(header["xyzt_units"]),
    }


def _finite(value: Any) -> float:
    """A header field; those that no code makes valid may hold NaN, which JSON cannot."""
    return float(value) if np.isfinite(value) else 0.0
