"""Validation of generators: LPIPS beside the other curves where AlexNet's weights are at hand, and nothing else changed."""

import pytest
import torch

from tests.networks.test_lpips import alexnet_state
from tests.tasks.semantic_synthesis.test_training import CLASSES, Toy
from volforge import components, weights
from volforge.metrics import features
from volforge.tasks.semantic_synthesis import validation
from volforge.tasks.semantic_synthesis.validation import SynthesisJudge

CPU = torch.device("cpu")


@pytest.fixture
def judged(monkeypatch):
    """The measures of one generator, and the state of the generator of numbers after its judge was made."""
    monkeypatch.setattr(validation, "ENCODER_STEPS", 2)

    def run(alexnet):
        monkeypatch.setattr(weights, "find", lambda name: alexnet)
        torch.manual_seed(0)
        spec = {"name": "oasis_generator", "width": 1, "noise": 3, "blocks": 3, "hidden": 4}
        generator = components.build("network", spec, classes=CLASSES, channels=1).eval()
        pairs = Toy(5, 1, ("image", "labels"))
        judge = SynthesisJudge(Toy(6, 0, ("image",)), pairs, CLASSES, 3, 0)
        state = torch.get_rng_state()
        return judge, judge(generator, CPU), state

    return run


def test_lpips_is_a_curve_more_and_changes_nothing(judged, tmp_path):
    torch.save(alexnet_state(), tmp_path / "alexnet.pth")
    _, without, before = judged(None)
    judge, with_, after = judged(tmp_path / "alexnet.pth")
    assert "lpips" not in without
    assert {k: v for k, v in with_.items() if k != "lpips"} == without
    assert torch.equal(before, after)
    assert with_["lpips"] > 0
    assert judge._lpips(judge.images, judge.images)["lpips"] == 0
    some = features.lpips(judge.images[:2], judge.images[2:4], tmp_path / "alexnet.pth")
    assert judge._lpips(judge.images[:2], judge.images[2:4])["lpips"] == pytest.approx(float(some.mean()), rel=1e-6)
