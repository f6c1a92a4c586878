"""A task of one's own, in a file outside of the package: planned, trained, predicted, measured, tabled, on the page."""

import json
import re
import shutil

import pytest

from tests.conftest import ROOT, snakemake
from volforge.volume.folders import read_rows

OWN = ROOT / "tests/tasks/own"


@pytest.fixture
def project(tmp_path):
    shutil.copytree(ROOT / "tests/workflow/sheets", tmp_path / "sheets")
    for name in ("threshold.py", "config.yaml"):
        shutil.copy(OWN / name, tmp_path)
    return tmp_path


def test_docs_show_the_file_and_the_study_that_are_tested():
    page = (ROOT / "docs/a-task-of-your-own.md").read_text()
    assert (OWN / "threshold.py").read_text().strip() in page
    assert (OWN / "config.yaml").read_text().split("studies:\n")[1].strip() in page
    assert len((OWN / "threshold.py").read_text().splitlines()) < 110


@pytest.mark.slow
@pytest.mark.xdist_group("end_to_end")
def test_own_task_from_sheet_to_page(project):
    done = snakemake("--profile", ROOT / "profiles/local", "--configfile", "config.yaml", cwd=project)
    assert done.returncode == 0, done.stderr[-4000:]
    study = project / "results/studies/bone_threshold"
    model = study / "volforge/fold0/seed0/models/threshold"
    about = json.loads((model / "model.json").read_text())
    assert about["fitted"] is True
    assert about["subjects"]["training"] == ["body-subject-13"]
    table = read_rows(study / "table.tsv", "a table", ("arm", "measure", "mean", "failures"))
    dice = {r["arm"]: r for r in table if r["measure"] == "dice"}
    assert float(dice["volforge"]["mean"]) > 0.3
    assert dice["nothing"]["failures"] == "1"
    page = (project / "results/report.html").read_text()
    assert "bone_threshold" in page
    assert list((study / "volforge/fold0/seed0/cases").glob("*.png"))
    again = snakemake("--configfile", "config.yaml", "-n", cwd=project)
    assert "Nothing to be done" in again.stdout + again.stderr
    own = project / "threshold.py"
    own.write_text(own.read_text().replace("* (np.mean(inside)", "* 1.0 * (np.mean(inside)"))
    changed = snakemake("--configfile", "config.yaml", "-n", "--quiet", "rules", cwd=project)
    rules = set(re.findall(r"^(\w+) +\d+$", changed.stdout + changed.stderr, re.MULTILINE))
    assert {"train_model", "predict", "measure"} <= rules
    assert not {"make_phantoms", "import_scan", "collect_scans"} & rules


def test_mistakes_in_an_own_task_are_named_with_their_line(project):
    (project / "config.yaml").write_text((project / "config.yaml").read_text().replace("share: 0.4", "share: 2"))
    done = snakemake("--configfile", "config.yaml", "-n", cwd=project)
    assert done.returncode != 0
    assert "config.yaml:11:5: studies.bone_threshold.share" in done.stdout + done.stderr


def test_an_entry_that_is_not_there_is_named(project):
    own = project / "threshold.py"
    own.write_text(own.read_text().replace('":predict"', '":predicts"'))
    done = snakemake("--configfile", "config.yaml", "-n", cwd=project)
    assert done.returncode != 0
    assert "config.yaml:8:5: studies.bone_threshold.task" in done.stdout + done.stderr
    assert "predicts" in done.stdout + done.stderr
