"""`volforge status`: before, during and after a run, on one machine; on SLURM see tests/slurm."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, ball_ct, save, snakemake, volforge
from volforge.report.crate import CRATE
from volforge.report.verify import verify
from volforge.workflow.incomplete import note_of
from volforge.workflow.leader import began_of
from volforge.workflow.status import read_journal, why_failed

SHEET = "subject\tscan\tmodality\timage\na\tgood\tCT\ta.nii.gz\nb\tbad\tCT\tb.nii.gz\n"


@pytest.fixture
def folder(tmp_path):
    save(tmp_path / "a.nii.gz", ball_ct())
    (tmp_path / "b.nii.gz").write_bytes(b"no volume")
    (tmp_path / "s.tsv").write_text(SHEET)
    (tmp_path / "c.yaml").write_text(
        "cohorts:\n  c: {sheet: s.tsv, on_bad_scan: exclude, recipes: [r]}\nrecipes:\n  r: {kind: region, around: image}\n"
    )
    return tmp_path


def run(folder, *arguments, env=None):
    return snakemake(
        "--snakefile", ROOT / "Snakefile", "--profile", ROOT / "profiles/local", "--configfile", "c.yaml", *arguments,
        cwd=folder, env=env,
    )  # fmt: skip


def entries(folder, *arguments):
    done = volforge("status", "--json", *arguments, cwd=folder)
    return {(e["rule"], e.get("scan", "")): e for e in json.loads(done.stdout)}, done.returncode


def test_before_a_run_all_waits_and_after_it_the_refused_scan_has_its_reason(folder):
    found, code = entries(folder, "c.yaml")
    assert {e["state"] for e in found.values()} == {"waiting"}
    assert code == 0
    assert run(folder).returncode == 0
    found, code = entries(folder)  # the files of the last run are known
    assert code == 0
    assert found["import_scan", "good"]["state"] == "done"
    assert found["import_scan", "bad"]["state"] == "refused"
    assert "damaged" in found["import_scan", "bad"]["why"]
    assert found["report", ""]["state"] == found["write_crate", ""]["state"] == "done"
    shown = volforge("status", cwd=folder).stdout
    assert "the last run ended" in shown
    assert "refused: cohort c, scan bad" in shown
    assert "cohort c, recipe r" in shown
    assert verify(folder / "results").is_good
    (folder / "results/report.json").write_text("{}")  # of another configuration: both would be made again
    found, _ = entries(folder)
    assert found["report", ""]["state"] == found["write_crate", ""]["state"] == "waiting"


def test_the_crate_follows_the_page_and_that_of_another_page_does_not_stay(folder):
    """It was: all files were hashed before the page was there."""
    assert run(folder, "--until", "report").returncode == 0
    results = folder / "results"
    assert (results / "report.html").exists()
    assert not (results / CRATE).exists()
    found, _ = entries(folder)
    assert found["report", ""]["state"] == "done"
    assert found["write_crate", ""]["state"] == "waiting"
    assert run(folder).returncode == 0
    assert verify(results).is_good
    page = ("--results", results, "--settings", results / "report.json")
    elsewhere = ("--out", folder / "page.html", "--provenance", folder / "provenance.json")
    assert volforge("study", "report", *page, *elsewhere, cwd=folder).returncode == 0
    assert (results / CRATE).exists()
    here = ("--out", results / "report.html", "--provenance", results / "provenance.json")
    assert volforge("study", "report", *page, *here, cwd=folder).returncode == 0
    assert not (results / CRATE).exists()


def test_a_failed_job_shows_the_end_of_its_log_and_then_recovers(folder):
    (folder / "c.yaml").write_text("cohorts:\n  c: {sheet: s.tsv}\n")  # on_bad_scan: stop
    assert run(folder).returncode == 1
    found, code = entries(folder)
    assert code == 1
    failed = [e for e in found.values() if e["state"] == "failed"]
    assert failed
    assert "bad" in failed[0]["why"]
    assert "damaged" in failed[0]["why"]
    assert found["report", ""]["state"] == "waiting"
    shown = volforge("status", cwd=folder)
    assert shown.returncode == 1
    assert "failed: cohort c" in shown.stdout
    save(folder / "b.nii.gz", ball_ct())
    assert run(folder).returncode == 0
    found, code = entries(folder)
    assert {e["state"] for e in found.values()} == {"done"}
    assert code == 0


@pytest.mark.slow
def test_while_a_run_goes_on_and_when_it_is_killed(folder):
    save(folder / "b.nii.gz", ball_ct())
    (folder / "slow.py").write_text(
        "import sys, time, nibabel as nib, numpy as np\ntime.sleep(40)\ni = nib.load(sys.argv[1])\n"
        "nib.save(nib.Nifti1Image((np.asanyarray(i.dataobj) > 0).astype(np.uint8), i.affine), sys.argv[2])\n"
    )
    (folder / "c.yaml").write_text(
        "cohorts:\n  c:\n    sheet: s.tsv\n    labels_command:\n"
        f"      command: [python, '{folder}/slow.py', '{{image}}', '{{labels}}']\n"
    )
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "--profile"]
    process = subprocess.Popen(
        [*command, str(ROOT / "profiles/local"), "--configfile", "c.yaml"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    try:
        states = {}
        end = time.monotonic() + 180
        while time.monotonic() < end:
            time.sleep(0.5)
            if (folder / ".snakemake/volforge/journal.jsonl").exists():
                states, _ = entries(folder)
                if any(e["state"] == "running" for e in states.values()):
                    break
        running = [k for k, e in states.items() if e["state"] == "running"]
        assert len(running) == 1
        assert running[0][0] == "make_labels"
        assert "a run goes on since" in volforge("status", cwd=folder).stdout
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    states, code = entries(folder)
    assert code == 0
    assert states[running[0]]["state"] == "waiting"
    assert "start it again" in states[running[0]]["why"]
    assert "ended from outside" in volforge("status", cwd=folder).stdout


def test_a_dry_run_leaves_the_journal_alone_and_a_torn_line_is_read_over(folder):
    assert run(folder).returncode == 0
    path = folder / ".snakemake/volforge/journal.jsonl"
    before = path.read_text()
    assert run(folder, "-n").returncode == 0
    assert path.read_text() == before
    path.write_text(before + '{"event": "sta')
    journal = read_journal(path)
    assert journal is not None
    assert all(j.state == "finished" for j in journal.jobs)
    assert journal.is_alive is False
    assert run(folder).returncode == 0  # nothing to do: the journal of the last run that did something stays
    assert not path.with_name("previous.jsonl").exists()
    assert run(folder, "--forcerun", "report").returncode == 0
    assert path.with_name("previous.jsonl").exists()


def test_what_a_killed_job_left_is_not_done(folder):
    """It was: done, and made again by the next start. Snakemake's own note counts, with and without a journal."""
    assert run(folder).returncode == 0
    output = "results/cohorts/c/recipes/r/good/record.json"
    note = folder / note_of(output)
    note.parent.mkdir(exist_ok=True)
    note.write_text("{}")
    found, code = entries(folder)
    assert code == 0
    assert found["cut_scan", "good"]["state"] == "waiting"
    assert "start it again" in found["cut_scan", "good"]["why"]
    assert {e["state"] for key, e in found.items() if key != ("cut_scan", "good")} == {"done", "refused"}
    assert run(folder).returncode == 0
    assert not note.exists()
    assert entries(folder)[0]["cut_scan", "good"]["state"] == "done"


def test_notes_are_looked_for_where_snakemake_puts_them(tmp_path, monkeypatch):
    from snakemake.persistence.file import FilePersistence

    (tmp_path / "incomplete").mkdir()
    theirs = FilePersistence.__new__(FilePersistence)
    theirs._max_len = None
    for output in ("results/a.tsv", "results/ä ö/b.json", "results/" + "long/" * 90 + "c.json"):
        path = theirs._record_path(str(tmp_path / "incomplete"), output)
        assert Path(path).relative_to(tmp_path) == note_of(output).relative_to(".snakemake")


def test_a_process_number_that_was_given_again_leads_no_run(tmp_path):
    """It was: a run that goes on for ever, where another process has the number of one that was killed."""
    path = tmp_path / "journal.jsonl"

    def lives(**more):
        head = {"event": "run", "time": 1.0, "configfiles": [], "host": socket.gethostname(), **more}
        path.write_text(json.dumps(head) + "\n")
        return read_journal(path).is_alive

    began = began_of(os.getpid())
    assert lives(pid=os.getpid(), start=began)
    assert lives(pid=os.getpid())  # of a journal that does not say when
    assert not lives(pid=os.getpid(), start=began + 1)
    over = subprocess.Popen(["true"])
    while Path(f"/proc/{over.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert not lives(pid=over.pid)  # ended, and nobody has waited for it
    over.wait()
    assert not lives(pid=over.pid)


def test_a_failure_without_log_says_so(tmp_path):
    from volforge.workflow.status import Job

    job = Job("r", {}, "failed", 0.0, ["logs/none.log"])
    assert why_failed(job, tmp_path) == "no log was written"


def test_a_folder_without_run_and_configuration(tmp_path):
    done = volforge("status", cwd=tmp_path)
    assert done.returncode == 1
    assert "no run was started in this folder" in done.stderr


def test_the_kept_cause_of_a_training_stands_before_the_end_of_its_log(folder):
    from volforge.training.attempt import failure_kept
    from volforge.workflow.run import load_run
    from volforge.workflow.status import standings, with_cause
    from volforge.workflow.steps import steps
    from volforge.workflow.study_jobs import checkpoint_folder

    (folder / "t.structures.tsv").write_text("structure\tid\nball\t1\n")
    (folder / "t.tsv").write_text(SHEET)
    (folder / "t.yaml").write_text(
        "cohorts: {c: {sheet: t.tsv, folds: 2}}\nrecipes: {r: {kind: region}}\nstudies:\n  s:\n"
        "    {task: segmentation, cohort: c, folds: [1], arms: {a: {models: {all: {recipe: r, network: unet3d}}}}}\n"
    )
    run = load_run([folder / "t.yaml"], check_files=False)
    step = next(s for s in steps(run) if s.rule == "train_model")
    assert with_cause("it was killed", run, step, folder) == "it was killed"
    kept = folder / checkpoint_folder(run.studies["s"], "a", "all", 1, 0)
    with pytest.raises(RuntimeError), failure_kept(kept, 1):
        raise RuntimeError("no such precision")
    said = with_cause("it was killed", run, step, folder)
    assert said.startswith("attempt 1 failed: ")
    assert "RuntimeError: no such precision" in said
    assert said.endswith("\nit was killed")
    assert with_cause(said, run, step, folder) == said
    alone = next(s for s in standings(run, None, folder) if s.step.rule == "train_model")  # a run without our logger
    assert (alone.state, alone.why) == ("failed", said.removesuffix("\nit was killed"))
