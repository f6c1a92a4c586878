"""The slurm profile through a stand-in for the SLURM commands: what is asked for, and that it runs."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, snakemake, volforge
from tests.workflow.test_fail_once import CAUSE, train_in, write_trainings

STUB = Path(__file__).parent / "stub" / "slurm_stub.py"


@pytest.fixture
def cluster(tmp_path) -> dict[str, str]:
    """Environment with the stub's commands first on the path."""
    commands, state = tmp_path / "bin", tmp_path / "state"
    commands.mkdir()
    state.mkdir()
    for name in ("sbatch", "srun", "sacct", "squeue", "scancel", "sinfo", "scontrol"):
        (commands / name).symlink_to(STUB)
    home = tmp_path / "home"
    home.mkdir()
    return {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "CLUSTER_STUB": str(state),
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
    }


def calls(cluster, name):
    lines = (Path(cluster["CLUSTER_STUB"]) / "calls.jsonl").read_text().splitlines()
    return [c[1:] for c in map(json.loads, lines) if c[0] == name]


def run_folder(tmp_path: Path, body: str) -> Path:
    folder = tmp_path / "run"
    (folder / "sheets").mkdir(parents=True)
    (folder / "profiles").symlink_to(ROOT / "profiles")
    for name in ("skull.tsv",):
        shutil.copy(ROOT / "tests/workflow/sheets" / name, folder / "sheets")
    (folder / "config.yaml").write_text(body)
    return folder


QUICK = ("--seconds-between-status-checks", "1", "--latency-wait", "5")
PATIENCE_S = 600  # beyond the limit of a job of the stand-in, which says more


def run(folder, cluster, *arguments):
    arguments = ("--profile", "profiles/slurm", "--configfile", "config.yaml", *QUICK, *arguments)
    return snakemake(*arguments, cwd=folder, env=cluster, timeout=PATIENCE_S)


SKULL = """cohorts:
  skull: {sheet: sheets/skull.tsv, phantom: {kind: skull, spacing_mm: 8}, recipes: [whole], folds: 2}
recipes:
  whole: {kind: region, around: image}
"""


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_small_workflow_runs_through_the_profile(tmp_path, cluster):
    folder = run_folder(tmp_path, SKULL)
    done = run(folder, cluster, "--retries", "0")  # a job that is lost or hangs is a failure here
    assert done.returncode == 0, done.stderr[-4000:]
    assert (folder / "results/report.html").exists()
    submitted = [" ".join(c) for c in calls(cluster, "sbatch")]
    imports = [c for c in submitted if "rule_import_scan" in c]
    assert len(imports) == 1
    assert "--array=1-2" in imports[0]
    for call in submitted:
        assert " -p cpu " in call
        assert " --mem " in call
        assert " -t " in call
        assert "--gpus" not in call


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_gpu_job_goes_to_the_gpu_partition_and_failures_grow(tmp_path, cluster):
    """A labels command that asks for a GPU and fails the first time: submitted again with more memory."""
    from tests.conftest import ball_ct, save

    folder = run_folder(tmp_path, "")
    save(folder / "a.nii.gz", ball_ct())
    (folder / "s.tsv").write_text("subject\tscan\tmodality\timage\np\ts\tCT\ta.nii.gz\n")
    (folder / "segment.py").write_text(
        "import sys, pathlib, nibabel as nib, numpy as np\n"
        "flag = pathlib.Path(__file__).with_name('tried')\n"
        "if not flag.exists():\n    flag.touch(); sys.exit(3)\n"
        "i = nib.load(sys.argv[1])\n"
        "nib.save(nib.Nifti1Image((np.asanyarray(i.dataobj) > 0).astype(np.uint8), i.affine), sys.argv[2])\n"
    )
    (folder / "config.yaml").write_text(
        "cohorts:\n  c:\n    sheet: s.tsv\n    labels_command:\n      gpu: 1\n      mem_mb: 1000\n"
        f"      command: [python, '{folder}/segment.py', '{{image}}', '{{labels}}']\n"
    )
    done = run(folder, cluster)
    assert done.returncode == 0, done.stderr[-4000:]
    labelled = [" ".join(c) for c in calls(cluster, "sbatch") if "rule_make_labels" in " ".join(c)]
    assert len(labelled) == 2
    assert all(" -p gpu " in c and "--gpus=1" in c for c in labelled)
    assert "--mem 1000 " in labelled[0]
    assert "--mem 2000 " in labelled[1]


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_odd_paths_and_missing_files_are_harmless_in_cluster_jobs(tmp_path, cluster):
    """Paths reach the jobs of a cluster through a shell line that Snakemake writes: none of it may run."""
    from tests.conftest import ball_ct, save

    folder = run_folder(tmp_path, "")
    odd = "o'd $(touch owned) `touch owned` {scan} $HOME"
    save(folder / odd / "a.nii.gz", ball_ct())
    rows = [f"p\tgood\tCT\t{odd}/a.nii.gz", "q\tgone\tCT\tgone.nii.gz"]
    (folder / "s.tsv").write_text("subject\tscan\tmodality\timage\n" + "\n".join(rows) + "\n")
    (folder / "config.yaml").write_text("cohorts: {c: {sheet: s.tsv, on_bad_scan: exclude}}\n")
    done = run(folder, cluster, "--retries", "0")
    assert done.returncode == 0, done.stderr[-4000:]
    table = (folder / "results/cohorts/c/scans.tsv").read_text()
    assert "good\tp\t" in table
    assert "file not found" in table
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
@pytest.mark.parametrize("hooks", [(), ("--no-hooks",)], ids=["ended", "refused"])
def test_what_no_attempt_changes_is_submitted_once(tmp_path, cluster, hooks):
    """A scan that is no volume, under `on_bad_scan: stop`: it was submitted three times (`retries: 2`)."""
    folder = run_folder(tmp_path, "cohorts: {c: {sheet: s.tsv}}\n")
    (folder / "a.nii.gz").write_bytes(b"no volume")
    (folder / "s.tsv").write_text("subject\tscan\tmodality\timage\np\ts\tCT\ta.nii.gz\n")
    how = ("--profile", "profiles/slurm", "--configfile", "config.yaml", *QUICK, *hooks)
    done = snakemake("cohorts", *how, cwd=folder, env=cluster)
    assert done.returncode != 0
    submitted = [" ".join(c) for c in calls(cluster, "sbatch")]
    assert len([c for c in submitted if "rule_collect_scans" in c]) == 1
    assert done.stderr.count("not submitted again: volforge: 1 of 1 scans were refused") == (2 if hooks else 0)
    found = json.loads(volforge("status", "--json", cwd=folder).stdout)
    failed = [(e["rule"], e["attempts"]) for e in found if e["state"] == "failed"]
    assert failed == [("collect_scans", 3 if hooks else 1)]
    assert "damaged or truncated" in (folder / "logs/collect_scans/c.log").read_text()


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
def test_a_training_is_tried_again_as_a_new_job_and_only_if_that_may_help(tmp_path, cluster):
    """It was: tried again within the same job too, in the time and memory that were left of it."""
    folder = run_folder(tmp_path, "")
    write_trainings(folder)
    done, starts = train_in(folder, "--profile", "profiles/slurm", *QUICK, env=cluster)
    assert done.returncode != 0
    submitted = [" ".join(c) for c in calls(cluster, "sbatch")]
    jobs = {arm: len([c for c in submitted if f"rule_train_model_wildcards_s_{arm}_" in c]) for arm in starts}
    assert jobs == {"killed": 2, "stopped": 2, "wrong": 1}, submitted
    assert starts == jobs
    assert CAUSE in done.stderr


def test_make_profile_links_the_profile_by_name(tmp_path, cluster):
    import subprocess

    environment = {**os.environ, **cluster}
    for _ in range(2):
        done = subprocess.run(
            ["make", "-C", str(ROOT), "profile"], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
    link = Path(cluster["XDG_CONFIG_HOME"]) / "snakemake/slurm"
    assert link.resolve() == (ROOT / "profiles/slurm").resolve()
    folder = run_folder(tmp_path, SKULL)
    done = snakemake("-n", "--profile", "slurm", "--configfile", "config.yaml", cwd=folder, env=cluster)
    assert done.returncode == 0, done.stderr
    link.unlink()
    link.mkdir()
    done = subprocess.run(
        ["make", "-C", str(ROOT), "profile"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode != 0
    assert "is not a link" in done.stdout + done.stderr
