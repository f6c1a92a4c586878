"""Paths, stamps and resources of the jobs of studies. Plain strings and numbers."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from volforge.config.studies import SHARED
from volforge.study.outside import prediction_file
from volforge.volume.companions import companions
from volforge.workflow import study_models
from volforge.workflow.jobs import RESULTS, file_stamps, import_memory_mb, is_plain, short_hash
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


def train_file(study: ResolvedStudy, arm: str, model: str) -> str:
    """`<model>.train.json`: settings of a model."""
    return f"{RESULTS}/studies/{study.name}/{arm}/{model}.train.json"


def model_file(study: ResolvedStudy, arm: str, model: str, fold: int | str, seed: int | str) -> str:
    """Weights of a model."""
    return f"{part(study, arm, fold, seed)}/models/{model}/weights.safetensors"


def distances_file(study: ResolvedStudy, recipe: str) -> str:
    """Distance maps of a study's structures on the grids of a recipe."""
    return f"{RESULTS}/studies/{study.name}/{SHARED}/distances/{recipe}/distances.json"


def distance_recipes(study: ResolvedStudy) -> list[str]:
    """Recipes whose cuts some training of the study reads distance maps of."""
    found = [
        study_models.models_of(study, arm)[model].recipe
        for arm, model in study_models.trained(study)
        if study_models.needs_distances(study, arm, model)
    ]
    return [r for r in dict.fromkeys(found) if r is not None]


def recipe_index(study: ResolvedStudy, recipe: str) -> str:
    """Index of a recipe of the study's cohort."""
    return f"{RESULTS}/cohorts/{study.cohort.name}/recipes/{recipe}/index.tsv"


def models_needed(study: ResolvedStudy, arm: str, fold: int | str, seed: int | str) -> dict[str, str]:
    """Weights that the predictions of an arm need: by model, and the localiser's under its own name with `shared/`."""
    if not study.settings.arms[arm].models:
        return {}
    found = {m: model_file(study, arm, m, fold, seed) for m in study_models.models_of(study, arm)}
    finder = study_models.localiser(study, arm)
    if finder:
        found[f"{SHARED}/{finder}"] = model_file(study, SHARED, finder, fold, seed)
    return found


def models_option(study: ResolvedStudy, arm: str, fold: int | str, seed: int | str) -> str:
    """Options of `volforge model predict` that name the models, quoted for a shell."""
    words = []
    for name, path in models_needed(study, arm, fold, seed).items():
        folder = str(Path(path).parent)
        words += ["--localiser", folder] if name.startswith(f"{SHARED}/") else ["--model", f"{name}={folder}"]
    if predicts_on_gpu(study, arm):
        words += ["--device", "cuda"]
    return shlex.join(words)


def predicts_on_gpu(study: ResolvedStudy, arm: str) -> bool:
    """Whether predicting an arm asks for a GPU: where its models were trained on one."""
    trainings_ = [study_models.training_of(study, arm, m) for m in study_models.models_of(study, arm)]
    return any(t.accelerator == "gpu" for t in trainings_)


def predict_threads(study: ResolvedStudy, arm: str) -> int:
    """Threads of a prediction."""
    return int(study_models.inference(study, arm)["threads"]) if study.settings.arms[arm].models else 1


def train_memory_mb(study: ResolvedStudy, arm: str, model: str, attempt: int) -> int:
    """Memory that a training asks for: the libraries, what it keeps of the cohort, its patches; at most doubled."""
    training = study_models.training_of(study, arm, model)
    voxels = math.prod(training.patch or [96, 96, 96]) * training.batch
    base = 2000 + voxels * 4 * 200 / 2**20  # some hundred values of activations a voxel on CPU
    largest = max((import_memory_mb(study.cohort, scan, 1) for scan in study.cohort.rows), default=1000)
    return int(1000 * math.ceil(max(base, largest) / 1000)) * min(attempt, 2) * training.devices


def checkpoint_folder(study: ResolvedStudy, arm: str, model: str, fold: int | str, seed: int | str) -> str:
    """Folder of a training's checkpoints: another setting has another folder and starts afresh."""
    key = short_hash(study_models.model_settings(study, arm, model))
    return f"{RESULTS}/checkpoints/{study.name}/{arm}/fold{fold}/seed{seed}/{model}-{key}"


def trainings(study: ResolvedStudy) -> list[tuple[str, str, int, int]]:
    """Arm, model, fold and seed of every training."""
    return [
        (arm, model, fold, seed)
        for arm, model in study_models.trained(study)
        for fold in study.folds
        for seed in study.settings.seeds
    ]


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
