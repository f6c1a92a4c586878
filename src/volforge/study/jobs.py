"""What the jobs of an arm are told beside its settings: the arguments of the entries of all tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

START = "--from"
"""The word of the weights that a training begins with, among those that it reads."""


@dataclass(frozen=True)
class TrainJob:
    """What a training job is told beside its settings.

    Attributes:
        scans: scans.tsv of the cohort.
        fold, seed: Fold that is left out (0 for the split `test`) and seed.
        checkpoints: Folder of its checkpoints.
        out: Folder of the model: weights.safetensors, model.json, history.tsv, cost.json. It appears whole.
        distances: Folder of distance maps, or None.
        minutes: Time after which it keeps a checkpoint and ends unfinished; None: no limit.
        workers: Loader processes.
        attempt: Number of the try, from 1.
        resume: A checkpoint to go on from, or None: the last one of the same settings, if there is one.
        checkpoint_seconds: Time between checkpoints.
        code: Hash of the code that trains: a checkpoint of other code is no beginning.
        needs: Folders of the trained models that it reads, by the word of the configuration.
        start: Folder of a trained model whose weights it begins with, or None: fresh ones.
    """

    scans: Path
    fold: int
    seed: int
    checkpoints: Path
    out: Path
    distances: Path | None = None
    minutes: float | None = None
    workers: int = 0
    attempt: int = 1
    resume: Path | None = None
    checkpoint_seconds: float = 120.0
    code: str = ""
    needs: Mapping[str, Path] = field(default_factory=dict)
    start: Path | None = None

    def needed(self) -> dict[str, str]:
        """Digests of the weights that it reads: a checkpoint that was made with others is no beginning."""
        from volforge.volume.folders import sha256_of

        read = sorted(self.needs.items()) + ([(START, self.start)] if self.start is not None else [])
        return {name: sha256_of(folder / "weights.safetensors") for name, folder in read}


@dataclass(frozen=True)
class PredictJob:
    """What a prediction job is told beside the settings of its arm.

    Attributes:
        scans: scans.tsv of the cohort.
        fold, seed: Fold (0 for the split `test`), and seed of the training; samples are drawn from it.
        out: Folder `predictions`: volumes on the grids of their source files, and predictions.tsv. It appears whole.
        models: Folders of trained models: of the arm by name, others by the word of the configuration.
        labels: Folder of the predictions that are taken instead of the scans' own labels, or None.
        device: `cpu` or `cuda`.
    """

    scans: Path
    fold: int
    out: Path
    seed: int = 0
    models: Mapping[str, Path] = field(default_factory=dict)
    labels: Path | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class MeasureJob:
    """What a measuring job is told beside the settings of its arm.

    Attributes:
        scans: scans.tsv of the cohort.
        predictions: Folder with predictions.tsv.
        fold, seed: Where the results belong.
        out: measures.tsv to write.
        cases: Folder to write: pictures of some cases, cases.tsv, calibration.tsv, features.json.
        encoder: Weights of the study's slice encoder, or None.
        cache: Folder for features of real images, or None.
        judge: Weights of the study's segmenter that reads synthetic images, or None.
        reference: Folder of the predictions of the arm that the others are compared with, or None.
    """

    scans: Path
    predictions: Path
    out: Path
    cases: Path
    fold: int = 0
    seed: int = 0
    encoder: Path | None = None
    cache: Path | None = None
    judge: Path | None = None
    reference: Path | None = None
