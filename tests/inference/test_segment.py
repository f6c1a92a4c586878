"""Whole scans segmented by networks that are known in advance: grids, sides, ensembles, components, cross-entropy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.cohort import content
from volforge.config.models import RegionRecipe
from volforge.errors import ScanError, VolforgeError
from volforge.inference.model import Model
from volforge.inference.segment import Scan, cross_entropies, segment
from volforge.inference.windows import probabilities
from volforge.metrics.overlap import count
from volforge.volume.geometry import Grid

AFFINE = np.array([[1.5, 0.1, 0, -30], [-0.12, 1.25, 0, -25], [0, 0, 2.0, 10], [0, 0, 0, 1.0]])
RECORD = {"modality": "CT", "unit": "hu", "values": {"outside": -1024.0}}


class Bright(nn.Module):
    """Class 1 where the image is above a level, as sure as `gain` says."""

    def __init__(self, level: float = 0.0, gain: float = 50.0):
        super().__init__()
        self.level, self.gain = level, gain

    def forward(self, x):
        logit = self.gain * (x - self.level)
        return torch.cat([-logit, logit], dim=1)


class LeftIsFirst(nn.Module):
    """Class 1 where bright and in the first half of the window's first axis, class 2 in the second half."""

    def forward(self, x):
        half = x.shape[2] // 2
        first = torch.zeros_like(x)
        first[:, :, :half] = 1
        bright = 50 * x
        return torch.cat([-bright, bright * first - 100 * (1 - first), bright * (1 - first) - 100 * first], dim=1)


def model(network: nn.Module, patch=(16, 16, 16), spacing=None, **more) -> Model:
    recipe = RegionRecipe(kind="region", around="image", margin_mm=0, spacing_mm=spacing).model_dump()
    about = content(
        recipe_settings=recipe, classes=more.pop("classes", [{"structure": "bone", "side": "", "ids": {"": 7}}]), **more
    )
    return Model(Path("m"), {**about, "patch": list(patch), "prior": more.get("prior")}, network.eval())


def scan(shape=(40, 36, 20), labels=False) -> Scan:
    """Two blobs of 1000 HU left and right in air, on a tilted anisotropic grid."""
    grid = Grid(shape, AFFINE)
    index = np.indices(shape)
    hu = np.full(shape, -1000, np.int16)
    for centre in ((10, 18, 10), (30, 18, 10)):
        away = (
            ((index - np.array(centre).reshape(3, 1, 1, 1)) * np.array(grid.spacing_mm).reshape(3, 1, 1, 1)) ** 2
        ).sum(0)
        hu[away <= 64] = 1000
    reference = (hu > 0).astype(np.uint8) * 7 if labels else None
    return Scan(np.asfortranarray(hu), None, grid, RECORD, reference)


def test_on_the_scans_own_grid_every_voxel_returns():
    one = scan()
    found = segment([[model(Bright())]], one, keep={"bone": 0})
    assert np.array_equal(found.labels == 7, one.image > 0)
    assert found.confidence.shape == one.image.shape
    assert found.confidence.min() > 0.99


@pytest.mark.parametrize("spacing", [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
def test_a_resampled_recipe_returns_onto_the_scans_grid(spacing):
    one = scan()
    found = segment([[model(Bright(-0.2), spacing=spacing)]], one, keep={"bone": 0})
    assert count(found.labels == 7, one.image > 0).dice > 0.9


def test_the_largest_component_stays_or_those_of_a_share():
    one = scan()
    alone = segment([[model(Bright())]], one)
    both = segment([[model(Bright())]], one, keep={"bone": 0.5})
    assert 0.4 < (alone.labels == 7).sum() / (both.labels == 7).sum() < 0.6
    lost = (both.labels == 7) & (alone.labels == 0)
    assert alone.confidence[lost].max() < 0.05  # the network was sure of what was taken away


def sided(network: nn.Module, mirror: bool) -> Model:
    region = {
        "around": "bone", "size": [16, 20, 12], "offset_mm": [0, 0, 0], "jitter_mm": 0, "mirror": mirror,
        "ids": {"left": 1, "right": 2},
    }  # fmt: skip
    classes = [
        {"structure": "outer", "side": "", "ids": {"left": 1, "right": 2}},
        {"structure": "inner", "side": "", "ids": {"left": 3, "right": 4}},
    ]
    return model(network, patch=(16, 20, 12), region=region, classes=classes)


@pytest.fixture
def finder() -> Model:
    prior = {"left": [0.25, 0.5, 0.5], "right": [0.75, 0.5, 0.5]}
    classes = [{"structure": "bone", "side": "", "ids": {"left": 1, "right": 2}}]
    return model(Bright(), patch=(16, 16, 16), kind="localiser", classes=classes, prior=prior)


def model_with_prior(finder: Model) -> Model:
    return Model(
        finder.folder, {**finder.about, "prior": {"left": [0.25, 0.5, 0.5], "right": [0.75, 0.5, 0.5]}}, finder.network
    )


def test_each_joint_is_seen_alone_and_the_right_one_in_the_mirror(finder):
    one = scan()
    found = segment(
        [[sided(LeftIsFirst(), True)]], one, localiser=model_with_prior(finder), keep={"outer": 0, "inner": 0}
    )
    assert [(j.side, j.origin) for j in found.joints] == [("left", "found"), ("right", "found")]
    assert found.joints[0].centre == pytest.approx((10, 18, 10), abs=0.3)
    x = {i: np.argwhere(found.labels == i)[:, 0].mean() for i in (1, 2, 3, 4)}
    assert x[1] < x[3] < x[4] < x[2]  # outer halves lie outside on both sides
    assert np.array_equal(found.labels > 0, one.image > 0)
    plain = segment(
        [[sided(LeftIsFirst(), False)]], one, localiser=model_with_prior(finder), keep={"outer": 0, "inner": 0}
    )
    x = {i: np.argwhere(plain.labels == i)[:, 0].mean() for i in (1, 2, 3, 4)}
    assert x[1] < x[3] < x[2] < x[4]


def test_a_box_that_leaves_the_scan_is_cut_off(finder):
    one = scan((40, 36, 20))
    near = Scan(np.asfortranarray(np.roll(one.image, -7, axis=0)), None, one.grid, RECORD)
    found = segment(
        [[sided(LeftIsFirst(), True)]], near, localiser=model_with_prior(finder), keep={"outer": 0, "inner": 0}
    )
    assert np.array_equal((found.labels > 0)[:15], (near.image > 0)[:15])


def test_a_model_of_boxes_needs_a_localiser():
    with pytest.raises(VolforgeError, match="needs a localiser"):
        segment([[sided(LeftIsFirst(), True)]], scan())


def test_a_model_of_structures_is_no_localiser():
    with pytest.raises(VolforgeError, match="this model is no localiser"):
        segment([[sided(LeftIsFirst(), True)]], scan(), localiser=model(Bright()))


def test_a_recipe_around_labels_cannot_be_predicted():
    one = model(Bright())
    about = {**one.about, "recipe_settings": {**one.about["recipe_settings"], "around": ["bone"]}}
    with pytest.raises(ScanError, match="around labels"):
        segment([[Model(Path("m"), about, one.network)]], scan())


def test_an_ensemble_is_the_mean_of_its_probabilities():
    one = scan()
    pair = [model(Bright(-2, 1)), model(Bright(0.9, 1))]
    image = torch.linspace(-1, 1, 512).reshape(1, 1, 8, 8, 8)
    mean = probabilities([m.network for m in pair], image, (8, 8, 8))
    each = [probabilities(m.network, image, (8, 8, 8)) for m in pair]
    assert torch.allclose(mean, (each[0] + each[1]) / 2, atol=1e-6)
    assert segment([pair], one).labels.any()
    with pytest.raises(VolforgeError, match="same structures, recipe and patch"):
        segment([[pair[0], model(Bright(), patch=(8, 8, 8))]], one)


def test_windows_and_flips_of_a_pointwise_network_change_nothing():
    image = torch.rand(1, 1, 21, 17, 9) * 2 - 1
    net = Bright(0.1, 2.0)
    whole = net(image).softmax(dim=1)
    for flips in ((), (0,), (0, 1, 2)):
        found = probabilities(net, image, (8, 8, 8), flips=flips)
        assert torch.allclose(found, whole, atol=1e-5)


def test_structures_of_several_models_are_joined_and_the_surer_wins():
    one = scan()
    dull, sharp = Bright(0.5, 1.0), Bright(0.0, 50.0)
    a = model(dull, classes=[{"structure": "a", "side": "", "ids": {"": 1}}])
    b = model(sharp, classes=[{"structure": "b", "side": "", "ids": {"": 300}}])
    found = segment([[a], [b]], one, keep={"a": 0, "b": 0})
    assert found.labels.dtype == np.uint16
    assert set(np.unique(found.labels)) == {0, 300}
    other = segment([[b], [a]], one, keep={"a": 0, "b": 0})
    assert np.array_equal(found.labels, other.labels)


def test_cross_entropy_is_that_of_the_probabilities_and_the_doubled_one_has_its_floor():
    reference = np.array([True, False, False])
    plain, doubled = cross_entropies(np.array([1.0, 0.0, 0.0], np.float32), reference)
    assert plain == pytest.approx(0, abs=1e-6)
    assert doubled == pytest.approx(np.log(1 + np.exp(-1)), abs=1e-6)  # 0.3133: the published floor
    plain, _ = cross_entropies(np.array([0.5, 0.5, 0.5], np.float32), reference)
    assert plain == pytest.approx(np.log(2))
    logits = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 50)))
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 2, (1, 50)))
    shares = torch.softmax(logits, 1)
    plain, doubled = cross_entropies(shares[0, 1].numpy(), labels[0].numpy() == 1)
    assert plain == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)))
    assert doubled == pytest.approx(float(torch.nn.functional.cross_entropy(shares, labels)))


def test_cross_entropy_is_told_for_labelled_scans_only():
    found = segment([[model(Bright())]], scan(labels=True))
    assert [(s, side) for s, side, _, _ in found.cross_entropy] == [("bone", "")]
    assert found.cross_entropy[0][2] < 1e-3
    assert segment([[model(Bright())]], scan()).cross_entropy == []


def test_one_window_pads_as_monais_inferer_does():
    from monai.inferers import SlidingWindowInferer

    torch.manual_seed(0)
    net = nn.Conv3d(1, 2, 3, padding=1)
    image = torch.rand(1, 1, 7, 10, 5) * 2 - 1
    found = probabilities(net, image, (10, 10, 8))
    peer = SlidingWindowInferer((10, 10, 8), mode="gaussian", cval=-1.0)(image, lambda x: net(x).softmax(dim=1))
    assert torch.allclose(found, peer, atol=1e-6)


def test_a_window_that_fits_no_network_is_named():
    bad = Bright()
    bad.divisor = 8
    with pytest.raises(VolforgeError, match=r"the window \[10, 16, 16\] is no multiple of \[8, 8, 8\]"):
        segment([[model(bad)]], scan(), window=[10, 16, 16])
