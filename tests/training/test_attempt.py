"""What a failing training says is kept for the tries that follow, whose logs start empty."""

from volforge.errors import VolforgeError
from volforge.training.attempt import failure_kept, kept_failure, note_attempt, note_step

CAUSE = VolforgeError("the loss is not finite at step 3", "organs, volforge/all", "lower the rate")


def tried(folder, attempt, error, code="c"):
    """One try of a job that ends with an error, or with none; what it says in the end."""
    try:
        with failure_kept(folder, attempt, code):
            note_attempt(folder, attempt, code)
            raise error
    except Exception as last:
        return str(last)


def test_the_cause_of_the_first_failure_is_said_by_all_later_tries(tmp_path):
    """It was: a sentence that points to a message that Snakemake had removed with the log."""
    assert tried(tmp_path, 1, CAUSE) == str(CAUSE)
    tried(tmp_path, 2, VolforgeError("something that follows from it"))
    for attempt in range(3, 12):
        said = tried(tmp_path, attempt, AssertionError("is not reached"))
        assert said.startswith("organs, volforge/all: the loss is not finite at step 3")
        assert "said by attempt 1" in said
        assert "made no new step (it began at step 0 too)" in said
        assert said.count("made no new step") == 1
        assert "remedy: lower the rate" in said


def test_errors_of_other_kinds_keep_their_kind_and_place(tmp_path):
    tried(tmp_path, 1, RuntimeError('"slow_conv3d" not implemented for Half'))
    tried(tmp_path, 2, RuntimeError("again"))
    said = tried(tmp_path, 3, AssertionError())
    assert 'RuntimeError: "slow_conv3d" not implemented for Half' in said
    assert "test_attempt.py:" in said


def test_a_try_that_was_killed_leaves_no_message_and_that_is_said(tmp_path):
    for attempt in (1, 2):
        note_attempt(tmp_path, attempt)
    said = tried(tmp_path, 3, AssertionError(), code="")
    assert "killed from outside" in said
    assert "more time or memory" in said
    assert "killed from outside" in tried(tmp_path, 4, AssertionError(), code="")
    assert kept_failure(tmp_path) is None


def test_a_new_step_or_other_code_makes_an_old_cause_worthless(tmp_path):
    tried(tmp_path, 1, CAUSE)
    note_attempt(tmp_path, 2, "c")
    note_step(tmp_path, 40)
    assert tried(tmp_path, 3, MemoryError("out of memory")) == "out of memory"  # it is a try of its own
    kept = kept_failure(tmp_path)
    assert (kept.attempt, kept.step, kept.message) == (3, 40, "MemoryError: out of memory")
    assert "killed from outside" in tried(tmp_path, 4, AssertionError(), code="other")


def test_the_first_try_of_a_new_run_forgets(tmp_path):
    tried(tmp_path, 1, CAUSE)
    note_attempt(tmp_path, 1, "c")
    assert kept_failure(tmp_path) is None
    assert tried(tmp_path, 2, VolforgeError("new")) == "new"
