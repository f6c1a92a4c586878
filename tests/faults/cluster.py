"""Faults of a real SLURM of one node: jobs cancelled, stopped, put back, nodes and controllers lost; the run goes on."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.local import (
    INJECTED,
    Fault,
    Reference,
    Result,
    command,
    started,
    wait_for_jobs,
    watched,
)
from tests.faults.project import copied, tables
from tests.slurm.one_node import OneNode
from volforge.report.crate import CRATE

RULES = ("cut_scan", "make_distances", "train_model", "predict", "measure", "make_table", "draw_figures")
"""Rules whose jobs are hit; what comes before them is taken from the undisturbed run."""
FEW_RULES = ("train_model", "predict", "measure", "make_table")
"""Those of a short run, that makes one table."""
FAULTS = (
    "cancelled", "killed", "time limit", "memory limit", "put back", "node lost", "node out of reach",
    "controller restarted", "leader killed",
)  # fmt: skip
SLURM = (
    "--profile", "profiles/slurm", "--seconds-between-status-checks", "1", "--latency-wait", "15", "--retries", "3",
    "--slurm-init-seconds-before-status-checks", "1",
)  # fmt: skip
MEMORY_MB = 1200


def half_done(reference: Reference, folder: Path, rules: Sequence[str]) -> Path:
    """The undisturbed run without what the rules made that are hit, and without what is made of that."""
    project = copied(reference.folder, folder)
    results = project / "results"
    shutil.rmtree(results / "checkpoints")
    if rules == FEW_RULES:
        for path in ("net", "mean"):
            shutil.rmtree(results / "studies/parts" / path)
        for name in ("measures.tsv", "table.json", "table.tsv", "table.md", "table.tex", "cost.tsv"):
            (results / "studies/parts" / name).unlink()
    else:
        shutil.rmtree(results / "studies/parts")
        cuts = results / "cohorts/balls/recipes/whole"
        shutil.rmtree(cuts / "s2")
        for path in (cuts / "index.tsv", results / "report.html", results / "provenance.json", results / CRATE):
            path.unlink()
    (project / "profiles").symlink_to(ROOT / "profiles")
    return project


def jobs_to_make(project: Path, environment: dict[str, str], targets: Sequence[str]) -> int:
    """How many jobs an undisturbed run would start."""
    done = subprocess.run(
        [*command("-n", "--quiet", "rules", targets=targets), "--cores", "1"], cwd=project, env=environment, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines() if line.startswith("total ")]
    return int(lines[0][1])


class Trouble:
    """Lets faults happen to a cluster while a run goes on: each to the first job of its rule that runs."""

    def __init__(self, cluster: OneNode, faults: Sequence[Fault], draw: random.Random) -> None:
        self.cluster, self.faults, self.draw = cluster, list(faults), draw
        self.leader: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def start(self) -> None:
        """Begin to look for jobs."""
        self._thread.start()

    def stop(self) -> None:
        """No further fault; a node or controller that is away comes back first."""
        self._stop.set()
        self._thread.join()

    def _go(self) -> None:
        while not self._stop.wait(0.3):
            for number, rule in self._running():
                fault = next((f for f in self.faults if f.kind == rule and not f.happened), None)
                if fault is not None and fault.name != "memory limit":
                    fault.happened = True
                    self._stop.wait(self.draw.uniform(0, 3))
                    self._happen(fault.name, number)

    def _running(self) -> list[tuple[str, str]]:
        text = self.cluster.command("squeue", "-h", "--array", "-t", "RUNNING", "-o", "%i|%k", check=False)
        pairs = (line.partition("|") for line in text.splitlines())
        return [(n, c.removeprefix("rule_").split("_wildcards")[0]) for n, _, c in pairs]

    def _happen(self, name: str, number: str) -> None:
        cluster = self.cluster
        if name == "cancelled":
            cluster.command("scancel", number, check=False)
        elif name == "killed":
            for pid in cluster.processes_of(number):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        elif name == "time limit":
            soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 1))
            cluster.command("scontrol", "update", f"JobId={number}", f"EndTime={soon}", check=False)
        elif name == "put back":
            cluster.command("scontrol", "requeue", number, check=False)
            self._begin_at_once(number)
        elif name in ("node lost", "node out of reach"):
            cluster.lose_node(with_jobs=name == "node lost")
            self._stop.wait(self.draw.uniform(1, 4))
            cluster.return_node()
            self._begin_at_once(number)
        elif name == "controller restarted":
            cluster.restart_controller(away_s=self.draw.uniform(0.5, 4))
        elif self.leader is not None:
            self.leader.kill()

    def _begin_at_once(self, number: str) -> None:
        """SLURM lets jobs that it puts back wait for two minutes, until their old credentials have expired."""
        for _ in range(20):
            if self._stop.wait(0.3):
                return
            self.cluster.command("scontrol", "update", f"JobId={number}", "StartTime=now", check=False)


def disturbed_on_cluster(
    reference: Reference,
    folder: Path,
    cluster: OneNode,
    seed: int,
    names: Sequence[str] = FAULTS,
    rules: Sequence[str] = RULES,
) -> Result:
    """Run the second half of the project on a cluster, with faults at its jobs, its node, its controller, its leader.

    Args:
        reference: The undisturbed run, on one machine.
        folder: To work in.
        cluster: That is up.
        seed: Of rules and moments.
        names: Faults, of `FAULTS`; one may stand there several times.
        rules: Whose jobs are hit: `RULES` or `FEW_RULES`.
    """
    draw, began = random.Random(seed), time.monotonic()
    order = draw.sample(list(rules), len(rules))
    faults = [Fault(name, order[k % len(order)]) for k, name in enumerate(names)]
    targets = ("results/studies/parts/table.json",) if rules == FEW_RULES else ("all", "export_png")
    project, hogs = half_done(reference, folder / "project", rules), folder / "faults"
    hogs.mkdir()
    plan = [
        {"id": str(k), "kind": WORDS[f.kind], "fault": "hog", "share": draw.random(), "by": "changes", "bytes": MEMORY_MB}
        for k, f in enumerate(faults) if f.name == "memory limit"
    ]  # fmt: skip
    (hogs / "plan.json").write_text(json.dumps(plan))
    (hogs / "usual.json").write_text(json.dumps(reference.usual))
    environment = {
        **os.environ, **cluster.environment, "FAULTS": str(hogs), "OMP_NUM_THREADS": "1",
        "PYTHONPATH": ":".join([str(INJECTED), str(ROOT / "src"), str(ROOT)]),
        "PATH": f"{Path(sys.executable).parent}:{cluster.environment['PATH']}",
    }  # fmt: skip
    result, trouble = Result(faults), Trouble(cluster, faults, draw)
    undisturbed_jobs = jobs_to_make(project, environment, targets)
    memory = [f"{rule}:mem_mb={MEMORY_MB}" for rule in RULES]
    call = command(*SLURM, "--set-resources", *memory, targets=targets)
    trouble.start()
    try:
        with watched(project, reference, result, "--cluster", env=environment):
            for _ in range(4 + names.count("leader killed")):
                result.starts += 1
                locks = project / ".snakemake/locks"
                if locks.is_dir() and any(locks.iterdir()):
                    subprocess.run([*command("--unlock"), "--cores", "1"], cwd=project, env=environment, check=True)
                with (folder / "snakemake.txt").open("w") as file:
                    trouble.leader = subprocess.Popen(
                        call, cwd=project, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file
                    )
                    trouble.leader.wait(timeout=900)
                result.jobs += started(project)
                if trouble.leader.returncode == 0:
                    break
            else:
                result.said = (folder / "snakemake.txt").read_text()[-6000:]
                result.differing.append(f"no good end after {result.starts} starts:\n{result.said}")
    finally:
        trouble.stop()
        if trouble.leader is not None:
            trouble.leader.kill()
            trouble.leader.wait()
    wait_for_jobs(project)
    for number, fault in enumerate(faults):
        if fault.name == "memory limit":
            fault.happened = (hogs / f"{number}.happened").exists()
    result.jobs -= undisturbed_jobs
    found = tables(project)
    result.differing += sorted(n for n in {*found, *reference.tables} if found.get(n) != reference.tables.get(n))
    result.left = sorted(p.relative_to(project).as_posix() for p in project.rglob(".*.partial*"))
    result.seconds = time.monotonic() - began
    return result


WORDS = {
    "cut_scan": "scan cut", "make_distances": "model distances", "train_model": "model train", "predict": "model predict",
    "measure": "study measure", "make_table": "study table", "draw_figures": "study figures",
}  # fmt: skip
