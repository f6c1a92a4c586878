"""Paths, stamps and resources of the jobs of studies. Plain strings and numbers."""

from __future__ import annotations

import math
from pathlib import Path

from volforge.study.outside import prediction_file
from volforge.volume.companions import companions
from volforge.workflow.jobs import RESULTS, file_stamps, import_memory_mb, is_plain
from volforge.workflow.studies import IMAGE_TASKS, ResolvedStudy

ENCODER = "slice_encoder"


def part(study: ResolvedStudy, arm: str, fold: int | str, seed: int | str) -> str:
    """Folder of an arm's fold and seed."""
    return f"{RESULTS}/studies/{study.name}/{arm}/fold{fold}/seed{seed}"


def settings_file(study: ResolvedStudy, arm: str) -> str:
    """`settings.json` of an arm."""
    return f"{RESULTS}/studies/{study.name}/{arm}/settings.json"


def predict_file(study: ResolvedStudy, arm: str) -> str:
    """`predict.json` of an arm."""
    return f"{RESULTS}/studies/{study.name}/{arm}/predict.json"


def encoder_file(study: ResolvedStudy) -> str:
    """Settings of the encoder."""
    return f"{RESULTS}/studies/{study.name}/shared/encoder.json"


def encoder(study: ResolvedStudy, fold: int | str) -> str:
    """Weights of the encoder of a study's Fréchet distance, of the fold's training scans."""
    seed = study.settings.seeds[0]
    return f"{part(study, 'shared', fold, seed)}/models/{ENCODER}/weights.safetensors"


def outside_files(study: ResolvedStudy, arm: str) -> list[str]:
    """Files of predictions made elsewhere that are there."""
    folder = study.predictions.get(arm, "")
    found = (prediction_file(folder, scan) for scan in study.cohort.rows) if folder else ()
    # the values of .mhd lie in a file beside it
    return [str(p) for path in found if path is not None for p in (path, *companions(path))]


def outside_stamps(study: ResolvedStudy, arm: str) -> list[str]:
    """Size and time of predictions made elsewhere: a changed file is measured anew."""
    plain = [Path(p) for p in outside_files(study, arm) if is_plain(p)]
    stamps = [f"{p.name}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in plain]
    return stamps + file_stamps(outside_files(study, arm))


def memory_mb(study: ResolvedStudy, attempt: int) -> int:
    """Memory that a job of a study asks for: by its greatest scan; image measures hold several copies."""
    largest = max((import_memory_mb(study.cohort, scan, 1) for scan in study.cohort.rows), default=1000)
    factor = 2.0 if study.settings.task in IMAGE_TASKS else 1.0
    return int(1000 * math.ceil(max(2000.0, factor * largest) / 1000)) * attempt
