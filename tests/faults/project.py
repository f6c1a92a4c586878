"""A tiny project that has a job of every kind: volumes of 24 x 24 x 24, networks of two steps, some forty jobs."""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.conftest import ball_ct, save

KINDS = {
    "cohort phantoms": "make_phantoms",
    "scan label": "make_labels",
    "scan import": "import_scan",
    "cohort collect": "collect_scans",
    "scan cut": "cut_scan",
    "cohort index": "index_recipe",
    "scan export": "export_slices",
    "model distances": "make_distances",
    "model train-encoder": "train_slice_encoder",
    "model train-judge": "train_judging_segmenter",
    "model train": "train_model",
    "model predict": "predict",
    "study measure": "measure",
    "study collect": "collect_measures",
    "study table": "make_table",
    "study figures": "draw_figures",
    "study report": "report",
    "study crate": "write_crate",
}
"""Kinds of jobs that run our code, by the words of their command."""
CONFIGURATION = """
cohorts:
  balls: {{sheet: balls.tsv, recipes: [axial], labels_command: {{command: ["{python}", label.py, "{{image}}", "{{labels}}"], mem_mb: 500}}}}
  skull: {{sheet: skull.tsv, phantom: {{kind: skull, spacing_mm: 10}}, folds: 2}}
recipes:
  whole: {{kind: region, around: image, margin_mm: 0}}
  axial: {{kind: slices, size: [24, 24], spacing_mm: 2}}
studies:
  parts:
    task: segmentation
    cohort: balls
    folds: [0]
    cases: 1
    arms:
      mean: {{baseline: mean_labels}}
      net:
        models:
          all:
            recipe: whole
            network: {{name: unet3d, width: 2, levels: 2}}
            loss: {{name: dice_boundary, start: 0}}
            training: {{steps: 2, batch: 1, patch: [16, 16, 16], augmentation: none, validate_every: 2, validation: 0}}
        inference: {{window: [24, 24, 24]}}
  images:
    task: semantic_synthesis
    cohort: balls
    folds: [0]
    cases: 1
    defaults: {{recipe: axial}}
    metrics: {{encoder_steps: 2, segmenter_steps: {judged}, structural: false}}
    arms:
      mean_painting: {{baseline: mean_painting}}
report: {{title: tiny}}
"""
LABEL = """
import sys
import nibabel as nib
import numpy as np

image = nib.load(sys.argv[1])
values = np.asanyarray(image.dataobj) > 0
labels = values.astype(np.uint8)
labels[labels.shape[0] // 2 :] *= 2
nib.save(nib.Nifti1Image(labels, image.affine), sys.argv[2])
"""
SHEET = "subject\tscan\tmodality\timage\tsplit\n"
SPLITS = ("train", "train", "test")
TABLES = ("table.tsv", "table.md", "table.tex", "table.json", "measures.tsv", "scans.tsv", "index.tsv", "truth.json")
"""Names of the files that must come out the same, byte for byte."""
WHOLE = (".safetensors", ".nii.gz", ".b2nd", ".npy", ".npz", ".ply", ".svg")


def write_project(folder: Path, *, judged: bool = True) -> Path:
    """Write sheets, volumes, the program that makes labels and `c.yaml` into a folder; returns the folder.

    Args:
        folder: Of the project.
        judged: With a segmenter that reads synthetic images, whose start takes longest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k, split in enumerate(SPLITS):
        save(folder / f"{k}.nii.gz", ball_ct((24, 24, 24), 7 + k) + np.int16(k))
        rows.append(f"p{k}\ts{k}\tCT\t{k}.nii.gz\t{split}\n")
    (folder / "balls.tsv").write_text(SHEET + "".join(rows))
    (folder / "balls.structures.tsv").write_text("structure\tid\nleft\t1\nright\t2\n")
    columns = "subject\tscan\tmodality\timage\tdefective\timplant\tcase\n"
    files = "\t".join(f"k_{kind}.nii.gz" for kind in ("image", "defective", "implant"))
    (folder / "skull.tsv").write_text(f"{columns}k\tk\tmask\t{files}\tburr_box\n")
    (folder / "label.py").write_text(LABEL)
    (folder / "c.yaml").write_text(CONFIGURATION.format(python=sys.executable, judged=2 * judged))
    return folder


def copied(finished: Path, folder: Path) -> Path:
    """A project elsewhere, with all that was made; times are kept, so nothing is to be done there."""
    shutil.copytree(finished, folder, symlinks=True)
    return folder


def tables(folder: Path) -> dict[str, str]:
    """SHA-256 of all that must come out the same: tables, weights, volumes, by path below `results`."""
    results = folder / "results"
    found = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results).as_posix()
        is_kept = path.name in TABLES or path.name.endswith(WHOLE)
        if is_kept and not name.startswith("checkpoints/") and not path.name.startswith(".") and path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
