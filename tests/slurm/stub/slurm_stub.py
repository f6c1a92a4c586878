#!/usr/bin/env python3
"""Stand-in for the SLURM commands: jobs run on this machine, their state is kept in $CLUSTER_STUB.

Called under the names sbatch, srun, sacct, squeue, scancel, sinfo and scontrol. It knows what the executor plugin
asks and no more; tests with a real SLURM are elsewhere.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["CLUSTER_STUB"])
WITH_VALUE = {"-A", "-p", "-t", "-C", "-J", "-n", "-c", "--job-name", "--output", "--comment", "--mem", "-D"}


def note(name, arguments):
    with (STATE / "calls.jsonl").open("a") as file:
        file.write(json.dumps([name, *arguments]) + "\n")


def jobs():
    for path in sorted(STATE.glob("*.job"), key=lambda p: [int(n) for n in p.stem.split("_")]):
        yield path.stem, json.loads(path.read_text())


def state_of(number):
    code = STATE / f"{number}.code"
    if (STATE / f"{number}.cancelled").exists():
        return "CANCELLED"
    if not code.exists():
        return "RUNNING"
    return "COMPLETED" if code.read_text().strip() == "0" else "FAILED"


def sbatch(arguments):
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
    script = options.get("--wrap")
    if script is None:
        script = sys.stdin.read() if positional == ["/dev/stdin"] else Path(positional[0]).read_text()
    parent = str(len({p.stem.split("_")[0] for p in STATE.glob("*.job")}) + 1)
    output = options.get("--output", os.devnull)
    if "--array" in options:
        for task in range(1, int(options["--array"].split("-")[1]) + 1):
            log = output.replace("%A", parent).replace("%a", str(task))
            start(f"{parent}_{task}", options, script, log, {"SLURM_ARRAY_TASK_ID": str(task)})
    else:
        start(parent, options, script, output.replace("%j", parent), {})
    print(parent)


def start(number, options, script, output, more):
    (STATE / f"{number}.job").write_text(json.dumps({"name": options.get("--job-name", ""), "options": options}))
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    body = STATE / f"{number}.sh"
    body.write_text(script if script.startswith("#!") else f"#!/bin/bash\n{script}\n")
    code = STATE / f"{number}.code"
    # written under another name first: a poll between creation and content would read an empty state
    command = f"bash {shlex.quote(str(body))}; echo $? > {code}.new; mv {code}.new {code}"
    environment = dict(os.environ, SLURM_JOB_ID=number, SLURM_JOBID=number, **more)
    with open(output, "w") as log:
        subprocess.Popen(
            ["bash", "-c", command],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )


def srun(arguments):
    while arguments and arguments[0].startswith("-"):
        arguments = arguments[1:]
    done = subprocess.run(arguments or ["bash"], check=False)
    sys.exit(done.returncode)


def sacct(arguments):
    if any("JobID" in a for a in arguments):
        for number, _ in jobs():
            print(f"{number}|{state_of(number)}")


def squeue(arguments):
    for number, _ in jobs():
        print(f"{number}|{state_of(number)}")


def scancel(arguments):
    for word in arguments:
        if re.fullmatch(r"\d+(_\d+)?", word):
            (STATE / f"{word}.cancelled").touch()


def sinfo(arguments):
    print("cpu*")


def scontrol(arguments):
    print("MinJobAge               = 300 sec\nMaxArraySize            = 1001")


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    note(name, sys.argv[1:])
    globals()[name](sys.argv[1:])
