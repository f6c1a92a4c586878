#!/usr/bin/env python3
"""Stand-in for the SLURM commands: jobs run on this machine, their state is kept in $CLUSTER_STUB.

Called under the names sbatch, srun, sacct, squeue, scancel, sinfo and scontrol. It knows what the executor plugin
asks and no more; tests with a real SLURM are elsewhere. Commands run side by side, as the plugin calls them: one at a
time submits, and files appear whole. A job ends after $CLUSTER_STUB_LIMIT_S seconds at the latest, with the stacks of
its Python processes in its log; $CLUSTER_STUB_SLOW names a command that does not answer.
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["CLUSTER_STUB"])
LIMIT_S = int(os.environ.get("CLUSTER_STUB_LIMIT_S", "180"))
WITH_VALUE = {
    "-A",
    "-p",
    "-t",
    "-C",
    "-J",
    "-n",
    "-c",
    "--job-name",
    "--output",
    "--comment",
    "--mem",
    "-D",
    "--name",
    "--format",
}


@contextlib.contextmanager
def alone():
    """One command at a time; the lock of one that is killed is gone with it."""
    with (STATE / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_whole(path, text):
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text(text)
    scratch.replace(path)


def note(name, arguments):
    line = json.dumps([name, *arguments]) + "\n"
    with alone(), (STATE / "calls.jsonl").open("a") as file:
        file.write(line)


def jobs():
    for path in sorted(STATE.glob("*.job"), key=lambda p: [int(n) for n in p.stem.split("_")]):
        yield path.stem, json.loads(path.read_text())


def state_of(number):
    if (STATE / f"{number}.cancelled").exists():
        return "CANCELLED"
    code = STATE / f"{number}.code"
    if not code.exists():
        if processes(number):
            return "RUNNING"
        if not code.exists():  # looked for again: it may have ended between the two
            return "NODE_FAIL"
    return {"0": "COMPLETED", "124": "TIMEOUT"}.get(code.read_text().strip(), "FAILED")


def processes(number):
    """The processes of a job that are not over: those of its session."""
    session = int((STATE / f"{number}.pid").read_text())
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found.append(int(folder.name))
    return found


def parse(arguments):
    options, positional, skip = {}, [], None
    for word in arguments:
        if skip is not None:
            options[skip], skip = word, None
        elif word.startswith("--") and "=" in word:
            key, _, value = word.partition("=")
            options[key] = value
        elif word in WITH_VALUE:
            skip = word
        elif word.startswith("-"):
            options[word] = ""
        else:
            positional.append(word)
    return options, positional


def sbatch(arguments):
    options, positional = parse(arguments)
    script = options.get("--wrap")
    if script is None:
        script = sys.stdin.read() if positional == ["/dev/stdin"] else Path(positional[0]).read_text()
    output = options.get("--output", os.devnull)
    with alone():
        parent = str(len({p.stem.split("_")[0] for p in STATE.glob("*.job")}) + 1)
        if "--array" in options:
            for task in range(1, int(options["--array"].split("-")[1]) + 1):
                log = output.replace("%A", parent).replace("%a", str(task))
                start(f"{parent}_{task}", options, script, log, {"SLURM_ARRAY_TASK_ID": str(task)})
        else:
            start(parent, options, script, output.replace("%j", parent), {})
    print(parent)


def start(number, options, script, output, more):
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    body = STATE / f"{number}.sh"
    body.write_text(script if script.startswith("#!") else f"#!/bin/bash\n{script}\n")
    code = shlex.quote(str(STATE / f"{number}.code"))
    command = (
        f"timeout --signal=ABRT --kill-after=10 {LIMIT_S} bash {shlex.quote(str(body))}; "
        f"echo $? > {code}.new; mv {code}.new {code}"
    )
    environment = dict(os.environ, SLURM_JOB_ID=number, SLURM_JOBID=number, PYTHONFAULTHANDLER="1", **more)
    name = options.get("--job-name", options.get("-J", ""))
    with open(output, "w") as log:
        process = subprocess.Popen(
            ["bash", "-c", command],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    write_whole(STATE / f"{number}.pid", str(process.pid))
    write_whole(STATE / f"{number}.job", json.dumps({"name": name, "options": options}))


def srun(arguments):
    while arguments and arguments[0].startswith("-"):
        arguments = arguments[1:]
    done = subprocess.run(arguments or ["bash"], check=False)
    sys.exit(done.returncode)


def sacct(arguments):
    if any("JobID" in a for a in arguments):
        squeue(arguments)


def squeue(arguments):
    options, _ = parse(arguments)
    for number, job in jobs():
        if options.get("--format") != "%i":
            print(f"{number}|{state_of(number)}")
        elif job["name"] == options["--name"] and state_of(number) == "RUNNING":
            print(number)


def scancel(arguments):
    options, positional = parse(arguments)
    for number, job in list(jobs()):
        is_named = job["name"] and job["name"] in (options.get("--name"), options.get("-n"))
        if (is_named or {number, number.split("_")[0]} & set(positional)) and state_of(number) == "RUNNING":
            (STATE / f"{number}.cancelled").touch()
            while left := processes(number):
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.02)


def sinfo(arguments):
    print("cpu*")


def scontrol(arguments):
    print("MinJobAge               = 300 sec\nMaxArraySize            = 1001")


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    note(name, sys.argv[1:])
    if name == os.environ.get("CLUSTER_STUB_SLOW"):
        time.sleep(600)
    globals()[name](sys.argv[1:])
