"""The text of a first configuration and of empty tables, with comments for whoever reads them for the first time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from volforge.tasks.starting import Start
from volforge.workflow import shipped

KEYS = {
    "sheet": "one row per scan; where it has labels, the table beside it names them",
    "root": "the sheet's paths start here: change it where the data lie elsewhere",
    "licence": "printed in the report",
    "on_bad_scan": "a scan that cannot be used is left out, and listed with the reason; stop: the run ends",
    "folds": "subjects are dealt into so many parts; each can be tested by what the others taught",
    "body_mask": "crops inside the body: all of it is body, and no air is around it",
    "background": "what stands outside of the body: as in the file",
}
COLUMNS = "subject\tscan\tmodality\tunit\timage\tlabels\tlabel_source\n"


def empty_sheet() -> str:
    """A sheet without rows: what its columns mean."""
    return (
        "# One row per scan, cells parted by tabs. Paths start from this folder (or from `root` in config.yaml).\n"
        "# subject: the patient; splits are made by it. scan: a short name. modality: CT, CBCT, MR or mask.\n"
        "# unit: empty is HU for CT; hu+1024 where air is 0. labels: a map of numbers, named in scans.structures.tsv.\n"
        "# label_source: expert, derived, model or predicted. An example of a row:\n"
        "# patient 1\tp1-ct\tCT\t\tp1/ct.nii.gz\tp1/organs.nii.gz\texpert\n"
        "# and of scans.structures.tsv beside this file, with its head (side: left, right or empty):\n"
        "# structure\tid\tside\n"
        "# kidney_left\t1\tleft\n"
        f"# All columns: {shipped.folder() / 'config/README.md'}\n"
        "# Public data sets and DICOM: volforge new FOLDER --layout NAME DATA writes the sheet.\n"
        f"{COLUMNS}"
    )


def configuration(
    cohort: Mapping[str, Any], name: str, studies: Mapping[str, Start], left_out: Mapping[str, str]
) -> str:
    """A configuration of one cohort.

    Args:
        cohort: Its keys.
        name: Of the cohort.
        studies: First studies by name; those with a doubt become comments.
        left_out: Tasks without a study that runs, with the reason.
    """
    recipes = {n: r for s in studies.values() if not s.doubt for n, r in s.recipes.items()}
    doubted = {n: r for s in studies.values() for n, r in s.recipes.items() if n not in recipes}
    parts = [_head(f"Project of the cohort {name}."), "cohorts:", f"  {name}:"]
    parts += [f"    {key}: {_yaml(value)}{_comment(key)}" for key, value in cohort.items()]
    if recipes or doubted:
        parts += ["", "# how scans are cut for networks", *(["recipes:"] if recipes else ["# recipes:"])]
        parts += [f"  {n}: {r}" for n, r in recipes.items()] + [f"#   {n}: {r}" for n, r in doubted.items()]
    runs = any(not s.doubt for s in studies.values())
    parts += ["", "# each study is one table of results/report.html; its arms are the columns that are compared"]
    parts += ["studies:"] if runs else ["# studies:"]
    for study, start in studies.items():
        lines = [f"  {study}:", *(f"    {line}" for line in start.study.splitlines())]
        parts += [f"# not run as it is: {start.doubt}", *(f"# {line}" for line in lines)] if start.doubt else lines
    other = {t: why for t, why in left_out.items() if not any(s.endswith(f"_{t}") for s in studies)}
    if other:
        parts += ["", "# not for these data:", *(f"#   {task}: {why}" for task, why in other.items())]
    parts += ["", "report:", f"  title: {name} # heading of the page"]
    return "\n".join(parts) + "\n"


def template() -> str:
    """A configuration to fill: it is one as soon as the sheet has rows."""
    return (
        _head("A project to fill: write scans.tsv first.")
        + """
cohorts:
  mine:
    sheet: scans.tsv # one row per scan; what is labelled is named in scans.structures.tsv beside it
    # root: /where/the/data/lie   # the sheet's paths start here; without it, from this folder
    on_bad_scan: exclude # a scan that cannot be used is left out, and listed with the reason; stop: the run ends
    folds: 4 # subjects are dealt into so many parts; each can be tested by what the others taught
    recipes: [volume] # cut whether a study asks for it or not

# how scans are cut for networks; spacing along left-right, back-front, feet-head in mm
recipes:
  volume: {kind: region, around: body, spacing_mm: [3, 3, 3]}

# Each study is one table of results/report.html; its arms are the columns that are compared. Take the # away once
# scans have labels. All keys: docs/configuration.md, other tasks: docs/studies.md.
# studies:
#   mine:
#     task: segmentation
#     cohort: mine
#     folds: [0] # this fold of the subjects is tested
#     arms:
#       mean_labels: {baseline: mean_labels} # learns nothing but the most frequent label at each place
#       volforge:
#         models:
#           all:
#             recipe: volume
#             network: {name: residual_unet, width: 8, levels: 3, blocks: [1], norm: batch}
#             loss: dice_ce
#             training: {steps: 300, patch: [48, 48, 48], rate: 0.005, ema: 0.95, augmentation: none}

report:
  title: mine # heading of the page
"""
    )


def _head(first: str) -> str:
    schema = shipped.folder() / "config/schemas/config.schema.json"
    return (
        f"# yaml-language-server: $schema={schema}\n"
        f"# {first} In this folder:\n"
        "#   volforge validate   every mistake in this file and its sheet, with line and remedy\n"
        "#   volforge run -n     what would run\n"
        "#   volforge run        runs it; the page to read is results/report.html\n"
        "# The sizes here are for a first look on a laptop. Change settings at any time: what they touch runs again.\n"
        f"# Pages that are named docs/... here and in messages lie in {shipped.folder()}\n"
    )


def _comment(key: str) -> str:
    return f" # {KEYS[key]}" if key in KEYS else ""


def _yaml(value: Any) -> str:
    """A value in one line: JSON is YAML, but for needless quotes of keys."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k}: {_yaml(v)}' for k, v in value.items())}}}"
    if isinstance(value, str) and value.replace("_", "").replace(".", "").replace("-", "").isalnum():
        return value if not value[0].isdigit() else json.dumps(value)
    return json.dumps(value, ensure_ascii=False)
