"""The encoder of a study's Fréchet distance, from the real training images of one fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from volforge.errors import VolforgeError
from volforge.judging.slice_encoder import MOST_SLICES, train_slice_encoder, write_slice_encoder
from volforge.metrics.features import axial_slices
from volforge.networks.slice_encoder import SIDE
from volforge.study.cases import Cohort, of_modality, training_rows
from volforge.study.settings import ArmSettings


def train_encoder(settings: ArmSettings, scans: Path, fold: int, seed: int, out: Path) -> str:
    """Train on slices of real target images of training subjects only, and write the model.

    Args:
        settings: Any arm of the study: its target, window and number of steps.
        scans: scans.tsv of the cohort.
        fold: Fold whose subjects are left out, or 0 for the split `test`.
        seed: Of weights and drawing.
        out: Folder of the model: weights.safetensors, model.json.

    Returns:
        SHA-256 of the weights.

    Raises:
        VolforgeError: No training image shows a body.
    """
    cohort = Cohort(scans)
    window = settings.metrics["window_hu"]
    rows = [
        r for r in of_modality(training_rows(settings, cohort, fold), settings.target) if cohort.has(r["scan"], "image")
    ]
    per_scan = max(1, MOST_SLICES // max(1, len(rows)))
    parts = []
    for row in rows:
        image = cohort.target_image(row["scan"])
        slices = axial_slices(image, cohort.body(row["scan"], image.shape), window, SIDE)
        if len(slices):
            parts.append(slices[np.unique(np.linspace(0, len(slices) - 1, per_scan).round().astype(int))])
    if not parts:
        raise VolforgeError(
            "no training image of the target modality shows a body", str(scans), "look at split, fold and modality"
        )
    slices = np.concatenate(parts)
    network, losses = train_slice_encoder(slices, settings.metrics["encoder_steps"], seed)
    origin: dict[str, object] = {
        "study": settings.study,
        "fold": fold,
        "seed": seed,
        "steps": len(losses),
        "slices": len(slices),
        "scans": [r["scan"] for r in rows],
        "window_hu": list(window),
    }
    return write_slice_encoder(out, network, origin, losses)
