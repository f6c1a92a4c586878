"""What a training leaves beside its weights."""

import pytest
import torch
from torch import nn

from volforge.training.trained_files import multiply_adds


def on_meta(network, *shape):
    with torch.device("meta"):
        return multiply_adds(network(), torch.zeros(*shape))


def test_multiply_adds_of_a_convolution():
    assert on_meta(lambda: nn.Conv2d(3, 5, 3, padding=1), 1, 3, 8, 8) == 3 * 5 * 9 * 64


class ByMaximum(nn.Module):
    """Reads a value, which is not there where nothing is computed."""

    def forward(self, x):
        return x / float(x.abs().max())


class ByMask(nn.Module):
    """Has a shape that depends on values."""

    def forward(self, x):
        return x[x > -1]


@pytest.mark.parametrize("network", [ByMaximum, ByMask])
def test_a_network_that_depends_on_values_is_not_counted_and_no_fault(network, capsys):
    assert on_meta(network, 1, 1, 8, 8) == 0
    assert "multiply-adds are not counted" in capsys.readouterr().err
