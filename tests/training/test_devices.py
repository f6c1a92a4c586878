"""A step mixes no devices: the device `meta`, on which nothing is computed, stands for a GPU that is not at hand."""

from types import SimpleNamespace

import pytest
import torch

from tests.tasks.semantic_synthesis.test_training import Hands, task
from tests.training.cohort import content
from volforge.inference.model_settings import ModelSettings
from volforge.tasks.segmentation.training import SegmentationTask
from volforge.tasks.semantic_synthesis import training as semantic


def elsewhere(samples):
    """A batch on the device."""
    return {
        k: torch.empty((len(samples), *samples[0][k].shape), dtype=samples[0][k].dtype, device="meta")
        for k in samples[0]
    }


def test_the_device_refuses_what_lies_elsewhere():
    with pytest.raises(RuntimeError, match="device"):
        torch.zeros(3, device="meta") + torch.zeros(3)


@pytest.mark.parametrize("mode", ["unpaired", "paired", "semi"])
def test_a_step_of_synthesis_stays_where_its_batch_lies(mode, monkeypatch):
    # counting cannot be done without values
    monkeypatch.setattr(
        semantic, "class_weights", lambda labels, classes, *_: torch.empty(classes, device=labels.device)
    )
    more = {"moments": 1.0} if mode == "paired" else {}
    one = task(mode, penalty_every=1, variety=1.0, dark=(1,), **more)
    networks = {name: network.to("meta") for name, network in one.networks().items()}
    hands = Hands(networks)
    logged = one.step(networks, elsewhere([one.sample(i) for i in range(4)]), 0, hands)
    assert {v.device.type for v in logged.values()} == {"meta"}
    assert all(g is None or g.device.type == "meta" for grads in hands.grads.values() for g in grads)
    assert set(hands.updates) == set(networks)


@pytest.mark.parametrize("loss", ["ce", "dice_ce", "dice_hardforward_ce", "dice_boundary"])
def test_a_step_of_segmentation_stays_where_its_batch_lies(loss):
    network = {"name": "residual_unet", "width": 2, "levels": 3, "supervised": 2}
    settings = ModelSettings.of(content(network=network, loss={"name": loss}, training={"augmentation": "none"}))
    regions = SimpleNamespace(shape=(16, 16, 16))
    one = SegmentationTask(settings, 0, regions, None, {})
    networks = {name: network.to("meta") for name, network in one.networks().items()}
    sample = {"image": torch.zeros(1, 16, 16, 16), "labels": torch.zeros(1, 16, 16, 16, dtype=torch.uint8)}
    if one.needs_distance:
        sample["distance"] = torch.zeros(2, 16, 16, 16)
    hands = Hands(networks)
    logged = one.step(networks, elsewhere([sample, sample]), 0, hands)
    assert logged["loss"].device.type == "meta"
    assert all(g.device.type == "meta" for g in hands.grads["network"])
