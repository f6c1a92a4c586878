"""A network that is shown the kriged skull: a fitted model that it needs, in training and in prediction."""

import json

import numpy as np
import pytest

from tests.study.cohorts import arm, predict
from tests.tasks.implant.made import ARM, OURS, settings, skulls
from volforge.study.cases import Cohort
from volforge.study.jobs import TrainJob
from volforge.tasks.implant.kriging.arm import complete_skull, fit_arm
from volforge.tasks.implant.kriging.case import krige, kriged_skull
from volforge.tasks.implant.kriging.model import load_kriged
from volforge.tasks.implant.train import train_model
from volforge.volume.folders import write_json

pytestmark = pytest.mark.xdist_group("implants")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """scans.tsv and the folder of a fitted model."""
    folder = tmp_path_factory.mktemp("kriged")
    scans = skulls(folder, subjects=6)
    write_json(
        folder / "skull.train.json",
        {
            "study": "s", "arm": "a", "model": "skull", "by_fold": False,
            "kriging": {"disc": {"pixel_mm": 4.0}, "calibrated": False},
        },
    )  # fmt: skip
    job = TrainJob(scans, 0, 0, folder / "c", folder / "skull")
    assert fit_arm(folder / "skull.train.json", job) == ""
    return scans, folder / "skull"


def test_the_kriged_skull_is_bone_and_the_probable_implant(made):
    scans, folder = made
    model, _ = load_kriged(folder)
    cohort = Cohort(scans)
    skull = cohort.read("s4", "defective") > 0
    affine = cohort.grid("s4").affine
    p = kriged_skull(model, skull, affine)
    assert (p[skull] == 1).all()
    assert p.dtype == np.float32
    assert p.min() >= 0
    found = krige(model, skull.view(np.uint8), affine)
    assert p[found.implant].mean() > 0.6
    whole, _ = complete_skull(cohort, "s4")
    assert p[(whole > 0) & ~skull].mean() > p[(whole == 0)].mean() + 0.3


def test_a_network_with_that_channel_trains_and_predicts(made, tmp_path):
    scans, folder = made
    own = settings(
        "our_fine",
        **OURS,
        needs=["skull"],
        implant={"channels": ["mirror", "kriged"], "defects": "sheet"},
    )
    job = TrainJob(scans, 0, 0, tmp_path / "c", tmp_path / "fine", needs={"skull": folder})
    assert train_model(own, job) == ""
    about = json.loads((tmp_path / "fine/model.json").read_text())
    assert about["implant"]["channels"] == ["mirror", "kriged"]
    models = {"fine": tmp_path / "fine", "skull": folder}
    assert predict(arm(tmp_path, **ARM), scans, 0, tmp_path / "predictions", models=models) == 2
