"""A DICOM series as a volume: the one stack that is meant, in order, scaled, on a perpendicular grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from volforge.errors import ScanError
from volforge.text_lines import lines_of
from volforge.volume.dicom.fragments import FEWEST
from volforge.volume.dicom.headers import Frame, Headers, bare, files_below, read_headers, refuse_damaged, shown
from volforge.volume.dicom.pixels import same_pixels, stored_planes
from volforge.volume.dicom.places import normal_of
from volforge.volume.dicom.stacks import Spacing, Stack, make_stacks, spacing_of
from volforge.volume.geometry import Array, Grid
from volforge.volume.intensity import AIR_HU
from volforge.volume.source_volume import SourceVolume
from volforge.volume.straighten import Planes, straighten

WIDEST = 3.0  # times the smallest deliberate gap that a gap may be to be interpolated
TO_RAS = np.array([-1.0, -1.0, 1.0])
REMEDY_SPLIT = "run `volforge cohort discover --layout dicom FOLDER`: it writes one row for each"


def read_series(path: Path, *, labels: bool, channel: int | None = None) -> SourceVolume:
    """Read the volume of a DICOM series.

    Args:
        path: A folder (searched with what lies below), a multi-frame file, or a `.txt` with one file per line.
        labels: The values are labels: where slices must be resampled, by nearest neighbour.
        channel: Which of several volumes, from 0, in the order in which the message about them lists them.

    Raises:
        ScanError: no or damaged DICOM files; several volumes, or several values at each place (4-D); a single
            slice; slices without place, direction or spacing; missing slices (named); colour.
    """
    stack, left_out = pick_stack(path, channel)
    try:
        return volume_of(stack, left_out, labels=labels)
    except ScanError as error:
        if left_out:  # a slice that seems to be missing may be among them
            error.message = f"{error.message}; {'; '.join(left_out[:3])}"
        raise


def list_files(path: Path) -> list[Path]:
    """The files of a folder, of a list of files, or the file itself.

    Raises:
        ScanError: an empty folder; a list that names nothing, or files that do not exist.
    """
    if path.is_dir():
        files = files_below(path)
        if not files:
            raise ScanError("the folder is empty", str(path), "check the path, and whether the copy was complete")
        return files
    if path.suffix.lower() != ".txt":
        return [path]
    try:
        lines = [t.strip() for t in lines_of(path.read_text(encoding="utf-8-sig"))]
    except UnicodeDecodeError as error:
        raise ScanError("the list is not UTF-8 text", str(path), "save it as UTF-8") from error
    files = [path.parent / t for t in lines if t and not t.startswith("#")]
    gone = [f for f in files if not f.is_file()]
    if gone:
        text = f"{len(gone)} of {len(files)} listed files do not exist, the first: {shown(gone[0])}"
        raise ScanError(text, str(path), "one path per line, from the list's folder")
    if not files:
        raise ScanError("the list names no file", str(path), "one path per line, from the list's folder")
    return files


def pick_stack(path: Path, channel: int | None = None) -> tuple[Stack, list[str]]:
    """The one volume that a path names (as `read_series`), and what was left out, in words.

    Raises:
        ScanError: there is none, or more than one and no choice.
    """
    files = list_files(path)
    is_list = path.suffix.lower() == ".txt" and path.is_file()
    headers = read_headers(files)
    refuse_damaged(headers)
    if not headers.frames:
        raise ScanError(_nothing(headers), remedy="give the folder that holds the slices")
    if all(f.mosaic for f in headers.frames):
        raise mosaic(headers.frames)
    if len(files) == 1 and len(headers.frames) == 1:
        _refuse_lone_file(files[0], headers.frames[0])
    stacks = make_stacks(headers.frames, same_pixels, is_list=is_list)
    volumes = volumes_among(stacks)
    if not volumes:
        mosaics = [f for f in headers.frames if f.mosaic]
        raise mosaic(mosaics) if mosaics else _no_volume(stacks, is_list)
    if channel is not None:
        if channel >= len(volumes):
            held = "; ".join(f"#{i} {s.describe()}" for i, s in enumerate(volumes[:6]))
            raise ScanError(f"no volume #{channel}; there are {held}", remedy="count from 0")
        return volumes[channel], []
    placed = [s for s in volumes if s.is_placed and not s.frames[0].colour]
    if len(volumes) > 1 and len(placed) == 1:
        refuse_misfits(placed[0], stacks)
        volumes = placed  # screenshots and other pictures without a place
    if len(volumes) > 1:
        listed = "; ".join(s.describe() for s in volumes[:6])
        several = len({f.file for s in volumes for f in s.frames}) > 1
        ends = f"`{bare(path)}#0`" + "".join(f", `#{i}`" for i in range(1, min(3, len(volumes))))
        choice = f"name one of them in this order: {ends}{' ...' if len(volumes) > 3 else ''}"
        raise ScanError(f"{len(volumes)} volumes: {listed}", remedy=REMEDY_SPLIT if several else choice)
    refuse_misfits(volumes[0], stacks)
    return volumes[0], [f"left out: {s.describe()}" for s in stacks if s is not volumes[0]]


def volumes_among(stacks: Sequence[Stack]) -> list[Stack]:
    """The stacks that are volumes: no scouts or mosaics, three slices or more. `#k` behind a path counts them."""
    return [s for s in stacks if len(s.frames) >= FEWEST and not s.is_localiser and not s.frames[0].mosaic]


def mosaic(frames: Sequence[Frame]) -> ScanError:
    """Why pictures of all slices side by side are no slices."""
    return ScanError(
        f"Siemens mosaic: each of {len(frames)} pictures shows all slices of a volume side by side",
        remedy="convert the series by dcm2niix, and name the NIfTI file (`#k` for one volume of it)",
    )


def _no_volume(stacks: Sequence[Stack], is_list: bool) -> ScanError:
    count = sum(len(s.frames) for s in stacks)
    listed = "; ".join(s.describe() for s in stacks[:4])
    if count == 1:
        few, remedy = "a single slice is no volume", "give the folder that holds all slices of the series"
    else:
        few = f"fewer than {FEWEST} slices of one volume"
        remedy = "give the folder that holds all slices of the series"
        if not is_list and count >= FEWEST:
            remedy = "if these slices are one volume, name their files in a .txt list, one per line"
    return ScanError(f"{few}: {listed}", remedy=remedy)


def refuse_misfits(volume: Stack, stacks: Sequence[Stack]) -> None:
    """Raise `ScanError` where slices of the very series of a volume do not fit it: they are not dropped in silence."""
    first = volume.frames[0]
    for stack in stacks:
        other = stack.frames[0]
        same_kind = other.series == first.series and other.shape == first.shape and other.colour == first.colour
        if stack is volume or not same_kind or (stack.is_localiser and _crosses(other, first)):
            continue
        missing = sorted({tag for f in stack.frames for tag in f.missing})
        if missing:
            share = f"{len(stack.frames)} of {len(volume.frames) + len(stack.frames)} slices"
            raise ScanError(
                f"{', '.join(missing)} missing or invalid in {share}, the first: {other.name}",
                remedy="export the series again with these tags",
            )
        if len(stack.frames) < FEWEST:
            raise ScanError(
                f"{len(stack.frames)} slices of the series do not fit the others: {stack.describe()}",
                remedy="export the series again, or name the files of one volume in a .txt list",
            )


def _crosses(a: Frame, b: Frame) -> bool:
    """Whether two slices lie in different directions."""
    if a.orientation is None or b.orientation is None:
        return True
    return abs(float(normal_of(a) @ normal_of(b))) < 0.99


def _nothing(headers: Headers) -> str:
    if headers.others:
        kinds = ", ".join(sorted({kind or "unknown" for _, kind in headers.others}))
        return f"no image among {len(headers.others)} DICOM files ({kinds})"
    names = ", ".join(shown(p) for p in headers.not_dicom[:3])
    return f"none of {len(headers.not_dicom)} files is DICOM ({names} ...)"


def _refuse_lone_file(path: Path, frame: Frame) -> None:
    beside = [p for p in path.parent.iterdir() if p != path and p.is_file()] if path.parent.is_dir() else []
    others = [f for f in read_headers(beside).frames if f.series == frame.series]
    if others:
        text = f"the file is one slice of a series of {len(others) + 1}"
        raise ScanError(text, remedy="give its folder")


def volume_of(stack: Stack, left_out: list[str], *, labels: bool) -> SourceVolume:
    """Stored values, scaling, grid, flags and notes of a stack; `labels` as in `read_series`.

    Raises:
        ScanError: as `read_series`, without what concerns several volumes.
    """
    spacing = check_stack(stack)
    planes = planes_of(stack)
    flags, notes = _flags(stack), list(left_out)
    if stack.dropped:
        names = ", ".join(f.name for f in stack.dropped[:6]) + (" ..." if len(stack.dropped) > 6 else "")
        notes.append(f"{len(stack.dropped)} slices hold the pixels of another at the same place: {names}")
    if left_out:
        flags.append("other_stacks_left_out")
    flags += _say_joined(stack, notes)
    array, slope, intercept, more, padded = _values(stack)
    flags += more
    if padded:
        notes.append(f"{padded} voxels of padding below {AIR_HU} HU were set to it")
    declared = abs(stack.frames[0].declared_step or 0.0)
    if declared and spacing.even and abs(declared - spacing.step_mm) > 0.1 * spacing.step_mm:
        flags.append("declared_spacing_differs")
        notes.append(f"SpacingBetweenSlices says {declared:.3g} mm, slices lie {spacing.step_mm:.3g} mm apart")
    source = SourceVolume(
        array, slope, intercept, Grid(array.shape, np.eye(4)), flags, notes=notes, kind="dicom",
        modality=stack.frames[0].modality, slice_files=[f.name for f in stack.frames],
        slice_uids=[f.instance_uid for f in stack.frames], frame_uid=stack.frames[0].frame_uid, slices=planes,
    )  # fmt: skip
    if planes.needs_straightening(spacing.even):
        source.planes = planes
        source.grid = planes.straight(spacing.step_mm)
        if np.prod(source.grid.shape[:2]) > 9 * np.prod(planes.shape):
            raise ScanError(
                f"slices lie up to {planes.off_line():.0f} pixels off their line: a wrong ImagePositionPatient?",
                remedy="export the series again",
            )
        if labels:
            source.scale_as_labels()
        values = source.array.astype(np.float32) if source.array.dtype.kind == "f" else source.array
        outside = 0 if labels else source.outside
        source.array = straighten(values, planes, source.grid, nearest=labels, outside=outside)
        flags += _say_straightened(planes, spacing, notes)
        return source
    step = (planes.origins[-1] - planes.origins[0]) / (array.shape[2] - 1)
    step = step / np.linalg.norm(step) * spacing.step_mm  # of the line through all, not of two rounded ends
    affine = np.eye(4)
    affine[:3, :3] = np.stack([planes.u, planes.v, step], axis=1)
    affine[:3, 3] = planes.origins[0]
    source.grid = Grid(array.shape, affine)
    return source


def _say_joined(stack: Stack, notes: list[str]) -> list[str]:
    flags = []
    uids = len({f.series for f in stack.frames})
    if uids > 1:
        flags.append("series_uids_joined")
        notes.append(f"{len(stack.frames)} slices under {uids} series UIDs were read as one volume")
    stacks = len({f.tags.get("StackID", "") for f in stack.frames})
    if stacks > 1:
        flags.append("stacks_joined")
        notes.append(f"{stacks} stacks of a multi-frame file make one regular grid and were read as one volume")
    return flags


def planes_of(stack: Stack) -> Planes:
    """Where the slices of a stack lie, RAS; the first axis runs along rows (columns of the picture)."""
    first = stack.frames[0]
    assert first.orientation is not None
    assert first.spacing is not None
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    origins = np.array([f.position for f in stack.frames], dtype=float) * TO_RAS
    return Planes(first.shape, origins, row * TO_RAS * first.spacing[0], column * TO_RAS * first.spacing[1])


def check_stack(stack: Stack) -> Spacing:
    """Judge a stack by its headers alone, and return how its slices follow each other.

    Raises:
        ScanError: colour, slices without place, several at one place, missing slices, wild spacing.
    """
    first = stack.frames[0]
    if first.colour:
        raise ScanError(
            f"colour pictures ({first.colour}): their values are no signal",
            remedy="give the grey series that they were made from (MONOCHROME2)",
        )
    if not stack.is_placed:
        missing = sorted({tag for f in stack.frames for tag in f.missing})
        lacking = next(f for f in stack.frames if f.missing)
        raise ScanError(
            f"{', '.join(missing)} missing or invalid in {sum(bool(f.missing) for f in stack.frames)} of "
            f"{len(stack.frames)} slices, the first: {lacking.name}: where they lie cannot be told",
            remedy="export the series again with these tags, or convert it by a tool that knows its scanner",
        )
    if stack.repeated > 1:
        raise ScanError(
            f"up to {stack.repeated} different slices at one place, and no tag tells them apart (a 4-D series?)",
            remedy="export one volume per time, echo or phase, or name its files in a .txt list",
        )
    spacing = spacing_of(stack)
    _refuse_holes(spacing)
    return spacing


def _refuse_holes(spacing: Spacing) -> None:
    if spacing.missing:
        count = sum(n for *_, n in spacing.missing)
        places = ", ".join(f"{n} between {a.name} and {b.name}" for a, b, n in spacing.missing[:4])
        more = f" and {len(spacing.missing) - 4} more places" if len(spacing.missing) > 4 else ""
        plural = "s are" if count > 1 else " is"
        raise ScanError(
            f"{count} slice{plural} missing: {places}{more} (steps of {spacing.step_mm:.3g} mm elsewhere)",
            remedy="fetch the series again; anatomy is not invented",
        )
    if not spacing.even and max(spacing.gaps_mm) > WIDEST * spacing.step_mm:
        raise ScanError(
            f"uneven steps of {min(spacing.gaps_mm):.3g} to {max(spacing.gaps_mm):.3g} mm between slices",
            remedy=f"steps up to {WIDEST:g} times the smallest are interpolated; export an even series",
        )


def _flags(stack: Stack) -> list[str]:
    frames = stack.frames
    flags = []
    if stack.dropped:
        flags.append("duplicate_slices_dropped")
    if frames[0].modality == "CT":
        if not all(f.rescaled for f in frames):
            flags.append("rescale_assumed")
        if any(f.rescale_type not in ("", "HU") for f in frames):
            flags.append("unit_not_declared_hu")
    if any(f.lossy for f in frames):
        flags.append("lossy_compression")
    return flags


def _values(stack: Stack) -> tuple[Array, float, float, list[str], int]:
    """Values with one scaling for all slices, flags, and the number of padding voxels set to air."""
    frames = stack.frames
    is_common = len({(f.slope, f.intercept) for f in frames}) == 1
    slope, intercept = (frames[0].slope, frames[0].intercept) if is_common else (1.0, 0.0)
    for frame in frames:
        if frame.slope == 0:
            raise ScanError(f"RescaleSlope is 0 in {frame.name}", remedy="export the series again")
        if frame.has_table:
            raise ScanError(f"values go through a table (modality LUT) in {frame.name}", remedy="export in HU")
    bare = [f for f in frames if not f.rescaled]
    if bare and len(bare) < len(frames):
        raise ScanError(
            f"{len(bare)} of {len(frames)} slices lack RescaleSlope or RescaleIntercept, the first: {bare[0].name}",
            remedy="export the series again",
        )
    array: Array | None = None
    padded = 0
    for k, plane in stored_planes(frames):
        dtype = plane.dtype if is_common else np.dtype(np.float64)
        if array is None:
            array = np.empty((*frames[0].shape, len(frames)), dtype=dtype, order="F")
        elif not np.can_cast(dtype, array.dtype):  # signed and unsigned slices in one series
            array = np.asfortranarray(array.astype(np.result_type(array.dtype, dtype)))
        array[:, :, k] = plane if is_common else plane * frames[k].slope + frames[k].intercept
        if frames[k].modality == "CT":
            padded += _padding_to_air(array[:, :, k], plane, frames[k], slope, intercept)
    assert array is not None
    return array, slope, intercept, ["padding_set_to_air"] if padded else [], padded


def _padding_to_air(target: Array, stored: Array, frame: Frame, slope: float, intercept: float) -> int:
    """Padding that means less than air becomes air; padding within the range of tissue is left: it may be tissue."""
    if frame.padding is None:
        return 0
    low, high = frame.padding
    if max(low * frame.slope + frame.intercept, high * frame.slope + frame.intercept) >= AIR_HU:
        return 0
    hit = (stored >= low) & (stored <= high)
    count = int(hit.sum())
    if count:
        target[hit] = np.asarray(np.rint((AIR_HU - intercept) / slope) if target.dtype.kind in "iu" else AIR_HU)
    return count


def _say_straightened(planes: Planes, spacing: Spacing, notes: list[str]) -> list[str]:
    flags = []
    if planes.tilt_degrees > 0.5:
        flags.append("gantry_tilt_resampled")
        notes.append(
            f"slices stacked {planes.tilt_degrees:.2f} degrees off their normal were resampled onto a perpendicular "
            "grid"
        )
    if not spacing.even:
        flags.append("uneven_spacing_resampled")
        notes.append(
            f"steps of {min(spacing.gaps_mm):.3g} to {max(spacing.gaps_mm):.3g} mm were resampled to "
            f"{spacing.step_mm:.3g} mm"
        )
    if not flags or planes.off_line() > 0.5:
        flags.append("shifted_slices_resampled")
        notes.append(f"slices lie up to {planes.off_line():.2f} pixels off their line and were resampled")
    return flags
