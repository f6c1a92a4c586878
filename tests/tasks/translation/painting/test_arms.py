import numpy as np
import pytest

from tests.tasks.translation.painting.drawn import head, trunk
from volforge.tasks.translation.painting.arms import with_arms
from volforge.tasks.translation.painting.fields import Frame
from volforge.tasks.translation.painting.options import Painting
from volforge.tasks.translation.painting.paint import paint
from volforge.tasks.translation.painting.shapes import Pieces

ALWAYS = Painting(arms=1.0)


def armed(scan, seed, pixel_mm, options=ALWAYS):
    hu, body, _ = scan
    return with_arms(hu, body, np.random.default_rng(seed), options=options, pixel_mm=pixel_mm, between_mm=4.0)


@pytest.mark.parametrize("pixel_mm", [2.0, 4.0])
def test_a_trunk_gets_arms_of_skin_to_marrow(pixel_mm):
    scan = trunk(pixel_mm, slices=2)
    hu, body, _ = scan
    before = hu.copy()
    sides = []
    for seed in range(10):
        new, wide = armed(scan, seed, pixel_mm)
        assert (hu == before).all()
        assert (new[body] == hu[body]).all()
        assert (new[~wide] == -1000).all()
        arms = wide & ~body
        assert new[arms].max() > 500
        assert ((new[arms] > -140) & (new[arms] < -60)).mean() > 0.05
        assert ((new[arms] > 20) & (new[arms] < 90)).mean() > 0.1
        middle = arms.shape[2] // 2
        sides.append((arms[..., :middle].any(), arms[..., middle:].any()))
    assert np.mean([a and b for a, b in sides]) >= 0.6
    assert all(a or b for a, b in sides)


def test_heads_and_trunks_with_arms_stay_as_they_are():
    assert armed(head(), 0, 2.0)[0] is not None
    hu, body, _ = head()
    assert (armed((hu, body, None), 0, 2.0)[1] == body).all()
    found = [armed(trunk(), s, 4.0) for s in range(8)]
    apart = [(h, b) for h, b in found if Pieces(b, Frame(b.shape, 4.0, 4.0)).count > 1]
    assert apart
    for new, wide in apart:
        assert (armed((new, wide, None), 1, 4.0)[1] == wide).all()


def test_share_and_option():
    scan = trunk()
    with_some = [bool((armed(scan, s, 4.0, Painting())[1] != scan[1]).any()) for s in range(40)]
    assert 10 < sum(with_some) < 30
    for options in (Painting(arms=0), Painting(arms=1, trunk=False)):
        assert (armed(scan, 0, 4.0, options)[1] == scan[1]).all()


def test_arms_can_be_painted():
    hu, body = armed(trunk(), 2, 4.0)
    out = paint(hu, body, np.random.default_rng(0), options=Painting(outline_mm=0), pixel_mm=4.0, between_mm=4.0)
    assert (out[body & ~trunk()[1]] > -0.9).mean() > 0.5
