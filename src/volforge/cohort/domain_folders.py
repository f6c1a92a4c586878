"""Folders of slices in the published layout of unpaired translation, as volumes and a sample sheet.

`trainA trainB maskA testA testB` (and `valA valB`) with `mr_<pid>_<i>`, `nct_<pid>_<i>`, `mrmask_<pid>_<i>`; Ge et al.,
SPIE 10949 (2019). Slices of a patient are stacked by i. Everything that is wrong is said at once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from volforge.cohort.sheet import SCAN
from volforge.errors import Problem, ProblemsError, VolforgeError
from volforge.volume.cut import AXES, from_stack
from volforge.volume.export_domains import EXPORT, EXPORT_FORMAT
from volforge.volume.folders import form_of, read_object, whole_folder
from volforge.volume.geometry import Array, Grid
from volforge.volume.write import write_nifti
from volforge.whole_file import write_whole

FOLDERS = {f"{split}{domain}": (split, domain) for split in ("train", "test", "val") for domain in "AB"}
MASKS = "maskA"
NAME = re.compile(r"(?P<kind>mrmask|mr|nct|regct|ct)_(?P<pid>.+)_(?P<i>\d{1,6})\.(?P<form>png|npz|npy)")
KINDS = {"A": ("mr",), "B": ("nct", "regct", "ct"), "mask": ("mrmask",)}
COLUMNS = ("subject", "scan", "modality", "contrast", "unit", "frame", "image", "body_mask", "split")
WINDOW_HU = (-1000.0, 1400.0)  # published
SHEET = "sheet.tsv"


@dataclass(frozen=True)
class DomainImport:
    """What such folders do not say.

    Attributes:
        spacing_mm: Pixel of a row, pixel of a column, distance of slices; not asked for where `export.json` lies there.
        axis: axial, coronal or sagittal.
        ct_window: HU that the darkest and the brightest grey stand for.
        paired: A patient with files in A and in B was scanned in one frame.
        lost_units: Slices of CT that were stretched one by one are taken as values without a unit.
    """

    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    axis: str = "axial"
    ct_window: tuple[float, float] = WINDOW_HU
    paired: bool = False
    lost_units: bool = False


@dataclass
class Stack:
    """The files of a patient in a folder, by slice number, and which part of the layout they are."""

    folder: str
    pid: str
    part: str
    split: str
    files: dict[int, Path] = field(default_factory=dict)

    @property
    def is_grey(self) -> bool:
        """Whether its slices are pictures, whose greys stand for a window; arrays hold values."""
        return all(path.suffix == ".png" for path in self.files.values())


def import_domains(folder: Path, out: Path, how: DomainImport) -> tuple[int, int]:
    """Stack such folders to volumes with a sheet.

    Args:
        folder: Holds `trainA` and so on.
        out: Result folder, which appears whole: `sheet.tsv` and `volumes/`.
        how: What the folders do not say.

    Returns:
        Numbers of scans and of subjects.

    Raises:
        ProblemsError: Files that cannot be used, all of them at once.
        VolforgeError: There is none of the folders.
    """
    if how.axis not in AXES:
        raise VolforgeError(f"unknown axis '{how.axis}'", remedy=f"use one of {', '.join(AXES)}")
    problems: list[Problem] = []
    stacks = find_stacks(folder, problems)
    export = _export_of(folder)
    _check_patients(folder, stacks, problems, export)
    masks = {s.pid: s for s in stacks if s.part == "mask"}
    images = [s for s in stacks if s.part != "mask"]
    for pid in sorted(set(masks) - {s.pid for s in images if s.part == "A"}):
        _add(problems, folder / MASKS, pid, "masks of a patient without images", "give the images in trainA or testA")
    rows: list[dict[str, str]] = []
    with whole_folder(out) as scratch:
        for stack in images:
            array = _read(folder, stack, problems)
            mask_stack = masks.get(stack.pid) if stack.part == "A" else None
            mask = _read_mask(folder, mask_stack, stack, problems) if mask_stack else None
            if array is None or (export is not None and stack.pid not in export["scans"]):
                continue  # said already
            if mask is not None and mask.shape != array.shape:
                text = f"masks of {mask.shape[1:]} on images of {array.shape[1:]}"
                _add(problems, folder / MASKS, stack.pid, text, "export both alike")
                continue
            about = export["scans"].get(stack.pid) if export else None
            values, unit = _values(folder, stack, array, how, export, problems)
            row = _row(stack, about, images, unit, how)
            grid = _grid(stack, array, about, how)
            axis = AXES[about["axis"] if about else how.axis]
            row["image"] = f"volumes/{row['scan']}.nii.gz"
            write_nifti(scratch / row["image"], _volume(values, axis), grid)
            if mask is not None:
                row["body_mask"] = f"volumes/{row['scan']}_body.nii.gz"
                write_nifti(scratch / row["body_mask"], _volume(mask.astype(np.uint8), axis), grid)
            rows.append(row)
        if problems:
            raise ProblemsError(problems)
        lines = ["# Stacked from slices in the layout trainA, trainB, maskA, testA, testB.", "\t".join(COLUMNS)]
        lines += ["\t".join(row.get(c, "") for c in COLUMNS) for row in rows]
        write_whole(scratch / SHEET, "\n".join(lines) + "\n")
    return len(rows), len({r["subject"] for r in rows})


def find_stacks(folder: Path, problems: list[Problem]) -> list[Stack]:
    """The files of the layout, by patient; names that say nothing and slices that stand twice are problems.

    Raises:
        VolforgeError: There is none of the folders.
    """
    parts = {**FOLDERS, MASKS: ("", "mask")}
    present = [n for n in parts if (folder / n).is_dir()]
    if not any(n in FOLDERS for n in present):
        remedy = f"name the folder that holds {', '.join(FOLDERS)}"
        raise VolforgeError("none of the layout's folders is there", str(folder), remedy)
    stacks: dict[tuple[str, str], Stack] = {}
    for name in present:
        split, part = parts[name]
        for path in sorted(p for p in (folder / name).iterdir() if not p.name.startswith(".")):
            hit = NAME.fullmatch(path.name)
            if hit is None or hit["kind"] not in KINDS[part]:
                wanted = f"{KINDS[part][0]}_<patient>_<number>.png, .npz or .npy"
                _add(problems, path, "", "the name tells neither patient nor slice", f"call it {wanted}")
                continue
            stack = stacks.setdefault((name, hit["pid"]), Stack(name, hit["pid"], part, split))
            first = stack.files.setdefault(int(hit["i"]), path)
            if first is not path:
                _add(problems, path, "", f"this slice stands already in {first.name}", "keep one of the two")
    return list(stacks.values())


def _add(problems: list[Problem], path: Path, value: str, message: str, remedy: str) -> None:
    problems.append(Problem(str(path), 0, "", value, message, remedy))


def _export_of(folder: Path) -> dict[str, Any] | None:
    """What our own export left, if it made the folder."""
    path = folder / EXPORT
    if not path.exists():
        return None
    content = read_object(path, "the description of an export", "format", "form", "legacy_stretch", "scans")
    if content["format"] != EXPORT_FORMAT:
        raise VolforgeError(f"an export of format {content['format']}", str(path), "export it with this version")
    return content


def _check_patients(
    folder: Path, stacks: list[Stack], problems: list[Problem], export: Mapping[str, Any] | None
) -> None:
    """A patient in two splits would leak; with our own export every scan must be described."""
    splits: dict[str, set[str]] = defaultdict(set)
    for stack in stacks:
        if stack.part == "mask":
            continue
        subject = stack.pid
        if export is not None:
            if stack.pid not in export["scans"]:
                _add(problems, folder / stack.folder, stack.pid, f"{EXPORT} does not know this scan", "export anew")
                continue
            subject = str(export["scans"][stack.pid]["subject"])
        splits[subject].add(stack.split)
    for subject, found in sorted(splits.items()):
        if len(found) > 1:
            text = f"a patient stands in {' and '.join(sorted(found))}; that would leak between them"
            _add(problems, folder, subject, text, "take it out of all but one")
    for stack in stacks:
        numbers = sorted(stack.files)
        gaps = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
        if gaps:
            shown = ", ".join(map(str, gaps[:5])) + (" ..." if len(gaps) > 5 else "")
            text = f"slices are missing between others: {shown}"
            _add(problems, folder / stack.folder, stack.pid, text, "export the patient whole; ends may be missing")


def _read(folder: Path, stack: Stack, problems: list[Problem]) -> Array | None:
    """The slices of a patient, (slices, rows, columns), in the order of their numbers."""
    found: list[Array] = []
    for number in sorted(stack.files):
        path = stack.files[number]
        try:
            found.append(read_slice(path))
        except VolforgeError as error:
            _add(problems, path, "", error.message, error.remedy)
    shapes = sorted({a.shape for a in found})
    if len(shapes) > 1:
        text = f"slices of several sizes: {', '.join(f'{a} x {b}' for a, b in shapes)}"
        _add(problems, folder / stack.folder, stack.pid, text, "export the patient anew")
    kinds = sorted({str(a.dtype) for a in found})
    if len(kinds) > 1:
        _add(problems, folder / stack.folder, stack.pid, f"slices of several types: {', '.join(kinds)}", "export anew")
    return np.stack(found) if len(found) == len(stack.files) and len(shapes) == len(kinds) == 1 else None


def read_slice(path: Path) -> Array:
    """One slice, (rows, columns): grey of 8 or 16 bit, or the array `image` of an `.npz`.

    Raises:
        VolforgeError: It cannot be read, has colours, is no plane, or holds no finite numbers.
    """
    try:
        if path.suffix == ".png":
            from PIL import Image

            with Image.open(path) as picture:
                picture.load()
                wide = picture.mode.startswith("I")
                array = np.asarray(picture if wide or picture.mode == "L" else picture.convert("RGB"))
                array = array.astype(np.uint16) if wide else array
        else:
            loaded = np.load(path, allow_pickle=False)
            array = loaded["image"] if path.suffix == ".npz" else loaded
    except (OSError, ValueError, KeyError, SyntaxError) as error:
        raise VolforgeError(f"the slice cannot be read: {error}", str(path), "export it again") from error
    if array.ndim == 3 and array.shape[2] == 3:
        if (array != array[:, :, :1]).any():
            raise VolforgeError("a picture in colours", str(path), "export it in grey")
        array = array[:, :, 0]
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.size:
        raise VolforgeError(f"no slice, but {array.dtype} of shape {array.shape}", str(path), "export it again")
    if not np.isfinite(array).all():
        raise VolforgeError("not all values are finite", str(path), "export it again")
    return array


def _read_mask(folder: Path, masks: Stack, images: Stack, problems: list[Problem]) -> Array | None:
    """The masks of a patient's slices: above half of their highest value."""
    if set(masks.files) != set(images.files):
        lacking = sorted(set(images.files) - set(masks.files))
        more = sorted(set(masks.files) - set(images.files))
        text = f"masks and images differ: {len(lacking)} slices without a mask, {len(more)} masks without a slice"
        _add(problems, folder / MASKS, masks.pid, text, "give every slice its mask, or take the patient's masks out")
        return None
    array = _read(folder, masks, problems)
    if array is None:
        return None
    if array.max() <= 0:
        _add(problems, folder / MASKS, masks.pid, "the masks are empty", "export them anew")
        return None
    return array > array.max() / 2


def _values(
    folder: Path,
    stack: Stack,
    array: Array,
    how: DomainImport,
    export: Mapping[str, Any] | None,
    problems: list[Problem],
) -> tuple[Array, str]:
    """Values as they are stored in a volume, and their unit."""
    is_ct = stack.part == "B" and (export is None or export["scans"][stack.pid]["unit"] == "hu")
    stretched = export["legacy_stretch"] if export else is_ct and looks_stretched(array)
    if is_ct and stretched and not how.lost_units:
        text = "every slice was stretched to its own range: Hounsfield units are lost"
        _add(
            problems, folder / stack.folder, stack.pid, text, "export without the stretch, or import with --lost-units"
        )
    low, high = how.ct_window
    if export is not None:
        with form_of(folder / EXPORT, "the description of an export"):
            low, high = (float(export["scans"][stack.pid][k]) for k in ("low", "high"))
    if stack.is_grey and array.dtype.kind == "u" and not stretched and (is_ct or export is not None):
        top = np.iinfo(array.dtype).max
        array = low + array.astype(np.float64) / top * (high - low)
    if is_ct and not stretched:
        low, high = float(array.min()), float(array.max())
        if low < np.iinfo(np.int16).min or high > np.iinfo(np.int16).max:
            text = f"values from {low:g} to {high:g} are no Hounsfield units"
            _add(problems, folder / stack.folder, stack.pid, text, "export the CT in HU, or as grey pictures")
            return np.zeros(array.shape, np.int16), "hu"
        return np.rint(array).astype(np.int16), "hu"
    return array.astype(np.float32), "arbitrary"


def looks_stretched(array: Array) -> bool:
    """Whether every one of several 8-bit slices reaches from 0 to 255, as slices stretched one by one do."""
    if array.dtype != np.uint8 or len(array) < 3:
        return False
    return bool((array.min(axis=(1, 2)) == 0).all() and (array.max(axis=(1, 2)) == 255).all())


def _row(
    stack: Stack, about: Mapping[str, Any] | None, images: list[Stack], unit: str, how: DomainImport
) -> dict[str, str]:
    """The sheet's row of a stack, without its files."""
    if about is not None:
        keys = ("frame", "modality", "contrast")
        row = {"subject": f"subject-{about['subject']:04d}", "scan": stack.pid, "split": stack.split, "unit": unit}
        return row | {k: str(about[k]) for k in keys}
    modality = {"A": "MR", "B": "CT"}[stack.part]
    both = {s.part for s in images if s.pid == stack.pid} == {"A", "B"}
    scan = f"{stack.pid}-{modality.lower()}"
    if not SCAN.match(scan):
        number = sorted({s.pid for s in images}).index(stack.pid) + 1
        scan = f"patient-{number:04d}-{modality.lower()}"
    frame = "1" if both and how.paired else ""
    return {
        "subject": stack.pid, "scan": scan, "modality": modality, "unit": unit, "frame": frame, "split": stack.split,
    }  # fmt: skip


def _grid(stack: Stack, array: Array, about: Mapping[str, Any] | None, how: DomainImport) -> Grid:
    """Where a stack lies: as exported, else at the origin of its own axes, with slice i at i slices' distance."""
    axis = AXES[about["axis"] if about else how.axis]
    rest = [a for a in range(3) if a != axis]
    shape = [0, 0, 0]
    shape[axis], shape[rest[1]], shape[rest[0]] = array.shape
    first = [0.0, 0.0, 0.0]
    first[axis] = float(min(stack.files))
    affine = np.asarray(about["affine"], np.float64) if about else np.diag([*_spacing(how, axis), 1.0])
    move = np.eye(4)
    move[:3, 3] = first
    return Grid((shape[0], shape[1], shape[2]), affine @ move)


def _spacing(how: DomainImport, axis: int) -> list[float]:
    """Voxel size along R, A, S of slices across `axis`."""
    rest = [a for a in range(3) if a != axis]
    found = [0.0, 0.0, 0.0]
    found[rest[1]], found[rest[0]], found[axis] = how.spacing_mm
    return found


def _volume(stack: Array, axis: int) -> Array:
    return np.ascontiguousarray(from_stack(stack, axis))
