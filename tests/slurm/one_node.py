"""A whole SLURM on this machine, for tests: munge, MariaDB, slurmdbd, slurmctld and slurmd as child processes.

Needs root and, on Debian: slurmctld slurmd slurm-client slurmdbd munge mariadb-server. Nothing is read from or
written to the machine's own places (/etc/slurm, /run/munge, default ports), so it does not meet another SLURM.

    with OneNode() as cluster:
        subprocess.run(["sbatch", "--wrap=hostname"], env={**os.environ, **cluster.environment})
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "sinfo", "squeue", "scancel")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb-install-db")

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")  # stand-ins: each GPU needs a device of its own


class ClusterError(RuntimeError):
    """A daemon did not start, or something was left running."""


def missing_programs(*, accounting: bool = True) -> list[str]:
    """Programs that are not installed; a test is skipped if there are any."""
    wanted = PROGRAMS + (ACCOUNTING_PROGRAMS if accounting else ())
    return [name for name in wanted if shutil.which(name, path=_search_path()) is None]


def _search_path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _free_ports(number: int) -> list[int]:
    """Loopback ports nobody listens on now, below the range that connections are given."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        for port in range(20000 + os.getpid() * 7 % 10000, 32000):
            listener = stack.enter_context(socket.socket())
            try:
                listener.bind(("", port))
            except OSError:
                continue
            ports.append(port)
            if len(ports) == number:
                return ports
    raise ClusterError("no free ports")


def _pid_exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _below(above: set[int]) -> set[int]:
    """All processes that some processes have started, and those that these have."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    found: set[int] = set()
    new = set(above)
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


class OneNode:
    """One node `cpus` wide with one stand-in GPU, partitions `cpu` (default) and `gpu`.

    accounting: with slurmdbd and MariaDB; without, `sacct` has nothing to say and only `squeue` knows the jobs.
    cpus:       what the node offers; may be more than the machine has.
    settings:   lines of slurm.conf to add or replace, as {"MinJobAge": "5"}.
    gres:       the node's generic resource, as "gpu:1" or "gpu:a100:2" (4 at most).
    """

    def __init__(
        self,
        *,
        accounting: bool = True,
        cpus: int | None = None,
        memory_mb: int = 8000,
        gres: str = "gpu:1",
        settings: Mapping[str, str] | None = None,
        patience_s: float = 30,
    ) -> None:
        self.accounting = accounting
        self.cpus = cpus or os.cpu_count() or 1
        self.memory_mb = memory_mb
        self.gres = gres
        self.settings = dict(settings or {})
        self.patience_s = patience_s
        self.host = socket.gethostname().split(".")[0]
        self.folder = Path()
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    # --- for the user of a running cluster

    @property
    def environment(self) -> dict[str, str]:
        """What client commands (sbatch, snakemake) need on top of their environment: SLURM_CONF and PATH.

        Snakemake's job steps drop every SLURM_ variable before they call `srun`, SLURM_CONF too: an `srun` that
        sets it again comes first on the path.
        """
        path = f"{self.folder}/bin:{os.environ.get('PATH', '')}"
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def command(self, *words: str, check: bool = True) -> str:
        """Output of a client command."""
        done = subprocess.run(words, capture_output=True, text=True, env=self._full_environment(), check=False)
        if check and done.returncode:
            raise ClusterError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def logs(self, last: int = 3000) -> str:
        """The ends of all daemons' logs."""
        texts = ((p.name, p.read_text(errors="replace")[-last:]) for p in sorted(self.folder.glob("*.log")))
        return "\n".join(f"--- {name}\n{text}" for name, text in texts)

    # --- what may happen to a cluster

    def processes_of(self, job: str) -> set[int]:
        """Processes of a job, without those of SLURM that keep its steps."""
        number = self.command("squeue", "-h", "-j", job, "-o", "%A", check=False).strip() or job
        keepers = {pid for pid, words in self._keepers().items() if f"[{number}." in words}
        return _below(keepers)

    def _keepers(self) -> dict[int, str]:
        """What keeps the steps of jobs on the node, `slurmstepd: [7.batch]`."""
        found = {}
        for pid in self._processes():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if words.startswith("slurmstepd"):
                    found[pid] = words
        return found

    def lose_node(self, *, with_jobs: bool) -> None:
        """The node is gone; its jobs with it, or they go on where nobody sees them."""
        self._end("slurmd")
        if with_jobs:
            keepers = set(self._keepers())
            self._signal([*keepers, *_below(keepers)], signal.SIGKILL)
        self.command("scontrol", "update", f"NodeName={self.host}", "State=DOWN", "Reason=lost", check=False)

    def return_node(self) -> None:
        """The node is back."""
        self._daemon("slurmd", "-D", "-N", self.host)
        end = time.monotonic() + self.patience_s
        while time.monotonic() < end:
            self.command("scontrol", "update", f"NodeName={self.host}", "State=RESUME", check=False)
            time.sleep(0.5)
            if self.command("sinfo", "-h", "-p", "cpu", "-o", "%T", check=False).strip() in (
                "idle",
                "mixed",
                "allocated",
            ):
                return
        raise ClusterError("the node does not come back")

    def restart_controller(self, away_s: float = 1.0) -> None:
        """The controller is killed, and comes back with what it had written down."""
        self._end("slurmctld")
        time.sleep(away_s)
        self._daemon("slurmctld", "-D")
        self._wait_for("slurmctld", lambda: "UP" in self.command("scontrol", "ping", check=False))

    def _end(self, name: str) -> None:
        self._daemons[name].kill()
        self._daemons[name].wait()

    # --- start

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="one_node_", dir="/tmp"))  # short: names of sockets have limits
        try:
            self._start()
        except BaseException as error:
            if isinstance(error, ClusterError):
                error.add_note(self.logs())
            self.stop()
            raise
        return self

    def _start(self) -> None:
        self.folder.chmod(0o755)  # munge clients of other users pass through
        for name in ("ctld", "slurmd", "mysql", "run", "bin"):
            (self.folder / name).mkdir()
        srun = self.folder / "bin" / "srun"
        conf = f"${{SLURM_CONF:-{self.folder}/slurm.conf}}"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF="{conf}" exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        ports = _free_ports(3)
        self._write_slurm_conf(*ports)

        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        run = self.folder / "run"
        self._daemon(
            "munged", "--foreground", "--num-threads=2", f"--socket={run}/munge", f"--key-file={key}",
            f"--pid-file={run}/munged.pid", f"--log-file={run}/munged.txt", f"--seed-file={run}/munged.seed",
        )  # fmt: skip
        self._wait_for("munged", (run / "munge").exists)
        if self.accounting:
            self._start_accounting(ports[2])
        self._daemon("slurmctld", "-D", "-c")
        self._wait_for("slurmctld", lambda: "UP" in self.command("scontrol", "ping", check=False))
        self._daemon("slurmd", "-D", "-N", self.host)
        self._wait_for("slurmd", lambda: self.command("sinfo", "-h", "-p", "cpu", "-o", "%T", check=False) == "idle\n")

    def _start_accounting(self, port: int) -> None:
        data = self.folder / "mysql"
        (self.folder / "slurmdbd.conf").write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/run/munge\nSlurmUser=root\n"
            f"DbdHost={self.host}\nDbdAddr=127.0.0.1\nDbdPort={port}\nPidFile={self.folder}/run/slurmdbd.pid\n"
            "StorageType=accounting_storage/mysql\nStorageHost=localhost\nStorageUser=root\nStorageLoc=slurm_acct_db\n"
        )
        (self.folder / "slurmdbd.conf").chmod(0o600)
        made = subprocess.run(
            [
                "mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db",
                "--auth-root-authentication-method=normal", "--innodb-flush-log-at-trx-commit=0",
            ],
            # a server deletes the temporary tables of others in a shared folder when it starts
            capture_output=True, text=True, env={**self._full_environment(), "TMPDIR": str(self.folder)}, check=False,
        )  # fmt: skip
        if made.returncode:
            raise ClusterError(f"mariadb-install-db: {made.stderr or made.stdout}")
        self._daemon(
            "mariadbd", "--no-defaults", f"--datadir={data}", f"--tmpdir={self.folder}", "--user=root",
            "--skip-networking",
            f"--socket={self.folder}/run/mysql", f"--pid-file={self.folder}/run/mysql.pid",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-fast-shutdown=2",
        )  # fmt: skip
        self._wait_for("mariadbd", (self.folder / "run/mysql").exists)
        self._daemon("slurmdbd", "-D")
        self._wait_for("slurmdbd", lambda: self._answers("sacctmgr", "-i", "add", "cluster", "one"))

    def _write_slurm_conf(self, ctld_port: int, slurmd_port: int, dbd_port: int) -> None:
        node = f"CPUs={self.cpus} RealMemory={self.memory_mb} Gres={self.gres} Port={slurmd_port}"
        lines = {
            "ClusterName": "one",
            "SlurmctldHost": f"{self.host}(127.0.0.1)",
            "SlurmctldPort": str(ctld_port),
            "SlurmdPort": str(slurmd_port),
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self.folder}/run/munge",
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "StateSaveLocation": f"{self.folder}/ctld",
            "SlurmdSpoolDir": f"{self.folder}/slurmd",
            "SlurmctldPidFile": f"{self.folder}/run/slurmctld.pid",
            "SlurmdPidFile": f"{self.folder}/run/slurmd.pid",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SwitchType": "switch/none",
            "MpiDefault": "none",
            "ReturnToService": "2",
            "SlurmdParameters": "config_overrides",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "DefMemPerCPU": "500",
            "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=2",
            "JobAcctGatherType": "jobacct_gather/linux",
            "JobAcctGatherFrequency": "task=1",
            "JobAcctGatherParams": "OverMemoryKill",
            "KillWait": "2",
            "GresTypes": "gpu",
            "AccountingStoreFlags": "job_comment",
            **(
                {
                    "AccountingStorageType": "accounting_storage/slurmdbd",
                    "AccountingStorageHost": "127.0.0.1",
                    "AccountingStoragePort": str(dbd_port),
                    "AccountingStoragePass": f"{self.folder}/run/munge",
                    "AccountingStorageTRES": "gres/gpu",
                }
                if self.accounting
                else {"AccountingStorageType": "accounting_storage/none"}
            ),
            "NodeName": f"{self.host} NodeHostname={self.host} NodeAddr=127.0.0.1 {node}",
            **self.settings,
        }
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        text += f"PartitionName=cpu Nodes={self.host} Default=YES MaxTime=2880\n"
        text += f"PartitionName=gpu Nodes={self.host} MaxTime=1440\n"
        (self.folder / "slurm.conf").write_text(text)
        kind, *model, number = self.gres.split(":")
        models = f" Type={model[0]}" if model else ""
        (self.folder / "gres.conf").write_text(
            "".join(f"Name={kind}{models} File={d}\n" for d in DEVICES[: int(number)])
        )

    def _full_environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.environment,
            "PATH": f"{self.folder}/bin:{_search_path()}",
            "MYSQL_UNIX_PORT": f"{self.folder}/run/mysql",  # slurmdbd finds MariaDB by it, without a port
        }

    def _daemon(self, *words: str) -> None:
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            self._daemons[words[0]] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                env=self._full_environment(), start_new_session=True,
            )  # fmt: skip

    def _answers(self, *words: str) -> bool:
        return not subprocess.run(words, capture_output=True, env=self._full_environment(), check=False).returncode

    def _wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + self.patience_s
        while not ready():
            if self._daemons[name].poll() is not None:
                raise ClusterError(f"{name} ended with {self._daemons[name].returncode}")
            if time.monotonic() > end:
                raise ClusterError(f"{name} is not ready after {self.patience_s} s")
            time.sleep(0.1)

    # --- stop

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End all jobs and daemons, by their process ids, and remove the folder."""
        if {"slurmctld", "slurmd"} <= self._daemons.keys() and self._daemons["slurmctld"].poll() is None:
            self._answers("scancel", "--signal=KILL", "--user", str(os.getuid()))
            self._answers("scancel", "--user", str(os.getuid()))
        for name in reversed(self._daemons):
            self._daemons[name].terminate()
            try:
                self._daemons[name].wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._daemons[name].kill()
                self._daemons[name].wait()
        left = self._processes()  # steps and jobs outlive slurmd
        self._signal(left, signal.SIGTERM)
        self._gone(left, 2)
        self._signal(self._processes(), signal.SIGKILL)
        if not self._gone(left, 5):
            raise ClusterError(f"left running: {sorted(filter(_pid_exists, left))}")
        self._daemons.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self) -> set[int]:
        """Ids of running processes that know this cluster: its folder stands in their environment (PATH)."""
        mark = f"{self.folder}/".encode()
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes():
                    found.add(int(folder.name))
        return found - {os.getpid()}

    @staticmethod
    def _signal(pids: Iterable[int], number: signal.Signals) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    @staticmethod
    def _gone(pids: set[int], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while any(map(_pid_exists, pids)) and time.monotonic() < end:
            time.sleep(0.05)
        return not any(map(_pid_exists, pids))
