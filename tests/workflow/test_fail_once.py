"""What no attempt changes fails once, with its cause kept and shown; what may go away is tried again."""

import errno
import json
import os
import re
import subprocess
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import ROOT, ball_ct, save, snakemake, volforge
from volforge.errors import ProblemsError, ScanError, VolforgeError
from volforge.lasting import VARIABLE, is_lasting, leave_marker
from volforge.whole_file import not_written
from volforge.workflow import fail_once

OURS = VolforgeError("no training scan can be used", "s, a/m", "look at the column split")


def wrapped(cause):
    """An error of ours that stands for another one."""
    try:
        raise cause
    except BaseException as error:
        try:
            raise ScanError("the file is damaged", "a.nii.gz") from error
        except ScanError as ours:
            return ours


@pytest.mark.parametrize(
    "error",
    [
        OURS,
        ProblemsError([]),
        wrapped(ValueError("not JSON")),
        wrapped(zlib.error("incorrect header check")),
        wrapped(OSError("image file is truncated")),  # a library's word about content: it has no number
    ],
    ids=str,
)
def test_what_we_say_of_settings_and_data_lasts(error):
    assert is_lasting(error)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        KeyError("x"),
        OSError(errno.EIO, "Input/output error"),
        SystemExit(75),
        KeyboardInterrupt(),
        wrapped(MemoryError()),
        wrapped(RuntimeError("CUDA error: an illegal memory access was encountered")),
        wrapped(OSError(errno.ESTALE, "Stale file handle")),
        wrapped(TimeoutError("timed out")),
        wrapped(subprocess.TimeoutExpired(["x"], 3)),
        wrapped(wrapped(MemoryError())),
        VolforgeError("no GPU is visible to this process", may_pass=True),
        not_written(OSError(errno.ENOSPC, "No space left on device"), Path("a")),
        not_written(RuntimeError("[enforce fail] No space left on device"), Path("a")),
    ],
    ids=lambda error: type(error).__name__,  # the message of a full disk says how much is free at the moment
)
def test_what_may_go_away_does_not_last(error, tmp_path):
    assert not is_lasting(error)
    leave_marker(tmp_path / "m", error)
    assert not (tmp_path / "m").exists()


def test_an_error_raised_while_another_was_handled_counts_with_it():
    """`raise ... from None` hides the lack of memory from the reader, not from us."""
    error = wrapped(MemoryError())
    error.__cause__, error.__suppress_context__ = None, True
    assert not is_lasting(error)


def test_the_marker_says_what_the_user_needs_and_the_first_of_several_processes_counts(tmp_path, capsys):
    marker = tmp_path / "a/b"
    leave_marker(marker, OURS)
    leave_marker(marker, VolforgeError("another process has gone"))
    said = marker.read_text()
    assert said.startswith("volforge: s, a/m: no training scan can be used\n  remedy: look at the column split\n")
    assert "another process" not in said
    assert "not tried again in this run" in said
    assert "not tried again in this run" in capsys.readouterr().err  # in the log of the first attempt too


def test_a_marker_that_cannot_be_written_is_said_and_hides_nothing(tmp_path, capsys):
    (tmp_path / "file").touch()
    leave_marker(tmp_path / "file/m", OURS)
    assert "tried again, since that could not be noted" in capsys.readouterr().err


def test_a_command_leaves_its_marker_only_where_the_workflow_names_one(tmp_path):
    wrong = ("cohort", "collect", "--sheet", "absent.tsv", "--records", "r", "--settings", "[]", "--out", "o.tsv")
    for environment, expected in (({}, []), ({VARIABLE: "here/1"}, ["here/1"])):
        done = volforge(*wrong, cwd=tmp_path, env=environment)
        assert done.returncode == 1
        assert done.stderr.startswith("volforge: ")
        assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == expected
    assert (tmp_path / "here/1").read_text() == done.stderr
    done = volforge("study", "collect", "absent.tsv", "--out", "o.tsv", cwd=tmp_path, env={VARIABLE: "here/2"})
    assert done.returncode == 1
    assert not (tmp_path / "here/2").exists()  # the system's word: a file may be late


def test_programs_that_a_job_starts_are_not_told_of_its_marker(tmp_path):
    save(tmp_path / "a.nii.gz", ball_ct())
    command = json.dumps(["sh", "-c", "env > {labels}"])
    words = ("scan", "label", "--image", "a.nii.gz", "--out", "l.json", "--command", command, "--version-command", "[]")
    done = volforge(*words, cwd=tmp_path, env={VARIABLE: "m", "ANOTHER": "1"})
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "l.nii.gz").read_text().splitlines()
    assert "ANOTHER=1" in told
    assert not [line for line in told if line.startswith(VARIABLE)]


@pytest.fixture
def job_files(tmp_path, monkeypatch):
    """Inputs, settings and a package of two modules."""
    monkeypatch.setattr(fail_once, "PACKAGE", tmp_path / "package")
    for name in ("in.tsv", "c.yaml", "sheet.tsv", "package/a.py", "package/sub/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    return tmp_path


def keys_in(folder):
    """The keys of jobs, as of a process that starts now."""
    key = fail_once.keys_of([str(folder / "c.yaml")], [SimpleNamespace(sheet=folder / "sheet.tsv")])

    def key_in(attempt=2, rule="predict", **wildcards):
        return key({"arm": "a", **wildcards}, [str(folder / "in.tsv")], attempt, rule)

    return key_in


@pytest.mark.parametrize("name", ["in.tsv", "c.yaml", "sheet.tsv", "package/a.py", "package/sub/b.py"])
@pytest.mark.parametrize("how", ["edited", "an older file", "taken away"])
def test_whatever_was_mended_gives_the_job_another_key(job_files, name, how):
    key_in = keys_in(job_files)
    first = key_in(attempt=1)
    assert key_in() == key_in(attempt=3) == keys_in(job_files)() == first
    file = job_files / name
    if how == "edited":
        file.write_text("22")
    elif how == "an older file":
        os.utime(file, (1e9, 1e9))
    else:
        file.unlink()
    assert key_in() != first
    assert keys_in(job_files)(attempt=1) != first


def test_jobs_have_keys_of_their_own(job_files):
    key_in = keys_in(job_files)
    keys = [key_in(), key_in(rule="measure"), key_in(arm="b"), key_in(fold="1")]
    assert len(set(keys)) == 4
    assert all(0 <= k < 2**48 for k in keys)


def test_the_first_attempt_counts_what_its_process_has_read(job_files):
    """Modules that are mended between the start of a run and a job: what that job fails by may be mended too."""
    key_in = keys_in(job_files)
    first = key_in(attempt=1)
    (job_files / "package/a.py").write_text("mended")
    assert key_in(attempt=1) == first
    assert key_in(attempt=2) != first


SHELLS = [s for s in ("bash", "dash", "sh") if any((Path(p) / s).exists() for p in os.environ["PATH"].split(":"))]


def guarded(shell, folder, log="logs/a b.log"):
    """A command behind the guard: exit code, output, errors."""
    (folder / "logs").mkdir(exist_ok=True)
    (folder / log).unlink(missing_ok=True)
    command = f"{fail_once.shell_guard().format()} unless_lasting 7 '{log}'; env > '{log}' 2>&1"
    return subprocess.run([shell, "-c", command], capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_guard_ends_a_job_whose_marker_stands_and_lets_others_pass(shell, tmp_path):
    marker = fail_once.marker_of(7)
    done = guarded(shell, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{VARIABLE}={marker}\n" in (tmp_path / "logs/a b.log").read_text()
    leave_marker(tmp_path / marker, OURS)
    done = guarded(shell, tmp_path)
    assert done.returncode == 1
    assert "no training scan can be used" in done.stderr
    assert "remedy: look at the column split" in done.stderr
    assert (tmp_path / "logs/a b.log").read_text() == (tmp_path / marker).read_text()
    (tmp_path / marker).write_text("")  # not written to its end
    assert guarded(shell, tmp_path).returncode == 0
    (tmp_path / marker).unlink()
    (tmp_path / marker).mkdir()  # something that cannot be read
    assert guarded(shell, tmp_path).returncode == 0


def job(key=7, attempt=1, restart_times=10, is_group=False):
    return SimpleNamespace(
        rule=SimpleNamespace(name="predict"),
        resources={} if key is None else {"failure_key": key},
        attempt=attempt,
        restart_times=restart_times,
        is_group=lambda: is_group,
    )


@pytest.fixture
def marked(tmp_path, monkeypatch):
    """A run's folder with the marker of the key 7."""
    monkeypatch.chdir(tmp_path)
    leave_marker(fail_once.marker_of(7).absolute(), OURS)


@pytest.mark.usefixtures("marked")
def test_no_attempt_is_left_to_a_job_with_a_marker_alone():
    handled = []
    executor = SimpleNamespace(handle_job_error=handled.append)
    fail_once.end_attempts(SimpleNamespace(_executor=executor, _local_executor=None))
    lasting, other, unmarked, group = job(), job(8), job(None), job(is_group=True)
    for one in (lasting, other, unmarked, group):
        executor.handle_job_error(one)
    assert handled == [lasting, other, unmarked, group]
    assert lasting.restart_times <= lasting.attempt - 1  # what Snakemake asks
    assert [j.attempt for j in (other, unmarked, group)] == [1, 1, 1]
    fail_once.end_attempts(SimpleNamespace())  # another Snakemake: nothing is changed


@pytest.mark.usefixtures("marked")
def test_a_run_forgets_what_earlier_ones_failed_by():
    assert fail_once.standing(job()).startswith("volforge: s, a/m: no training scan")
    fail_once.forget()
    assert fail_once.standing(job()) == ""
    fail_once.forget()  # there is nothing


@pytest.mark.usefixtures("marked")
def test_markers_that_cannot_be_removed_stop_a_run(monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fail_once.shutil, "rmtree", refuse)
    with pytest.raises(VolforgeError, match="cannot be removed: Permission denied"):
        fail_once.forget()


def test_every_rule_that_runs_a_command_is_guarded():
    found = 0
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"\n(?=rule )", file.read_text())[1:]:
            command = rule.partition("    shell:\n")[2].lstrip()
            if re.search(r'(^|")volforge ', command):
                found += 1
                assert command.startswith('"unless_lasting {resources.failure_key} {log:q}; "\n'), rule
                assert re.search(r"\n        failure_key=failure_key(_with\(.+\))?,\n", rule), rule
    assert found > 10


NETWORK = """
import os, signal
from pathlib import Path
from torch import nn


class Net(nn.Module):
    '''One convolution. The first time it ends its process as it is told to.'''

    def __init__(self, channels, classes, end="", divisor=1):
        super().__init__()
        self.layer, self.divisor = nn.Conv3d(channels, classes, 1), divisor
        flag = Path(f"{end}.seen")
        if end and not flag.exists():
            flag.touch()
            if end == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise SystemExit(75)

    def forward(self, image):
        return self.layer(image)
"""
# Counts starts of Python for a training; read by every Python that has its folder in PYTHONPATH.
COUNT = """
import os, sys
if "train" in sys.orig_argv:
    with open(os.environ["STARTS"], "a") as file:
        file.write(" ".join(sys.orig_argv) + "\\n")
"""
CONFIGURATION = """
cohorts: {c: {sheet: s.tsv, folds: 2}}
recipes: {r: {kind: region, around: image, margin_mm: 0}}
studies:
  s:
    task: segmentation
    cohort: c
    folds: [0]
    cases: 0
    defaults:
      recipe: r
      training: {steps: 1, batch: 1, patch: [16, 16, 16], augmentation: none}
    arms:
      killed: {models: {m: {network: {name: "net.py:Net", end: killed}}}}
      stopped: {models: {m: {network: {name: "net.py:Net", end: stopped}}}}
      wrong: {models: {m: {network: {name: "net.py:Net", divisor: 7}}}}
"""
CAUSE = "network 'net.py:Net': the patch [16, 16, 16] is no multiple of [7, 7, 7]"


def write_trainings(folder):
    """Three trainings of a few scans: one is killed once, one stops once to go on, one can never go well."""
    for k in range(4):
        save(folder / f"{k}.nii.gz", ball_ct(radius=11 + k) + np.int16(k))
        save(folder / f"{k}_l.nii.gz", (ball_ct(radius=5 + k) > 0).astype(np.uint8))
    rows = "".join(f"p{k}\ts{k}\tCT\t{k}.nii.gz\t{k}_l.nii.gz\texpert\n" for k in range(4))
    (folder / "s.tsv").write_text("subject\tscan\tmodality\timage\tlabels\tlabel_source\n" + rows)
    (folder / "s.structures.tsv").write_text("structure\tid\nball\t1\n")
    (folder / "net.py").write_text(NETWORK)
    (folder / "count").mkdir()
    (folder / "count/sitecustomize.py").write_text(COUNT)
    (folder / "c.yaml").write_text(CONFIGURATION)


def train_in(folder, *how, env=None):
    """A run of the trainings, and how often Python was started for each arm."""
    starts = folder / "starts.txt"
    starts.write_text("")
    path = f"{folder}/count:{os.environ.get('PYTHONPATH', '')}"
    done = snakemake(
        "training", "--configfile", "c.yaml", *how, cwd=folder,
        env={**(env or {}), "PYTHONPATH": path, "STARTS": str(starts)},
    )  # fmt: skip
    names = re.findall(r"--settings results/studies/s/(\w+)/", starts.read_text())
    return done, {name: names.count(name) for name in sorted(names)}


@pytest.mark.slow
def test_a_training_that_cannot_go_well_starts_python_once_and_others_are_tried_again(tmp_path):
    """It was: eleven starts, each of seconds, and on a cluster each through the queue."""
    write_trainings(tmp_path)

    def run(*more):
        return train_in(tmp_path, "--profile", ROOT / "profiles/local", *more)

    def wrong_training():
        entries = json.loads(volforge("status", "--json", cwd=tmp_path).stdout)
        return next(e for e in entries if e["rule"] == "train_model" and e["arm"] == "wrong")

    done, counted = run()
    assert done.returncode != 0
    assert counted == {"killed": 2, "stopped": 2, "wrong": 1}, done.stderr[-6000:]
    assert CAUSE in done.stderr
    assert done.stderr.count("Error in rule train_model") == 3
    entry = wrong_training()
    assert (entry["state"], entry["attempts"]) == ("failed", 1)
    assert CAUSE in entry["why"]
    log = tmp_path / "logs/train_model/s/wrong-m/fold0-seed0.log"
    first = log.read_text()

    done, counted = run("--no-hooks")  # Snakemake counts its attempts: each ends before Python starts
    assert counted == {"wrong": 1}
    assert done.stderr.count("Error in rule train_model") == 11
    assert log.read_text() == first
    entry = wrong_training()
    assert (entry["state"], entry["attempts"]) == ("failed", 11)
    assert CAUSE in entry["why"]

    (tmp_path / "c.yaml").write_text(CONFIGURATION.replace("divisor: 7", "divisor: 8"))
    done, counted = run()
    assert done.returncode == 0, done.stderr[-6000:]
    assert counted == {"wrong": 1}
