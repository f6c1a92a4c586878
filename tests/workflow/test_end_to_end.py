"""The small configuration of tests/workflow from sheets to the page, and what makes it run again."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, snakemake
from volforge.volume.folders import sha256_of


def project(folder: Path) -> Path:
    """A copy of the small configuration, to be edited by tests."""
    shutil.copytree(ROOT / "tests/workflow/sheets", folder / "sheets")
    shutil.copy(ROOT / "tests/workflow/config.yaml", folder / "config.yaml")
    return folder / "config.yaml"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    file = project(folder)
    done = snakemake("--profile", ROOT / "profiles/local", "--configfile", file, cwd=folder)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "100 %), done" in done.stderr
    return folder


def planned(folder: Path, *arguments: str) -> set[str]:
    """Rules that a dry run would run."""
    done = snakemake("--configfile", folder / "config.yaml", "-n", *arguments, "--quiet", "rules", cwd=folder)
    assert done.returncode == 0, done.stderr
    import re

    table = done.stdout + done.stderr
    names = (
        "make_phantoms write_cohort_settings import_scan collect_scans cut_scan index_recipe report make_labels "
        "write_arm_settings write_predict_settings write_encoder_settings train_slice_encoder predict measure collect_measures write_table_settings make_table "
        "draw_figures"
    )
    return {n for n in names.split() if re.search(rf"^{n}\s+\d+", table, re.MULTILINE)}


pytestmark = pytest.mark.xdist_group("end_to_end")


def test_run_leaves_what_the_plan_says(finished):
    results = finished / "results"
    for cohort, recipe in (("tmj", "joints"), ("skull", "skulls"), ("body", "axial")):
        folder = results / "cohorts" / cohort
        with (folder / "scans.tsv").open() as table:
            rows = list(csv.DictReader(table, delimiter="\t"))
        assert rows
        for row in rows:
            scan = folder / "scans" / row["scan"]
            expected = {"image.nii.gz", "qc.png", "record.json"}
            expected |= (
                {"defective.nii.gz", "implant.nii.gz"} if cohort == "skull" else {"labels.nii.gz", "body.nii.gz"}
            )
            assert {p.name for p in scan.iterdir()} - {"background.png"} == expected | {".volforge"}
            cut = {p.name for p in (folder / "recipes" / recipe / row["scan"]).iterdir()}
            assert {"image.b2nd", "index.tsv", "geometry.json", "record.json"} <= cut
        assert (folder / "recipes" / recipe / "index.tsv").exists()
    origin = json.loads((results / "provenance.json").read_text())
    assert origin["versions"]["snakemake"].startswith("9.")
    assert len(origin["input_sha256"]["body"]) == 4
    assert (results / "report.html").stat().st_size > 50_000
    assert list((finished / "logs").rglob("*.log"))
    assert list((finished / "benchmarks/jobs").rglob("*.tsv"))


def test_nothing_is_left_to_do(finished):
    assert planned(finished) == set()


def test_splits_are_by_subject_and_as_the_sheet_says(finished):
    with (finished / "results/cohorts/body/scans.tsv").open() as table:
        rows = list(csv.DictReader(table, delimiter="\t"))
    assert {(r["subject"][-2:], r["split"]) for r in rows} == {
        ("01", "train"),
        ("13", "train"),
        ("29", "test"),
    }


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    """The finished run elsewhere: times kept, so nothing is to be done there either."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def test_moved_project_needs_no_new_run(copy):
    assert planned(copy) == set()


def test_free_column_reruns_nothing_and_split_reruns_the_table(copy):
    sheet = copy / "sheets/body.tsv"
    lines = sheet.read_text().splitlines()
    lines[1] += "\tremark"
    lines[2:] = [line + "\tchanged" for line in lines[2:]]
    sheet.write_text("\n".join(lines) + "\n")
    assert planned(copy) == set()
    lines[2] = lines[2].replace("\ttrain\t", "\tval\t")
    sheet.write_text("\n".join(lines) + "\n")
    again = planned(copy)
    assert {"collect_scans", "index_recipe", "predict", "report"} <= again
    assert "import_scan" not in again
    assert "cut_scan" not in again


def test_new_row_imports_that_scan_only(tmp_path):
    from tests.conftest import ball_ct, save

    for name in ("a", "b"):
        save(tmp_path / f"{name}.nii.gz", ball_ct())
    sheet = tmp_path / "s.tsv"
    sheet.write_text("subject\tscan\tmodality\timage\np\ta\tCT\ta.nii.gz\n")
    (tmp_path / "config.yaml").write_text("cohorts: {c: {sheet: s.tsv}}\n")
    done = snakemake("--configfile", "config.yaml", "--cores", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    sheet.write_text(sheet.read_text() + "q\tb\tCT\tb.nii.gz\n")
    plan = snakemake("--configfile", "config.yaml", "-n", cwd=tmp_path)
    text = plan.stdout + plan.stderr
    assert "scans/b/record.json" in text
    assert text.count("rule import_scan:") == 1


def test_body_mask_setting_imports_that_cohort_again(copy):
    file = copy / "config.yaml"
    file.write_text(file.read_text().replace("recipes: [axial]", "recipes: [axial]\n    body_mask: {opening_mm: 4}"))
    assert {"write_cohort_settings", "import_scan", "cut_scan", "collect_scans"} <= planned(copy)
    assert "make_phantoms" not in planned(copy)


def test_recipe_setting_cuts_again_without_import(copy):
    file = copy / "config.yaml"
    file.write_text(file.read_text().replace("size: [32, 48]", "size: [32, 32]"))
    assert planned(copy) >= {"cut_scan", "index_recipe", "report"}
    assert "import_scan" not in planned(copy)


def test_config_on_the_command_line_applies(copy):
    assert "cut_scan" in planned(copy, "--config", "recipes={axial: {kind: slices, spacing_mm: 12}}")


def test_png_export_has_the_published_layout(copy):
    done = snakemake("--configfile", copy / "config.yaml", "--cores", "2", "export_png", cwd=copy)
    assert done.returncode == 0, done.stderr[-3000:]
    from PIL import Image

    folder = copy / "results/cohorts/body/png/axial"
    assert {p.name for p in folder.iterdir()} == {"train", "val", "test", "export.json", ".volforge"}
    for split in ("train", "test"):
        images = sorted(p.name for p in (folder / split / "images").iterdir())
        assert images
        assert images == sorted(p.name for p in (folder / split / "labels").iterdir())
        picture = Image.open(folder / split / "images" / images[0])
        assert (picture.mode, picture.size) == ("L", (48, 32))
    assert not list((folder / "val" / "images").iterdir())


def test_the_same_run_gives_the_same_bytes(finished, tmp_path):
    file = project(tmp_path)
    done = snakemake("--configfile", file, "--cores", "1", "results/cohorts/skull/scans.tsv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("cohorts/skull/scans.tsv", "cohorts/skull/scans", "phantoms/skull"):
        assert sha256_of(tmp_path / "results" / name) == sha256_of(finished / "results" / name)


def test_labels_command_that_fails_on_a_scan_excludes_that_scan(tmp_path):
    from tests.conftest import ball_ct, save

    for name in ("good", "bad"):
        save(tmp_path / f"{name}.nii.gz", ball_ct())
    (tmp_path / "segment.py").write_text(
        "import sys, shutil\nif 'bad' in sys.argv[1]: sys.exit(4)\nshutil.copy(sys.argv[3], sys.argv[2])\n"
    )
    save(tmp_path / "map.nii.gz", (ball_ct() > 0).astype("uint8"))
    rows = ["p\tgood\tCT\tgood.nii.gz", "q\tbad\tCT\tbad.nii.gz", "r\tgone\tCT\tgone.nii.gz"]
    (tmp_path / "s.tsv").write_text("subject\tscan\tmodality\timage\n" + "\n".join(rows) + "\n")
    (tmp_path / "config.yaml").write_text(
        "cohorts:\n  c:\n    sheet: s.tsv\n    on_bad_scan: exclude\n    labels_command:\n"
        f"      command: [python, '{tmp_path}/segment.py', '{{image}}', '{{labels}}', '{tmp_path}/map.nii.gz']\n"
    )
    done = snakemake("--configfile", "config.yaml", "--cores", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    with (tmp_path / "results/cohorts/c/scans.tsv").open() as table:
        rows = {r["scan"]: r for r in csv.DictReader(table, delimiter="\t")}
    assert rows["good"]["label_source"] == "model"
    assert "the label command ended with 4" in rows["bad"]["reason"]
    assert "file not found" in rows["gone"]["reason"]


def test_labels_command_runs_as_a_job_and_is_recorded(tmp_path):
    from tests.conftest import ball_ct, save

    save(tmp_path / "a b.nii.gz", ball_ct())
    (tmp_path / "segment.py").write_text(
        "import sys, nibabel as nib, numpy as np\n"
        "i = nib.load(sys.argv[1]); a = (np.asanyarray(i.dataobj) > 0).astype(np.uint8)\n"
        "nib.save(nib.Nifti1Image(a, i.affine), sys.argv[2])\n"
    )
    (tmp_path / "s.tsv").write_text("subject\tscan\tmodality\timage\np\ts\tCT\ta b.nii.gz\n")
    (tmp_path / "s.structures.tsv").write_text("structure\tid\nball\t1\n")
    (tmp_path / "config.yaml").write_text(
        "cohorts:\n  c:\n    sheet: s.tsv\n    labels_command:\n"
        f"      command: [python, '{tmp_path}/segment.py', '{{image}}', '{{labels}}']\n"
        "      version_command: [python, --version]\n      gpu: 0\n"
    )
    done = snakemake("--configfile", "config.yaml", "--cores", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads((tmp_path / "results/cohorts/c/scans/s/record.json").read_text())
    assert record["labels"]["voxels"]["ball"] == int((ball_ct() > 0).sum())
    made = json.loads((tmp_path / "results/cohorts/c/made_labels/s.json").read_text())
    assert made["version"].startswith("Python 3.")
    assert "\tmodel\t" in (tmp_path / "results/cohorts/c/scans.tsv").read_text()


STUDIES = {
    "tmj_segmentation": ("threshold_components", "mean_labels", "volforge"),
    "skull_implant": ("mirror", "residual_unet"),
    "body_semantic_synthesis": ("mean_painting",),
    "body_translation": ("histogram_matching", "volforge"),
}


def test_every_study_leaves_measures_tables_figures_and_cases(finished):
    from volforge.study.measures import COLUMNS

    for study, arms in STUDIES.items():
        folder = finished / "results/studies" / study
        with (folder / "measures.tsv").open() as table:
            rows = list(csv.DictReader(table, delimiter="\t"))
        assert tuple(rows[0]) == COLUMNS
        assert {r["arm"] for r in rows} == set(arms)
        assert any(r["status"] == "ok" for r in rows)
        for name in ("table.tsv", "table.md", "table.tex", "table.json", "cost.tsv", "figures/figures.json"):
            assert (folder / name).stat().st_size > 10, (study, name)
        for part in folder.glob("*/fold*/seed*/cases"):
            assert list(part.glob("*.png")), part
        assert f'id="study-{study}"' in (finished / "results/report.html").read_text()
    page = (finished / "results/report.html").read_text()
    assert page.count("<h3>Feature maps</h3>") == 1, "what predictions leave beside is shown"
    measures = (finished / "results/studies/body_translation/measures.tsv").read_text()
    assert "frechet_slice_encoder" in measures
    assert "\tfid\t" not in measures, "the name FID is kept for the network that defines it"


def test_snakemake_makes_its_own_report_of_a_finished_run(copy):
    done = snakemake("--configfile", copy / "config.yaml", "--report", "run.html", cwd=copy)
    assert done.returncode == 0, done.stderr[-3000:]
    text = (copy / "run.html").read_text()
    assert "Tables" in text
    for study in STUDIES:
        assert study in text


def test_tables_come_again_byte_for_byte(copy):
    before = {}
    for study in STUDIES:
        for path in (copy / "results/studies" / study).glob("table.*"):
            if path.name != "table.settings.json":
                before[path] = path.read_bytes()
                path.unlink()
    assert len(before) == 16
    assert planned(copy, "tables") == {"make_table"}
    done = snakemake("--configfile", copy / "config.yaml", "--cores", "1", "tables", cwd=copy)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {p: p.read_bytes() for p in before} == before


def test_a_note_makes_the_table_again_and_a_threshold_the_predictions_of_that_arm(copy):
    file = copy / "config.yaml"
    file.write_text(file.read_text().replace("mirror: {baseline: mirror}", "mirror: {baseline: mirror, note: read me}"))
    assert planned(copy, "tables", "figures") == {"write_table_settings", "make_table", "draw_figures"}
    plain = "{baseline: threshold_components}"
    file.write_text(file.read_text().replace(plain, "{baseline: threshold_components, threshold_hu: 300}"))
    plan = snakemake("--configfile", file, "-n", cwd=copy)
    text = plan.stdout + plan.stderr
    assert text.count("rule predict:") == 1
    assert "tmj_segmentation/threshold_components/fold0" in text
    assert "rule import_scan:" not in text


def test_settings_of_measuring_make_no_prediction_and_no_encoder_again(copy):
    file = copy / "config.yaml"
    text = file.read_text().replace("metrics: {encoder_steps: 2}", "metrics: {encoder_steps: 2, structural: false}")
    file.write_text(text.replace("    task: implant", "    task: implant\n    cases: 1"))
    again = planned(copy)
    assert {"write_arm_settings", "measure", "make_table", "report"} <= again
    assert not again & {"predict", "train_slice_encoder", "write_predict_settings", "write_encoder_settings"}


def test_predictions_of_others_are_measured_again_when_a_file_changes(copy):
    """A second observer's folder becomes an arm; a file that comes later is seen."""
    import os

    made = copy / "made"
    made.mkdir()
    fold = {r["scan"]: r["fold"] for r in _rows(copy / "results/cohorts/tmj/scans.tsv")}
    tested = next(s for s, f in fold.items() if f == "0")
    truth = copy / f"results/cohorts/tmj/scans/{tested}/labels.nii.gz"
    file = copy / "config.yaml"
    arm = "      second_observer: {predictions: made}\n      mean_labels:"
    file.write_text(file.read_text().replace("      mean_labels:", arm))
    done = snakemake("--configfile", file, "--cores", "1", "results/studies/tmj_segmentation/table.tsv", cwd=copy)
    assert done.returncode == 0, done.stderr[-3000:]
    table = copy / "results/studies/tmj_segmentation/table.tsv"
    cells = [r for r in _rows(table) if r["arm"] == "second_observer" and r["measure"] == "dice"]
    assert {(r["n"], r["failures"]) for r in cells} == {("0", "2")}
    shutil.copy(truth, made / f"{tested}.nii.gz")
    os.utime(made / f"{tested}.nii.gz")
    done = snakemake("--configfile", file, "--cores", "1", "results/studies/tmj_segmentation/table.tsv", cwd=copy)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = [r for r in _rows(table) if r["arm"] == "second_observer" and r["measure"] == "dice"]
    assert {(r["n"], r["mean"], r["best"]) for r in cells} == {("1", "1", "1")}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open() as table:
        return list(csv.DictReader(table, delimiter="\t"))
