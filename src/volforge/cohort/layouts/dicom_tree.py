"""A tree of DICOM files in any order: every volume in it, with the structure sets and segmentations drawn on it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from volforge.cohort.layouts.discovery import Discovery, Found, Options, Tree
from volforge.errors import ScanError
from volforge.tables.characters import looks_of
from volforge.tables.names import natural
from volforge.volume.dicom.damage import damage
from volforge.volume.dicom.fragments import FEWEST
from volforge.volume.dicom.headers import Frame, read_headers
from volforge.volume.dicom.labels import label_names
from volforge.volume.dicom.names import FileNames, table_of
from volforge.volume.dicom.pixels import same_pixels
from volforge.volume.dicom.references import References, references_of
from volforge.volume.dicom.series import check_stack, mosaic, refuse_misfits, volumes_among
from volforge.volume.dicom.stacks import Stack, make_stacks

MODALITIES = {"CT": "CT", "MR": "MR"}


def find_dicom(tree: Tree, options: Options) -> Discovery:
    """Every CT and MR volume; patients get pseudonyms, made from their id and the salt."""
    found = Discovery()
    headers = read_headers([tree.folder / f for f in tree.files if Path(f).name.upper() != "DICOMDIR"])
    for path, reason in headers.damaged[:20]:
        found.left_out.append((tree.relative(path), f"damaged: {reason}"))
    stacks = make_stacks(headers.frames, same_pixels)
    in_folder: dict[Path, set[int]] = defaultdict(set)
    for i, stack in enumerate(stacks):
        for frame in [*stack.frames, *stack.dropped]:
            in_folder[frame.file.parent].add(i)
    taken: list[tuple[Stack, Found]] = []
    for i, stack in enumerate(stacks):
        reason = _why_not(stack, stacks)
        if reason:
            found.left_out.append((stack.describe(), reason))
            continue
        row = _row(stack, in_folder, i, tree, options)
        try:
            row.channel = _channel(stack, headers.frames)
        except ScanError as error:
            found.left_out.append((stack.describe(), f"{error.message}: {error.remedy}"))
            continue
        taken.append((stack, row))
    _name_scans(taken)
    _name_frames(taken)
    _attach_labels(taken, headers.others, found, tree, options)
    found.rows = [row for _, row in sorted(taken, key=lambda t: natural(t[1].scan))]
    _tell_case(taken, found)
    if found.rows:
        found.notes.append("subjects are pseudonyms of the patient ids; the same id and salt give the same pseudonym")
    return found


def _tell_case(taken: list[tuple[Stack, Found]], found: Discovery) -> None:
    """Patient ids that differ in case alone: the sheet's own check cannot see it in pseudonyms."""
    alike: dict[str, set[str]] = defaultdict(set)
    for stack, row in taken:
        alike[looks_of(stack.frames[0].patient).casefold()].add(row.subject)
    for looks, subjects in alike.items():
        if looks and len(subjects) > 1:
            text = f"patient ids of {' and '.join(sorted(subjects))} differ only in case"
            found.notes.append(f"{text}: if that is one patient, write one pseudonym, or its scans may leak")


def _why_not(stack: Stack, stacks: list[Stack]) -> str:
    if stack.is_localiser:
        return "localiser"
    if stack.frames[0].mosaic:
        error = mosaic(stack.frames)
        return f"{error.message}: {error.remedy}"
    if stack.frames[0].modality not in MODALITIES:
        return f"modality {stack.frames[0].modality or 'unknown'} is none of a sheet"
    if len(stack.frames) < FEWEST:
        return "fewer than 3 slices"
    try:
        check_stack(stack)
        refuse_misfits(stack, stacks)
    except ScanError as error:
        return error.message
    return ""


def _channel(stack: Stack, frames: list[Frame]) -> int | None:
    """Which volume of its multi-frame file a stack is; None where it holds all frames of its files.

    Raises:
        ScanError: read by itself, the file holds no such volume.
    """
    files = {f.file for f in stack.frames}
    held = [f for f in frames if f.file in files]
    if len(files) > 1 or len(held) == len(stack.frames) + len(stack.dropped):
        return None
    for channel, other in enumerate(volumes_among(make_stacks(held, same_pixels))):
        if {f.index for f in other.frames} == {f.index for f in stack.frames}:
            return channel
    raise ScanError("a part of a multi-frame file", remedy="export one file per volume")


def pseudonym(patient: str, salt: str) -> str:
    """A name for a patient id that does not show it; equal ids and salts give equal names."""
    digest = hashlib.scrypt(patient.encode(), salt=f"volforge{salt}".encode(), n=1024, r=8, p=1, dklen=5)
    return f"p{digest.hex()}"


def _row(stack: Stack, in_folder: dict[Path, set[int]], index: int, tree: Tree, options: Options) -> Found:
    first = stack.frames[0]
    # ids that look alike are one patient's: two pseudonyms would hide that they do
    subject = pseudonym(looks_of(first.patient) or first.study, options.salt)
    row = Found(subject, "", options.modality or MODALITIES[first.modality])
    folders = {f.file.parent for f in stack.frames}
    folder = next(iter(folders))
    files = {f.file for f in stack.frames}
    below = any(other != folder and folder in other.parents for other in in_folder)
    if len(files) == 1:
        row.image = first.file
    elif len(folders) == 1 and in_folder[folder] == {index} and not below:
        row.image = folder
    else:
        row.slices = [f.file for f in stack.frames]
    row.free = {"series_number": first.number, "slices": str(len(stack.frames)), "part": stack.part}
    return row


def _name_scans(taken: list[tuple[Stack, Found]]) -> None:
    """`<subject>-<study>-<series>`: studies numbered in the order of their UIDs, parts of a series by letters."""
    studies: dict[str, list[str]] = defaultdict(list)
    for stack, row in taken:
        study = stack.frames[0].study
        if study not in studies[row.subject]:
            studies[row.subject].append(study)
    used: dict[str, int] = defaultdict(int)
    for stack, row in sorted(taken, key=lambda t: (t[1].subject, t[0].frames[0].number.zfill(12), t[0].part)):
        number = 1 + sorted(studies[row.subject]).index(stack.frames[0].study)
        name = f"{row.subject}-{number}-{stack.frames[0].number or 's'}"
        used[name] += 1
        row.scan = name if used[name] == 1 else f"{name}-{used[name]}"


def _name_frames(taken: list[tuple[Stack, Found]]) -> None:
    """Scans of a subject in one frame of reference share `frame`."""
    groups: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for stack, row in taken:
        if stack.frames[0].frame_uid:
            groups[row.subject, stack.frames[0].frame_uid].append(row)
    numbers: dict[str, int] = defaultdict(int)
    for (subject, _), rows in groups.items():
        if len(rows) > 1:
            numbers[subject] += 1
            for row in rows:
                row.frame = str(numbers[subject])


def _attach_labels(
    taken: list[tuple[Stack, Found]],
    others: list[tuple[Path, str]],
    found: Discovery,
    tree: Tree,
    options: Options,
) -> None:
    places = _Places(taken)
    names: list[FileNames] = []
    for path, kind in sorted(others):
        if kind not in ("RTSTRUCT", "SEG"):
            found.left_out.append((tree.relative(path), f"{kind or 'no image'}"))
            continue
        try:
            referred = references_of(path)
            mine = label_names(path)
        except damage() as error:
            found.left_out.append((tree.relative(path), f"damaged: {error}"))
            continue
        rows, what = places.of(referred)
        if len(rows) != 1:
            reason = f"{what} is not here" if not rows else f"{what} holds several volumes"
            found.left_out.append((tree.relative(path), reason))
        elif rows[0].labels is not None:
            found.left_out.append((tree.relative(path), f"scan {rows[0].scan} has labels already"))
        else:
            rows[0].labels = path
            rows[0].label_source = options.label_source or ("expert" if kind == "RTSTRUCT" else "predicted")
            names.append(mine)
    found.rois = table_of(names)
    found.structures = {name: i for i, name in enumerate(found.rois, start=1)}
    if found.rois:
        found.notes.append(
            "structures: rename them freely; the column roi holds their names in the files, and several names in one "
            "cell (parted by a backslash) are one structure"
        )


class _Places:
    """Volumes by what structure sets and segmentations refer to."""

    def __init__(self, taken: list[tuple[Stack, Found]]):
        self.series: dict[str, list[Found]] = defaultdict(list)
        self.instances: dict[str, list[Found]] = defaultdict(list)
        self.frames: dict[str, list[Found]] = defaultdict(list)
        for stack, row in taken:
            for held, uids in (
                (self.series, {f.series for f in stack.frames}),
                (self.instances, {f.instance_uid for f in [*stack.frames, *stack.dropped]}),
                (self.frames, {stack.frames[0].frame_uid}),
            ):
                for uid in uids - {""}:
                    held[uid].append(row)

    def of(self, referred: References) -> tuple[list[Found], str]:
        """The volumes that are meant, and by what: the series, else the slices, else the frame of reference.

        Slices also tell the volumes of one series apart. The frame of reference is asked only where neither series
        nor slices are named: it may hold volumes that nothing was drawn on.
        """
        by_series = _distinct(self.series, referred.series)
        if len(by_series) == 1:
            return by_series, "its series"
        by_slices = _distinct(self.instances, referred.instances)
        if by_slices:
            return by_slices, "the series of its slices"
        if by_series or referred.series or referred.instances:
            return by_series, "its series"
        return _distinct(self.frames, referred.frames), "its frame of reference"


def _distinct(held: dict[str, list[Found]], uids: set[str]) -> list[Found]:
    rows = {id(row): row for uid in uids for row in held.get(uid, [])}
    return list(rows.values())
