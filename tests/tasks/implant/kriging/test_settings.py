"""Settings of a kriged model, and what its folder keeps of it."""

import numpy as np
import pytest

from tests.tasks.implant.kriging.test_solve import small_field
from volforge.tasks.implant.kriging.covariance import Covariance
from volforge.tasks.implant.kriging.fit import KrigedModel
from volforge.tasks.implant.kriging.model import model_from, tensors_of
from volforge.tasks.implant.kriging.pose import Template
from volforge.tasks.implant.kriging.settings import KrigingSettings


def test_settings_come_back_from_plain_values():
    settings = KrigingSettings.of(
        {"disc": {"pixel_mm": 3.0}, "passes": {"count": 1}, "lengths_mm": [9, 24], "skulls": 4}
    )
    assert KrigingSettings.of(settings.plain()) == settings
    assert settings.disc.colatitude_deg == KrigingSettings().disc.colatitude_deg


def test_what_is_not_named_keeps_its_own_default():
    settings = KrigingSettings.of({"vault": {"spread_mm": 5}, "region": {"spread_mm": 8}})
    assert (settings.vault.colatitude_deg, settings.region.colatitude_deg) == (108.0, 115.0)


@pytest.mark.parametrize(
    "content",
    [
        {"disc": {"pixel_mm": 0}}, {"disc": {"pixel_mm": "a"}}, {"passes": {"count": 0}}, {"lengths_mm": []},
        {"thinning": {"beyond": 0}}, {"closed": -1}, {"symmetric": "no"}, {"evidence": True, "symmetric": False},
    ],
    ids=str,
)  # fmt: skip
def test_values_out_of_their_range_are_named(content):
    with pytest.raises(ValueError, match=next(iter(content))):
        KrigingSettings.of(content)


def test_all_faults_are_said_at_once():
    with pytest.raises(ValueError, match=r"passes\.count is 0.*; closed is -1"):
        KrigingSettings.of({"closed": -1, "passes": {"count": 0}})


def test_a_second_covariance_is_kept_with_the_model():
    field = small_field()
    plain = Covariance(field.covariance.variances[:, :, ::-1].copy(), (9.0, 24.0), (2.0, 3.0), 0.1, 0.3)
    settings = KrigingSettings.of({"disc": {"pixel_mm": 3.0}, "evidence": True})
    model = KrigedModel(Template(field.disc, field.mean, field.region), field, settings, plain)
    back = model_from(tensors_of(model), settings)
    assert back.plain is not None
    for own, again in ((plain, back.plain), (field.covariance, back.field.covariance)):
        assert np.array_equal(own.tables, again.tables)
        assert own.nugget_mm == again.nugget_mm
