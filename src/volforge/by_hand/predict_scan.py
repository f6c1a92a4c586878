"""Trained models applied to any scan, by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from volforge.config.models import BodyMask
from volforge.errors import VolforgeError
from volforge.inference.model import Model, load_model
from volforge.inference.segment import Scan, Segmented, segment
from volforge.volume.folders import read_json
from volforge.volume.import_scan import ImportSettings, ScanRequest, import_scan
from volforge.volume.read import read_canonical
from volforge.volume.restore import write_on_source_grid
from volforge.volume.units import UNITS, is_unit


@dataclass(frozen=True)
class Options:
    """How models are applied.

    Attributes:
        modality, unit: Of the scan, as a sample sheet says it.
        localiser: Folder of the model that finds the joints, or None.
        window, overlap, flips: As `volforge.inference.segment.segment`.
        keep: Share of the largest component that stays, by structure.
        device: `cpu` or `cuda`.
    """

    modality: str = "CT"
    unit: str = "hu"
    localiser: Path | None = None
    window: Sequence[int] | None = None
    overlap: float = 0.5
    flips: Sequence[str] = ()
    keep: Mapping[str, float] = field(default_factory=dict)
    device: str = "cpu"

    def check(self) -> None:
        """Refuse what is none, before anything is read.

        Raises:
            VolforgeError: Naming the option.
        """
        import torch

        if not is_unit(self.unit):
            raise VolforgeError(f"unknown value '{self.unit}'", "--unit", f"one of {', '.join(UNITS)}")
        words = (("--modality", self.modality, ("CT", "CBCT", "MR")),)
        for option, value, known in (*words, ("--device", self.device.split(":")[0], ("cpu", "cuda"))):
            if value not in known:
                raise VolforgeError(f"unknown value '{value}'", option, f"one of {', '.join(known)}")
        if self.device != "cpu" and not torch.cuda.is_available():
            raise VolforgeError("there is no GPU that torch can use", "--device", "pass --device cpu")
        if not 0 <= self.overlap < 1:
            raise VolforgeError(
                f"{self.overlap:g} is no overlap", "--overlap", "a share from 0 to under 1, such as 0.5"
            )
        if not set(self.flips) <= set("xyz"):
            raise VolforgeError(
                f"'{''.join(self.flips)}' are no axes", "--flips", "write x, y, z or several, such as xy"
            )
        if self.window is not None and (len(self.window) != 3 or min(self.window) < 1):
            shown = ",".join(map(str, self.window))
            raise VolforgeError(f"{shown} is no window", "--window", "three sizes in voxels, such as 96,96,96")
        for name, share in self.keep.items():
            if not 0 <= share <= 1:
                raise VolforgeError(f"{share:g} of '{name}' is no share", "--keep", "a share from 0 to 1")


def predict_scan(
    image: Path, weights: Sequence[Path], out: Path, options: Options, confidence: Path | None = None
) -> Segmented:
    """Segment one scan and write the label map on its own grid.

    The scan is imported as the models' training scans were (unit, body mask, background), in a scratch folder.

    Args:
        image: Any volume that `volforge scan import` reads.
        weights: Folders of models. Those of the same structures (folds, seeds) are averaged, others joined.
        out: Label map to write.
        options: How the models are applied.
        confidence: Where to write the probability of the predicted label, or None.

    Raises:
        ScanError: The scan is refused.
        VolforgeError: The models do not fit each other.
    """
    options.check()
    loaded = [load_model(folder, options.device) for folder in weights]
    groups: dict[tuple[object, ...], list[Model]] = {}
    for model in loaded:
        if model.settings.kind == "localiser":
            raise VolforgeError(
                "the folder holds a localiser, which segments nothing", str(model.folder), "pass it by --localiser"
            )
        groups.setdefault(model.sees, []).append(model)
    finder = load_model(options.localiser, options.device) if options.localiser is not None else None
    if finder is not None and all(m.settings.region is None for m in loaded):
        raise VolforgeError("none of these models needs a localiser", str(options.localiser), "leave --localiser out")
    imports = [import_settings(m) for m in loaded]
    if any((s.background, s.body_mask) != (imports[0].background, imports[0].body_mask) for s in imports):
        text = "models of cohorts that were imported in another way (background, body mask) cannot be joined"
        raise VolforgeError(text, str(weights[-1]), "name models of one cohort")
    with tempfile.TemporaryDirectory(prefix="volforge-") as scratch:
        folder = Path(scratch) / "scan"
        request = ScanRequest("scan", options.modality, options.unit, {"image": image})
        import_scan(request, import_settings(loaded[0]), folder, record_refusal=False)
        record = read_json(folder / "record.json")
        values, grid = read_canonical(folder / "image.nii.gz", labels=False)
        body_file = folder / "body.nii.gz"
        body = read_canonical(body_file, labels=True)[0] > 0 if body_file.exists() else None
        found = segment(
            list(groups.values()),
            Scan(np.asfortranarray(values), body, grid, record),
            localiser=finder,
            window=options.window,
            overlap=options.overlap,
            flips=options.flips,
            keep=options.keep,
            device=options.device,
        )
        write_on_source_grid(out, found.labels, record, labels=True)
        if confidence is not None:
            write_on_source_grid(confidence, found.confidence, record, labels=False)
    return found


def import_settings(model: Model) -> ImportSettings:
    """How the cohort that a model learnt from was imported."""
    content = model.about["import"]
    return ImportSettings(background=content["background"], body_mask=BodyMask(**content["body_mask"]))
