"""The short form of the faults, with seeds that stay; the long one is `make faults` (docs/faults.md)."""

import json
import random
import shutil
import subprocess

import pytest

from tests.faults.cluster import FEW_RULES, disturbed_on_cluster
from tests.faults.disk import may_mount
from tests.faults.local import (
    LOCAL,
    WITHIN,
    command,
    disturbed,
    environment,
    inside,
    made_again,
    moments_of,
    standings_of,
)
from tests.faults.project import copied, tables
from tests.faults.watch import Watch
from tests.slurm.one_node import OneNode
from tests.slurm.test_cluster import needed
from volforge.workflow.incomplete import note_of

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults")]


def assert_nothing_was_lost(result):
    assert result.differing == []
    assert result.untrue == []
    assert result.asked > 10
    assert [p for p in result.left if "/checkpoints/" in p or p.endswith(".pt.partial")] == []


def test_a_fault_in_every_kind_of_job_and_ends_of_the_leading_process(reference, tmp_path):
    leader = ["kill leader", "kill all", "ctrl-c", *(["disk filled"] if may_mount() else [])]
    result = disturbed(reference, tmp_path, 1, WITHIN, leader)
    assert_nothing_was_lost(result)
    assert len(result.faults) == len(reference.usual) + len(leader)
    assert [f.name for f in result.faults[: len(leader)] if not f.happened] == []
    assert sum(f.happened for f in result.faults) > len(leader) + len(reference.usual) / 2
    assert result.jobs > 0


def test_time_limits_keep_a_checkpoint_and_the_next_try_goes_on(reference, tmp_path):
    """No time at all: each try makes one step, keeps it and ends. Weights and history are those of one try."""
    project = copied(reference.folder, tmp_path / "project")
    shutil.rmtree(project / "results/studies/parts/net")
    shutil.rmtree(project / "results/checkpoints")
    part = "results/studies/parts/net/fold0/seed0/models/all"
    call = command(*LOCAL, "--set-resources", "train_model:runtime=0", targets=[f"{part}/weights.safetensors"])
    done = subprocess.run(
        call,
        cwd=project,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("stopped by the time limit") == 1
    for name in ("weights.safetensors", "history.tsv"):
        assert (project / part / name).read_bytes() == (reference.folder / part / name).read_bytes()
    trained = [s for s in standings_of(project) if s.step.rule == "train_model"]
    assert [(s.state, s.why) for s in trained] == [("done", "")]


def test_a_disk_is_filled_only_where_that_is_permitted():
    if not may_mount():
        pytest.skip("a small file system cannot be mounted here (that needs root): no disk was filled")


def test_faults_of_a_cluster(reference, tmp_path):
    """A training is put back, a node that cannot be reached comes back with its job, the leading process is killed."""
    needed()
    names = ("put back", "node out of reach", "leader killed", "time limit")
    with OneNode(cpus=4, memory_mb=16000) as cluster:
        result = disturbed_on_cluster(reference, tmp_path, cluster, 1, names, FEW_RULES)
    assert_nothing_was_lost(result)
    assert sum(f.happened for f in result.faults) >= len(names) - 1


@pytest.mark.parametrize("seed", range(20))
def test_every_fault_of_the_leading_process_has_a_moment_within_the_run(seed):
    """It was: moments in seconds, and on a quick machine the run was over before three of five came."""
    for count, jobs in ((1, 12), (4, 30), (5, 49)):
        moments = moments_of(count, jobs, random.Random(seed))
        assert moments == sorted(moments)
        assert moments[0] >= 0
        assert moments[-1] < 0.9 * jobs
        assert all(k * 0.9 * jobs / count - 1 < m for k, m in enumerate(moments))


def test_what_is_looked_for_is_found(reference, tmp_path):
    """The harness itself: another byte in a table, and a step that is said to be done and is not whole."""
    project = copied(reference.folder, tmp_path / "project")
    with inside(project):
        assert Watch(reference.tables, False).look() == []
        assert {s.state for s in standings_of(project)} == {"done"}
        table = project / "results/cohorts/balls/scans.tsv"
        table.write_text(table.read_text().replace("s1", "s9"))
        assert {n for n, h in tables(project).items() if h != reference.tables[n]} == {"cohorts/balls/scans.tsv"}
        assert Watch(reference.tables, False).look() == ["said to be done, and not whole: cohorts/balls/scans.tsv"]
        (project / note_of("results/cohorts/balls/scans.tsv")).write_text("{}")
        assert Watch(reference.tables, False).look() == []  # then it is not said
        journal = project / ".snakemake/volforge/journal.jsonl"
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        done = {s.step.key for s in standings_of(project) if s.state == "done"}
        kept = [e for e in lines if e["event"] == "run" or e.get("rule") in ("collect_scans", "index_recipe", "report")]
        journal.write_text("".join(json.dumps(e) + "\n" for e in kept))
        # skull's table was made again for nothing; recipes and report follow from the tables before them
        assert made_again(project, done) == [
            "said to be done, and made again: ('collect_scans', (('cohort', 'skull'),))"
        ]
