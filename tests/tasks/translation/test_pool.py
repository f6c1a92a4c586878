"""The pool of fakes: what is shown, what is kept, and that a training resumes with it."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.pooled import STEPS, Pooled, StopAt, digest, plan
from volforge.tasks.translation.pool import FakePool, pool_generator
from volforge.training.loop import train
from volforge.training.stop import Stop

pytestmark = pytest.mark.xdist_group("training")


def numbered(*numbers):
    """Images that are told apart by their value."""
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def run(pool, first, last, batch=1, seed=0):
    shown = []
    for step in range(first, last):
        fakes = numbered(*range(step * batch, (step + 1) * batch))
        shown += pool.exchange(fakes, pool_generator(seed, step))[:, 0, 0, 0].tolist()
    return shown


@pytest.mark.parametrize("batch", [1, 4, 50])
def test_the_first_50_are_shown_as_they_are_and_kept(batch):
    pool = FakePool()
    steps = -(-50 // batch)
    assert run(pool, 0, steps, batch)[:50] == list(range(50))
    assert len(pool.fakes) == 50


def test_then_half_of_the_time_an_earlier_one_whose_place_the_new_one_takes():
    pool = FakePool()
    shown = run(pool, 0, 2050)
    earlier = [(step, int(number)) for step, number in enumerate(shown) if number != step]
    assert 0.46 < len(earlier) / 2000 < 0.54
    assert len({number for _, number in earlier}) == len(earlier)  # none comes back twice: its place was taken
    held = [int(f[0, 0, 0]) for f in pool.fakes]
    kept = set(range(50)) | {step for step, _ in earlier}
    assert sorted(held) == sorted(kept - {number for _, number in earlier})


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 999), st.floats(0, 1))
def test_nothing_is_lost_or_made_up(most, batch, seed, share):
    """What was shown and what is held are what came in, a fake that was shown at once and kept counted twice."""
    pool = FakePool(most, share)
    shown = run(pool, 0, 9, batch, seed)
    assert set(shown) <= set(range(9 * batch))
    assert len(shown) == 9 * batch
    assert len(pool.fakes) == min(most, 9 * batch)
    assert shown[:most] == list(range(min(most, 9 * batch)))
    if share == 0 or most == 0:
        assert shown == list(range(9 * batch))


def test_what_it_draws_depends_on_seed_step_process_and_pool():
    base = run(FakePool(5), 0, 60, 2)
    assert run(FakePool(5), 0, 60, 2) == base
    assert run(FakePool(5), 0, 60, 2, seed=1) != base
    drawn = {tuple(pool_generator(*words).random(3)) for words in ((0, 1), (1, 0), (0, 1, 1), (0, 1, 0, 1), (0, 0, 1))}
    assert len(drawn) == 5


@pytest.mark.parametrize("stopped", [1, 3, 20])
def test_a_pool_that_went_through_a_checkpoint_goes_on_as_the_other_one(stopped):
    whole = FakePool(6)
    shown = run(whole, 0, 40, 2)
    first = FakePool(6)
    before = run(first, 0, stopped, 2)
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second = FakePool(6)
    second.load(torch.load(file, weights_only=True))
    assert before + run(second, stopped, 40, 2) == shown
    assert all(torch.equal(a, b) for a, b in zip(whole.fakes, second.fakes, strict=True))


def test_pool_state_and_what_is_shown_share_no_memory():
    pool = FakePool(2)
    fakes = numbered(1, 2).clone().requires_grad_()
    shown = pool.exchange(fakes, pool_generator(0, 0))
    state = pool.state()
    shown.zero_()
    with torch.no_grad():
        fakes.zero_()
    pool.fakes[0].mul_(3)
    assert [float(f[0, 0, 0]) for f in state["fakes"]] == [1, 2]
    assert [float(f[0, 0, 0]) for f in pool.fakes] == [3, 2]
    assert not shown.requires_grad
    assert state["fakes"][0].untyped_storage().nbytes() == 4 * 4  # not the whole batch that it came in


def test_what_makes_no_pool_is_refused():
    for words in ((-1, 0.5), (3, 1.5), (3, -0.1)):
        with pytest.raises(ValueError, match="a pool keeps"):
            FakePool(*words)
    with pytest.raises(ValueError, match="50 images for a pool of 4"):
        FakePool(4).load({"fakes": [torch.zeros(1)] * 50})


class WithFakePool(Pooled):
    """The task of the loop's own tests with this pool."""

    def __init__(self):
        super().__init__()
        self.fake_pool = FakePool(8)

    def shown(self, fakes, generator):
        step = int(generator.initial_seed()) // 1000
        return self.fake_pool.exchange(fakes, pool_generator(0, step))

    def extra_state(self):
        return {"pool_b": self.fake_pool.state()}

    def load_extra(self, state):
        self.fake_pool.load(state["pool_b"])


def test_a_training_with_it_resumes_to_the_same_weights(tmp_path):
    whole = train(WithFakePool(), plan(), 0, tmp_path / "whole", Stop())
    assert train(WithFakePool(), plan(), 0, tmp_path / "parted", StopAt(11)).stopped
    task = WithFakePool()
    parted = train(task, plan(), 0, tmp_path / "parted", Stop())
    assert parted.steps == STEPS
    assert digest(parted) == digest(whole)
    assert len(task.fake_pool.fakes) == 8
    assert np.isfinite(torch.stack(task.fake_pool.fakes).numpy()).all()
