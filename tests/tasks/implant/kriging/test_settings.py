"""Settings of a kriged model, and what its folder keeps of it."""

import numpy as np

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
