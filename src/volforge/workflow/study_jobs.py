"""Paths, stamps and resources of the jobs of studies. Plain strings and numbers."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path

from volforge.config.studies import SHARED
from volforge.study.outside import prediction_file
from volforge.tasks.negative_volume import checks as study_joints
from volforge.tasks.segmentation import checks as study_models
from volforge.workflow.jobs import RESULTS, existing_files, file_stamps, import_memory_mb, short_hash
from volforge.workflow.studies import IMAGE_TASKS, ResolvedStudy, is_drawn

ENCODER = "slice_encoder"
JUDGE = "judging_segmenter"
GPU_WORKERS = 4


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


def judge(study: ResolvedStudy, fold: int | str) -> str:
    """Weights of the segmenter that reads a study's synthetic images, of the fold's training scans."""
    return encoder(study, fold).replace(f"/{ENCODER}/", f"/{JUDGE}/")


def judging_networks(study: ResolvedStudy, fold: int | str) -> list[str]:
    """Weights of all networks that a study's images are judged by."""
    own = ((encoder, study.has_distribution), (judge, study.has_segmenter))
    return [weights(study, fold) for weights, is_used in own if is_used]


def judging_options(study: str, encoder_weights: str | None, judge_weights: str | None) -> str:
    """Options of `volforge study measure` that name a study's judging networks, quoted for a shell."""
    words = ["--judge", str(judge_weights)] if judge_weights else []
    if encoder_weights:
        words += ["--encoder", str(encoder_weights), "--cache", f"{RESULTS}/studies/{study}/shared/features"]
    return shlex.join(words)


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
    if predict_gpus(study, arm):
        words += ["--device", "cuda"]
    return shlex.join(words)


def predict_gpus(study: ResolvedStudy, arm: str) -> int:
    """GPUs that predicting an arm asks for: one where its models were trained on one, or rays walk on one."""
    if study.settings.arms[arm].inflation is not None:
        return int(study.settings.joint.accelerator == "gpu")
    trainings_ = [study_models.training_of(study, arm, m) for m in study_models.models_of(study, arm)]
    return int(any(t.accelerator == "gpu" for t in trainings_))


def predict_threads(study: ResolvedStudy, arm: str) -> int:
    """Threads of a prediction."""
    return int(study_models.inference(study, arm)["threads"]) if study.settings.arms[arm].models else 1


def models_of_part(study: ResolvedStudy, arm: str, fold: int | str, seed: int | str) -> list[str]:
    """Weights that the predictions of an arm, fold and seed need."""
    return list(models_needed(study, arm, fold, seed).values())


def labels_of_part(
    study: ResolvedStudy, studies: Mapping[str, ResolvedStudy], arm: str, fold: int | str, seed: int | str
) -> list[str]:
    """predictions.tsv of the labels that an arm inflates, if they are not the scans' own."""
    source = study_joints.labels_source(study.settings.arms[arm])
    if source is None:
        return []
    other, name = studies[source[0]], source[1]
    drawn = seed if is_drawn(other.settings.arms[name]) else other.settings.seeds[0]
    return [f"{part(other, name, fold, drawn)}/predictions/predictions.tsv"]


def reference_of_part(study: ResolvedStudy, fold: int | str) -> str:
    """predictions.tsv of the arm that the negative volumes of a study are compared with."""
    return (
        f"{part(study, study.settings.reference_arm or '', fold, study.settings.seeds[0])}/predictions/predictions.tsv"
    )


def recipe_of_model(study: ResolvedStudy, arm: str, model: str) -> str:
    """Index of the recipe that a model sees scans through."""
    return recipe_index(study, study_models.models_of(study, arm)[model].recipe or "")


def distances_of_model(study: ResolvedStudy, arm: str, model: str) -> list[str]:
    """Distance maps that a training reads, if any."""
    if not study_models.needs_distances(study, arm, model):
        return []
    return [distances_file(study, study_models.models_of(study, arm)[model].recipe or "")]


def train_gpus(study: ResolvedStudy, arm: str, model: str) -> int:
    """GPUs of a training."""
    training = study_models.training_of(study, arm, model)
    return training.devices if training.accelerator == "gpu" else 0


def train_workers(study: ResolvedStudy, arm: str, model: str) -> int:
    """Loader processes of a training: none on CPU, where they would take the cores that compute."""
    return GPU_WORKERS if train_gpus(study, arm, model) else 0


def train_threads(study: ResolvedStudy, arm: str, model: str) -> int:
    """Cores of a training."""
    training = study_models.training_of(study, arm, model)
    return (1 + GPU_WORKERS if train_gpus(study, arm, model) else training.threads) * training.devices


def held_mb(study: ResolvedStudy) -> float:
    """Memory for the cuts that a training keeps, at most 2 GiB: phantoms are small, packed volumes grow fourfold."""
    if study.cohort.settings.phantom is not None:
        return 200.0
    files = [p for r in study.cohort.rows.values() for p in existing_files(r.files.values())]
    return min(2048.0, sum(4 * Path(p).stat().st_size / 2**20 for p in files if Path(p).is_file()) or 2048.0)


def train_memory_mb(study: ResolvedStudy, arm: str, model: str, attempt: int) -> int:
    """Memory that a training asks for: the libraries, what it keeps of the cohort, its patches; at most doubled."""
    training = study_models.training_of(study, arm, model)
    voxels = math.prod(training.patch or [96, 96, 96]) * training.batch
    base = 2000 + held_mb(study) + voxels * 4 * 200 / 2**20  # some hundred values of activations a voxel on CPU
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
    return [str(path) for path in found if path is not None]


def outside_stamps(study: ResolvedStudy, arm: str) -> list[str]:
    """Size and time of predictions made elsewhere: a changed file is measured anew."""
    files = outside_files(study, arm)
    return [f"{Path(p).name}:{stamp}" for p, stamp in zip(files, file_stamps(files), strict=True)]


def memory_mb(study: ResolvedStudy, attempt: int) -> int:
    """Memory that a job of a study asks for: by its greatest scan; image measures hold several copies."""
    largest = max((import_memory_mb(study.cohort, scan, 1) for scan in study.cohort.rows), default=1000)
    factor = 2.0 if study.settings.task in IMAGE_TASKS else 1.0
    return int(1000 * math.ceil(max(2000.0, factor * largest) / 1000)) * attempt
