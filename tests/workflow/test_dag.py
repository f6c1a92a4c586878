"""The workflow as text: lint, targets, profiles, and a large sheet."""

import re

import pytest
import yaml

from tests.conftest import ROOT, ball_ct, save, snakemake


def test_lint_is_clean(tmp_path):
    done = snakemake("--lint", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_target_of_the_table_of_contents_dry_runs(tmp_path):
    for target in (
        "cohorts",
        "recipes",
        "export_png",
        "training",
        "predictions",
        "measures",
        "tables",
        "figures",
        "report",
        "write_crate",
        "all",
    ):
        done = snakemake("-n", target, "--cores", "1", cwd=tmp_path)
        assert done.returncode == 0, (target, done.stderr)


def test_rules_have_log_environment_and_resources():
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"\n(?=rule )", file.read_text())[1:]:
            for part in ("log:", "conda:", "resources:", "threads:", '"""', "mem_mb=", "runtime="):
                assert part in rule, (file.name, rule.splitlines()[0], part)


def test_jobs_of_a_seed_are_told_it():
    found = {}
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"\n(?=rule )", file.read_text())[1:]:
            output = re.search(r"output:(.*?)\n    log:", rule, re.DOTALL)
            if output and "{seed}" in output[1]:
                found[rule.split()[1].strip(":")] = "--seed {wildcards.seed}" in rule
    assert {name for name, is_told in found.items() if not is_told} == set()
    assert {"predict", "train_model", "measure"} <= set(found)


def test_profiles_name_no_site_and_use_the_resource_gpu():
    for name in ("local", "slurm"):
        text = (ROOT / f"profiles/{name}/config.yaml").read_text()
        profile = yaml.safe_load(text)
        assert "gpu" in profile["resources"]
        assert "slurm_account" not in str(profile)
        assert "gpus" not in profile["resources"]
    assert not (ROOT / "profiles/default").exists()


def test_slurm_profile_dry_runs_from_the_root(tmp_path):
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    done = snakemake("-n", "--profile", "profiles/slurm", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_default_configuration_is_read_only_without_configfile(tmp_path):
    save(tmp_path / "a.nii.gz", ball_ct())
    (tmp_path / "s.tsv").write_text("subject\tscan\tmodality\timage\np\ts\tCT\ta.nii.gz\n")
    (tmp_path / "c.yaml").write_text("cohorts: {mine: {sheet: s.tsv}}\n")
    done = snakemake("-n", "--configfile", "c.yaml", "--cores", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "tmj" not in done.stdout + done.stderr
    assert "cohorts/mine/scans/s/record.json" in done.stdout + done.stderr


def test_unknown_scan_or_cohort_is_named(tmp_path):
    done = snakemake("-n", "results/cohorts/nobody/scans.tsv", "--cores", "1", cwd=tmp_path)
    assert done.returncode != 0
    assert "no cohort 'nobody'" in done.stdout + done.stderr
    done = snakemake("-n", "results/cohorts/tmj/scans/nobody/record.json", "--cores", "1", cwd=tmp_path)
    assert "has no scan 'nobody'" in done.stdout + done.stderr


@pytest.mark.slow
def test_four_thousand_scans_plan(tmp_path):
    """Planning works at this size; its time and memory are measured in benchmarks/bench_plan.py."""
    from benchmarks.bench_plan import write_cohort

    write_cohort(tmp_path, 4000)
    done = snakemake("-n", "--configfile", "config.yaml", "--cores", "1", "--quiet", "rules", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = done.stdout + done.stderr
    assert re.search(r"^import_scan\s+4000", table, re.MULTILINE)
    assert re.search(r"^cut_scan\s+4000", table, re.MULTILINE)
