"""DICOM segmentations (SEG): read as labels, and written from predictions for viewers and archives."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from volforge import __version__
from volforge.errors import ScanError, VolforgeError
from volforge.volume.dicom.damage import damage, frame_count, read_dataset
from volforge.volume.dicom.names import FileNames, matched_names, name_text, numbered
from volforge.volume.geometry import Array, Grid, reorientation_of
from volforge.volume.label_map import LabelMap, Target, lay_into, onto_grid
from volforge.volume.straighten import Planes, straighten

if TYPE_CHECKING:
    from volforge.volume.dicom.stacks import Stack

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
"""Tags that must be present in a segmentation, though they may be empty; anonymised series lack some."""
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_segmentation(
    file: Path,
    target: Target | None,
    structures: Mapping[str, int],
    rois: Mapping[str, Collection[str]],
    *,
    resample: bool,
) -> LabelMap:
    """Read the segments of a SEG file.

    Segments that cover some slices of the image only are laid into its grid; a grid that is no part of the
    image's is an error unless `resample`. Fractional segments are taken from 0.5. The background of a LABELMAP is
    no structure, whatever it is called.

    Raises:
        ScanError: another frame of reference or grid; no segment that is a structure; damage.
    """
    import highdicom as hd

    try:
        frame_count(read_dataset(file), file)
        seg = hd.seg.segread(file)
        names = segment_names(seg)
        frame_uid = str(seg.get("FrameOfReferenceUID", "") or "")
    except damage() as error:
        raise ScanError(f"the segmentation is damaged ({error})", remedy="export it again") from error
    image = target.source if target else None
    if image and image.frame_uid and frame_uid and image.frame_uid != frame_uid:
        raise ScanError(
            "the segmentation lies in another frame of reference than the image",
            remedy="name the series that it was drawn on, or the segmentation of this series",
        )
    wanted, notes = matched_names(names, structures, rois)
    ordered = sorted(wanted, key=lambda n: structures[wanted[n]])
    try:
        masks = _on_slices(seg, ordered, target) or _on_own_grid(seg, ordered)
    except damage() as error:
        raise ScanError(f"the segments cannot be read ({error})", remedy="export the segmentation again") from error
    result: LabelMap | None = None
    for number, mask in masks:
        labels = mask if target is None else _placed(mask, target, file, resample)
        if result is None:
            dtype = np.uint8 if max(structures.values()) < 256 else np.uint16
            result = LabelMap(np.zeros(labels.grid.shape, dtype=dtype, order="F"), labels.grid, notes=notes)
        value, hit = structures[wanted[number]], labels.array > 0
        if not hit.any():
            notes.append(f"structure '{wanted[number]}' has no voxel")
        result.lay(wanted[number], value, hit)
        result.flags += [f for f in labels.flags if f not in result.flags]
        result.notes += [n for n in labels.notes if n not in result.notes]
    if result is None or not result.array.any():
        raise ScanError("none of its structures has a voxel in the image", remedy="check that they belong together")
    return result


def segment_names(dataset: Any) -> FileNames:
    """Labels of the segments, without the background; those that no frame belongs to apart.

    The background of a LABELMAP is the value of its padding, else 0.
    """
    names = {int(s.SegmentNumber): name_text(s.get("SegmentLabel")) for s in dataset.get("SegmentSequence") or []}
    if str(dataset.get("SegmentationType", "")) == "LABELMAP":
        padding = dataset.get("PixelPaddingValue")
        if isinstance(padding, bytes):  # signed or unsigned: left as it stands
            padding = int.from_bytes(padding[:2], "little")
        background = 0 if padding in (None, "") else int(padding)
        return FileNames(numbered({n: t for n, t in names.items() if n != background}))
    drawn = set(_segment_of_frames(dataset))
    return FileNames(
        numbered({n: t for n, t in names.items() if n in drawn}), tuple(t for n, t in names.items() if n not in drawn)
    )


def _on_slices(seg: Any, numbers: list[int], target: Target | None) -> Iterator[tuple[int, LabelMap]] | None:
    """Segments whose frames lie on slices of the DICOM series of the image; None where they do not."""
    source = target.source if target else None
    if target is None or source is None or source.slices is None:
        return None
    planes = source.slices
    places = _slice_of_frames(seg, planes)
    if places is None:
        return None
    pixels = np.asarray(seg.pixel_array)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    kind = str(seg.SegmentationType)
    half = float(seg.get("MaximumFractionalValue", 255)) / 2
    owner = None if kind == "LABELMAP" else _segment_of_frames(seg)

    def masks() -> Iterator[tuple[int, LabelMap]]:
        for number in numbers:
            array = np.zeros((*planes.shape, len(planes.origins)), dtype=np.uint8, order="F")
            for i, k in enumerate(places):
                if owner is not None and owner[i] != number:
                    continue
                frame = pixels[i].T
                array[:, :, k] |= frame == number if owner is None else frame >= (half if kind == "FRACTIONAL" else 1)
            if source.planes is not None:
                array = straighten(array, source.planes, source.grid, nearest=True, outside=0)
            yield number, LabelMap(np.asfortranarray(target.turn.apply(array)), target.grid)

    return masks()


def _groups(seg: Any, index: int, sequence: str) -> Any:
    """A functional group of a frame, its own or the one that all share."""
    own, shared = seg.PerFrameFunctionalGroupsSequence[index], seg.get("SharedFunctionalGroupsSequence")
    for group in (own, shared[0] if shared else None):
        if group is not None and sequence in group:
            return group[sequence][0]
    raise ValueError(f"no {sequence} for frame {index + 1}")


def _segment_of_frames(seg: Any) -> list[int]:
    return [
        int(_groups(seg, i, "SegmentIdentificationSequence").ReferencedSegmentNumber)
        for i in range(int(seg.NumberOfFrames))
    ]


def _slice_of_frames(seg: Any, planes: Planes) -> list[int] | None:
    """The slice that each frame lies on; None where size, direction or place fit none."""
    if (int(seg.Columns), int(seg.Rows)) != planes.shape:
        return None
    heights = planes.heights_mm
    step = float(np.min(np.abs(np.diff(heights)))) if len(heights) > 1 else 1.0
    pixel = min(float(np.linalg.norm(planes.u)), float(np.linalg.norm(planes.v)))
    found = []
    for i in range(int(seg.NumberOfFrames)):
        place = np.array(_groups(seg, i, "PlanePositionSequence").ImagePositionPatient, dtype=float) * [-1, -1, 1]
        angles = np.array(_groups(seg, i, "PlaneOrientationSequence").ImageOrientationPatient, dtype=float)
        spacing = [float(v) for v in _groups(seg, i, "PixelMeasuresSequence").PixelSpacing]
        u, v = angles[:3] * [-1, -1, 1] * spacing[1], angles[3:] * [-1, -1, 1] * spacing[0]
        drift = max(np.linalg.norm(u - planes.u) * planes.shape[0], np.linalg.norm(v - planes.v) * planes.shape[1])
        k = int(np.abs(heights - (place - planes.origins[0]) @ planes.normal).argmin())
        away = place - planes.origins[k]
        across = away @ planes.normal
        if drift > pixel or abs(across) > 0.25 * step or np.linalg.norm(away - across * planes.normal) > 0.25 * pixel:
            return None
        found.append(k)
    return found


def _on_own_grid(seg: Any, numbers: list[int]) -> Iterator[tuple[int, LabelMap]]:
    """Segments on the grid that their frames make."""
    for number in numbers:
        try:
            volume = seg.get_volume(segment_numbers=[number], combine_segments=False, rtol=0.1)
        except damage() as error:
            raise ScanError(
                f"its frames lie neither on the image's slices nor on a grid of their own ({error})",
                remedy="name the series that it was drawn on, or export it as a volume",
            ) from error
        array = (np.asarray(volume.array)[..., 0] >= 0.5).astype(np.uint8)
        a, b, c = array.shape
        grid = Grid((a, b, c), TO_RAS @ np.asarray(volume.affine, dtype=float))
        turn = reorientation_of(grid.affine)
        yield number, LabelMap(np.asfortranarray(turn.apply(array)), turn.canonical(grid))


def _placed(labels: LabelMap, target: Target, file: Path, resample: bool) -> LabelMap:
    """The labels on the image's grid: laid in where they are a part of it, else as other volumes are."""
    if labels.grid is target.grid:
        return labels
    return lay_into(labels, target.grid) or onto_grid(labels, target.grid, file, resample=resample)


def write_segmentation(
    out: Path, labels: Array, series: Path, structures: Mapping[str, int], colours: Mapping[str, str]
) -> None:
    """Write labels as a DICOM segmentation of the series that they were predicted on.

    The file carries the patient's and study's fields of the series, as every DICOM object must: it belongs
    beside the series, not into results. The same labels and series give the same bytes.

    Args:
        out: `.dcm` file.
        labels: Integer ids, one slice per slice of the series: (columns, rows, N) in its sorted order.
        series: Folder, list of files, or multi-frame file; `#k` behind it: its volume of that number, from 0.
        structures: Id by name; each that occurs becomes a segment.
        colours: `#rrggbb` by name.

    Raises:
        VolforgeError: ids without a structure; nothing labelled; sizes that differ.
    """
    import highdicom as hd
    from pydicom.uid import generate_uid

    from volforge.volume.companions import channel_of
    from volforge.volume.dicom.series import pick_stack
    from volforge.volume.dicom.stacks import spacing_of
    from volforge.volume.folders import sha256_of_text
    from volforge.whole_file import write_whole

    path, channel = channel_of(str(series))
    stack, _ = pick_stack(Path(path), channel)
    first = stack.frames[0]
    if labels.shape != (*first.shape, len(stack.frames)):
        raise VolforgeError(
            f"labels of shape {labels.shape} for {len(stack.frames)} slices of {first.shape}",
            str(out),
            "give its own series",
        )
    _check_source(stack, out)
    present = [int(i) for i in np.unique(labels) if i]
    names = {value: name for name, value in structures.items()}
    unknown = [i for i in present if i not in names]
    if unknown or not present:
        if unknown:
            raise VolforgeError(
                f"ids that no structure has: {unknown}", str(out), "pass the structures table of the cohort"
            )
        raise VolforgeError("nothing is labelled", str(out), "a segmentation without segments cannot be written")
    is_multi_frame = len({f.file for f in stack.frames}) == 1 and len(stack.frames) > 1
    files = [first.file] if is_multi_frame else [f.file for f in stack.frames]
    datasets = [read_dataset(f, pixels=True) for f in files]
    _refuse_hashed(datasets[0], first.name, out)
    for dataset in datasets:
        if "PixelData" in dataset:
            del dataset.PixelData
        for keyword in TYPE_2:
            if keyword not in dataset:
                setattr(dataset, keyword, "")
        if not is_multi_frame and not dataset.get("SliceThickness"):
            dataset.SliceThickness = round(spacing_of(stack).step_mm, 6)
    frames = labels.transpose(2, 1, 0)
    count = int(datasets[0].NumberOfFrames) if is_multi_frame else len(frames)
    places = [f.index for f in stack.frames] if is_multi_frame else range(count)
    coded = np.zeros((count, *frames.shape[1:]), dtype=np.uint8 if len(present) < 256 else np.uint16)
    for k, value in enumerate(present, start=1):
        for place, frame in zip(places, frames, strict=True):
            coded[place][frame == value] = k
    content = sha256_of_text(coded.tobytes().hex() + "".join(f.instance_uid for f in stack.frames))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they print the patient's name
            seg = hd.seg.Segmentation(
                source_images=datasets,
                pixel_array=coded,
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[_description(k, names[v], colours) for k, v in enumerate(present, start=1)],
                series_instance_uid=generate_uid(entropy_srcs=["series", content]),
                series_number=900,
                sop_instance_uid=generate_uid(entropy_srcs=["instance", content]),
                instance_number=1,
                manufacturer="volforge",
                manufacturer_model_name="volforge",
                software_versions=__version__,
                device_serial_number="0",
                content_label="SEGMENTATION",
            )
    except damage() as error:
        raise VolforgeError(
            f"the series cannot carry a segmentation ({error})",
            str(series),
            "export the series with all its tags",
        ) from error
    _make_repeatable(seg, datasets[0], generate_uid(entropy_srcs=["dimensions", content]))
    write_whole(out, _bytes_of(seg))


def _check_source(stack: Stack, out: Path) -> None:
    """Raise `VolforgeError` for a series that lacks what a segmentation must refer to."""
    for word, uids in (("series", {f.series for f in stack.frames}), ("study", {f.study for f in stack.frames})):
        if len(uids) > 1:
            raise VolforgeError(
                f"its slices have {len(uids)} {word} UIDs, and a segmentation must name one", str(out), "write .nii.gz"
            )
    for frame in stack.frames:
        needed = {
            "SOPInstanceUID": frame.instance_uid,
            "SeriesInstanceUID": frame.series,
            "StudyInstanceUID": frame.study,
            "FrameOfReferenceUID": frame.frame_uid,
        }
        missing = [tag for tag, value in needed.items() if not value]
        if missing:
            raise VolforgeError(
                f"{frame.name} lacks {', '.join(missing)}, which a segmentation must name", str(out), "write .nii.gz"
            )


def _refuse_hashed(dataset: Any, name: str, out: Path) -> None:
    """Raise `VolforgeError` where a date, a time or the sex, which a segmentation repeats, is none."""
    for keyword, word in (
        ("StudyDate", "date"), ("PatientBirthDate", "date"), ("StudyTime", "time"), ("PatientSex", "sex"),
    ):  # fmt: skip
        if not _is_value(dataset.get(keyword), word):
            raise VolforgeError(
                f"{keyword} of {name} holds no {word} (hashed by an anonymiser?), and a segmentation must repeat it",
                str(out),
                f"empty {keyword} in the files of the series, which is allowed, or write .nii.gz",
            )


def _is_value(value: Any, word: str) -> bool:
    """Whether a value is a date, time or sex in the form of DICOM, or empty."""
    from pydicom.valuerep import DA, TM

    text = str(value or "").strip()
    if word == "sex":
        return text in ("", "M", "F", "O")
    try:
        return text == "" or (DA(text) if word == "date" else TM(text)) is not None
    except damage():
        return False


def _description(number: int, name: str, colours: Mapping[str, str]) -> Any:
    import highdicom as hd
    from pydicom.uid import generate_uid

    colour = colours.get(name, "").removeprefix("#")
    rgb = [int(colour[i : i + 2], 16) for i in (0, 2, 4)] if len(colour) == 6 else None
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"),
        segmented_property_type=hd.sr.CodedConcept(name[:16].upper(), "99VOLFORGE", name[:64]),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="volforge", version=__version__, family=hd.sr.CodedConcept("122024", "DCM", "Artificial Intelligence")
        ),
        tracking_uid=generate_uid(entropy_srcs=["volforge", name]),
        tracking_id=name[:64],
        display_color=hd.color.CIELabColor.from_rgb(*rgb) if rgb else None,
    )


def _make_repeatable(seg: Any, source: Any, dimension_uid: str) -> None:
    """The dates of the study instead of now, and no random UID: the same input gives the same bytes."""
    for item in [*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence]:
        item.DimensionOrganizationUID = dimension_uid
    for item in seg.get("ContributingEquipmentSequence") or []:
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    dates, times = (
        [source.get(k) for k in keys] for keys in (("ContentDate", "StudyDate"), ("ContentTime", "StudyTime"))
    )
    date = next((str(v) for v in dates if v and _is_value(v, "date")), "19000101")
    time = next((str(v) for v in times if v and _is_value(v, "time")), "000000")
    for keyword, value in (
        ("ContentDate", date), ("ContentTime", time), ("SeriesDate", date), ("SeriesTime", time),
        ("InstanceCreationDate", date), ("InstanceCreationTime", time),
    ):  # fmt: skip
        if keyword in seg:
            setattr(seg, keyword, value)


def _bytes_of(dataset: Any) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
