"""Whole cases: from a skull with a hole, and nothing else, to an implant on its grid."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tasks.implant.kriging.shells import cap, centres, voxels
from volforge.errors import VolforgeError
from volforge.tasks.implant.by_hand.pieces import uncertainty
from volforge.tasks.implant.kriging.case import krige
from volforge.tasks.implant.kriging.fit import fit
from volforge.tasks.implant.kriging.intervals import NORMAL, Intervals
from volforge.tasks.implant.kriging.model import about, load_kriged, model_from, tensors_of
from volforge.tasks.implant.kriging.pose import rotation_of
from volforge.tasks.implant.kriging.settings import KrigingSettings
from volforge.training.fitted import write_fitted

SPACING = 2.0
SETTINGS = KrigingSettings.of({"disc": {"pixel_mm": 3.0}, "calibrated": False})


def shell(seed, spacing=SPACING):
    rng = np.random.default_rng(seed)
    semi = np.array([70.0, 90.0, 78.0]) * (1 + rng.uniform(-0.03, 0.03, 3))
    turn = rotation_of(rng.normal(0, 0.05, 3))
    skull, affine = voxels(semi, rng.uniform(2.1, 2.4), rng.uniform(6, 8), spacing, turn, rng.normal(0, 3, 3))
    return skull, affine


@pytest.fixture(scope="module")
def model():
    return fit(8, shell, SETTINGS).model


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def holed(seed=20, towards=(0.3, -0.6, 0.7), angle=18, spacing=SPACING, lowest=0.0):
    whole, affine = shell(seed, spacing)
    points = centres(whole.shape, affine)
    implant = cap(points, towards, angle) & (whole > 0) & (points[..., 2] > lowest)
    return (whole * ~implant).astype(np.uint8), implant, affine


def test_a_hole_is_closed_on_the_grid_of_the_skull(model):
    skull, implant, affine = holed()
    found = krige(model, skull, affine)
    assert found.implant.shape == skull.shape
    assert dice(found.implant, implant) > 0.9
    assert not (found.implant & (skull > 0)).any()
    (hole,) = found.holes
    assert not hole.at_edge
    assert not hole.out_of_view
    confidence = found.confidence
    assert confidence.min() >= 0
    assert confidence.max() <= 1
    assert (confidence[skull > 0] > 0.99).all()


def test_learnt_intervals_change_how_sure_it_is_and_nothing_else(model):
    skull, _, affine = holed()
    normal = krige(model, skull, affine)
    wide, same = (replace(model, intervals=Intervals(np.stack([NORMAL, NORMAL]) * factor)) for factor in (3.0, 1.0))
    unsure = krige(wide, skull, affine)
    assert (unsure.implant == normal.implant).all()
    assert unsure.confidence[normal.implant].mean() < normal.confidence[normal.implant].mean() - 0.02
    assert np.allclose(krige(same, skull, affine).confidence, normal.confidence, atol=1e-6)
    points = np.argwhere(normal.implant)[::200] @ affine[:3, :3].T + affine[:3, 3]
    assert np.allclose(uncertainty(points, normal, wide), 3 * uncertainty(points, normal, model))


def test_a_mirrored_skull_gets_the_mirrored_implant(model):
    skull, _, affine = holed()
    flip = affine @ np.array([[-1, 0, 0, skull.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    mirror = np.diag([-1.0, 1, 1, 1]) @ affine  # the same voxels, seen in a mirror
    plain = krige(model, skull, affine).implant
    assert dice(plain, krige(model, skull, mirror).implant) >= 0.995
    # and the same skull, stored the other way round, gets the very same one
    stored = krige(model, np.ascontiguousarray(skull[::-1]), flip).implant
    assert dice(plain, stored[::-1]) >= 0.999


def test_two_holes_are_closed_at_once(model):
    skull, first, affine = holed()
    points = centres(skull.shape, affine)
    second = cap(points, (0.5, 0.6, 0.6), 14) & (skull > 0) & (points[..., 2] > 0)
    found = krige(model, (skull * ~second).astype(np.uint8), affine)
    assert len(found.holes) == 2
    assert dice(found.implant, first | second) > 0.88


def test_a_complete_skull_gets_nothing(model):
    skull, affine = shell(21)
    found = krige(model, skull, affine)
    assert found.holes == ()
    assert not found.implant.any()
    assert (found.confidence == 1).all()


def test_a_hole_at_the_edge_and_a_vault_out_of_view_are_flagged(model):
    skull, _, affine = holed(towards=(0.9, 0.0, -0.1), angle=25, lowest=-50.0)
    assert krige(model, skull, affine).holes[0].at_edge
    whole, affine = shell(22)
    top = int(np.argwhere(whole.any(axis=(0, 1)))[-1, 0]) - int(16 / SPACING)
    cut = np.ascontiguousarray(whole[..., :top])
    assert any(h.out_of_view for h in krige(model, cut, affine).holes)


def test_an_empty_mask_is_refused(model):
    with pytest.raises(VolforgeError, match="no bone"):
        krige(model, np.zeros((20, 20, 20), np.uint8), np.eye(4))


def test_a_model_comes_back_from_its_folder(model, tmp_path):
    write_fitted(tmp_path / "m", tensors_of(model), about(model), 1.0)
    back, content = load_kriged(tmp_path / "m")
    assert content["fitted"]
    assert back.settings == model.settings
    assert np.allclose(back.field.mean, model.field.mean, atol=1e-4)
    skull, _, affine = holed()
    again = model_from({k: np.asarray(v) for k, v in tensors_of(model).items()}, model.settings)
    assert (krige(back, skull, affine).implant == krige(again, skull, affine).implant).all()


def test_a_damaged_model_and_one_of_another_kind_are_refused(model, tmp_path):
    write_fitted(tmp_path / "m", tensors_of(model), about(model), 1.0)
    with (tmp_path / "m/weights.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(VolforgeError, match="not those"):
        load_kriged(tmp_path / "m")
    write_fitted(tmp_path / "n", {"a": np.zeros(3)}, {"kind": "structures"}, 1.0)
    with pytest.raises(VolforgeError, match="no kriged model"):
        load_kriged(tmp_path / "n")


def test_the_fit_is_the_same_every_time():
    a, b = (tensors_of(fit(3, shell, SETTINGS).model) for _ in range(2))
    assert all(np.array_equal(a[k], b[k]) for k in a)
