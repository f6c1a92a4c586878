"""A small labelled cohort, cut for training, and settings of a tiny model."""

import json
from pathlib import Path

from tests.study.cohorts import labelled_cohort
from volforge.config.models import RegionRecipe
from volforge.inference.model_settings import ModelSettings
from volforge.volume.cut_scan import cut_scan

RECIPE = {"kind": "region", "around": "image", "margin_mm": 0, "spacing_mm": [2.4, 2.4, 2.4]}
TRAINING = {
    "steps": 6, "batch": 2, "patch": [16, 16, 16], "patches": "random", "foreground": 0.5, "centred_on": [], "optimizer": "adamw",
    "rate": 0.01, "weight_decay": 0.0, "schedule": "cosine", "step_every": 10, "warmup": 0, "clip": 1.0, "ema": 0.9,
    "augmentation": "standard", "flip": ["x"], "precision": "32-true", "channels_last": True, "compile": False,
    "threads": 1, "accelerator": "cpu", "devices": 1, "validation": 0.4, "validation_cases": 2, "validate_every": 3,
    "patience": 0, "tolerance": 0.0, "which": "best",
}  # fmt: skip
# dropout draws from the generator at every step: a resumed run must go on drawing where it stopped
NETWORK = {"name": "vnet", "width": 2, "levels": 3}


def cut_cohort(folder: Path, subjects: int = 5) -> Path:
    """Imported and cut; returns scans.tsv."""
    scans = labelled_cohort(folder, subjects)
    recipe = RegionRecipe(**RECIPE)
    for i in range(subjects):
        cut_scan(scans.parent / "scans" / f"s{i}", recipe, scans.parent / "recipes" / "whole" / f"s{i}")
    content = json.loads((scans.parent / "settings.json").read_text())
    (scans.parent / "settings.json").write_text(json.dumps({**content, "background": "air", "body_mask": {}}))
    return scans


def content(**more) -> dict:
    """Plain settings of a model; `training` is merged key by key."""
    training = {**TRAINING, **more.pop("training", {})}
    recipe = json.loads(RegionRecipe(**RECIPE).model_dump_json())
    return {
        "study": "s", "arm": "a", "model": "m", "task": "segmentation", "cohort": "c", "by_fold": False,
        "kind": "structures", "entry": "volforge.tasks.segmentation.train:train",
        "classes": [
            {"structure": "ball", "side": "left", "ids": {"": 1}},
            {"structure": "ball", "side": "right", "ids": {"": 2}},
        ],
        "recipe": "whole", "recipe_settings": recipe, "region": None, "dilate_mm": 5.0, "network": NETWORK,
        "loss": {"name": "dice_ce"}, "training": training, "own": "", **more,
    }  # fmt: skip


def settings(**more) -> ModelSettings:
    """Settings of a model."""
    return ModelSettings.of(content(**more))
