"""A run that ends with failures still leaves a page: what is there, and why the rest is not."""

import json

import numpy as np
import pytest

from tests.conftest import ROOT, ball_ct, save, snakemake, volforge
from volforge.workflow.run import load_run
from volforge.workflow.unfinished import Left, reasons

HEAD = "subject\tscan\tmodality\timage\tlabels\tlabel_source\n"
STUDY = """
  {name}:
    task: segmentation
    cohort: {cohort}
    folds: [0, 1]
    cases: 0
    arms:
      mean: {{baseline: mean_labels}}
"""


@pytest.fixture
def folder(tmp_path):
    """Two cohorts of two scans with a study each; all images of `bad` are no volumes."""
    for name in ("good", "bad"):
        lines = []
        for k in range(2):
            image = save(tmp_path / f"{name}{k}.nii.gz", ball_ct(radius=11 + k) + np.int16(k))
            save(tmp_path / f"{name}{k}_l.nii.gz", (ball_ct(radius=5 + k) > 0).astype(np.uint8))
            if name == "bad":
                image.write_bytes(b"no volume")
            lines.append(f"{name}{k}\t{name}{k}\tCT\t{name}{k}.nii.gz\t{name}{k}_l.nii.gz\texpert\n")
        (tmp_path / f"{name}.tsv").write_text(HEAD + "".join(lines))
        (tmp_path / f"{name}.structures.tsv").write_text("structure\tid\nball\t1\n")
    studies = "".join(STUDY.format(name=f"of_{c}", cohort=c) for c in ("good", "bad"))
    (tmp_path / "c.yaml").write_text(
        "cohorts:\n  good: {sheet: good.tsv, folds: 2}\n"
        "  bad: {sheet: bad.tsv, folds: 2, on_bad_scan: exclude, recipes: [r]}\n"
        f"recipes:\n  r: {{kind: region, around: image}}\nstudies:{studies}"
    )
    return tmp_path


LOCAL = ("--profile", ROOT / "profiles/local")
BARE = ("--cores", "2")  # no `--keep-going`: `exclude` says so


def run(folder, how):
    return snakemake(*how, "--configfile", "c.yaml", cwd=folder)


@pytest.mark.slow
@pytest.mark.parametrize("how", [LOCAL, BARE], ids=["profile", "bare"])
def test_a_cohort_whose_scans_are_all_refused_costs_only_what_is_its_own(folder, how):
    """It was: no page at all."""
    done = run(folder, how)
    assert done.returncode != 0
    assert "study of_bad: its cohort bad: no scan of 2 was accepted" in done.stdout + done.stderr
    page = (folder / "results/report.html").read_text()
    assert "This page is not complete" in page
    assert "Study <code>of_bad</code>: not run" in page
    assert "its cohort bad: no scan of 2 was accepted" in page
    assert "2 of 2 scans were refused" in page
    assert page.count("damaged or truncated") >= 2  # in the list of excluded scans
    assert "Study <code>of_good</code></h2>" in page
    assert (folder / "results/studies/of_good/table.json").exists()
    assert not (folder / "results/provenance.json").exists()
    if how is BARE:  # without the logger of the profiles there is no journal, and the rest is the same
        return
    states = {(e["part"], e["rule"]): e["state"] for e in json.loads(volforge("status", "--json", cwd=folder).stdout)}
    assert states["report", "report"] == "waiting"
    assert states["cohort bad", "collect_scans"] == "failed"
    assert states["study of_good", "make_table"] == "done"
    for k in range(2):  # mended: the page is whole
        save(folder / f"bad{k}.nii.gz", ball_ct(radius=11 + k) + np.int16(5 + k))
    assert run(folder, how).returncode == 0
    page = (folder / "results/report.html").read_text()
    assert "not complete" not in page
    assert "Study <code>of_bad</code></h2>" in page
    assert (folder / "results/provenance.json").exists()
    assert not (folder / "results/cohorts/bad/refused.tsv").exists()


def test_reasons_name_the_first_cause(folder):
    resolved = load_run([folder / "c.yaml"], check_files=False)
    assert reasons(resolved, []) == {"cohorts": {}, "recipes": {}, "studies": {}}
    log = folder / "logs/x.log"
    log.parent.mkdir()
    log.write_text("volforge: the loss is not finite\n  remedy: lower the rate\n")
    measure = {"study": "of_good", "arm": "mean", "fold": "1", "seed": "0"}
    table = Left("make_table", {"study": "of_good"})
    found = reasons(resolved, [Left("measure", measure, True, ["logs/x.log"]), table], folder)
    assert found["studies"] == {"of_good": "the loss is not finite\n  remedy: lower the rate"}
    found = reasons(resolved, [Left("measure", measure, True, ["logs/none.log"]), table], folder)
    assert found["studies"] == {"of_good": "measure (arm mean, fold 1, seed 0) failed without a message"}
    index = Left("index_recipe", {"cohort": "bad", "recipe": "r"}, True, ["logs/x.log"])
    found = reasons(resolved, [index, Left("make_table", {"study": "of_bad"})], folder)
    assert found["recipes"] == {"bad/r": "the loss is not finite\n  remedy: lower the rate"}
    assert found["studies"]["of_bad"].startswith("recipe r of its cohort bad: the loss")
    many = "".join(f"  s{k}: damaged\n" for k in range(99))
    log.write_text(f"a warning\nvolforge: 99 of 99 scans were refused:\n{many}  remedy: mend them\n")
    collect = Left("collect_scans", {"cohort": "bad"}, True, ["logs/x.log"])
    found = reasons(resolved, [collect, Left("make_table", {"study": "of_bad"})], folder)
    assert found["cohorts"]["bad"].startswith("99 of 99 scans were refused:\n  s0: damaged")
    assert found["studies"] == {"of_bad": "its cohort bad: 99 of 99 scans were refused"}
    found = reasons(resolved, [table], folder)
    assert "waits for what failed elsewhere" in found["studies"]["of_good"]


def test_a_cohort_that_stops_at_a_bad_scan_is_named_with_it(folder):
    resolved = load_run([folder / "c.yaml"], check_files=False)
    scan = Left("import_scan", {"cohort": "bad", "scan": "bad0"}, True, ["logs/none.log"])
    left = [scan, Left("collect_scans", {"cohort": "bad"}), Left("make_table", {"study": "of_bad"})]
    found = reasons(resolved, left, folder)
    assert found["cohorts"] == {"bad": "import_scan (cohort bad, scan bad0) failed without a message"}
    assert found["studies"] == {"of_bad": f"its cohort bad: {found['cohorts']['bad']}"}
