"""A small cohort of phantom skulls, and every published way to train on it at tiny size."""

from pathlib import Path
from typing import Any

from tests.study.cohorts import imported
from volforge.cohort.phantoms.skull import draw
from volforge.config.training import Inference, Training
from volforge.tasks.implant.options import ImplantOptions
from volforge.tasks.implant.settings import ImplantSettings
from volforge.volume.geometry import Array, Grid
from volforge.volume.write import write_nifti

SPACING_MM = 4.0
GRID = [32, 32, 16]
AE = {"name": "cranial_autoencoder", "width": 2}
SIGMOID = {**AE, "head": "sigmoid"}
PUBLISHED = {"units": "voxels", "clip": 0.0}
UNET = {"name": "residual_unet", "width": 4, "levels": 3, "blocks": [1], "supervised": 2}
COARSE = {"network": {"name": "c2f_n1", "width": 2, "kernel": 3}, "loss": {"name": "dice"}}
OURS = {"network": UNET, "loss": {"name": "dice_ce"}}
PRESETS: dict[str, dict[str, Any]] = {
    "ae_mse": {"network": AE, "loss": {"name": "value_mse"}},
    "ae_mse_skull": {"network": AE, "loss": {"name": "value_mse"}, "implant": {"target": "skull"}},
    "ae_mse_spline": {
        "network": AE, "loss": {"name": "value_mse"}, "implant": {"resample": "spline", "field": "whole"}
    },
    "ae_dice": {"network": SIGMOID, "loss": {"name": "value_dice"}},
    "ae_boundary": {"network": AE, "loss": {"name": "value_boundary", **PUBLISHED}, "implant": {"threshold": 0.0}},
    "ae_mse_boundary": {"network": AE, "loss": {"name": "value_mse_boundary", **PUBLISHED}},
    "ae_dice_boundary": {"network": SIGMOID, "loss": {"name": "value_dice_boundary", **PUBLISHED}},
    "gan": {
        "network": AE, "loss": {"name": "value_mse"},
        "implant": {"adversary": {"network": {"name": "cranial_discriminator", "width": 2}, "weight": 0.1}},
    },
    "ae_patch": {"network": AE, "loss": {"name": "value_mse"}, "implant": {"sees": "patches"}, "training": {"patch": [16, 16, 16]}},
    "coarse": COARSE,
    "fine": {
        "network": {"name": "c2f_n2", "width": 2}, "loss": {"name": "dice"}, "needs": ["coarse"],
        "implant": {"sees": "box", "grid": [32, 64, 32], "margin_voxels": 3},
    },
    "our_coarse": {**OURS, "implant": {"defects": "both", "spacing_mm": 6.0, "grid": [32, 40, 24]}, "training": {"augmentation": "light"}},
    "our_fine": {
        **OURS, "needs": ["our_coarse"], "implant": {"sees": "windows", "defects": "on_line"},
        "training": {"patch": [16, 16, 16], "flip": ["x"]},
    },
    "boundary_rebalanced": {**OURS, "loss": {"name": "dice_boundary", "start": 0.0}, "training": {"flip": ["x"]}},
}  # fmt: skip
NEEDS = {name: preset.get("needs", [None])[0] for name, preset in PRESETS.items()}


def skulls(folder: Path, subjects: int = 5, spacing: float = SPACING_MM) -> Path:
    """Phantom skulls with defects, the last two of the split `test`; returns scans.tsv."""
    lines = ["subject\tscan\tmodality\timage\tdefective\timplant\tsplit"]
    for i in range(subjects):
        scan = draw(3, f"p{i}", ("burr_box", "irregular")[i % 2], spacing)
        for part, values in scan.volumes.items():
            write_nifti(folder / f"s{i}_{part}.nii.gz", values, scan.grid)
        split = "test" if i >= subjects - 2 else "train"
        lines.append(f"p{i}\ts{i}\tmask\ts{i}_image.nii.gz\ts{i}_defective.nii.gz\ts{i}_implant.nii.gz\t{split}")
    return imported(folder, lines, {})


def settings(name: str = "ae_mse", **more: Any) -> ImplantSettings:
    """Settings of a preset; `implant` and `training` are merged key by key."""
    preset = PRESETS[name]
    own = {"grid": GRID} if preset.get("implant", {}).get("sees", "cap") == "cap" else {}
    options = ImplantOptions(**(own | preset.get("implant", {}) | more.pop("implant", {})))
    training = {
        "steps": 2, "batch": 2, "optimizer": "adam", "rate": 2e-4, "schedule": "constant", "clip": 0.0,
        "weight_decay": 0.0, "augmentation": "none", "validate_every": 1, "validation": 0.3, "validation_cases": 1,
    } | preset.get("training", {}) | more.pop("training", {})  # fmt: skip
    content = {
        "study": "s", "arm": "a", "model": name, "cohort": "c", "by_fold": False, "kind": "implant",
        "implant": options.plain(), "needs": preset.get("needs", []),
        "network": preset["network"], "loss": preset["loss"], "training": Training(**training).model_dump(),
        "own": "", "task": "implant", "entry": "volforge.tasks.implant.train:train", **more,
    }  # fmt: skip
    return ImplantSettings.of(content)


ARM = {
    "task": "implant", "structures": [{"structure": "implant", "side": "", "id": 1}],
    "inference": Inference().model_dump() | {"threads": 1},
}  # fmt: skip


def ball(scan: str, skull: Array, grid: Grid, seed: int, index: int) -> Array:
    """A defect that is drawn quickly: a ball about a voxel of the upper bone."""
    import numpy as np

    rng = np.random.default_rng([seed, index])
    bone = np.argwhere(skull)
    upper = bone[bone[:, 2] > np.quantile(bone[:, 2], 0.7)]
    centre = upper[int(rng.integers(len(upper)))]
    distance = [(np.arange(n) - c) * s for n, c, s in zip(skull.shape, centre, grid.spacing_mm, strict=True)]
    squares = distance[0][:, None, None] ** 2 + distance[1][None, :, None] ** 2 + distance[2][None, None, :] ** 2
    return np.asarray(skull & (squares < rng.uniform(20, 30) ** 2))
