"""Import of one scan: canonical image, labels, body mask, QC picture and record."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from volforge.config.models import BodyMask
from volforge.errors import ScanError
from volforge.shape.balls import Ball, with_balls
from volforge.volume.body_mask import find_body
from volforge.volume.dicom.headers import without_names
from volforge.volume.folders import read_json, whole_folder, write_json
from volforge.volume.geometry import Array, Grid, Reorientation, axis_codes, reorientation_of
from volforge.volume.intensity import canonical_values, outside_value, percentiles
from volforge.volume.labels import SURFACES, LabelMap, Target, present_ids, read_labels, read_mask_volume
from volforge.volume.read import SourceVolume, is_dicom, read_volume, scaled
from volforge.volume.sources import on_disk, source_entry
from volforge.volume.straighten import planes_record
from volforge.volume.write import write_nifti

RECORD_FORMAT = 1


@dataclass(frozen=True)
class ScanRequest:
    """What a sheet's row says about the import of a scan.

    Attributes:
        scan: Its name.
        modality: CT, CBCT, MR or mask.
        unit: hu, hu+1024 or arbitrary.
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

    @staticmethod
    def load(path: Path | None) -> ImportSettings:
        """Read `settings.json`; the defaults where no file is given."""
        if path is None:
            return ImportSettings()
        content = dict(read_json(path))
        content["body_mask"] = BodyMask.model_validate(content.get("body_mask", {}))
        return ImportSettings(**content)


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
    try:
        with whole_folder(out) as scratch:
            record = _import(request, settings, scratch)
            write_json(scratch / "record.json", record)
        return True
    except ScanError as error:
        if not record_refusal:
            raise
        with whole_folder(out) as scratch:
            refusal = {"reason": error.message, "where": error.where, "remedy": error.remedy}
            if any(is_dicom(on_disk(p)) for p in request.files.values()):  # their names are often those of patients
                refusal = {"reason": without_names(error.message), "where": "", "remedy": without_names(error.remedy)}
            write_json(
                scratch / "record.json",
                {
                    "format": RECORD_FORMAT,
                    "accepted": False,
                    "scan": request.scan,
                    "modality": request.modality,
                    "refused": refusal,
                },
            )
        return False


def _import(request: ScanRequest, settings: ImportSettings, out: Path) -> dict[str, Any]:
    for path in map(on_disk, request.files.values()):
        if not path.exists():
            raise ScanError("file not found", str(path), "check the path in the sheet")
    if "made_labels" in request.files:
        from volforge.volume.label_command import made_labels

        files = {c: p for c, p in request.files.items() if c != "made_labels"}
        request = replace(request, files={**files, "labels": made_labels(request.files["made_labels"])})
    flags: list[str] = []
    notes: list[str] = []
    source: SourceVolume | None = None
    image: Array | None = None
    target: Target | None = None
    unit = request.unit
    if "image" in request.files:
        source = read_volume(request.files["image"])
        turn = reorientation_of(source.grid.affine)
        grid = turn.canonical(source.grid)
        check_modality(source, request)
        target = Target(grid, source.grid.shape, turn, source)
        flags += source.flags
        notes += source.notes
        if request.unit == "hu+1024":
            notes.append("1024 was subtracted from all values (unit hu+1024)")
        image, more = _image_values(source, turn, request)
        flags += more
    labels = _labels(request, settings, target)
    reference_source = source
    if image is None and labels is not None:
        reference_source = labels.source
        turn = reorientation_of(reference_source.grid.affine) if reference_source else _identity()
        target = Target(labels.grid, (reference_source or labels).grid.shape, turn)
    if target is None and "defective" in request.files:  # a clinical defect: the complete skull is not known
        reference_source = read_volume(request.files["defective"], labels=True)
        turn = reorientation_of(reference_source.grid.affine)
        target = Target(turn.canonical(reference_source.grid), reference_source.grid.shape, turn)
    if target is None:
        raise ScanError("neither image nor labels nor a defective skull", remedy="fill one of these columns")
    grid, turn = target.grid, target.turn
    if labels is not None:
        flags += [f for f in labels.flags if f not in flags]
        notes += labels.notes
    masks: dict[str, LabelMap] = {
        c: _mask(request.files[c], target, settings) for c in ("defective", "implant") if c in request.files
    }
    for column, mask in masks.items():
        flags += [f"{column}_{f}" for f in mask.flags if f not in ("unit_assumed",)]
    body, body_record, more = _body(request, settings, image, target, unit)
    flags += more
    record: dict[str, Any] = {
        "format": RECORD_FORMAT,
        "accepted": True,
        "scan": request.scan,
        "modality": request.modality,
        "unit": "" if request.modality == "mask" else "hu" if unit != "arbitrary" else "arbitrary",
        "source": {c: source_entry(p) for c, p in request.files.items()},
        "source_grid": {
            "shape": list(target.source_shape),
            "axes": axis_codes(reference_source.grid.affine) if reference_source else "RAS",
            "affine": (reference_source.grid.affine if reference_source else grid.affine).tolist(),
            "header": reference_source.header if reference_source else {},
            **_planes(reference_source),
        },
        "reorientation": {"order": list(turn.order), "flip": list(turn.flip)},
        "grid": {
            "shape": list(grid.shape),
            "spacing_mm": list(grid.spacing_mm),
            "affine": grid.affine.tolist(),
        },
    }
    if image is not None:
        record["values"] = {
            "dtype": str(image.dtype),
            "min": float(image.min()),
            "max": float(image.max()),
            "percentiles": percentiles(image),
        }
        if body is not None:
            record["values"]["body_percentiles"] = percentiles(image[body])
            if settings.background == "air" and not body.all():
                air = outside_value(unit, image)
                image = np.where(body, image, np.asarray(air, dtype=image.dtype))
                record["values"]["outside"] = float(air)
        write_nifti(out / "image.nii.gz", image, grid)
    if body is not None:
        record["body"] = body_record
        write_nifti(out / "body.nii.gz", body.astype(np.uint8), grid)
    if labels is not None:
        record["labels"], more = _label_record(labels, body, settings)
        flags += more
        write_nifti(out / "labels.nii.gz", labels.array, grid)
    if masks:
        flags += _check_triple(image, masks)
    for column, mask in masks.items():
        record[column] = {"volume_ml": round(float(mask.array.sum()) * grid.voxel_mm3 / 1000, 3)}
        write_nifti(out / f"{column}.nii.gz", mask.array, grid)
    record["flags"] = sorted(set(flags))
    record["notes"] = [without_names(n) for n in notes]
    _picture(out / "qc.png", request, settings, image, grid, body, labels, masks)
    return record


def _identity() -> Reorientation:
    return Reorientation((0, 1, 2), (False, False, False))


def _planes(source: SourceVolume | None) -> dict[str, Any]:
    """Where the slices of the file lay, if they had to be straightened and the file can hold them (NIfTI)."""
    if source is None or source.planes is None or source.kind != "nifti":
        return {}
    return {"planes": {**planes_record(source.planes), "axis": source.axis}}


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


def _label_record(labels: LabelMap, body: Array | None, settings: ImportSettings) -> tuple[dict[str, Any], list[str]]:
    names = {value: name for name, value in settings.structures.items()}
    counts = np.bincount(labels.array.ravel(order="K"))
    voxels = {names.get(i, str(i)): int(counts[i]) for i in present_ids(labels.array)}
    flags = [] if voxels else ["labels_empty"]
    if voxels and not names:
        flags.append("structures_without_names")
    entry: dict[str, Any] = {"voxels": voxels, "overlap_voxels": labels.overlap_voxels}
    if body is not None and voxels:
        outside = int(((labels.array > 0) & ~body).sum())
        entry["outside_body_voxels"] = outside
        if outside > 0.001 * sum(voxels.values()):
            flags.append("labels_outside_body")
    return entry, flags


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


def _picture(
    path: Path,
    request: ScanRequest,
    settings: ImportSettings,
    image: Array | None,
    grid: Grid,
    body: Array | None,
    labels: LabelMap | None,
    masks: dict[str, LabelMap],
) -> None:
    from PIL import Image

    from volforge.cohort.structures import default_colour
    from volforge.volume.picture import hex_to_rgb, volume_picture

    shown = labels.array if labels is not None else None
    colours = {i: hex_to_rgb(default_colour(i)) for i in (present_ids(shown) if shown is not None else [])}
    colours |= {settings.structures[n]: hex_to_rgb(c) for n, c in settings.colours.items() if n in settings.structures}
    if shown is None and "implant" in masks:
        shown, colours = masks["implant"].array, {1: (255, 176, 0)}
    modality = "mask" if request.modality == "mask" else "CT" if request.unit != "arbitrary" else "MR"
    if image is None and "defective" in masks:
        image, modality = masks["defective"].array, "mask"
    focus = image > 0 if image is not None and modality == "mask" else None
    picture = volume_picture(image, grid.spacing_mm, modality, body, shown, colours, focus)
    Image.fromarray(picture).save(path, compress_level=6)
