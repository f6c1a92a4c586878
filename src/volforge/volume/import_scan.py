"""Import of one scan: canonical image, labels, body mask, QC picture and record."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from volforge.config.models import BodyMask
from volforge.errors import ScanError
from volforge.volume.balls import Ball, with_balls
from volforge.volume.body_mask import find_body
from volforge.volume.dicom.headers import without_names
from volforge.volume.folders import form_of, read_object, whole_folder, write_json
from volforge.volume.geometry import Array, Reorientation, reorientation_of
from volforge.volume.intensity import canonical_values, outside_value
from volforge.volume.label_map import LabelMap, Target, present_ids
from volforge.volume.labels import SURFACES, read_labels, read_mask_volume
from volforge.volume.read import read_volume
from volforge.volume.refusals import refusal_of
from volforge.volume.scan_record import labels_record, place_record, values_record
from volforge.volume.source_volume import SourceVolume, scaled
from volforge.volume.sources import on_disk, source_entry
from volforge.volume.stand_ins import missing_file
from volforge.volume.units import hounsfield_offset
from volforge.volume.write import write_nifti
from volforge.whole_file import refuse_folder

RECORD_FORMAT = 1


@dataclass(frozen=True)
class ScanRequest:
    """What a sheet's row says about the import of a scan.

    Attributes:
        scan: Its name.
        modality: CT, CBCT, MR or mask.
        unit: hu, hu+<number> or arbitrary.
        files: Path by column: image, labels, body_mask, defective, implant.
    """

    scan: str
    modality: str
    unit: str
    files: dict[str, Path]


@dataclass(frozen=True)
class ImportSettings:
    """Settings of the cohort that an import reads; the content of `settings.json`."""

    structures: dict[str, int] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    label_grid: str = "same"
    mesh_frame: str = "lps"
    background: str = "air"
    body_mask: BodyMask = field(default_factory=BodyMask)
    balls: dict[str, Any] | None = None
    rois: dict[str, list[str]] = field(default_factory=dict)
    qc_faces: str = "keep"

    @staticmethod
    def load(path: Path | None) -> ImportSettings:
        """Read `settings.json`; the defaults where no file is given."""
        if path is None:
            return ImportSettings()
        content = read_object(path, "the settings of a cohort")
        with form_of(path, "the settings of a cohort"):
            return ImportSettings(**content | {"body_mask": BodyMask.model_validate(content.get("body_mask", {}))})


def import_scan(request: ScanRequest, settings: ImportSettings, out: Path, *, record_refusal: bool) -> bool:
    """Import a scan into a folder that appears whole.

    Args:
        request: The row.
        settings: The cohort's settings.
        out: Result folder: image, labels, body, defective, implant (`.nii.gz`), `qc.png`, `record.json`.
        record_refusal: Write `record.json` alone with the reason, where the scan is refused, instead of raising.

    Returns:
        Whether the scan was accepted.

    Raises:
        ScanError: the scan is refused and `record_refusal` is false.
    """
    refuse_folder("--out", out, {f"--{part.replace('_', '-')}": file for part, file in request.files.items()})
    try:
        with whole_folder(out) as scratch:
            record = _import(request, settings, scratch)
            write_json(scratch / "record.json", record)
        return True
    except ScanError as error:
        if not record_refusal:
            raise
        with whole_folder(out) as scratch:
            write_json(
                scratch / "record.json",
                {
                    "format": RECORD_FORMAT,
                    "accepted": False,
                    "scan": request.scan,
                    "modality": request.modality,
                    "refused": refusal_of(error, request.files),
                },
            )
        return False


@dataclass
class _Scan:
    """What a scan holds, on its canonical grid.

    Attributes:
        target: The grid, the way there from the file, and that file.
        image, labels: None where the sheet names none.
        masks: By column: defective, implant.
        body: None where the scan has no image and no mask of it.
        body_record: How the body was found.
        flags, notes: Of all files.
    """

    target: Target
    image: Array | None
    labels: LabelMap | None
    masks: dict[str, LabelMap]
    body: Array | None
    body_record: dict[str, Any]
    flags: list[str]
    notes: list[str]


def _import(request: ScanRequest, settings: ImportSettings, out: Path) -> dict[str, Any]:
    """Read all files of a scan, write them on its canonical grid, and return the record."""
    request = _with_made_labels(request)
    scan = _read(request, settings)
    record = _head(request, scan.target)
    if scan.image is not None:
        record["values"] = values_record(scan.image, scan.body)
        record["values"] |= _cut_background(scan, request, settings, out)
        write_nifti(out / "image.nii.gz", scan.image, scan.target.grid)
    if scan.body is not None:
        record["body"] = scan.body_record
        write_nifti(out / "body.nii.gz", scan.body.astype(np.uint8), scan.target.grid)
    if scan.labels is not None:
        record["labels"], more = labels_record(scan.labels, scan.body, settings.structures)
        scan.flags += more
        write_nifti(out / "labels.nii.gz", scan.labels.array, scan.target.grid)
    scan.flags += _check_triple(scan.image, scan.masks)
    for column, mask in scan.masks.items():
        record[column] = {"volume_ml": round(float(mask.array.sum()) * mask.grid.voxel_mm3 / 1000, 3)}
        write_nifti(out / f"{column}.nii.gz", mask.array, mask.grid)
    record["flags"] = sorted(set(scan.flags))
    record["notes"] = [without_names(n) for n in scan.notes]
    _picture(out / "qc.png", request, settings, scan)
    return record


def _with_made_labels(request: ScanRequest) -> ScanRequest:
    """The request with all its files there, the record of a label command replaced by the map that it made."""
    for path in map(on_disk, request.files.values()):
        if not path.exists():
            error = missing_file(path)
            error.where = str(path)
            raise error
    if "made_labels" not in request.files:
        return request
    from volforge.volume.label_command import made_labels

    files = {c: p for c, p in request.files.items() if c != "made_labels"}
    return replace(request, files={**files, "labels": made_labels(request.files["made_labels"])})


def _read(request: ScanRequest, settings: ImportSettings) -> _Scan:
    flags: list[str] = []
    notes: list[str] = []
    image: Array | None = None
    target: Target | None = None
    if "image" in request.files:
        source = read_volume(request.files["image"], labels=request.modality == "mask")
        target = _target_of(source)
        check_modality(source, request)
        image, more = _image_values(source, target.turn, request)
        flags += source.flags + more
        notes += source.notes
        if offset := hounsfield_offset(request.unit):
            notes.append(f"{offset} was subtracted from all values (unit {request.unit})")
    labels = _labels(request, settings, target)
    if labels is not None:
        flags += [f for f in labels.flags if f not in flags]
        notes += [n for n in labels.notes if n not in notes]
    target = target or _target_without_image(request, labels)
    present = [c for c in ("defective", "implant") if c in request.files]
    masks: dict[str, LabelMap] = {c: _mask(request.files[c], target, settings) for c in present}
    for column, mask in masks.items():
        flags += [f"{column}_{f}" for f in mask.flags if f not in ("unit_assumed",)]
    body, body_record, more = _body(request, settings, image, target, request.unit)
    return _Scan(target, image, labels, masks, body, body_record, flags + more, notes)


def _target_of(source: SourceVolume) -> Target:
    turn = reorientation_of(source.grid.affine)
    return Target(turn.canonical(source.grid), source.grid.shape, turn, source)


def _target_without_image(request: ScanRequest, labels: LabelMap | None) -> Target:
    """The grid of a scan's labels, or of its defective skull: of a clinical defect the complete one is not known."""
    if labels is not None:
        if labels.source is None:
            return Target(labels.grid, labels.grid.shape, Reorientation((0, 1, 2), (False, False, False)))
        turn = reorientation_of(labels.source.grid.affine)
        return Target(labels.grid, labels.source.grid.shape, turn, labels.source)
    if "defective" in request.files:
        return _target_of(read_volume(request.files["defective"], labels=True))
    raise ScanError("neither image nor labels nor a defective skull", remedy="fill one of these columns")


def _head(request: ScanRequest, target: Target) -> dict[str, Any]:
    """The part of a record that every accepted scan has."""
    return {
        "format": RECORD_FORMAT,
        "accepted": True,
        "scan": request.scan,
        "modality": request.modality,
        "unit": "" if request.modality == "mask" else "hu" if request.unit != "arbitrary" else "arbitrary",
        "source": {c: source_entry(p) for c, p in request.files.items()},
        **place_record(target),
    }


def _cut_background(scan: _Scan, request: ScanRequest, settings: ImportSettings, out: Path) -> dict[str, Any]:
    """Set what lies outside of the body to air where the cohort wants it; the value of that air for the record.

    Where that takes away what can be seen, a picture shows it.
    """
    if scan.image is None or scan.body is None or settings.background != "air" or scan.body.all():
        return {}
    from volforge.volume.background_picture import FILE, write_background

    air = outside_value(request.unit, scan.image)
    modality = "CT" if request.unit != "arbitrary" else "MR"
    if settings.qc_faces == "keep":  # it shows what the scan looked like
        write_background(out / FILE, scan.image, scan.body, float(air), scan.target.grid.spacing_mm, modality)
    scan.image = np.where(scan.body, scan.image, np.asarray(air, dtype=scan.image.dtype))
    return {"outside": float(air)}


def check_modality(source: SourceVolume, request: ScanRequest) -> None:
    """Raise `ScanError` where DICOM names another modality than the sheet."""
    fitting = {"CT": ("CT",), "CBCT": ("CT", "DX", "IO", "PX"), "MR": ("MR",), "mask": ("CT", "MR", "SEG", "OT", "SC")}
    if source.modality and source.modality not in fitting[request.modality]:
        raise ScanError(
            f"the files say modality {source.modality}, the sheet {request.modality}",
            str(request.files["image"]),
            "mend the sheet's `modality`, or name the right series",
        )


def _image_values(source: SourceVolume, turn: Reorientation, request: ScanRequest) -> tuple[Array, list[str]]:
    where = str(request.files["image"])
    if request.modality == "mask":
        return np.asfortranarray(turn.apply(_binary(scaled(source), where))), []
    values = np.asfortranarray(turn.apply(scaled(source)))  # NIfTI's order: nothing is transposed in memory
    if values.max() == values.min():
        raise ScanError(f"all values are {values.flat[0]}: the image is empty", where, "export it again")
    try:
        intensities = canonical_values(values, request.unit)
    except ScanError as error:
        error.where = error.where or where
        raise
    return intensities.array, intensities.flags


def _binary(values: Array, where: str) -> Array:
    mask = values != 0
    if not mask.any():
        raise ScanError("the mask is empty", where, "export it again")
    if (values[mask] != values[mask][0]).any():
        shown = ", ".join(f"{v:g}" for v in np.unique(values)[:5])
        raise ScanError(
            f"a mask has the values 0 and one other, this has more: {shown} ...",
            where,
            "set the sheet's modality, or give a binary mask",
        )
    return mask.astype(np.uint8)


def _labels(request: ScanRequest, settings: ImportSettings, target: Target | None) -> LabelMap | None:
    if "labels" not in request.files:
        return None
    labels = read_labels(
        request.files["labels"],
        target,
        settings.structures,
        resample=settings.label_grid == "resample",
        mesh_frame=settings.mesh_frame,
        rois=settings.rois,
    )
    if settings.balls is not None:
        balls = [Ball(**b) for b in settings.balls["joints"]]
        labels.array = with_balls(labels.array, labels.grid, balls, settings.balls["radius_mm"])
    return labels


def _mask(path: Path, target: Target, settings: ImportSettings) -> LabelMap:
    if path.suffix.lower() in SURFACES:
        from volforge.volume.voxelise import voxelise_file

        mask, flags = voxelise_file(path, target.grid, settings.mesh_frame)
        return LabelMap(mask.astype(np.uint8), target.grid, flags=flags)
    labels = read_mask_volume(path, target, resample=settings.label_grid == "resample")
    labels.array = _binary(labels.array, str(path))
    return labels


def _body(
    request: ScanRequest, settings: ImportSettings, image: Array | None, target: Target, unit: str
) -> tuple[Array | None, dict[str, Any], list[str]]:
    grid = target.grid
    if "body_mask" in request.files:
        mask = _mask(request.files["body_mask"], target, settings)
        body = mask.array > 0
        entry = {"from": "sheet", "volume_ml": round(float(body.sum()) * grid.voxel_mm3 / 1000, 1)}
        return body, entry, [f"body_mask_{f}" for f in mask.flags if f != "unit_assumed"]
    if image is None or request.modality == "mask":
        return None, {}, []
    found = find_body(image, grid.spacing_mm, unit != "arbitrary", settings.body_mask)
    if not found.mask.any():
        raise ScanError(
            f"no body: nothing lies above {found.threshold:g}",
            str(request.files["image"]),
            "check modality and unit in the sheet, or the cohort's `body_mask`",
        )
    volume = float(found.mask.sum()) * grid.voxel_mm3 / 1000
    entry = {
        "from": "image" if settings.body_mask.method == "auto" else "none",
        "volume_ml": round(volume, 1),
        "removed_ml": round(found.removed_mm3 / 1000, 1),
        "returned_pieces": found.returned_pieces,
    }
    if np.isfinite(found.threshold):
        entry["threshold"] = round(float(found.threshold), 3)
    return found.mask, entry, found.flags


def _check_triple(image: Array | None, masks: dict[str, LabelMap]) -> list[str]:
    """Complete = defective + implant, and the two do not overlap; what differs is flagged."""
    flags = []
    if {"defective", "implant"} <= set(masks):
        defective, implant = masks["defective"].array > 0, masks["implant"].array > 0
        if (defective & implant).any():
            flags.append("defective_and_implant_overlap")
        if image is not None and image.dtype == np.uint8 and not np.array_equal(image > 0, defective | implant):
            flags.append("complete_differs_from_defective_and_implant")
    return flags


def _picture(path: Path, request: ScanRequest, settings: ImportSettings, scan: _Scan) -> None:
    from PIL import Image

    from volforge.tables.structures import default_colour
    from volforge.volume.picture import hex_to_rgb, volume_picture

    image = scan.image
    shown = scan.labels.array if scan.labels is not None else None
    colours = {i: hex_to_rgb(default_colour(i)) for i in (present_ids(shown) if shown is not None else [])}
    colours |= {settings.structures[n]: hex_to_rgb(c) for n, c in settings.colours.items() if n in settings.structures}
    if shown is None and "implant" in scan.masks:
        shown, colours = scan.masks["implant"].array, {1: (255, 176, 0)}
    modality = "mask" if request.modality == "mask" else "CT" if request.unit != "arbitrary" else "MR"
    if image is None and "defective" in scan.masks:
        image, modality = scan.masks["defective"].array, "mask"
    focus = image > 0 if image is not None and modality == "mask" else None
    spacing, body = scan.target.grid.spacing_mm, scan.body
    if settings.qc_faces == "remove" and image is not None and body is not None:
        from volforge.volume.face_removal import without_face

        image, body, shown = without_face(image, body, shown, spacing)
    picture = volume_picture(image, spacing, modality, body, shown, colours, focus)
    Image.fromarray(picture).save(path, compress_level=6)
