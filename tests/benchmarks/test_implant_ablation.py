"""The benchmark's arms are those of the study, and an arm of fewer skulls knows those alone."""

import numpy as np
import pytest
from benchmarks.implant_ablation import ARMS, BASE, holes_of, model_of_arm, rows_of

from tests.conftest import ROOT
from tests.tasks.implant.kriging.test_case import holed, shell
from volforge.tasks.implant.kriging.fit import fit, model_of
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.workflow.load import load_configuration

QUICK = {"disc": {"pixel_mm": 4.0}, "calibrated": False, "lengths_mm": [12, 24]}


def test_arms_are_those_of_the_example():
    loaded = load_configuration([ROOT / "config/examples/skullfix_ablation.yaml"])
    (study,) = loaded.configuration.studies.values()
    assert list(study.arms) == list(ARMS)
    for name, arm in study.arms.items():
        (model,) = arm.models.values()
        stated = {"skulls": None, **KrigingSettings.of(ARMS[name]).plain(), "calibrated": False, "closed": 0}
        assert KrigingSettings.of(model.kriging.plain()).plain() == stated, name


@pytest.fixture(scope="module")
def found():
    return fit(5, lambda n: shell(n, 3.0), KrigingSettings.of(QUICK))


def test_fewer_skulls_are_chosen_by_rank_whatever_their_order(found):
    few = KrigingSettings.of({**QUICK, "skulls": 3})
    used = [11, 3, 7, 20, 5]
    own = model_of_arm(found.maps, used, found.model.template, few)
    back = model_of_arm(found.maps[::-1], used[::-1], found.model.template, few)
    assert np.allclose(own.field.mean, back.field.mean)
    assert not np.allclose(own.field.mean, found.model.field.mean)
    everything = model_of_arm(found.maps, used, found.model.template, KrigingSettings.of(QUICK))
    assert np.array_equal(everything.field.mean, model_of(found.maps, found.model.template, few).field.mean)


def test_every_arm_is_measured_on_every_hole_against_what_is_missing(found, monkeypatch):
    whole, affine = shell(20, 3.0)
    skull, _, _ = holed(spacing=3.0)
    volumes = {"complete_skull": (whole, affine), "defective_skull": (skull, affine)}
    monkeypatch.setattr("benchmarks.implant_ablation.read", lambda _, kind, __: volumes[kind])
    kinds = [kind for kind, *_ in holes_of(ROOT, 4)]
    assert kinds[0] == "own"
    rows = list(rows_of(ROOT, {BASE: found.model}, 4))
    assert {(r[0], r[1], r[2]) for r in rows} == {("004", kind, BASE) for kind in kinds}
    dice = {r[1]: r[5] for r in rows if r[4] == "dice"}
    assert dice["own"] > 0.8
