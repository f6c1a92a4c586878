"""A scan of any origin translated by trained models, for `volforge model predict --image`."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from volforge import __version__
from volforge.config.models import BodyMask
from volforge.errors import VolforgeError
from volforge.tasks.translation.canvas import Contrast
from volforge.tasks.translation.doubt import Doubt
from volforge.tasks.translation.kept import Kept
from volforge.tasks.translation.predict import STAMP
from volforge.tasks.translation.views import Image, Views
from volforge.volume.cut_scan import outside_of
from volforge.volume.folders import read_json, record_beside, refuse_record, sha256_of, sha256_of_text, write_json
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.intensity import AIR_HU
from volforge.volume.read import read_canonical, read_volume
from volforge.volume.restore import source_grid, write_on_source_grid
from volforge.volume.source_volume import SourceVolume
from volforge.volume.sources import source_entry
from volforge.volume.straighten import onto_planes
from volforge.volume.units import UNITS, is_unit
from volforge.whole_file import refuse_places

JITTERS = 4  # of the deviation of an MR


@dataclass(frozen=True)
class _Read:
    """Imported scans: what models read, the record of the first, and what is told of all."""

    contrasts: list[Contrast]
    record: dict[str, Any]
    about: list[dict[str, Any]]


def predict_translation(
    image: Path,
    weights: Sequence[Path],
    out: Path,
    modality: str,
    unit: str,
    confidence: Path | None = None,
    *,
    also: Mapping[str, Path] | None = None,
    body_mask: Path | None = None,
    flips: str = "",
    fuse: str = "median",
    deviation: Path | None = None,
    dicom: Path | None = None,
    device: str = "cpu",
) -> None:
    """Translate one scan, and write it on its own grid, with a JSON file beside it that says how it was made.

    The scan is imported as the models' training scans were (unit, body mask, background), in a scratch folder. A large
    scan whose translation was killed goes on where it stood.

    Args:
        image: Any volume that `volforge scan import` reads.
        weights: Folders of models; of several (views, folds, seeds) the images are joined.
        out: `.nii.gz` to write: int16 HU, air outside of the body; percent where the target is MR.
        modality: CT, CBCT or MR; the command's default (CT) stands for the one that the models read.
        unit: Of the scan; empty: by the modality.
        confidence: Must be None: images have no confidence.
        also: Further contrasts by name, for models that read several.
        body_mask: A mask of the body; None: it is found.
        flips: Axes (xyz) whose flips are averaged.
        fuse: `median` or `mean` of several models.
        deviation: Where to write the standard deviation over flips and, of MR, contrasts; None: nowhere.
        dicom: Folder for a CT series derived from the DICOM series that `image` is; None: none.
        device: `cpu` or `cuda`.

    Raises:
        ScanError: A scan is refused.
        VolforgeError: Models or options that do not fit each other or the scan.
    """
    _check_options(out, unit, confidence, flips, deviation)
    others = {f"--also {c}": f for c, f in (also or {}).items()}
    places = {"--out": out, "the record of --out": record_beside(out), "--deviation": deviation}
    refuse_places(places, {"--image": image, "--body-mask": body_mask, **others})
    refuse_record(record_beside(out), "outside_of_body")
    folders = {f"model-{k + 1}": folder for k, folder in enumerate(weights)}
    source = _source_of(weights)
    modality = _modality_of(modality, source, weights[0])
    doubt = None if deviation is None else Doubt(True, JITTERS if modality == "MR" else 0, joins=False)
    views = Views.load(folders, device, fuse=fuse, flips=tuple(flips), doubt=doubt)
    settings = views.first.settings
    files = _files(image, settings.also, also or {})
    series = None if dicom is None else _series(dicom, image, settings.is_hounsfield)
    unit = unit or ("arbitrary" if modality == "MR" else "hu")
    with tempfile.TemporaryDirectory(prefix="volforge-") as scratch:
        read = _imported(views, files, modality, unit, body_mask, Path(scratch))
        inputs = sha256_of_text(json.dumps(read.about, sort_keys=True))
        kept = Kept(out, {"models": views.plain(), "inputs": inputs})
        made = views(read.contrasts, lambda name: kept.slabs("scan", inputs, name))
        write_on_source_grid(out, made.values, read.record, labels=False, description=STAMP)
        write_json(record_beside(out), _provenance(views, read, out))
        if deviation is not None and made.deviation is not None:
            write_on_source_grid(deviation, made.deviation, read.record, labels=False, description=STAMP)
        if dicom is not None and series is not None:
            _write_series(dicom, made, read.record, series, image, views)
        kept.drop()


def _check_options(out: Path, unit: str, confidence: Path | None, flips: str, deviation: Path | None) -> None:
    for option, path in (("--out", out), ("--deviation", deviation)):
        if path is not None and not path.name.endswith(".nii.gz"):
            raise VolforgeError("volumes are written as .nii.gz", f"{option} {path}", "name such a file")
    if confidence is not None:
        raise VolforgeError("an image has no confidence", "--confidence", "ask for its --deviation")
    if unit and not is_unit(unit):
        raise VolforgeError(f"unknown unit '{unit}'", "--unit", f"use one of {', '.join(UNITS)}")
    if not set(flips) <= set("xyz"):
        raise VolforgeError(f"'{flips}' are no axes", "--flips", "write x, y, z or several, such as xy")


def _source_of(weights: Sequence[Path]) -> Mapping[str, Any]:
    from volforge.tasks.translation.apply import load_generator

    return load_generator(weights[0]).settings.source


def _modality_of(said: str, source: Mapping[str, Any], weights: Path) -> str:
    """The modality of the scan: what the models read; another word of the user is an error."""
    wanted = str(source["modality"])
    if said not in ("CT", wanted):
        text = f"the model reads {wanted}, and the scan is said to be {said}"
        raise VolforgeError(text, str(weights), f"pass --modality {wanted}, or another model")
    return wanted


def _files(image: Path, wanted: Sequence[str], given: Mapping[str, Path]) -> dict[str, Path]:
    """The image of each contrast, the source first."""
    if set(wanted) != set(given):
        named = " ".join(f"--also {c}=FILE" for c in wanted)
        text = f"the model reads {', '.join(wanted) or 'no further contrast'} beside the image"
        raise VolforgeError(text, str(image), f"pass {named}" if wanted else "leave --also out")
    return {"": image, **{c: given[c] for c in wanted}}


def _imported(
    views: Views, files: Mapping[str, Path], modality: str, unit: str, body_mask: Path | None, folder: Path
) -> _Read:
    """Import all scans as the models' training scans were; a mask that is given serves every contrast on its grid."""
    how = views.first.about.get("import") or {}
    settings = ImportSettings(
        background=how.get("background", "air"),
        body_mask=BodyMask(**(how.get("body_mask") or {})),
        label_grid="resample" if body_mask is not None and len(files) > 1 else "same",
    )
    contrasts, records, about = [], [], []
    for k, (name, file) in enumerate(files.items()):
        place = folder / f"scan{k}"
        parts = {"image": file} | ({"body_mask": body_mask} if body_mask is not None else {})
        import_scan(ScanRequest("scan", modality, unit, parts), settings, place, record_refusal=False)
        record, (values, grid) = read_json(place / "record.json"), read_canonical(place / "image.nii.gz", labels=False)
        if record["flags"]:
            print(f"{file.name}: {', '.join(record['flags'])}", file=sys.stderr)
        has_body = (place / "body.nii.gz").exists()
        body = read_canonical(place / "body.nii.gz", labels=True)[0] > 0 if has_body else None
        shown = files[""].name if not k else name
        contrasts.append(Contrast(values, grid, body, record["unit"], outside_of(record, values), shown))
        records.append(record)
        about.append(
            {
                "contrast": name or str(views.first.settings.source["contrast"] or ""),
                **source_entry(file, named=True),
                "body": record.get("body", {}),
                "body_mask": source_entry(body_mask, named=True) if body_mask is not None else None,
                "flags": record["flags"],
                "notes": record["notes"],
            }
        )
    return _Read(contrasts, records[0], about)


def _provenance(views: Views, read: _Read, out: Path) -> dict[str, Any]:
    """What the image was made from and how; no name of a patient, and no path."""
    settings = views.first.settings
    return {
        "note": STAMP,
        "volforge": __version__,
        "file": out.name,
        "sha256": sha256_of(out),
        "target": dict(settings.target),
        "unit": "hu" if settings.is_hounsfield else "percent of the window",
        "window": list(settings.window),
        "outside_of_body": views.first.outside,
        "sources": read.about,
        "source_grid": {k: read.record["source_grid"][k] for k in ("shape", "axes", "affine")},
        "models": [
            {
                "view": g.settings.view,
                "study": g.settings.study,
                "arm": g.settings.arm,
                "model": g.settings.model,
                "step": g.about["step"],
                "weights_sha256": g.about["sha256"],
            }
            for g in views.generators.values()
        ],
        "fuse": views.fuse if len(views.generators) > 1 else None,
        "flips": list(views.flips),
        "deviation": None if views.doubt is None else {"flips": views.doubt.flips, "jitters": views.doubt.jitters},
    }


def _series(out: Path, image: Path, is_hounsfield: bool) -> SourceVolume:
    """The DICOM series that a CT series is to be derived from, without its values.

    Raises:
        VolforgeError: The image is none, no CT is made, the series lacks what a derived one names, or the folder to
            write holds files of others.
    """
    from volforge.volume.dicom.derived import refuse_series

    if not is_hounsfield:
        raise VolforgeError("only HU are written as a CT series", "--dicom", "leave it out")
    series = read_volume(image, labels=False)
    if series.kind != "dicom":
        text = "a CT series is derived from a DICOM series, and the image is none"
        raise VolforgeError(text, str(image), "leave --dicom out, or give the folder of the series")
    refuse_series(out, image)
    return replace(series, array=np.zeros((0, 0, 0), np.int16))


def _write_series(
    out: Path, made: Image, record: dict[str, Any], series: SourceVolume, image: Path, views: Views
) -> None:
    """The image as a CT series derived from the DICOM series that it was made from."""
    from volforge.volume.dicom.derived import write_ct_series

    grid, turn, _ = source_grid(record)
    values = turn.invert(made.values)
    if series.planes is not None:  # slices that were straightened: back to where they lay
        values = onto_planes(values, grid, series.planes, nearest=False, outside=AIR_HU)
    weights = [str(g.about["sha256"]) for g in views.generators.values()]
    derivation = f"{STAMP}; weights {', '.join(w[:16] for w in weights)}"
    write_ct_series(out, np.asarray(values, np.int16), image, derivation=derivation, origin=" ".join(weights))
