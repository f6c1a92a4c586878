"""Losses against their formulas, and against MONAI where the definition is the same."""

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
from torch.nn import functional

from volforge.losses.boundary import BoundaryLoss, DiceBoundary
from volforge.losses.combined import DiceCE, HardForwardDiceCE
from volforge.losses.cross_entropy import CrossEntropy
from volforge.losses.dice import EPSILON, HardForwardDice, SoftDice


@pytest.fixture
def batch():
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 6, 5, 4, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(0, 3, (2, 6, 5, 4))


def test_cross_entropy_is_the_mean_negative_log_of_the_softmax(batch):
    logits, labels = batch
    by_hand = -torch.log(logits.softmax(1).gather(1, labels[:, None])).mean()
    assert torch.allclose(CrossEntropy()(logits, labels), by_hand)
    weighted = CrossEntropy([1, 2, 3])(logits.float(), labels)
    assert torch.allclose(weighted, functional.cross_entropy(logits.float(), labels, torch.tensor([1.0, 2, 3])))


def test_soft_dice_is_the_vnets(batch):
    logits, labels = batch
    p = logits.softmax(1)
    values = []
    for k in (1, 2):
        g = (labels == k).double()
        values.append(2 * (p[:, k] * g).sum() / (p[:, k].square().sum() + g.sum()))
    by_hand = 1 - torch.stack(values).mean()
    assert torch.allclose(SoftDice()(logits, labels), by_hand, atol=1e-6)
    peer = DiceLoss(include_background=False, softmax=True, to_onehot_y=True, squared_pred=True, batch=True)
    assert torch.allclose(SoftDice()(logits, labels), peer(logits, labels[:, None]), atol=1e-6)


def test_dice_ce_equals_monai(batch):
    logits, labels = batch
    peer = DiceCELoss(
        include_background=False, softmax=True, to_onehot_y=True, squared_pred=True, batch=True, smooth_nr=1e-5,
        smooth_dr=1e-5,
    )  # fmt: skip
    # MONAI leaves the background out of its cross-entropy too
    ours = DiceCE()(logits, labels)
    assert torch.allclose(ours, SoftDice()(logits, labels) + CrossEntropy()(logits, labels))
    assert torch.allclose(DiceCE(0.0)(logits, labels), peer.dice(logits, labels[:, None]))


def test_hard_forward_dice_has_the_value_of_the_hard_prediction_and_the_written_gradient():
    torch.manual_seed(2)
    logits = torch.randn(1, 2, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 2, (1, 4, 4, 4))
    p = logits.softmax(1).detach().requires_grad_()
    g, h = labels.double(), (logits.argmax(1) == 1).double()
    overlap, total = (h * g).sum(), h.sum() + g.sum() + 2 * EPSILON
    loss = HardForwardDice()(logits, labels)
    assert torch.allclose(loss, 1 - 2 * overlap / total)
    loss.backward()
    # the loss is 1 - D: its gradient with respect to p is that of -D; the background receives the negative of it
    of_p = -(2 * g / total - 4 * p[:, 1].detach() * overlap / total**2)
    again = logits.detach().clone().requires_grad_()
    soft = again.softmax(1)
    soft.backward(torch.stack([-of_p, of_p], dim=1))
    assert torch.allclose(logits.grad, again.grad, atol=1e-14)


def test_hard_forward_dice_of_several_structures_is_their_mean(batch):
    logits, labels = batch
    hard = logits.argmax(1)
    values = [1 - 2 * ((hard == k) & (labels == k)).sum() / ((hard == k).sum() + (labels == k).sum()) for k in (1, 2)]
    assert torch.allclose(HardForwardDice()(logits, labels).float(), torch.stack(values).mean(), atol=1e-6)
    both = HardForwardDiceCE()(logits, labels)
    assert torch.allclose(both, HardForwardDice()(logits, labels) + CrossEntropy()(logits, labels))


def test_hard_forward_dice_of_nothing_is_finite():
    logits = torch.zeros(1, 2, 2, 2, 2, requires_grad=True)
    loss = HardForwardDice()(logits, torch.zeros(1, 2, 2, 2, dtype=torch.long))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_boundary_loss_is_the_mean_of_probability_times_distance(batch):
    logits, labels = batch
    phi = torch.linspace(-30, 50, 2 * 2 * 6 * 5 * 4, dtype=torch.float64).reshape(2, 2, 6, 5, 4)
    s = logits.softmax(1)[:, 1:]
    assert torch.allclose(BoundaryLoss(0)(logits, labels, phi).double(), (s * phi).mean(), rtol=1e-6)
    clipped = phi.clamp(-20, 20) / 20
    assert torch.allclose(BoundaryLoss(20)(logits, labels, phi).double(), (s * clipped).mean(), rtol=1e-6)
    with pytest.raises(ValueError, match="distance maps"):
        BoundaryLoss()(logits, labels)


def test_boundary_loss_pulls_the_outline_towards_the_reference():
    from volforge.study.distances import signed_distance

    mask = np.zeros((12, 12, 12), bool)
    mask[3:9, 3:9, 3:9] = True
    phi = torch.from_numpy(signed_distance(mask, (1, 1, 1)))[None, None]

    def loss_of(shape: np.ndarray) -> float:
        logits = torch.from_numpy(np.where(shape, 20.0, -20.0).astype(np.float32))
        return float(BoundaryLoss(0)(torch.stack([-logits, logits])[None], torch.zeros(1, 12, 12, 12).long(), phi))

    grown, shrunk = np.zeros_like(mask), np.zeros_like(mask)
    grown[2:10, 2:10, 2:10], shrunk[4:8, 4:8, 4:8] = True, True
    assert loss_of(mask) < min(loss_of(grown), loss_of(shrunk), loss_of(np.zeros_like(mask)))


@pytest.mark.parametrize(
    ("schedule", "progress", "weights"),
    [
        ("fixed", 0.0, (1.0, 0.5)),
        ("fixed", 1.0, (1.0, 0.5)),
        ("increase", 0.1, (1.0, 0.0)),
        ("increase", 0.6, (1.0, 0.25)),
        ("rebalance", 0.1, (1.0, 0.0)),
        ("rebalance", 0.2, (0.99, 0.01)),
        ("rebalance", 1.0, (0.5, 0.5)),
    ],
)
def test_weight_of_the_boundary_follows_its_schedule(schedule, progress, weights):
    assert DiceBoundary(schedule, weight=0.5, start=0.2).weights(progress) == pytest.approx(weights)


def test_dice_boundary_is_the_weighted_sum(batch):
    logits, labels = batch
    phi = torch.ones(2, 2, 6, 5, 4)
    loss = DiceBoundary("fixed", weight=2.0, clip_mm=0)
    expected = DiceCE()(logits, labels) + 2 * BoundaryLoss(0)(logits, labels, phi)
    assert torch.allclose(loss(logits, labels, phi, 0.5), expected)
    with pytest.raises(ValueError, match="schedule"):
        DiceBoundary("never")
    with pytest.raises(ValueError, match="share"):
        DiceBoundary(weight=2)


@pytest.mark.parametrize("loss", [SoftDice(), HardForwardDice(), CrossEntropy(), DiceCE(), HardForwardDiceCE()])
def test_a_perfect_prediction_costs_nothing_and_gradients_lower_the_loss(loss):
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.long)
    labels[:, 1:3, 1:3, 1:3] = 1
    perfect = functional.one_hot(labels, 2).movedim(-1, 1) * 60.0 - 30
    assert float(loss(perfect, labels)) == pytest.approx(0, abs=1e-4)
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 4, 4, 4, requires_grad=True)
    before = loss(logits, labels)
    before.backward()
    after = loss(logits - 2.0 * logits.grad / logits.grad.norm(), labels)
    assert after.item() < before.item()
