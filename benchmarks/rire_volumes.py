"""Neighbouring slices and joined views on the whole T1 of RIRE 001: what they give over one axial slice at a time.

Usage: python -m benchmarks.rire_volumes FOLDER [--data ../shared/data] [--steps 1400] [--precision 32-true]

Middle slices have no neighbours, so these models are painted from the whole head CTs of SynthRAD2023 alone, seven
subjects, at slices of 4 mm as RIRE has them (means of four). `views` joins three models of a third of the steps each,
`views_tripled` three of all of them. FOLDER gets the CTs, their sheet, a configuration and what Snakemake makes of it;
every arm is written back by `volforge model predict` and measured by `benchmarks/rire.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import yaml

from benchmarks.rire import FOLDER, Patient, as_text, controls, depth_control, heads, measure, read_prediction
from volforge.volume.geometry import Array

ROOT = Path(__file__).parents[1]
THICK = 4  # slices of 1 mm that are one of RIRE's
STUDY = "rire_volumes"
VIEWS = {"axial": [128, 112], "coronal": [128, 128], "sagittal": [128, 128]}  # pixels of 2 mm that hold every head
ARMS: dict[str, list[tuple[str, str]]] = {
    # arm of the table: models that it joins, as (arm, model) of the configuration
    "axial": [("axial", "axial")],
    "axial, three slices": [("slab", "axial")],
    "coronal": [("tripled", "coronal")],
    "sagittal": [("tripled", "sagittal")],
    "views": [("third", v) for v in VIEWS],
    "views_tripled": [("axial", "axial"), ("tripled", "coronal"), ("tripled", "sagittal")],
}


def thick(values: Array) -> Array:
    """Means of four slices each; what is left at the upper end is dropped."""
    count = values.shape[2] // THICK
    parts = values[:, :, : count * THICK].reshape(*values.shape[:2], count, THICK)
    return np.rint(parts.mean(axis=3)).astype(np.int16)


def write_cohort(data: Path, folder: Path) -> None:
    """The CTs and the sheet. A study wants something to measure: RIRE stands in it, and only models are asked for."""
    lines = ["subject\tscan\tmodality\tunit\tframe\timage\tsplit"]
    for file in sorted((data / "synthrad23_head_ct/ct").glob("*_ct.nii.gz")):
        image: Any = nib.load(file)
        affine = image.affine.copy()
        affine[:3, 3] += affine[:3, 2] * (THICK - 1) / 2
        affine[:3, 2] *= THICK
        name = file.name.removesuffix("_ct.nii.gz")
        nib.save(nib.Nifti1Image(thick(np.asanyarray(image.dataobj)), affine), folder / f"{name}.nii.gz")
        lines.append(f"{name}\t{name}-ct\tCT\thu\t\t{name}.nii.gz\ttrain")
    for modality, unit, file in (("MR", "arbitrary", "mri_t1_example"), ("CT", "hu", "derived_ct_on_mr_grid")):
        path = data / FOLDER / f"{file}.nii.gz"
        lines.append(f"rire001\trire001-{modality.lower()}\t{modality}\t{unit}\tmr\t{path}\ttest")
    (folder / "sheet.tsv").write_text("\n".join(lines) + "\n")


def write_configuration(folder: Path, steps: int, precision: str, seeds: list[int]) -> Path:
    """The models, with the settings of `volforge` in config/examples/head_mr_to_ct.yaml but for the slices."""
    window = {"kind": "hu", "low": -1000, "high": 1800}
    recipes = {
        v: {"kind": "slices", "axis": v, "spacing_mm": 2, "size": s, "ct_window": window} for v, s in VIEWS.items()
    }
    painted = {"method": "painted", "bone": 0.5, "beta1": 0.9}
    part = {"steps": steps // 3}
    content = {
        "cohorts": {"whole_heads": {"sheet": "sheet.tsv", "root": "."}},
        "recipes": recipes,
        "studies": {
            STUDY: {
                "task": "translation",
                "cohort": "whole_heads",
                "source": {"modality": "MR"},
                "target": {"modality": "CT"},
                "seeds": seeds,
                "defaults": {
                    "network": {"name": "resnet_generator", "width": 16, "blocks": 5},
                    "translation": painted,
                    "training": {
                        "steps": steps, "batch": 4, "precision": precision, "rate": 1.0e-3, "schedule": "late_linear",
                        "clip": 0, "ema": 0.995, "augmentation": "light", "flip": ["x"], "validation": 0,
                        "which": "latest", "validate_every": steps,
                    },
                },
                "arms": {
                    "axial": {"models": {"axial": {"recipe": "axial"}}},
                    "slab": {"models": {"axial": {"recipe": "axial", "translation": {**painted, "context": 1}}}},
                    "third": {"models": {v: {"recipe": v, "training": part} for v in VIEWS}},
                    "tripled": {"models": {v: {"recipe": v} for v in ("coronal", "sagittal")}},
                },
            }
        },
    }  # fmt: skip
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def model_of(folder: Path, arm: str, model: str, seed: int) -> Path:
    """Folder of a trained model."""
    return folder / "results/studies" / STUDY / arm / f"fold0/seed{seed}/models" / model


def main() -> None:
    """Train, write back, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--steps", type=int, default=1400)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cores", default="all")
    given = parser.parse_args()
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sheet.tsv").exists():
        write_cohort(given.data.resolve(), folder)
    configuration = write_configuration(folder, given.steps, given.precision, given.seeds)
    wanted = sorted({m for models in ARMS.values() for m in models})
    folders = [model_of(folder, *m, seed) for m in wanted for seed in given.seeds]
    targets = [str((f / "model.json").relative_to(folder)) for f in folders]
    words = ["--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles/local", "--cores", given.cores]
    command = [sys.executable, "-m", "snakemake", *words, *targets, "--configfile", configuration]
    subprocess.run([str(w) for w in command], cwd=folder, check=True)
    patient, rows = Patient.load(given.data), {}
    for arm, models in ARMS.items():
        for seed in given.seeds:
            out = folder / f"{arm.replace(', ', '_').replace(' ', '_')}-{seed}.nii.gz"
            weights = [w for m in models for w in ("--weights", str(model_of(folder, *m, seed)))]
            mr = given.data.resolve() / FOLDER / "mri_t1_example.nii.gz"
            said = ["--image", str(mr), "--modality", "MR", *weights, "--out", str(out)]
            subprocess.run([sys.executable, "-m", "volforge", "model", "predict", *said], check=True)
            rows[f"{arm}, seed {seed}"] = measure(patient, read_prediction(out, patient))
    training = heads(given.data)
    rows |= controls(patient, ((hu, body) for hu, body, _ in training)) | depth_control(patient, training)
    print(as_text(rows))
    print("one patient: no interval, no test")


if __name__ == "__main__":
    main()
