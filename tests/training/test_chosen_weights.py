"""Which weights are kept, and when a training ends early: one rule for both."""

import math

import pytest

from tests.tasks.semantic_synthesis.test_training import task
from volforge.training.loop import train
from volforge.training.state import State
from volforge.training.stop import Stop
from volforge.training.task import Plan


def trained(folder, scores, **plan):
    """A training whose validations are worth these scores."""
    one, worth = task(), iter(scores)
    one.judge = lambda generator, device: {"score": next(worth)}
    return train(one, Plan(len(scores), 2, ema={"generator": 0.5}, validate_every=1, **plan), 0, folder, Stop())


@pytest.mark.parametrize(
    ("scores", "tolerance", "step"),
    [
        ([0.1, 0.2, 0.2005, 0.15], 0.0, 3),
        ([0.1, 0.2, 0.2005, 0.15], 0.001, 2),
        ([-300.0, -40.0, -40.5, -39.0], 2.0, 2),  # a Frechet distance has other steps than Dice
        ([math.nan, 0.1, math.nan, 0.05], 0.0, 2),
        ([math.inf, 0.1, 0.2, -math.inf], 0.0, 3),
    ],
)
def test_the_best_is_what_gains_more_than_the_tolerance(tmp_path, scores, tolerance, step):
    done = trained(tmp_path, scores, tolerance=tolerance)
    assert (done.step, done.steps) == (step, 4)
    assert done.score["score"] == scores[step - 1]


def test_a_training_that_gains_little_by_little_goes_on(tmp_path):
    scores = [0.1 + 0.0005 * k for k in range(6)]
    assert trained(tmp_path / "a", scores, patience=2).steps == 6
    ended = trained(tmp_path / "b", scores, patience=2, tolerance=0.002)
    assert (ended.step, ended.steps) == (1, 3)


def test_scores_that_are_no_numbers_end_a_training_by_its_last_weights(tmp_path):
    done = trained(tmp_path, [math.nan] * 5, patience=3)
    assert done.steps == 3
    assert done.score == {}


def test_a_tie_is_no_gain():
    state = State()
    assert state.is_gain(0.3)
    state.best = {"score": 0.3}
    assert not state.is_gain(0.3)
    assert state.is_gain(0.3 + 1e-9)
