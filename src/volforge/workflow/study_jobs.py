"""Paths, stamps and resources of the jobs of studies. Plain strings and numbers."""

from __future__ import annotations

import math
import shlex
from functools import cache
from pathlib import Path

from volforge.config.studies import SHARED
from volforge.study.outside import prediction_file
from volforge.tasks.protocol import ENCODER, SEGMENTER
from volforge.tasks.resolved import ResolvedStudy
from volforge.workflow.code_hash import code_hash
from volforge.workflow.jobs import RESULTS, existing_files, file_stamps, import_memory_mb, short_hash
from volforge.workflow.needs import Named, Studies, all_needs, needs_of
from volforge.workflow.study_settings import inference, model_settings

GPU_WORKERS = 4
LABELS, REFERENCE = "labels", "reference"
_hash_of = cache(code_hash)  # waiting jobs are asked for their parameters again and again


def part(study: ResolvedStudy, arm: str, fold: int | str, seed: int | str) -> str:
    """Folder of an arm's fold and seed."""
    return f"{RESULTS}/studies/{study.name}/{arm}/fold{fold}/seed{seed}"


def settings_file(study: ResolvedStudy, arm: str) -> str:
    """`settings.json` of an arm."""
    return f"{RESULTS}/studies/{study.name}/{arm}/settings.json"


def predict_file(study: ResolvedStudy, arm: str) -> str:
    """`predict.json` of an arm."""
    return f"{RESULTS}/studies/{study.name}/{arm}/predict.json"


def judge_file(study: ResolvedStudy) -> str:
    """Settings of the networks that only measure."""
    return f"{RESULTS}/studies/{study.name}/shared/encoder.json"


def judge(study: ResolvedStudy, network: str, fold: int | str) -> str:
    """Weights of a network that only measures, of the fold's training scans."""
    return f"{part(study, SHARED, fold, study.settings.seeds[0])}/models/{network}/weights.safetensors"


def judging_networks(study: ResolvedStudy, fold: int | str) -> list[str]:
    """Weights of all networks that a study's predictions are judged by."""
    return [judge(study, network, fold) for network in study.task.judges(study)]


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
        study.models_of(arm)[model].recipe
        for arm, model in study.trained()
        if study.task.needs_distances(study, arm, model)
    ]
    return [r for r in dict.fromkeys(found) if r is not None]


def recipe_index(study: ResolvedStudy, recipe: str) -> str:
    """Index of a recipe of the study's cohort."""
    return f"{RESULTS}/cohorts/{study.cohort.name}/recipes/{recipe}/index.tsv"


def weights_of(studies: Studies, named: Named, fold: int | str, seed: int | str) -> str:
    """Weights of a model of any study."""
    return model_file(studies[named.study], named.arm, named.model, fold, seed)


def inputs_of_prediction(
    studies: Studies, study: ResolvedStudy, arm: str, fold: int | str, seed: int | str
) -> dict[str, str]:
    """Files that the predictions of an arm need: weights by model, and `labels` for those of another arm."""
    found = {n: weights_of(studies, m, fold, seed) for n, m in all_needs(studies, study, arm).items()}
    source = study.task.labels_from(study.settings.arms[arm])
    if source is not None:
        other, name = studies[source[0]], source[1]
        drawn = seed if other.task.is_drawn(other.settings.arms[name]) else other.settings.seeds[0]
        found[LABELS] = f"{part(other, name, fold, drawn)}/predictions/predictions.tsv"
    return found


def options_of_prediction(studies: Studies, study: ResolvedStudy, arm: str, fold: int | str, seed: int | str) -> str:
    """Options of `volforge model predict` that name these, quoted for a shell."""
    words = []
    for name, path in inputs_of_prediction(studies, study, arm, fold, seed).items():
        folder = str(Path(path).parent)
        words += ["--labels", folder] if name == LABELS else ["--model", f"{name}={folder}"]
    if study.models_of(arm) and study.task.gpus(study, arm):
        words += ["--device", "cuda"]
    return shlex.join(words)


def inputs_of_training(
    studies: Studies, study: ResolvedStudy, arm: str, model: str, fold: int | str, seed: int | str
) -> dict[str, str]:
    """Weights that the training of a model reads, by the word of `needs`."""
    if not study.task.trains_with_needs:
        return {}
    return {n: weights_of(studies, m, fold, seed) for n, m in needs_of(study, arm, model).items()}


def options_of_training(
    studies: Studies, study: ResolvedStudy, arm: str, model: str, fold: int | str, seed: int | str
) -> str:
    """Options of `volforge model train` that name what it reads, quoted for a shell."""
    words = [f"--distances={Path(d).parent}" for d in distances_of_model(study, arm, model)]
    found = inputs_of_training(studies, study, arm, model, fold, seed)
    return shlex.join([*words, *(f"--needs={n}={Path(p).parent}" for n, p in found.items())])


def inputs_of_measures(study: ResolvedStudy, fold: int | str) -> dict[str, str]:
    """Files that the measures of a study need beside predictions: judging networks, and the reference's predictions."""
    found = {network: judge(study, network, fold) for network in study.task.judges(study)}
    reference = study.task.reference_arm(study.settings)
    if reference is not None:
        found[REFERENCE] = f"{part(study, reference, fold, study.settings.seeds[0])}/predictions/predictions.tsv"
    return found


def options_of_measures(study: ResolvedStudy, fold: int | str) -> str:
    """Options of `volforge study measure` that name these, quoted for a shell."""
    found = inputs_of_measures(study, fold)
    words = []
    if SEGMENTER in found:
        words += ["--judge", found[SEGMENTER]]
    if ENCODER in found:
        words += ["--encoder", found[ENCODER], "--cache", f"{RESULTS}/studies/{study.name}/{SHARED}/features"]
    if REFERENCE in found:
        words += ["--reference", str(Path(found[REFERENCE]).parent)]
    return shlex.join(words)


def predict_gpus(study: ResolvedStudy, arm: str) -> int:
    """GPUs that predicting an arm asks for."""
    return study.task.gpus(study, arm)


def predict_threads(study: ResolvedStudy, arm: str) -> int:
    """Threads of a prediction."""
    return int(inference(study, arm)["threads"]) if study.settings.arms[arm].models else 1


def train_code(study: ResolvedStudy, arm: str, model: str) -> str:
    """Hash of the code that trains a model."""
    return _hash_of(study.task.trained_by(study, arm, model))


def predict_code(study: ResolvedStudy, arm: str) -> str:
    """Hash of the code that makes the predictions of an arm."""
    baseline = study.settings.arms[arm].baseline
    return _hash_of(study.task.predicted_by(study, arm), *([study.task.baselines[baseline]] if baseline else []))


def measure_code(study: ResolvedStudy) -> str:
    """Hash of the code that measures the arms of a study."""
    return _hash_of(study.task.measure)


def recipe_of_model(study: ResolvedStudy, arm: str, model: str) -> list[str]:
    """Index of the recipe that a model sees scans through, if it names one."""
    recipe = study.models_of(arm)[model].recipe
    return [recipe_index(study, recipe)] if recipe else []


def distances_of_model(study: ResolvedStudy, arm: str, model: str) -> list[str]:
    """Distance maps that a training reads, if any."""
    if not study.task.needs_distances(study, arm, model):
        return []
    return [distances_file(study, study.models_of(arm)[model].recipe or "")]


def train_gpus(study: ResolvedStudy, arm: str, model: str) -> int:
    """GPUs of a training; none where a model is fitted."""
    training = study.training_of(arm, model)
    if study.task.fits(study, arm, model):
        return 0
    return training.devices if training.accelerator == "gpu" else 0


def train_workers(study: ResolvedStudy, arm: str, model: str) -> int:
    """Loader processes of a training: none on CPU, where they would take the cores that compute."""
    return GPU_WORKERS if train_gpus(study, arm, model) else 0


def train_threads(study: ResolvedStudy, arm: str, model: str) -> int:
    """Cores of a training."""
    training = study.training_of(arm, model)
    return (1 + GPU_WORKERS if train_gpus(study, arm, model) else training.threads) * training.devices


def held_mb(study: ResolvedStudy) -> float:
    """Memory for the cuts that a training keeps, at most 2 GiB: phantoms are small, packed volumes grow fourfold."""
    if study.cohort.settings.phantom is not None:
        return 200.0
    files = [p for r in study.cohort.rows.values() for p in existing_files(r.files.values())]
    return min(2048.0, sum(4 * Path(p).stat().st_size / 2**20 for p in files if Path(p).is_file()) or 2048.0)


def train_memory_mb(study: ResolvedStudy, arm: str, model: str, attempt: int) -> int:
    """Memory that a training asks for: the libraries, what it keeps of the cohort, its patches; at most doubled."""
    training = study.training_of(arm, model)
    voxels = math.prod(training.patch or [96, 96, 96]) * training.batch
    base = 2000 + held_mb(study) + voxels * 4 * 200 / 2**20  # some hundred values of activations a voxel on CPU
    largest = max((import_memory_mb(study.cohort, scan, 1) for scan in study.cohort.rows), default=1000)
    return int(1000 * math.ceil(max(base, largest) / 1000)) * min(attempt, 2) * training.devices


def checkpoint_folder(study: ResolvedStudy, arm: str, model: str, fold: int | str, seed: int | str) -> str:
    """Folder of a training's checkpoints: another setting has another folder and starts afresh."""
    key = short_hash(model_settings(study, arm, model))
    return f"{RESULTS}/checkpoints/{study.name}/{arm}/fold{fold}/seed{seed}/{model}-{key}"


def trainings(study: ResolvedStudy) -> list[tuple[str, str, int, int]]:
    """Arm, model, fold and seed of every training."""
    return [
        (arm, model, fold, seed)
        for arm, model in study.trained()
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
    return int(1000 * math.ceil(max(2000.0, study.task.memory * largest) / 1000)) * attempt
