"""A SLURM cluster as its own commands describe it, and the settings that follow."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from volforge.errors import VolforgeError

LONGEST_LATENCY_S = 120.0
Command = Callable[[Sequence[str]], tuple[int, str]]


@dataclass(frozen=True)
class Partition:
    """A partition with the limits of its largest node.

    Attributes:
        name: Its name.
        is_default, is_up: As named.
        max_minutes: Longest run time, None without limit.
        memory_mb, cpus: Of its largest node (or the partition's own limit).
        gpus: GPUs of its largest node, by model (`gpu` where none is named).
        nodes: How many.
    """

    name: str
    is_default: bool
    is_up: bool
    max_minutes: int | None
    memory_mb: int
    cpus: int
    gpus: dict[str, int] = field(default_factory=dict)
    nodes: int = 0


@dataclass
class Cluster:
    """What was found out.

    Attributes:
        version: Of SLURM.
        has_accounting: Whether sacct answers.
        enforces_accounts: Whether jobs need an association (account).
        accounts: Of this user, the default first.
        min_job_age_s: How long the queue remembers ended jobs.
        max_array: Most tasks of an array.
        partitions: All of them.
        latency_s: Between the end of a job and its file being seen here; None if not measured.
        probe: What the probe job said, in words.
    """

    version: str
    has_accounting: bool
    enforces_accounts: bool
    accounts: list[str]
    min_job_age_s: int
    max_array: int
    partitions: list[Partition]
    latency_s: float | None = None
    probe: str = ""


def run_command(words: Sequence[str]) -> tuple[int, str]:
    """Exit status and output of a command; 127 where it does not exist, 124 after a minute."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        return 127, ""
    except subprocess.TimeoutExpired:
        return 124, ""
    return done.returncode, done.stdout if done.returncode == 0 else done.stderr


def look(command: Command = run_command) -> Cluster:
    """Ask the cluster's commands.

    Raises:
        VolforgeError: this is no machine of a SLURM cluster, or its controller does not answer.
    """
    code, text = command(["sbatch", "--version"])
    if code:
        said = f" ({text.strip()[:200]})" if text.strip() else ""
        raise VolforgeError(
            f"no SLURM here: sbatch does not run{said}",
            remedy="run this on the login node of the cluster, after loading its module where it has one",
        )
    version = text.split()[-1] if text.split() else "unknown"
    code, text = command(["scontrol", "show", "config"])
    if code:
        raise VolforgeError(f"the controller does not answer: {text.strip()[:200]}", remedy="try again later")
    config = dict(re.findall(r"^(\S+)\s*=\s*(.*?)\s*$", text, re.MULTILINE))
    code, _ = command(["sacct", "-n", "-X", "--starttime", "now-1hour"])
    accounts = _accounts(command) if code == 0 else []
    enforced = config.get("AccountingStorageEnforce", "none").lower()
    return Cluster(
        version,
        code == 0,
        "associations" in enforced or "limits" in enforced,
        accounts,
        _first_number(config.get("MinJobAge", ""), 300),
        _first_number(config.get("MaxArraySize", ""), 1001) - 1,
        _partitions(command),
    )


def _first_number(text: str, otherwise: int) -> int:
    hit = re.search(r"\d+", text)
    return int(hit[0]) if hit else otherwise


def _accounts(command: Command) -> list[str]:
    user = os.environ.get("USER") or str(os.getuid())
    _, default = command(["sacctmgr", "-nP", "list", "user", user, "format=DefaultAccount"])
    _, others = command(["sacctmgr", "-nP", "list", "associations", f"user={user}", "format=Account"])
    names = [t.strip("|").strip() for t in (default + "\n" + others).splitlines()]
    return list(dict.fromkeys(n for n in names if re.fullmatch(r"[\w.-]+", n)))


def minutes_of(text: str) -> int | None:
    """A limit such as `2-00:00:00`, `30:00` or `infinite`, in minutes."""
    hit = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text.strip())
    if not hit:
        return None
    days, hours, minutes = (int(g or 0) for g in hit.groups()[:3])
    return days * 1440 + hours * 60 + minutes


def _partitions(command: Command) -> list[Partition]:
    code, text = command(["sinfo", "-h", "-o", "%P|%a|%l|%m|%c|%G|%D"])
    if code:
        raise VolforgeError(f"sinfo does not answer: {text.strip()[:200]}", remedy="try again later")
    found: dict[str, Partition] = {}
    for line in text.splitlines():
        cells = line.split("|")
        if len(cells) != 7:
            continue
        name, up, limit, memory, cpus, gres, nodes = cells
        new = Partition(
            name.rstrip("*"),
            name.endswith("*"),
            up == "up",
            minutes_of(limit),
            _first_number(memory, 0),
            _first_number(cpus, 1),
            _gpus(gres),
            _first_number(nodes, 0),
        )
        old = found.get(new.name)
        if old is not None:  # nodes of several kinds: one line each
            gpus = {m: max(old.gpus.get(m, 0), new.gpus.get(m, 0)) for m in {**old.gpus, **new.gpus}}
            new = Partition(
                new.name, new.is_default, new.is_up, new.max_minutes, max(old.memory_mb, new.memory_mb),
                max(old.cpus, new.cpus), gpus, old.nodes + new.nodes,
            )  # fmt: skip
        found[new.name] = new
    return list(found.values())


def _gpus(gres: str) -> dict[str, int]:
    """GPUs of a node from `gpu:a100:4(S:0-1),gpu:2`."""
    gpus: dict[str, int] = {}
    for model, number in re.findall(r"gpu(?::([\w.-]+))?:(\d+)", gres):
        gpus[model or "gpu"] = gpus.get(model or "gpu", 0) + int(number)
    return gpus


def probe_latency(cluster: Cluster, folder: Path, patience_s: float = 180) -> None:
    """Send one small job: does it start, does it see this Python, how late is its file seen here?

    Writes into `cluster`. The job asks for 200 MB and one minute on the default partition.
    """
    with tempfile.TemporaryDirectory(prefix=".probe.", dir=folder) as name:
        mark = Path(name) / "mark"
        script = f"{shlex.quote(sys.executable)} -c 'import volforge'; echo $? > {shlex.quote(str(mark))}"
        partition = next((p.name for p in cluster.partitions if p.is_default), None)
        call = ["sbatch", "--parsable", "-t", "1", "--mem", "200", "--output", "/dev/null", "-D", str(folder)]
        call += ["-p", partition] if partition else []
        code, text = run_command([*call, "--wrap", script])
        if code:
            cluster.probe = f"a small job was not taken: {text.strip()[:300]}"
            return
        number = text.strip().split(";")[0]
        began, ended = time.monotonic(), 0.0
        while not _content(mark):
            now = time.monotonic()
            if not ended and not _is_queued(number):
                ended = now
            if ended and now - ended > LONGEST_LATENCY_S:
                cluster.probe = (
                    f"job {number} ended, and its file was not seen here: is {folder} shared with the nodes?"
                )
                return
            if now - began > patience_s and not ended:
                run_command(["scancel", number])
                cluster.probe = f"job {number} did not end within {patience_s:.0f} s (a full queue?): nothing measured"
                return
            time.sleep(0.2)
        # clocks of two machines are not compared: from the end that the queue saw to the file that this one sees
        cluster.latency_s = max(0.0, time.monotonic() - ended) if ended else 0.0
        cluster.probe = "a small job ran and found this Python and volforge"
        if _content(mark) != "0":
            cluster.probe = f"a small job ran, but found no volforge by {sys.executable}: install it on a shared folder"


def _content(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # not there yet
        return ""


def _is_queued(number: str) -> bool:
    code, text = run_command(["squeue", "-h", "-j", number, "-o", "%T"])
    gone = code == 0 or "Invalid job id" in text  # silence is no end
    return not gone or text.strip() in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")


def advice(cluster: Cluster) -> tuple[list[str], list[str]]:
    """Settings for profiles/slurm/config.yaml, and remarks."""
    poll = max(5, min(20, cluster.min_job_age_s // 4))
    wait = 60 if cluster.latency_s is None else max(15, round(5 * cluster.latency_s))
    gpus = sum(sum(p.gpus.values()) * p.nodes for p in cluster.partitions if p.is_up)
    settings = [
        f"seconds-between-status-checks: {poll}",
        f"latency-wait: {wait}",
        f"volforge-slurm-array-limit: {max(2, min(200, cluster.max_array))}",
        f"resources: {{gpu: {max(1, min(gpus, 8))}}}",
    ]
    remarks = []
    if cluster.enforces_accounts:
        account = cluster.accounts[0] if cluster.accounts else "yours"
        settings.append(f'default-resources: {{runtime: 30, mem_mb: 2000, slurm_account: "{account}"}}')
        if len(cluster.accounts) > 1:
            remarks.append(f"you may use the accounts {', '.join(cluster.accounts)}; the first is your default")
        if not cluster.accounts:
            remarks.append("jobs need an account, and none of yours was found: ask for one")
    if not cluster.has_accounting:
        remarks.append("no accounting: states come from squeue alone, which is supported")
        if cluster.min_job_age_s < 60:
            remarks.append(
                f"ended jobs are forgotten after {cluster.min_job_age_s} s: without accounting a job that ends between "
                "two looks counts as lost and is run again; ask for MinJobAge of 300 or more"
            )
    if not gpus:
        remarks.append("no GPU in any partition that is up: jobs that ask for one would wait for ever")
    down = [p.name for p in cluster.partitions if not p.is_up]
    if down:
        remarks.append(f"partitions that are down were left out: {', '.join(down)}")
    if shutil.which("srun") is None:
        remarks.append("srun is missing: jobs start their step by it")
    return settings, remarks


def partitions_yaml(cluster: Cluster) -> str:
    """`partitions.yaml` of the profile, for partitions that are up."""
    up = [p for p in cluster.partitions if p.is_up]
    lines = [
        "# Partitions of your cluster, by `volforge cluster check`; jobs go to the best fitting one.",
        "partitions:",
    ]
    # jobs without GPU are never sent to a partition with `max_gpu`: where all nodes have some, one takes them
    takes_all = next((p.name for p in up if p.is_default), None) if len(up) > 1 and all(p.gpus for p in up) else None
    for p in up:
        lines += [f"  {json.dumps(p.name)}:", f"    max_runtime: {p.max_minutes or 10080}"]
        lines += [f"    max_mem_mb: {p.memory_mb}"] if p.memory_mb else []
        lines.append(f"    max_threads: {p.cpus}")
        if p.gpus and p.name != takes_all:
            models = [m for m in p.gpus if m != "gpu"]
            lines.append(f"    max_gpu: {max(p.gpus.values())}")
            lines += [f"    available_gpu_models: [{', '.join(map(json.dumps, models))}]"] if models else []
    return "\n".join(lines) + "\n"
