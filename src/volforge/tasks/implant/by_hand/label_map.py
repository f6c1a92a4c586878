"""The implant of one scan as a label map, for `volforge model predict`: no folder, no meshes, no page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.tasks.implant.by_hand.case import completed
from volforge.tasks.implant.by_hand.options import CaseOptions
from volforge.tasks.implant.by_hand.scan import read_scan
from volforge.tasks.implant.kriging.model import load_kriged
from volforge.volume.restore import write_on_source_grid
from volforge.whole_file import refuse_places


def predict_label_map(
    image: Path, weights: list[Path], out: Path, modality: str, unit: str, confidence: Path | None = None
) -> None:
    """Write the implant of a scan as the model predicts it, on the grid of the scan's file.

    Args:
        image: A CT or a mask of a skull with a hole.
        weights: Folder of one fitted model.
        out: `.nii.gz` to write, 1 is implant.
        modality: `CT`, `CBCT`, `mask`; `CT` and empty: a scan of two values is a mask.
        unit: Of a CT.
        confidence: Where to write the probability of what is predicted, or None.

    Raises:
        VolforgeError: Several models are named; the scan cannot be used; no hole.
    """
    if len(weights) != 1:
        text = "models of implants are not averaged"
        raise VolforgeError(text, ", ".join(map(str, weights)), "name one folder by --weights")
    refuse_places({"--out": out, "--confidence": confidence}, {"--image": image})
    options = CaseOptions(modality="" if modality == "CT" else modality, unit=unit or "hu")
    model, _ = load_kriged(weights[0])
    scan = read_scan(image, options)
    found = completed(model, scan, str(image), options)
    write_on_source_grid(out, found.implant.astype(np.uint8), scan.record, labels=True)
    if confidence is not None:
        write_on_source_grid(confidence, found.confidence, scan.record, labels=False)
