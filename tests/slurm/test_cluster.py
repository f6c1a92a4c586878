"""A real SLURM on this machine: what is asked for, arrays, retries, cancellation, with and without accounting."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, hearing_ctrl_c, volforge
from tests.slurm.one_node import OneNode, missing_programs
from volforge.tables.table import read_table

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]
QUICK = ("--seconds-between-status-checks", "1", "--latency-wait", "10")


def needed(accounting: bool = True) -> None:
    if os.getuid() != 0:
        pytest.skip("the daemons of SLURM need root")
    missing = missing_programs(accounting=accounting)
    if missing:
        pytest.skip(
            f"not installed: {', '.join(missing)} (Debian: slurmctld slurmd slurm-client slurmdbd munge mariadb-server)"
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[OneNode]:
    needed()
    with OneNode(cpus=4, memory_mb=16000) as node:
        yield node


def environment(cluster: OneNode, home: Path) -> dict[str, str]:
    here = str(Path(sys.executable).parent)
    os.environ["PATH"] = f"{here}:{os.environ['PATH']}"
    return {**os.environ, **cluster.environment, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}


def snakemake(cluster: OneNode, folder: Path, *arguments: str, timeout: int = 600) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", *arguments, *QUICK]
    return subprocess.run(
        command, cwd=folder, env=environment(cluster, folder), capture_output=True, text=True, timeout=timeout,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def accounts(cluster: OneNode) -> list[dict[str, str]]:
    """All jobs that the cluster has accounted for."""
    fields = ("JobID", "State", "Partition", "ReqMem", "Timelimit", "Comment", "AllocTRES", "JobName")
    text = cluster.command("sacct", "-X", "-n", "-P", "--starttime", "now-1day", "--format", ",".join(fields))
    return [dict(zip(fields, line.split("|"), strict=True)) for line in text.splitlines()]


def wait_for_accounts(cluster: OneNode, run: str) -> list[dict[str, str]]:
    """The jobs of a run when all have ended; the accounts are a second or two late."""
    jobs: list[dict[str, str]] = []
    for _ in range(50):
        jobs = [j for j in accounts(cluster) if j["JobName"] == run]
        if jobs and not any(j["State"] in ("RUNNING", "PENDING") for j in jobs):
            break
        time.sleep(0.2)
    return jobs


def status(cluster: OneNode, folder: Path) -> list[dict[str, str]]:
    done = volforge("status", "--json", cwd=folder, env=environment(cluster, folder))
    return json.loads(done.stdout) if done.stdout.startswith("[") else []


def states_seen(cluster: OneNode, folder: Path, run: threading.Thread) -> set[str]:
    """States that `volforge status` shows while a run goes on; steps on the cluster name their SLURM job."""
    seen = set()
    while run.is_alive():
        for entry in status(cluster, folder):
            seen.add(entry["state"])
            if entry["state"] == "queued":
                assert entry["slurm"]
        time.sleep(2)
    return seen


def run_id(text: str) -> str:
    return next(line.split("SLURM run ID: ")[1].strip() for line in text.splitlines() if "SLURM run ID: " in line)


RULES = {
    "make_phantoms", "import_scan", "collect_scans", "cut_scan", "index_recipe", "make_distances", "train_model",
    "train_slice_encoder", "train_judging_segmenter", "predict", "measure", "make_table", "draw_figures",
    "report", "write_crate",
}  # fmt: skip


def one_of_each_rule(folder: Path) -> None:
    """The small configuration of tests/workflow without studies and arms whose jobs are of rules that others have too."""
    import yaml

    shutil.copytree(ROOT / "tests/workflow/sheets", folder / "sheets")
    content = yaml.safe_load((ROOT / "tests/workflow/config.yaml").read_text())
    studies = content["studies"]
    del studies["tmj_negative_volume"]
    del studies["tmj_segmentation"]["arms"]["threshold_components"]
    del studies["body_translation"]["arms"]["volforge"]
    (folder / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def test_small_workflow_through_the_profile_by_name(tmp_path, cluster):
    """`make profile`, then `snakemake --profile slurm`: jobs of every rule, read back from sacct."""
    one_of_each_rule(tmp_path)
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    made = subprocess.run(
        ["make", "-C", str(ROOT), "profile"],
        env=environment(cluster, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    arguments = ("--snakefile", str(ROOT / "Snakefile"), "--profile", "slurm", "--configfile", "config.yaml")
    results: list[subprocess.CompletedProcess[str]] = []
    run = threading.Thread(target=lambda: results.append(snakemake(cluster, tmp_path, *arguments)))
    run.start()
    seen = states_seen(cluster, tmp_path, run)
    done = results[0]
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:] + cluster.logs()
    # `volforge status` beside it: scans in the queue and at work, each with its SLURM job
    assert {"queued", "running", "done", "waiting"} <= seen
    assert {e["state"] for e in status(cluster, tmp_path)} == {"done"}
    assert (tmp_path / "results/report.html").stat().st_size > 10_000
    jobs = wait_for_accounts(cluster, run_id(done.stderr))
    assert {j["State"] for j in jobs} == {"COMPLETED"}
    assert {j["Partition"] for j in jobs} == {"cpu"}
    by_rule: dict[str, list[dict[str, str]]] = {}
    for job in jobs:
        by_rule.setdefault(job["Comment"].removeprefix("rule_").split("_wildcards")[0], []).append(job)
    sheets = [p for p in (tmp_path / "sheets").glob("*.tsv") if "structures" not in p.name and p.stem != "published"]
    scans = sum(len(read_table(p).rows) for p in sheets)
    assert len(by_rule["import_scan"]) == scans
    assert set(by_rule) == RULES
    assert len(by_rule["predict"]) == len(by_rule["measure"]) == 6
    assert len(by_rule["train_model"]) == 4
    tasks = [j for j in by_rule["import_scan"] if "_" in j["JobID"]]
    assert len(tasks) >= 0.6 * scans  # most were ready together
    assert len({j["JobID"].split("_")[0] for j in by_rule["import_scan"]}) < scans
    assert {j["ReqMem"] for j in by_rule["import_scan"]} == {"1000M"}
    assert {j["Timelimit"] for j in by_rule["import_scan"]} == {"00:20:00"}
    assert {j["ReqMem"] for j in by_rule["report"]} == {"2000M"}


TOY = """
rule all:
    input: expand("out/short_{n}", n=range(6)), "out/gpu", "out/memory", "out/time", "out/stopped"
rule short:
    output: "out/short_{n}"
    resources: mem_mb=500, runtime=5
    # of unlike length; one fails at first, after others have finished
    shell: "sleep {wildcards.n}; if [ {wildcards.n} = 3 ] && [ ! -e tried ]; then touch tried; exit 3; fi; touch {output}"
rule gpu:
    output: "out/gpu"
    resources: gpu=1, mem_mb=500, runtime=7
    shell: "echo $CUDA_VISIBLE_DEVICES > {output}"
rule memory:
    output: "out/memory"
    resources: mem_mb=lambda wildcards, attempt: 400 * attempt, runtime=5
    shell: "python -c 'import time; x = bytearray(420000000); time.sleep(6)' && touch {output}"
rule time:
    output: "out/time"
    resources: mem_mb=500, runtime=lambda wildcards, attempt: attempt
    shell: "if [ -e late ]; then touch {output}; else touch late; sleep 100; fi"
rule stopped:
    output: "out/stopped"
    resources: mem_mb=500, runtime=5
    shell: "if [ -e stopped ]; then touch {output}; else touch stopped; sleep 100; fi"
"""


def interfere(cluster: OneNode, folder: Path, stop: threading.Event) -> None:
    """Cancel the first job of `stopped`, and let the first one of `time` meet its limit at once (limits are minutes)."""
    done: set[str] = set()
    while not stop.is_set() and len(done) < 2:
        for line in cluster.command("squeue", "-h", "-t", "RUNNING", "-o", "%A|%k", check=False).splitlines():
            number, _, comment = line.partition("|")
            if comment == "rule_stopped" and "stopped" not in done and (folder / "stopped").exists():
                cluster.command("scancel", number)
                done.add("stopped")
            if comment == "rule_time" and "time" not in done and (folder / "late").exists():
                soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 2))
                cluster.command("scontrol", "update", f"JobId={number}", f"EndTime={soon}")
                done.add("time")
        time.sleep(0.3)


def test_limits_retries_and_cancellation(tmp_path, cluster):
    (tmp_path / "Snakefile").write_text(TOY)
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    stop = threading.Event()
    other = threading.Thread(target=interfere, args=(cluster, tmp_path, stop))
    other.start()
    try:
        done = snakemake(
            cluster, tmp_path, "--profile", "profiles/slurm", "--volforge-slurm-array-jobs", "short", "--retries", "2"
        )
    finally:
        stop.set()
        other.join()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-5000:] + cluster.logs()
    assert {p.name for p in (tmp_path / "out").iterdir()} == {f"short_{n}" for n in range(6)} | {
        "gpu", "memory", "time", "stopped",
    }  # fmt: skip
    jobs = wait_for_accounts(cluster, run_id(done.stderr))

    def of(rule: str) -> list[dict[str, str]]:
        return [j for j in jobs if j["Comment"].startswith(f"rule_{rule}")]

    # an array of jobs of unlike length, one of which fails: the others are neither lost nor made again
    short = of("short")
    assert len(short) == 7
    assert [j["State"] for j in short].count("FAILED") == 1
    assert len({j["JobID"].split("_")[0] for j in short}) == 2
    # GPU: partition, resource, and the device in the job
    assert [(j["Partition"], "gres/gpu=1" in j["AllocTRES"]) for j in of("gpu")] == [("gpu", True)]
    assert (tmp_path / "out/gpu").read_text().strip() == "0"
    assert {j["Partition"] for j in jobs if j not in of("gpu")} == {"cpu"}
    # memory: killed, and asked for more
    memory = of("memory")
    assert [j["ReqMem"] for j in memory][:2] == ["400M", "800M"]
    assert memory[0]["State"] in ("OUT_OF_MEMORY", "FAILED")
    assert memory[-1]["State"] == "COMPLETED"
    assert "used more than the 400 MB" in done.stderr
    # time: stopped at its limit, and asked for more
    assert [j["State"] for j in of("time")] == ["TIMEOUT", "COMPLETED"]
    assert of("time")[1]["Timelimit"] == "00:02:00"
    assert "took more than the 1 minutes" in done.stderr
    # cancelled by hand: reported, not waited for
    assert [j["State"].split()[0] for j in of("stopped")] == ["CANCELLED", "COMPLETED"]
    assert "ended as CANCELLED" in done.stderr


def test_cluster_check_and_the_partitions_that_it_writes(tmp_path, cluster):
    command = [sys.executable, "-m", "volforge", "cluster", "check", "--write", "partitions.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(cluster, tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "accounting: on" in done.stdout
    assert "MinJobAge: 300 s" in done.stdout
    assert "found this Python and volforge" in done.stdout
    assert "was seen here after" in done.stdout
    assert "GPUs 1 x gpu" in done.stdout
    (tmp_path / "Snakefile").write_text(
        'rule all:\n    input: "a", "g"\nrule a:\n    output: "a"\n    shell: "touch {output}"\n'
        'rule g:\n    output: "g"\n    resources: gpu=1\n    shell: "touch {output}"\n'
    )
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    ran = snakemake(
        cluster, tmp_path, "--profile", "profiles/slurm", "--volforge-slurm-partition-config", "partitions.yaml"
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    jobs = wait_for_accounts(cluster, run_id(ran.stderr))
    assert {j["Comment"]: j["Partition"] for j in jobs} == {"rule_a": "cpu", "rule_g": "gpu"}


TOO_LARGE = """
rule all:
    input: "memory", "time"
rule memory:
    output: "memory"
    resources: mem_mb=lambda wildcards, attempt: 900000 * attempt, runtime=5, failure_key=1
    shell: "touch {output}"
rule time:
    output: "time"
    resources: mem_mb=500, runtime=lambda wildcards, attempt: 4000 * attempt, failure_key=2
    shell: "touch {output}"
"""


def test_jobs_that_can_never_fit_say_so_and_are_sent_once(tmp_path, cluster):
    """One that asks for more time than its partition has is accepted by SLURM, and waits for ever."""
    (tmp_path / "Snakefile").write_text(TOO_LARGE)
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    done = snakemake(cluster, tmp_path, "--profile", "profiles/slurm", timeout=180)
    assert done.returncode == 1
    assert "(900000 MB, 5 minutes), and can never start: sbatch refuses it" in done.stderr
    assert "(500 MB, 4000 minutes), and can never start: PartitionTimeLimit" in done.stderr
    assert done.stderr.count("not submitted again") == 4  # two more attempts of each
    sent = sorted((j["Comment"], j["State"].split()[0]) for j in wait_for_accounts(cluster, run_id(done.stderr)))
    # of what it refuses at once, SLURM mostly keeps a record, and under load now and then none
    assert [s for s in sent if s != ("rule_memory", "FAILED")] == [("rule_time", "CANCELLED")]
    assert len(sent) <= 2


def test_ctrl_c_leaves_no_job_on_the_cluster(tmp_path, cluster):
    """It went wrong where tests run in the background: there processes ignore Ctrl-C from their start."""
    (tmp_path / "Snakefile").write_text(
        'rule all:\n    input: expand("out/{n}", n=range(6))\n'
        'rule short:\n    output: "out/{n}"\n    resources: mem_mb=500\n    shell: "sleep 300; touch {output}"\n'
    )
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    arguments = ["--profile", "profiles/slurm", "--volforge-slurm-array-jobs", "short", *QUICK]
    process = subprocess.Popen(
        hearing_ctrl_c("-m", "snakemake", *arguments), cwd=tmp_path, env=environment(cluster, tmp_path),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(100):
            time.sleep(0.3)
            if "RUNNING" in cluster.command("squeue", "-h", "-o", "%T"):
                break
        assert cluster.command("squeue", "-h").strip()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    for _ in range(50):
        left = cluster.command("squeue", "-h", "-t", "PENDING,RUNNING").strip()
        if not left:
            break
        time.sleep(0.3)
    assert not left
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_cluster_without_accounting(tmp_path):
    needed(accounting=False)
    (tmp_path / "Snakefile").write_text(
        'rule all:\n    input: expand("out/{n}", n=range(4))\n'
        'rule short:\n    output: "out/{n}"\n    resources: mem_mb=500\n'
        '    shell: "if [ {wildcards.n} = 2 ]; then exit 3; fi; touch {output}"\n'
    )
    (tmp_path / "profiles").symlink_to(ROOT / "profiles")
    with OneNode(accounting=False, cpus=4) as node:
        done = snakemake(
            node, tmp_path, "--profile", "profiles/slurm", "--volforge-slurm-array-jobs", "short", "--retries", "0"
        )
        assert done.returncode == 1
        assert {p.name for p in (tmp_path / "out").iterdir()} == {"0", "1", "3"}
        assert "ended as FAILED" in done.stderr
        assert "No accounting on this cluster" in done.stderr
        folder = node.folder
    assert not folder.exists()


def test_the_daemons_end_when_the_start_fails():
    """Half a cluster is no cluster: what was started is ended."""
    needed()
    from tests.slurm.one_node import ClusterError

    before = set(Path("/tmp").glob("one_node_*"))
    node = OneNode(settings={"SelectType": "select/none_such"}, patience_s=8)
    with pytest.raises(ClusterError), node:
        pass
    assert set(Path("/tmp").glob("one_node_*")) <= before
    assert not any(d.poll() is None for d in node._daemons.values())
