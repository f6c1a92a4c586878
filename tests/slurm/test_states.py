"""States as squeue and sacct print them, read together."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_volforge_slurm import array_script
from snakemake_executor_plugin_volforge_slurm.requests import never_fits
from snakemake_executor_plugin_volforge_slurm.states import State, merged, parse_states

STATES = [
    "PENDING",
    "RUNNING",
    "COMPLETING",
    "COMPLETED",
    "FAILED",
    "CANCELLED by 0",
    "TIMEOUT",
    "NODE_FAIL",
    "PREEMPTED",
]


def test_lines_become_states():
    text = "12|RUNNING\n13_1|CANCELLED by 1000\n13_[2-9]|PENDING\n14_3|OUT_OF_ME+\n\n15|\n"
    states = parse_states(text)
    assert states.keys() == {"12", "14_3", *(f"13_{n}" for n in range(1, 10))}
    assert parse_states("7_[1,3-4%2]|CANCELLED").keys() == {"7_1", "7_3", "7_4"}
    assert states["13_1"].name == "CANCELLED"
    assert states["14_3"].name == "OUT_OF_ME"
    assert not states["14_3"].is_alive
    assert not states["13_1"].is_alive
    assert not states["13_1"].is_success
    assert states["12"].is_alive


def test_the_queue_says_why_a_job_waits():
    states = parse_states("7|PENDING|PartitionTimeLimit\n8_[1-2]|PENDING|(null)\n9|RUNNING|None\n10|FAILED\n")
    assert {n: s.reason for n, s in states.items()} == {
        "7": "PartitionTimeLimit", "8_1": "(null)", "8_2": "(null)", "9": "None", "10": "",
    }  # fmt: skip
    assert merged(states, {"7": State("PENDING")})["7"].reason == "PartitionTimeLimit"


@pytest.mark.parametrize(
    ("said", "never"),
    [
        ("PartitionTimeLimit", True), ("QOSMaxWallDurationPerJobLimit", True), ("AssocMaxMemPerJob", True),
        ("Resources", False), ("Priority", False), ("QOSMaxJobsPerUserLimit", False), ("AssocGrpMemLimit", False),
        ("ReqNodeNotAvail, UnavailableNodes:vm", False), ("BadConstraints", False), ("None", False), ("", False),
        ("sbatch: error: Batch job submission failed: Requested node configuration is not available", True),
        ("sbatch: error: Memory specification can not be satisfied", True),
        ("sbatch: error: Socket timed out on send/recv operation", False),
    ],
)  # fmt: skip
def test_what_no_waiting_changes(said, never):
    assert never_fits(said) == never


@pytest.mark.parametrize(
    ("queue", "accounts", "expected"),
    [
        ("RUNNING", "PENDING", "RUNNING"),
        ("COMPLETED", "RUNNING", "COMPLETED"),  # the accounts learn late
        ("COMPLETING", "COMPLETED", "COMPLETED"),
        ("PENDING", "NODE_FAIL", "PENDING"),  # requeued
        ("CANCELLED", "CANCELLED by 0", "CANCELLED by 0"),
        (None, "FAILED", "FAILED"),  # forgotten by the queue
        ("TIMEOUT", None, "TIMEOUT"),  # no accounting
    ],
)
def test_both_views_as_one(queue, accounts, expected):
    states = merged({"1": State(queue)} if queue else {}, {"1": State(accounts)} if accounts else {})
    assert states["1"].text == expected


@given(st.sampled_from(STATES), st.sampled_from(STATES))
def test_one_state_of_the_two_is_taken_and_success_never_invented(queue, accounts):
    state = merged({"1": State(queue)}, {"1": State(accounts)})["1"]
    assert state.text in (queue, accounts)
    if state.is_success:
        assert "COMPLETED" in (queue, accounts)


def test_each_task_of_an_array_runs_its_own_command():
    script = array_script(["echo one", "echo 'two $x \"q\"' && exit 3", "true;\necho three"])

    def run(task):
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, env={"SLURM_ARRAY_TASK_ID": str(task)}, check=False
        )
        return done.returncode, done.stdout

    assert run(1) == (0, "one\n")
    assert run(2) == (3, 'two $x "q"\n')
    assert run(3) == (0, "three\n")
    assert run(4)[0] == 2
