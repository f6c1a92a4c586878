"""Scores of channels: closed forms, agreement with scipy, and channels of two networks that are paired by their maps."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from volforge.tasks.implant.features.scores import kinds, mean_of_pairs, partners, scores, spearman

GENERATOR = torch.Generator().manual_seed(1)
DEFECTIVE = (torch.rand(8, 6, 4, generator=GENERATOR) > 0.6).float()
IMPLANT = (torch.rand(8, 6, 4, generator=GENERATOR) > 0.9).float() * (1 - DEFECTIVE)


def test_a_channel_that_is_the_skull_or_the_implant_has_the_score_of_one():
    maps = torch.stack([DEFECTIVE, -3 * IMPLANT, torch.ones_like(IMPLANT), 2 * DEFECTIVE + 5])
    found = scores(maps, DEFECTIVE, IMPLANT)
    assert found[0, 0] == pytest.approx(1)
    assert found[1, 1] == pytest.approx(1), "the sign of an activation plays no part"
    assert found[2].isnan().all()
    assert found[3, 0] == pytest.approx(1)
    assert kinds(found) == ["shape", "hole", "", "shape"]


def test_scores_are_pearson_correlations():
    maps = torch.randn(11, 8, 6, 4, generator=GENERATOR)
    found = scores(maps, DEFECTIVE, IMPLANT)
    for k in (0, 7, 8, 10):  # on both sides of a part
        for j, other in enumerate((DEFECTIVE, IMPLANT)):
            wanted = stats.pearsonr(maps[k].abs().flatten(), other.flatten()).statistic
            assert found[k, j] == pytest.approx(wanted, abs=1e-6)


def test_a_coarse_map_is_brought_to_the_grid_first():
    fine = torch.zeros(8, 8, 8)
    fine[:4] = 1
    coarse = torch.nn.functional.avg_pool3d(fine[None, None], 2)[0]
    found = scores(coarse, fine, 1 - fine)[0]
    assert 0.9 < found[0] < 1
    assert found[1] == pytest.approx(-float(found[0]))


def test_rank_correlation_is_that_of_scipy_and_leaves_out_what_has_no_value():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, 20).astype(float), rng.normal(size=20)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    holed = a.copy()
    holed[3] = math.nan
    assert spearman(holed, b) == pytest.approx(spearman(np.delete(a, 3), np.delete(b, 3)))
    assert math.isnan(spearman(a[:2], b[:2]))
    assert math.isnan(spearman(np.ones(9), b[:9]))


def test_mean_over_all_pairs_of_cases():
    one = torch.tensor([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0], [4.0, 0.0]])
    other = one.flip(0)
    assert mean_of_pairs([one, one, other]) == pytest.approx((-1 / 3, -1 / 3))
    assert all(math.isnan(v) for v in mean_of_pairs([one]))


def test_channels_in_another_order_and_of_another_sign_are_found_again():
    maps = torch.randn(6, 4, 4, 4, generator=GENERATOR)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    found = partners(maps, -2 * maps[order])
    assert torch.equal(order[torch.from_numpy(found)], torch.arange(6))
