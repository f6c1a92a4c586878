"""The network and the loss of docs/an-arm-of-your-own.md, as they are printed: checked, trained, predicted and measured."""

import re

import numpy as np
import pytest

from tests.conftest import ROOT, ball_ct, save, snakemake
from volforge.volume.folders import read_json, read_rows

CONFIGURATION = """
cohorts: {c: {sheet: s.tsv, folds: 2}}
recipes: {r: {kind: region, around: image, margin_mm: 0}}
studies:
  s:
    task: segmentation
    cohort: c
    folds: [0]
    cases: 1
    defaults:
      recipe: r
      training: {steps: 30, batch: 1, patch: [16, 16, 16], rate: 0.01, augmentation: none, validation: 0}
"""


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / "docs/an-arm-of-your-own.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own_arm")
    for k in range(4):
        save(folder / f"{k}.nii.gz", ball_ct(radius=11 + k) + np.int16(k))
        save(folder / f"{k}_l.nii.gz", (ball_ct(radius=11 + k) > 0).astype(np.uint8))
    rows = "".join(f"p{k}\ts{k}\tCT\t{k}.nii.gz\t{k}_l.nii.gz\texpert\n" for k in range(4))
    (folder / "s.tsv").write_text("subject\tscan\tmodality\timage\tlabels\tlabel_source\n" + rows)
    (folder / "s.structures.tsv").write_text("structure\tid\nball\t1\n")
    net, loss = blocks("python")
    (folder / "net.py").write_text(net)
    (folder / "loss.py").write_text(loss)
    arms = "".join(f"    {line}\n" for line in blocks("yaml")[0].splitlines())
    (folder / "c.yaml").write_text(CONFIGURATION + arms)
    return folder


@pytest.mark.slow
def test_the_printed_arm_is_trained_and_tabled(folder):
    done = snakemake("tables", "--cores", "2", "--configfile", "c.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    model = read_json(folder / "results/studies/s/mine/fold0/seed0/models/ball/model.json")
    assert model["network"] == {"name": "net.py:Small", "width": 6}
    table = read_rows(folder / "results/studies/s/table.tsv", "a table", ("arm", "measure", "mean"))
    found = {r["arm"]: float(r["mean"]) for r in table if r["measure"] == "dice" and r["mean"]}
    assert {r["arm"] for r in table} == {"threshold_components", "mine", "volforge"}
    assert found["mine"] > 0.8, "a ball of another intensity is easy"


def test_a_wrong_keyword_is_named_before_anything_runs(folder, monkeypatch):
    from volforge.errors import VolforgeError
    from volforge.workflow.run import load_run

    monkeypatch.chdir(folder)  # paths of own classes start there
    wrong = folder / "wrong.yaml"
    wrong.write_text((folder / "c.yaml").read_text().replace("width: 6", "breadth: 6"))
    with pytest.raises(VolforgeError, match="breadth"):
        load_run([wrong], check_files=False)
