"""How much an image varies under flips and contrasts; how views are joined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.translation.models import CT, model_in
from tests.tasks.translation.test_apply import VIEWS, contrast, egg, smooth
from volforge.errors import VolforgeError
from volforge.tasks.translation.apply import load_generator, translated
from volforge.tasks.translation.doubt import Doubt, Repetition, halton, jittered, pooled, repetitions, turned
from volforge.tasks.translation.fuse import fused
from volforge.volume.cut import AXES, to_stack


def test_every_combination_of_flips_and_then_the_contrasts():
    assert repetitions((), None) == [Repetition()]
    assert repetitions((), Doubt(flips=True, jitters=2)) == [
        Repetition(), Repetition((0,)), Repetition((), 1, counts=False), Repetition((), 2, counts=False),
    ]  # fmt: skip
    assert [r.counts for r in repetitions(("y",), Doubt(flips=True, joins=False))] == [True, False, True, False]
    assert [r.axes for r in repetitions(("y", "x"), None)] == [(), (0,), (1,), (0, 1)]
    assert repetitions(("x",), Doubt(flips=True)) == [Repetition(), Repetition((0,))]
    assert Doubt.of(None) is None
    assert Doubt.of({"flips": False, "jitters": 3}) == Doubt(False, 3)


def test_contrasts_are_fixed_and_leave_what_is_dark():
    values = np.linspace(-1, 1, 101, dtype=np.float32)
    assert jittered(values, 0) is values
    seen = [jittered(values, k) for k in range(1, 9)]
    for one, again in zip(seen, (jittered(values, k) for k in range(1, 9)), strict=True):
        assert np.array_equal(one, again)
        assert one[0] == -1
        assert one.max() <= 1
        assert (np.diff(one) >= 0).all()
        assert 0.01 < np.abs(one - values).max() < 0.4
    assert len({s.tobytes() for s in seen}) == 8
    assert [halton(k, 2) for k in (1, 2, 3, 4)] == [0.5, 0.25, 0.75, 0.125]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_stacks_turn_as_their_scans_do(view, axes):
    volume = np.random.default_rng(0).random((4, 5, 6))
    stack = to_stack(volume, AXES[view])
    assert np.array_equal(turned(stack, axes, view), to_stack(np.flip(volume, axes), AXES[view]))
    assert np.array_equal(turned(turned(stack, axes, view), axes, view), stack)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("context", [0, 1])
def test_a_network_that_knows_no_side_has_no_doubt_by_flips(tmp_path, view, context):
    generator = load_generator(model_in(tmp_path / "m", source=CT, context=context, recipe={"axis": view}))
    image, body = egg()
    made, deviation = translated(generator, [contrast(image, body)], doubt=Doubt(flips=True), flips=("y", "z"))
    assert np.abs(made.astype(int) - np.where(body, np.clip(image, -1000, 1400), -1024)).max() == 0
    assert deviation.max() == 0


def test_the_spread_of_a_sided_network_is_that_of_both_sides(tmp_path):
    """A ramp of +-s: image and mirrored one differ by 2 s r, whose deviation is sqrt(2) s r; their mean has no ramp."""
    generator = load_generator(model_in(tmp_path / "m", "Sided", steep=0.1, source=CT))
    image, body = egg(low=-500, high=900)
    scan = [contrast(image, body)]
    made, deviation = translated(generator, scan, doubt=Doubt(flips=True))
    assert np.abs(made.astype(int) - np.where(body, image, -1024)).max() <= 1
    ramp = np.linspace(1, -1, image.shape[0])[:, None, None] * 0.1 * 1200
    wanted = np.where(body, np.sqrt(2) * np.abs(ramp), 0)
    assert np.abs(deviation - wanted).max() <= 0.07
    assert (np.asarray(deviation * 8) % 1 == 0).all()
    plain, _ = translated(generator, scan)
    assert np.abs(plain - np.where(body, image + ramp, -1024)).max() <= 1
    flipped, none = translated(generator, scan, flips=("x",))
    assert np.array_equal(flipped, made)
    assert none is None


def test_other_contrasts_change_the_deviation_alone(tmp_path):
    generator = load_generator(model_in(tmp_path / "m"))
    body = egg()[1]
    scan = [contrast(smooth(), body, unit="arbitrary", outside=0.0)]
    plain, _ = translated(generator, scan)
    made, deviation = translated(generator, scan, doubt=Doubt(jitters=4))
    assert np.array_equal(made, plain)
    assert (deviation[~body] == 0).all()
    share = (plain[body].astype(float) + 1000) / 2400
    seen = [jittered(2 * share - 1, k) * 1200 for k in range(5)]
    assert np.abs(deviation[body] - np.std(seen, axis=0, ddof=1)).max() < 1.0


@given(st.integers(1, 4), st.sampled_from(["median", "mean"]), st.sampled_from([np.int16, np.float32]))
def test_views_are_joined_voxel_by_voxel(count, how, kind):
    rng = np.random.default_rng(count)
    images = [np.asfortranarray(rng.integers(-1000, 1400, (3, 4, 5)).astype(kind)) for _ in range(count)]
    made = fused(images, how)
    wanted = (np.median if how == "median" else np.mean)(np.stack(images).astype(float), axis=0)
    assert made.dtype == kind
    assert np.abs(made - wanted).max() <= (0.5 if kind is np.int16 else 1e-3)


def test_wrong_ways_to_join_are_refused():
    image = np.zeros((2, 2, 2), np.int16)
    with pytest.raises(VolforgeError, match="no way 'best'"):
        fused([image, image], "best")
    with pytest.raises(VolforgeError, match="several shapes"):
        fused([image, image[:1]])


def test_doubt_of_views_is_that_within_and_that_between():
    images = [np.full((2, 2, 2), v, np.int16) for v in (10, 20, 60)]
    within = [np.full((2, 2, 2), v, np.float32) for v in (3, 4, 5)]
    assert np.abs(pooled(images, within) - np.sqrt(50 / 3 + 700)).max() <= 1 / 16
    assert np.abs(pooled(images, [None] * 3) - np.sqrt(700)).max() <= 1 / 16
    assert np.abs(pooled(images[:1], within[:1]) - 3).max() == 0
